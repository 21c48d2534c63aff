"""Which StoreFiles of a Store are compacted next: pure functions from a view of the files to a decision.

HBase's exploring policy picks the run of files, neighbours by sequence id, that removes most files for
the fewest bytes. Around it stand the cases that do not wait for it: halves of a split parent, files that
expired as a whole, the periodic major compaction, and a Store full of tombstones. Only a compaction of
all files may drop tombstones, and readers pay for every one that stays.

Source: the behaviour of HBase's SortedCompactionPolicy and ExploringCompactionPolicy; the tombstone rule
is ours.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from hyperbase.common.config import StoreConfig
from hyperbase.common.errors import IllegalArgumentException
from regionserver.region.matcher import StorePolicy
from regionserver.storage.store_file_format import StoreFileInfo


@dataclass(frozen=True, slots=True)
class FileView:
    """What the policy knows of one StoreFile. Counts of a half file are estimates; they only guide."""

    name: str
    size_bytes: int
    sequence_id: int  # highest in the file
    cell_count: int = 0
    row_count: int = 0
    delete_count: int = 0  # markers of any kind
    family_marker_count: int = 0  # of them, those that mask a family of a row
    max_timestamp: int = 2**63 - 1  # ms
    reference: bool = False  # half of a parent's file: keeps the parent from going
    from_major: bool = False  # written by a compaction of all files
    created_ms: int = 0

    @classmethod
    def of(
        cls,
        name: str,
        info: StoreFileInfo,
        *,
        reference: bool = False,
        from_major: bool = False,
        created_ms: int = 0,
    ) -> FileView:
        """The view of a file by its trailer; half the counts for a half file."""
        parts = 2 if reference else 1
        return cls(
            name=name,
            size_bytes=info.file_bytes // parts,
            sequence_id=info.max_sequence_id,
            cell_count=info.cell_count // parts,
            row_count=info.row_count // parts,
            delete_count=info.delete_count // parts,
            family_marker_count=info.family_marker_count // parts,
            max_timestamp=info.max_timestamp,
            reference=reference,
            from_major=from_major,
            created_ms=created_ms,
        )


@dataclass(frozen=True, slots=True)
class CompactionConfig:
    """The knobs of one Store."""

    # Fewest and most files of one compaction. HBase hbase.hstore.compaction.min, .max.
    min_files: int = 3
    max_files: int = 10
    # A file joins when it is at most this times the sum of the others. HBase hbase.hstore.compaction.ratio.
    ratio: float = 1.2
    # Selections below this many bytes need not keep the ratio. HBase hbase.hstore.compaction.min.size.
    min_size_bytes: int = 128 * 1024 * 1024
    # Larger files stay out of minor compactions. HBase hbase.hstore.compaction.max.size.
    max_size_bytes: int = 2**63 - 1
    # From this many files on flushes wait, so what helps is taken. HBase hbase.hstore.blockingStoreFiles.
    blocking_files: int = 16
    # Seconds between major compactions, give or take half; 0 is never. HBase hbase.hregion.majorcompaction.
    major_interval_s: float = 604_800.0
    # Share of a Store's cells that are tombstones or masked, by estimate, at which all files are rewritten.
    # A quarter keeps a scan below 4/3 of its cost without them, and a deleted cell's share of rewriting
    # at 4 cells. HBase has no such rule.
    tombstone_share: float = 0.25
    # With fewer dead cells a rewrite gains no scan time worth it. HBase has no such rule.
    tombstone_min_cells: int = 1000

    @classmethod
    def of(cls, config: StoreConfig, configuration: Mapping[str, str] | None = None) -> CompactionConfig:
        """The store's settings, overridden by the CONFIGURATION of table and family.

        Raises:
            IllegalArgumentException: an override is not a number.
        """
        base = cls(
            min_files=config.compaction_min_files,
            max_files=config.compaction_max_files,
            ratio=config.compaction_ratio,
            min_size_bytes=config.compaction_min_size_bytes,
            blocking_files=config.blocking_store_files,
            major_interval_s=config.major_compaction_interval_s,
        )
        given = configuration or {}
        changes: dict[str, float] = {}
        for key, field, scale in _OVERRIDES:
            if key not in given:
                continue
            kind = float if field in ("ratio", "major_interval_s") else int
            try:
                changes[field] = kind(given[key]) / scale if scale != 1 else kind(given[key])
            except ValueError as error:
                raise IllegalArgumentException(f"{key} must be a number, not {given[key]!r}") from error
        return replace(base, **changes)  # type: ignore[arg-type]


_OVERRIDES = (
    ("hbase.hstore.compactionThreshold", "min_files", 1),  # the older name; the newer one wins
    ("hbase.hstore.compaction.min", "min_files", 1),
    ("hbase.hstore.compaction.max", "max_files", 1),
    ("hbase.hstore.compaction.ratio", "ratio", 1),
    ("hbase.hstore.compaction.min.size", "min_size_bytes", 1),
    ("hbase.hstore.compaction.max.size", "max_size_bytes", 1),
    ("hbase.hstore.blockingStoreFiles", "blocking_files", 1),
    ("hbase.hregion.majorcompaction", "major_interval_s", 1000),  # ms
)


@dataclass(frozen=True, slots=True)
class CompactionRequest:
    """Files to replace by one, oldest first. ``major``: they are all files, so tombstones may go."""

    files: tuple[FileView, ...]
    major: bool
    reason: str  # "ratio", "stuck", "references", "expired", "interval", "tombstones" or "requested"

    @property
    def size_bytes(self) -> int:
        """Bytes on disk to be read."""
        return sum(file.size_bytes for file in self.files)


def choose_files(
    files: Sequence[FileView],
    config: CompactionConfig,
    policy: StorePolicy | None = None,
    compacting: Collection[str] = (),
) -> CompactionRequest | None:
    """The next compaction of a Store, ``None`` when there is nothing to do.

    Asked again after every compaction until it says ``None``; it then stays ``None`` until files are
    added, time passes or open readers go on.

    Args:
        files: all files of the Store, in any order.
        policy: TTL, clock, KEEP_DELETED_CELLS and read point of the family; without it expired files and
            tombstones are not looked at.
        compacting: names of files that a running compaction reads. Only files newer than all of them
            are eligible.
    """
    ordered = sorted(files, key=lambda file: (file.sequence_id, file.name))
    eligible = _eligible(ordered, compacting)
    if not eligible:
        return None
    everything = len(eligible) == len(ordered)
    if policy is not None and (expired := _expired(eligible, policy)):
        return CompactionRequest(tuple(expired), len(expired) == len(ordered), "expired")
    if any(file.reference for file in eligible):
        chosen = eligible[: max(config.max_files, 2)]
        return CompactionRequest(tuple(chosen), len(chosen) == len(ordered), "references")
    if everything and policy is not None and _major_due(ordered, config, policy):
        return CompactionRequest(tuple(ordered), True, "interval")
    full_of_tombstones = everything and policy is not None and _tombstones_weigh(ordered, config, policy)
    if full_of_tombstones and len(ordered) <= config.max_files:
        return CompactionRequest(tuple(ordered), True, "tombstones")
    chosen, reason = _explore(eligible, config, stuck=_might_be_stuck(ordered, compacting, config))
    if chosen:
        return CompactionRequest(tuple(chosen), len(chosen) == len(ordered), reason)
    if full_of_tombstones:
        return CompactionRequest(tuple(ordered), True, "tombstones")
    return None


def choose_major(files: Sequence[FileView], compacting: Collection[str] = ()) -> CompactionRequest | None:
    """The compaction of all files that a user asked for; ``None`` while another runs or without files."""
    if not files or compacting:
        return None
    ordered = sorted(files, key=lambda file: (file.sequence_id, file.name))
    return CompactionRequest(tuple(ordered), True, "requested")


def _eligible(ordered: list[FileView], compacting: Collection[str]) -> list[FileView]:
    """Files newer than every file under compaction: the result of that one must keep its place."""
    newest = max((i for i, file in enumerate(ordered) if file.name in compacting), default=-1)
    return ordered[newest + 1 :]


def _expired(files: list[FileView], policy: StorePolicy) -> list[FileView]:
    """Files without an unexpired cell: they go without being read by anybody again."""
    if not policy.ttl_ms or policy.min_versions > 0:
        return []
    return [
        file
        for file in files
        if file.max_timestamp < policy.oldest_unexpired and file.sequence_id <= policy.read_point
    ]


def _major_due(files: list[FileView], config: CompactionConfig, policy: StorePolicy) -> bool:
    """The oldest file is older than the interval, and rewriting can change anything."""
    if config.major_interval_s <= 0:
        return False
    # Spread over half the interval either way, by file name: the answer stays the same until the next one.
    share = zlib.crc32(files[0].name.encode()) / 2**32
    interval_ms = config.major_interval_s * 1000 * (0.5 + share)
    oldest_ms = min(file.created_ms for file in files)
    if not oldest_ms or policy.now_ms - oldest_ms < interval_ms:
        return False
    only_one = len(files) == 1 and files[0].from_major
    return not only_one or 0 < policy.ttl_ms < policy.now_ms - oldest_ms


def _tombstones_weigh(files: list[FileView], config: CompactionConfig, policy: StorePolicy) -> bool:
    """Readers pay for many dead cells, and a compaction of all files would get rid of the markers.

    It would not while a reader is open at a state before the newest file, or when the family keeps
    deleted cells: asking then would repeat for ever.
    """
    if policy.keep_deleted != "FALSE" or any(file.sequence_id > policy.read_point for file in files):
        return False
    markers = sum(file.delete_count for file in files)
    if not markers:
        return False
    cells = sum(file.cell_count for file in files)
    family_markers = sum(file.family_marker_count for file in files)
    masked = (markers - family_markers) + family_markers * _puts_of_a_row(files)
    dead = markers + min(masked, cells - markers)
    return dead >= config.tombstone_min_cells and dead >= config.tombstone_share * cells


def _puts_of_a_row(files: list[FileView]) -> float:
    """Puts in a row of this family, on average over the files that mostly hold puts."""
    mostly_puts = [file for file in files if file.cell_count > 2 * file.delete_count and file.row_count]
    rows = sum(file.row_count for file in mostly_puts)
    return sum(file.cell_count - file.delete_count for file in mostly_puts) / rows if rows else 0.0


def _might_be_stuck(ordered: list[FileView], compacting: Collection[str], config: CompactionConfig) -> bool:
    """Flushes wait, or soon will: count what will be left once the running compaction ends."""
    after = len(ordered) - len(compacting) + (1 if compacting else 0)
    return after >= config.blocking_files


def _explore(
    eligible: list[FileView], config: CompactionConfig, *, stuck: bool
) -> tuple[list[FileView], str]:
    """The best run of neighbours: most files, then fewest bytes; when stuck, most files a byte."""
    best: list[FileView] = []
    best_size = 0
    smallest: list[FileView] = []
    smallest_size = 0
    for run in _runs(_without_large(eligible, config), config):
        size = sum(file.size_bytes for file in run)
        if size > config.max_size_bytes:
            continue
        if stuck and (not smallest or size < smallest_size):
            smallest, smallest_size = run, size
        if size >= config.min_size_bytes and not _in_ratio(run, config.ratio):
            continue
        if _better(run, size, best, best_size, stuck):
            best, best_size = run, size
    if best:
        return best, "ratio"
    return smallest, "stuck"


def _without_large(files: list[FileView], config: CompactionConfig) -> list[FileView]:
    """Leave out the oldest files as long as one is too large."""
    large = [i for i, file in enumerate(files) if file.size_bytes > config.max_size_bytes]
    return files[large[-1] + 1 :] if large else files


def _runs(files: list[FileView], config: CompactionConfig) -> Iterator[list[FileView]]:
    for start in range(len(files)):
        for end in range(start + config.min_files, min(len(files), start + config.max_files) + 1):
            yield files[start:end]


def _in_ratio(run: list[FileView], ratio: float) -> bool:
    """No file is larger than ``ratio`` times all others together."""
    total = sum(file.size_bytes for file in run)
    return all(file.size_bytes <= (total - file.size_bytes) * ratio for file in run)


def _better(run: list[FileView], size: int, best: list[FileView], best_size: int, stuck: bool) -> bool:
    if stuck and best_size > 0 and size > 0:
        return len(run) * best_size > len(best) * size
    return len(run) > len(best) or (len(run) == len(best) and size < best_size)
