"""Every setting of the storage engine: sentence, unit, default, HBase's name and default.

Numbers end in their unit: ``_bytes``, ``_s`` (seconds). A value that cannot work is refused when the
``StoreConfig`` is made, not when it is first needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

from hyperbase.common.config.checks import GIB, MIB, CheckedSettings
from hyperbase.common.config.units import number_of_text
from hyperbase.common.errors import IllegalArgumentException
from hyperbase.common.schema_options import unknown_option


@dataclass(frozen=True, slots=True)
class StoreConfig(CheckedSettings):
    """How one store uses memory, disk and time.

    Raises:
        IllegalArgumentException: a value of the wrong type or range, or two that contradict each other.
    """

    MAY_BE_ZERO: ClassVar[frozenset[str]] = frozenset(
        {
            "block_cache_bytes",
            "compaction_throughput_bytes_per_s",
            "compaction_worker_threshold_bytes",
            "compaction_min_size_bytes",
            "wal_archive_ttl_s",
            "wal_archive_limit_bytes",
            "flush_interval_s",
            "major_compaction_interval_s",
            "max_key_value_bytes",
            "blocking_wait_s",
        }
    )

    # Most bytes all MemStores hold together; above it writes wait for flushes. HBase: 0.4 of the heap.
    memstore_limit_bytes: int = 256 * MIB
    # A region flushes at this many MemStore bytes. HBase hbase.hregion.memstore.flush.size: 128 MiB.
    memstore_flush_size_bytes: int = 64 * MIB
    # Writes to a region fail with RegionTooBusyException above flush size times this. HBase: 4.
    memstore_block_multiplier: int = 4
    # Most bytes of decoded StoreFile blocks kept in memory; 0 is no cache. HBase: 0.4 of the heap.
    block_cache_bytes: int = 128 * MIB

    # A WAL segment is closed at this many bytes. HBase: about one HDFS block, 128-256 MiB.
    wal_segment_bytes: int = 64 * MIB
    # A WAL segment is closed at this age in seconds. HBase hbase.regionserver.logroll.period: 3600.
    wal_roll_interval_s: float = 3600.0
    # With more unflushed segments than this, the regions in the oldest one are flushed. HBase: 32.
    wal_max_segments: int = 32
    # Seconds a segment stays in the archive after its last edit was flushed; 0 deletes at once. HBase: 600.
    wal_archive_ttl_s: float = 600.0
    # Most bytes of archived segments; the oldest go first, whatever their age. HBase: no limit.
    wal_archive_limit_bytes: int = 64 * MIB

    # A region whose largest Store exceeds this many bytes splits. HBase hbase.hregion.max.filesize: 10 GiB.
    max_file_size_bytes: int = 10 * GIB
    # Fewest StoreFiles a minor compaction takes. HBase hbase.hstore.compaction.min: 3.
    compaction_min_files: int = 3
    # Most StoreFiles one compaction takes. HBase hbase.hstore.compaction.max: 10.
    compaction_max_files: int = 10
    # A file joins when it is at most this times the sum of the smaller ones. HBase: 1.2.
    compaction_ratio: float = 1.2
    # Files up to this many bytes always join. HBase hbase.hstore.compaction.min.size: 128 MiB.
    compaction_min_size_bytes: int = 128 * MIB
    # Flushes of a Store with this many files wait for compaction. HBase hbase.hstore.blockingStoreFiles: 16.
    blocking_store_files: int = 16
    # Seconds a flush waits so at most. HBase hbase.hstore.blockingWaitTime: 90.
    blocking_wait_s: float = 90.0
    # Compactions of fewer input bytes run in this process, larger ones in a worker process. HBase: none.
    compaction_worker_threshold_bytes: int = 4 * MIB
    # Bytes a second compactions may write; 0 is unlimited. HBase: 50-100 MiB. Unlimited is the default here
    # because an embedded store has a disk of its own and a backlog of files costs readers more.
    compaction_throughput_bytes_per_s: int = 0

    # Largest cell, key included, in bytes; 0 is no limit. HBase hbase.client.keyvalue.maxsize: 10 MiB.
    max_key_value_bytes: int = 10 * MIB
    # Largest row one Result may hold, in bytes. HBase hbase.table.max.rowsize: 1 GiB.
    max_row_result_bytes: int = 1 * GIB

    # A MemStore with edits older than this many seconds is flushed; 0 is never. HBase: 3600.
    flush_interval_s: float = 3600.0
    # Seconds between major compactions of a Store, give or take half; 0 is never. HBase: 604800.
    major_compaction_interval_s: float = 604_800.0
    # Seconds between looks for files that nothing names any more. HBase hbase.catalogjanitor.interval: 300.
    janitor_interval_s: float = 300.0

    def check_together(self) -> None:
        """See ``CheckedSettings``."""
        if self.compaction_max_files < self.compaction_min_files:
            raise IllegalArgumentException(
                f"compaction_max_files ({self.compaction_max_files}) must not be below "
                f"compaction_min_files ({self.compaction_min_files})"
            )
        if self.compaction_min_files < 2:
            raise IllegalArgumentException(
                f"compaction_min_files must be at least 2, not {self.compaction_min_files}: "
                "rewriting a single file gains nothing"
            )
        if self.memstore_flush_size_bytes > self.memstore_limit_bytes:
            raise IllegalArgumentException(
                f"memstore_flush_size_bytes ({self.memstore_flush_size_bytes}) must not exceed "
                f"memstore_limit_bytes ({self.memstore_limit_bytes})"
            )
        if self.blocking_store_files < self.compaction_min_files:
            raise IllegalArgumentException(
                f"blocking_store_files ({self.blocking_store_files}) must not be below compaction_min_files "
                f"({self.compaction_min_files}): flushes would wait for a compaction that never starts"
            )

    @property
    def memstore_blocking_size_bytes(self) -> int:
        """Bytes in a region's MemStores at which its writes are refused."""
        return self.memstore_flush_size_bytes * self.memstore_block_multiplier

    def with_settings(self, **settings: Any) -> StoreConfig:
        """A copy with some settings changed; texts are accepted for numbers.

        Raises:
            IllegalArgumentException: an unknown name (the closest is named) or an unfit value.
        """
        kinds = self.kinds()
        for name, value in settings.items():
            if name not in kinds:
                raise unknown_option(name, kinds, "the store")
            if isinstance(value, str):
                settings[name] = number_of_text(name, value, integer=kinds[name] == "int")
        return replace(self, **settings)

    def as_settings(self) -> dict[str, Any]:
        """Every setting by its name, as ``connect`` takes them."""
        return {setting.name: getattr(self, setting.name) for setting in fields(self)}


def derived_flush_size_bytes(given: Mapping[str, Any]) -> int | None:
    """The flush size for who chose only the memory limit, which it must not exceed; else ``None``."""
    limit = given.get("memstore_limit_bytes")
    if not isinstance(limit, int) or "memstore_flush_size_bytes" in given:
        return None
    return min(StoreConfig().memstore_flush_size_bytes, max(1, limit // 2))
