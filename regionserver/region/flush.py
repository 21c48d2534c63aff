"""Flush: a region's MemStore becomes one StoreFile per family, while reads and writes go on.

Steps, and what a crash after each leaves:

1. The active MemStore is frozen and a new one takes writes.    The log still holds everything.
2. The log is synced up to the freeze, so that a file never holds what was not acknowledged.    As 1.
3. Files are written, synced and named.    Files that no manifest names: the janitor deletes them.
4. The next manifest is created: this commits the flush.    Replay passes over what is in the files.
5. The view takes the files and drops the frozen MemStore; logs may be archived.

A flush that fails keeps the frozen MemStore; the next one writes the same MemStore first.

The loop runs in slices of rows, because a thread that computes for long would hold up the readers.
"""

from __future__ import annotations

# pyarrow loads pandas at its first conversion, which needs this; after the main thread's end it is too late.
import concurrent.futures.thread  # noqa: F401
import errno
import logging
import time
from collections.abc import Callable, Sequence
from itertools import islice

import pyarrow as pa

from hyperbase.common.errors import HBaseIOException, LeaseSuspendedException
from hyperbase.common.names import family_directory
from regionserver.region.manifest import FileEntry, commit_manifest, next_manifest, released_files
from regionserver.region.markers import FLUSH, note_event
from regionserver.region.matcher import StorePolicy, compact_row
from regionserver.region.region import Region
from regionserver.region.row_batches import RowEdits, row_batches
from regionserver.region.view import RegionView
from regionserver.storage.cells import StoreCell
from regionserver.storage.edits import Edit, Shape
from regionserver.storage.memstore import MemStore
from regionserver.storage.store_file import StoreFileInfo, StoreFileReader, StoreFileWriter

logger = logging.getLogger(__name__)

SLICE_ROWS = 450  # about 1 ms of work
SLICE_ROWS_WHILE_READING = 45  # what a reader may have to wait for the interpreter lock


def flush_region(region: Region, pause: Callable[[], bool] = lambda: False) -> bool:
    """Flush what the region holds in memory; False when there was nothing.

    ``pause`` is called between slices, may sleep, and says whether somebody reads: then slices are short.

    Raises:
        HBaseIOException: a file could not be written (``errno`` says why, such as ENOSPC). Nothing is lost;
            the next flush tries again.
        StoreFailedException: the log cannot be synced, so nothing may be flushed.
        LeaseSuspendedException: the server may be the owner no more; the next flush tries again.
    """
    with region.flushing:
        flushed = False
        if region.view.flushing is not None:
            _write_or_explain(region, pause)
            flushed = True
        if _freeze(region):
            _write_or_explain(region, pause)
            flushed = True
        return flushed


def _write_or_explain(region: Region, pause: Callable[[], bool]) -> None:
    try:
        _write_frozen(region, pause)
    except HBaseIOException:
        raise
    except OSError as error:
        raise HBaseIOException(
            error.errno or errno.EIO,
            f"flush of region {region.name} failed: {error.strerror or error}. Its edits are safe in memory "
            "and in the log; make space or mend the disk, then flush again",
        ) from error


def _freeze(region: Region) -> bool:
    with region.lock:
        view = region.view
        if not view.active.rows:
            return False
        region.frozen_sequence_id = region.next_sequence_id - 1
        region.frozen_stamp = region.last_stamp
        region.frozen_nonces = region.nonces.export(region.clock())
        fresh = MemStore(view.active.consolidate)
        region.view = RegionView(fresh, view.active, view.files, view.descriptor, view.shapes)
    return True


def _write_frozen(region: Region, pause: Callable[[], bool]) -> None:
    started = time.monotonic()
    view, wal = region.view, region.services.wal
    memstore = view.flushing
    assert memstore is not None
    assert wal is not None
    region.services.check_owner()
    wal.sync(wal.appended_position)
    with region.lock:  # edits that are not logged count as committed by their flush
        region.read_points.current = max(region.read_points.current, region.frozen_sequence_id)
    written = _write_files(region, memstore, pause)
    sequence_id = region.frozen_sequence_id
    with region.maintenance:
        entries = {
            family: FileEntry(
                path=path,
                sequence_id=sequence_id,
                size_bytes=info.file_bytes,
                created_ms=region.clock(),
            )
            for family, path, info in written
        }
        readers = {
            family: StoreFileReader(region.services.fs, entry.path, cache=region.services.cache)
            for family, entry in entries.items()
        }
        stores = {
            family: ((entries[family],) if family in entries else ()) + region.manifest.stores.get(family, ())
            for family in region.descriptor.family_names
        }
        manifest = next_manifest(
            region.manifest,
            stores=stores,
            flushed_sequence_id=sequence_id,
            released=released_files(region),
            highest_stamp=region.frozen_stamp,
            nonces=region.frozen_nonces,
            next_file=region.next_file,
        )
        try:
            commit_manifest(region, manifest)
        except LeaseSuspendedException:
            for _, path, _ in written:
                discard_output(region, path)
            raise
        with region.lock:
            now = region.view
            files = {
                family: ((readers[family],) if family in readers else ()) + now.files.get(family, ())
                for family in region.descriptor.family_names
            }
            region.view = RegionView(now.active, None, files, now.descriptor, now.shapes)
    region.release_scanners()
    region.services.memory_changed(region, -memstore.size_bytes)
    note_event(region, FLUSH, flushed=sequence_id, files=[path for _, path, _ in written])
    cells = sum(info.cell_count for _, _, info in written)
    size = sum(info.file_bytes for _, _, info in written)
    took_ms = round((time.monotonic() - started) * 1000)
    region.services.count("flush", cells=cells, size_bytes=size, took_ms=took_ms)
    logger.info("flushed region=%s cells=%d size_bytes=%d took_ms=%d", region.name, cells, size, took_ms)


def _write_files(
    region: Region, memstore: MemStore, pause: Callable[[], bool]
) -> list[tuple[bytes, str, StoreFileInfo]]:
    shapes = region.view.shapes.shapes
    outputs = [_FamilyOutput(region, family) for family in region.descriptor.family_names]
    try:
        rows = iter(memstore)
        reading = pause()
        while piece := list(islice(rows, SLICE_ROWS_WHILE_READING if reading else SLICE_ROWS)):
            for output in outputs:
                output.add(piece, shapes)
            reading = pause()
        written = []
        for output in outputs:
            info = output.finish()
            if info is not None:
                written.append((output.family, output.path, info))
        return written
    except BaseException:
        for output in outputs:
            output.abort()
        # The families that were finished: a disk that is full must not fill up further with every attempt.
        for output in outputs:
            discard_output(region, output.path)
        raise


def discard_output(region: Region, path: str) -> None:
    """Delete a file that no manifest has ever named; what cannot be deleted is left to the janitor."""
    if path:
        try:
            region.services.fs.delete(path)
        except OSError as error:
            logger.warning("left behind path=%s error=%s", path, error)


def new_file_path(region: Region, family: bytes) -> str:
    """A name that no file of the region has had: it carries the epoch."""
    with region.maintenance:
        number = region.next_file
        region.next_file += 1
    return f"{region.directory}/{family_directory(family)}/{region.manifest.epoch:010d}-{number:010d}.arrow"


class _FamilyOutput:
    """One family's file in the making; created with the first cell."""

    def __init__(self, region: Region, family: bytes) -> None:
        self.family = family
        self.path = ""
        self._region = region
        self._policy: StorePolicy = region.policy(family, major=False)
        self._writer: StoreFileWriter | None = None
        self._oldest = self._policy.oldest_unexpired
        self._simple = not self._policy.new_version_behavior

    def add(self, rows: Sequence[RowEdits], shapes: Sequence[Shape]) -> None:
        """Write the family's cells of consecutive rows, runs of one shape in bulk."""
        for batch in row_batches(rows, shapes, self.family, self._keep, self._is_regular):
            self._write(batch)

    def _keep(self, cells: list[StoreCell]) -> list[StoreCell]:
        return compact_row(cells, self._policy)

    def _is_regular(self, edit: Edit) -> bool:
        return self._simple and edit[1] >= self._oldest

    def _write(self, batch: pa.RecordBatch) -> None:
        if self._writer is None:
            self.path = new_file_path(self._region, self.family)
            schema = self._region.descriptor.family(self.family)
            self._writer = StoreFileWriter(
                self._region.services.fs,
                self.path,
                family=self.family,
                block_size=schema.block_size,
                compression="LZ4" if schema.storage_compression != "NONE" else "NONE",
                bloom=schema.storage_bloom,
            )
        self._writer.append(batch)

    def finish(self) -> StoreFileInfo | None:
        return None if self._writer is None else self._writer.finish()

    def abort(self) -> None:
        if self._writer is not None:
            self._writer.abort()
