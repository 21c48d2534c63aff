"""Compacting the Stores of an open region: choose, merge, commit through the manifest.

The merge runs in a worker process when it is large and the store is a local directory, else in this
thread. A crash before the manifest leaves an unnamed file, after it released inputs: the janitor's work.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hyperbase.common.errors import (
    CompactionCancelledException,
    HBaseIOException,
    LeaseSuspendedException,
)
from regionserver.region.compaction import CompactionInput, CompactionJob, run_compaction
from regionserver.region.compaction_policy import (
    CompactionConfig,
    CompactionRequest,
    FileView,
    choose_files,
    choose_major,
)
from regionserver.region.compaction_worker import compact_in_worker
from regionserver.region.flush import discard_output, new_file_path
from regionserver.region.manifest import FileEntry, commit_manifest, next_manifest, released_files
from regionserver.region.region import Region
from regionserver.region.view import RegionView
from regionserver.storage.store_file import StoreFileInfo, StoreFileReader

if TYPE_CHECKING:
    from regionserver.region.engine import Engine

logger = logging.getLogger(__name__)


def compact_region(region: Region, engine: Engine, *, major: bool = False) -> bool:
    """Compact each Store that wants it once (``major``: all of each); False when none did."""
    if not major and not region.descriptor.compaction_enabled:
        return False
    with region.compacting:
        done = False
        for family in region.descriptor.family_names:
            request = choose_major(_file_views(region, family)) if major else _choose(region, family)
            if request is not None and not region.closed:
                _compact_store(region, engine, family, request)
                done = True
        return done


def _file_views(region: Region, family: bytes) -> list[FileView]:
    with region.maintenance:
        entries = region.manifest.stores.get(family, ())
        readers = region.view.files.get(family, ())
    return [
        replace(
            FileView.of(
                f"{entry.path}|{entry.start.hex()}",
                reader.info,
                reference=entry.reference,
                from_major=entry.major,
                created_ms=entry.created_ms,
            ),
            sequence_id=entry.sequence_id,  # the file's own may be lower: its newest cells may have gone
        )
        for entry, reader in zip(entries, readers, strict=False)
    ]


def _choose(region: Region, family: bytes) -> CompactionRequest | None:
    schema = region.descriptor.family(family)
    configuration = {**region.descriptor.configuration, **schema.configuration}
    config = CompactionConfig.of(region.services.config, configuration)
    return choose_files(_file_views(region, family), config, region.policy(family, major=False))


def _compact_store(region: Region, engine: Engine, family: bytes, request: CompactionRequest) -> None:
    started = time.monotonic()
    region.services.check_owner()
    chosen = {file.name for file in request.files}
    entries = [
        entry for entry in region.manifest.stores[family] if f"{entry.path}|{entry.start.hex()}" in chosen
    ]
    schema = region.descriptor.family(family)
    compression = schema.storage_compression
    if compression == "ZSTD" and not request.major:
        compression = "LZ4"
    job = CompactionJob(
        root=engine.root or "",
        inputs=tuple(CompactionInput(entry.path, entry.start, entry.stop) for entry in reversed(entries)),
        output=new_file_path(region, family),
        family=family,
        policy=region.policy(family, major=request.major),
        block_size=schema.block_size,
        compression=compression,
        bloom=schema.storage_bloom,
        throttle_bytes_per_s=engine.config.compaction_throughput_bytes_per_s,
    )
    size = sum(entry.size_bytes for entry in entries)
    try:
        if engine.root is not None and size >= engine.config.compaction_worker_threshold_bytes:
            info = compact_in_worker(job, cancelled=lambda: region.closed or engine.closed)
        else:
            info = run_compaction(job, engine.fs, cancelled=lambda: region.closed or engine.closed)
        _commit(region, family, entries, job.output, info, request.major)
    except HBaseIOException:
        raise
    except OSError as error:
        raise HBaseIOException(
            error.errno or errno.EIO,
            f"compaction of region {region.name} failed: {error.strerror or error}. Its files are as they "
            "were; make space or mend the disk, then compact again",
        ) from error
    took_ms = round((time.monotonic() - started) * 1000)
    cells = info.cell_count if info else 0
    engine.count(
        "majorCompaction" if request.major else "compaction", cells=cells, size_bytes=size, took_ms=took_ms
    )
    logger.info(
        "compacted store=%s/%s files=%d reason=%s cells=%d took_ms=%d",
        region.name,
        family.decode("utf-8", "backslashreplace"),
        len(entries),
        request.reason,
        cells,
        took_ms,
    )


def _commit(
    region: Region,
    family: bytes,
    inputs: Sequence[FileEntry],
    path: str,
    info: StoreFileInfo | None,
    major: bool,
) -> None:
    services = region.services
    with region.maintenance:
        before = region.manifest
        gone = set(inputs)
        if region.closed or not gone <= set(before.stores.get(family, ())):
            discard_output(region, path)
            raise CompactionCancelledException(
                f"region {region.name} changed while {path} was written: not used"
            )
        kept = [entry for entry in before.stores[family] if entry not in gone]
        readers = dict(zip(before.stores[family], region.view.files[family], strict=True))
        if info is not None:
            entry = FileEntry(
                path=path,
                major=major,
                sequence_id=max(entry.sequence_id for entry in inputs),
                size_bytes=info.file_bytes,
                created_ms=region.clock(),
            )
            readers[entry] = StoreFileReader(services.fs, path, cache=services.cache)
            kept = sorted([*kept, entry], key=lambda e: -e.sequence_id)
        released = tuple(entry.path for entry in inputs if not entry.reference)
        manifest = next_manifest(
            before,
            stores={**before.stores, family: tuple(kept)},
            released=(*released_files(region), *released),
            next_file=region.next_file,
        )
        try:
            commit_manifest(region, manifest)
        except LeaseSuspendedException:
            discard_output(region, path)
            raise
        with region.lock:
            view = region.view
            files = {**view.files, family: tuple(readers[entry] for entry in kept)}
            region.view = RegionView(view.active, view.flushing, files, view.descriptor, view.shapes)
    region.release_scanners()
