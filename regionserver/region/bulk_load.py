"""Bulk load: sorted cells become StoreFiles of an open region, attached by one manifest.

Steps, and what a crash after each leaves:

1. One sequence id and, where cells have none, a timestamp are taken, under the region's lock.    Nothing.
2. A StoreFile per family is written, synced and named.    Files that no manifest names: the janitor's work.
3. The log is synced up to step 1: what is older than the load is visible before it.    As 2.
4. The next manifest is created: this commits the load, all families at once.    The load is there.
5. The view takes the files, the read point their sequence id.

The load is not in the log and leaves ``flushed_sequence_id`` alone: edits in the MemStore, older or newer,
keep their own sequence ids, and every cell says which of two writes of one timestamp was the later.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import pyarrow as pa

from hyperbase.common.errors import (
    LeaseSuspendedException,
    NotServingRegionException,
    ReadOnlyException,
)
from regionserver.region.flush import discard_output, new_file_path
from regionserver.region.manifest import FileEntry, commit_manifest, next_manifest, released_files
from regionserver.region.markers import BULK, note_event
from regionserver.region.region import Region
from regionserver.region.view import RegionView
from regionserver.storage.store_file import StoreFileInfo, StoreFileReader, StoreFileWriter

logger = logging.getLogger(__name__)

# (timestamp for cells without one, sequence id) → batches of StoreFile columns in store order
CellSource = Callable[[int, int], Iterable[pa.RecordBatch]]

Written = list[tuple[bytes, str, StoreFileInfo]]
_SUSPENDED_PAUSE_S = 0.1


def bulk_load(region: Region, rows: Sequence[bytes], sources: Mapping[bytes, CellSource]) -> int:
    """Write and attach a StoreFile for every family of ``sources`` that has cells; returns the cells.

    Args:
        rows: the row keys, ascending, all of this region.
        sources: the cells of each family.

    Raises:
        NotServingRegionException: the region closed meanwhile. Nothing was loaded.
        WrongRowIOException: rows of another region. OSError: the disk failed or is full. Nothing was loaded.
        LeaseSuspendedException: the server stopped before it was the owner again. Nothing was loaded.
    """
    wal = region.services.wal
    if wal is None:
        raise ReadOnlyException("the store was opened read-only")
    started = time.monotonic()
    region.services.admit(region)
    keys = [(row, 0, (), None, 0) for row in rows]  # as ``stamp`` takes rows
    with region.lock:
        region.check_rows((rows[0], rows[-1]))
        stamp = region.stamp(keys)
        sequence_id = region.next_sequence_id
        region.next_sequence_id += 1
        position = wal.appended_position
    del keys
    paths: list[str] = []
    try:
        written = [
            done
            for family, source in sources.items()
            if (done := _write(region, family, source(stamp, sequence_id), paths)) is not None
        ]
        wal.sync(position)
        if written:
            _attach_as_owner(region, written, sequence_id, stamp, paths)
    except BaseException as error:
        for path in paths:
            discard_output(region, path)
        if region.closed and isinstance(error, FileNotFoundError):  # its directory may be gone already
            raise NotServingRegionException(f"region {region.name} closed during a bulk load") from error
        raise
    region.release_scanners()
    note_event(region, BULK, loaded=sequence_id, files=[path for _, path, _ in written])
    for observer in region.services.observers:
        observer.bulk_loaded(region, sequence_id, len(rows))
    cells = sum(info.cell_count for _, _, info in written)
    size = sum(info.file_bytes for _, _, info in written)
    took_ms = round((time.monotonic() - started) * 1000)
    region.services.count("bulkLoad", cells=cells, size_bytes=size, took_ms=took_ms)
    logger.info("bulk loaded region=%s cells=%d size_bytes=%d took_ms=%d", region.name, cells, size, took_ms)
    return cells


def _write(
    region: Region, family: bytes, batches: Iterable[pa.RecordBatch], paths: list[str]
) -> tuple[bytes, str, StoreFileInfo] | None:
    writer: StoreFileWriter | None = None
    schema = region.descriptor.family(family)
    try:
        for batch in batches:
            if writer is None:
                paths.append(new_file_path(region, family))
                writer = StoreFileWriter(
                    region.services.fs,
                    paths[-1],
                    family=family,
                    block_size=schema.block_size,
                    compression="LZ4" if schema.storage_compression != "NONE" else "NONE",
                    bloom=schema.storage_bloom,
                )
            writer.append(batch)
        return None if writer is None else (family, paths[-1], writer.finish())
    except BaseException:
        if writer is not None:
            writer.abort()
        raise


def _attach_as_owner(
    region: Region, written: Written, sequence_id: int, stamp: int, unnamed: list[str]
) -> None:
    """As ``_attach``; while the server cannot prove that it is the owner, whoever loads waits."""
    while True:
        try:
            return _attach(region, written, sequence_id, stamp, unnamed)
        except LeaseSuspendedException:
            if region.services.closed:
                raise
        time.sleep(_SUSPENDED_PAUSE_S)


def _attach(region: Region, written: Written, sequence_id: int, stamp: int, unnamed: list[str]) -> None:
    """Commit the load. ``unnamed`` is emptied when a manifest may name the files."""
    services = region.services
    with region.maintenance:
        added = {
            family: FileEntry(
                path=path,
                bulk=True,
                sequence_id=sequence_id,
                size_bytes=info.file_bytes,
                created_ms=region.clock(),
            )
            for family, path, info in written
        }
        opened = {
            family: StoreFileReader(services.fs, entry.path, cache=services.cache)
            for family, entry in added.items()
        }
        # Under the lock as well: who closes the region finds either all of the load or nothing.
        with region.lock:
            if region.closed:
                raise NotServingRegionException(f"region {region.name} closed during a bulk load")
            if not added.keys() <= set(region.descriptor.family_names):
                raise NotServingRegionException(f"region {region.name} changed during a bulk load")
            before, view = region.manifest, region.view
            stores, files = dict(before.stores), dict(view.files)
            for family, entry in added.items():
                entries = list(before.stores.get(family, ()))
                # Newest first: a flush may have written younger edits meanwhile.
                place = sum(other.sequence_id > sequence_id for other in entries)
                readers = list(view.files.get(family, ()))
                entries.insert(place, entry)
                readers.insert(place, opened[family])
                stores[family], files[family] = tuple(entries), tuple(readers)
            manifest = next_manifest(
                before,
                stores=stores,
                released=released_files(region),
                highest_stamp=max(before.highest_stamp, stamp),
                next_file=region.next_file,
            )
            services.check_owner()
            unnamed.clear()
            commit_manifest(region, manifest)
            region.view = RegionView(view.active, view.flushing, files, view.descriptor, view.shapes)
            # Everything older has been synced and shown by now.
            region.read_points.current = max(region.read_points.current, sequence_id)
