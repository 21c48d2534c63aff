"""A region: one row range of one table, its MemStore, its files, its order of edits.

Write path, under ``lock``: check, stamp, append to the log, insert into the MemStore (not yet visible);
then, without the lock, wait for the log's group sync; the log publishes commits in log order, which moves
the read point, and the caller is answered. Read-modify-write operations read the newest edits, synced or
not, under the same lock, so a hot counter does not wait for a sync per step.

Flush, compaction, split and merge stand in their own modules and change ``view`` in one assignment.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any, Protocol

from hyperbase.common.config import StoreConfig
from hyperbase.common.descriptors import TableDescriptor
from hyperbase.common.errors import (
    CorruptHFileException,
    HBaseIOException,
    NotServingRegionException,
    ReadOnlyException,
    RowTooBigException,
    WrongRowIOException,
)
from hyperbase.common.model import Durability, Get, Result, Scan
from hyperbase.common.region_info import RegionInfo
from regionserver.region.commit import Commit
from regionserver.region.lowering import Lowering, RawCell, has_markers, stamp_cells
from regionserver.region.manifest import (
    FileEntry,
    Manifest,
    ManifestStore,
    commit_manifest,
    next_manifest,
)
from regionserver.region.markers import OPEN, note_event
from regionserver.region.matcher import StorePolicy, compact_row
from regionserver.region.mvcc import ReadPoints
from regionserver.region.nonces import Nonce, Nonces
from regionserver.region.observers import RegionObserver
from regionserver.region.reads import ReadPlan, newest_regular, now_ms, read_row, row_spans
from regionserver.region.scanner import CHUNK_ROWS, NO_LIMIT, RegionScanner, ScanRange
from regionserver.region.view import RegionView
from regionserver.storage.block_cache import BlockCache
from regionserver.storage.cells import PUT, StoreCell
from regionserver.storage.edits import (
    GENERAL,
    DecodedPayload,
    Edit,
    EditCell,
    LoweredRow,
    ShapeTable,
    edit_cells,
    encode_payload,
    general_size,
    regular_size,
    split_name,
)
from regionserver.storage.filesystem import FileSystem
from regionserver.storage.memstore import MemStore
from regionserver.storage.store_file import BlockNotCachedError, StoreFileReader
from regionserver.storage.wal import EDIT, WriteAheadLog

logger = logging.getLogger(__name__)

_NEWEST = ReadPoints(2**63 - 1)  # read-modify-write: every edit, synced or not
_STAMP_WAIT_S = 0.0002
_MANY_CELLS = 64  # rows of fewer are not measured: one value is at most 10 MiB
_shape_of = itemgetter(1)


class RegionServices(Protocol):
    """What a region needs from the engine that owns it."""

    fs: FileSystem
    wal: WriteAheadLog | None  # None: read-only
    cache: BlockCache
    config: StoreConfig
    deletes_files: bool  # False: somebody else deletes what manifests list as released
    check_owner: Callable[[], None]  # raises while nothing may be committed
    closed: bool

    @property
    def observers(self) -> Sequence[RegionObserver]:
        """Called before and after every mutation."""

    def admit(self, region: Region) -> None:
        """Back-pressure: wait, or raise RegionTooBusyException."""

    def would_wait(self, region: Region) -> bool:
        """``admit`` would wait for memory."""

    def memory_changed(self, region: Region, delta_bytes: int) -> None:
        """A MemStore grew or was flushed."""

    def count(self, event: str, *, cells: int, size_bytes: int, took_ms: int) -> None:
        """Note a flush or compaction for the metrics."""


class Region:
    """See the module. Thread-safe."""

    def __init__(
        self,
        info: RegionInfo,
        descriptor: TableDescriptor,
        services: RegionServices,
        directory: str,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self.info = info
        self.name = info.region_name.decode("utf-8", "backslashreplace")
        self.id16 = info.id16
        self.services = services
        self.directory = directory
        self.clock = clock
        self.manifests = ManifestStore(services.fs, directory)
        self.manifest = Manifest()
        self.lock = threading.Lock()
        self.maintenance = threading.RLock()  # manifest and files change under it
        self.flushing = threading.Lock()  # one flush at a time
        self.compacting = threading.Lock()  # one compaction at a time
        self.next_file = 1
        self.frozen_sequence_id = 0  # of the MemStore being flushed: its highest id, stamp and nonces
        self.frozen_stamp = 0
        self.frozen_nonces: dict[bytes, Any] = {}
        self.closed = False
        self.read_points = ReadPoints(0)
        self.next_sequence_id = 1
        self.last_stamp = 0
        self.nonces = Nonces()
        self._tombstoned: set[bytes] = set()  # rows with a marker stamped exactly last_stamp
        self.reads = 0
        self.writes = 0
        self.memstore_since = 0.0  # monotonic time of the oldest edit in memory
        self._scanners: weakref.WeakSet[HeldScanner] = weakref.WeakSet()
        self.view = RegionView(MemStore(), None, {}, descriptor, ShapeTable())
        self.set_descriptor(descriptor)

    # -- schema ------------------------------------------------------------------------------

    @property
    def descriptor(self) -> TableDescriptor:
        return self.view.descriptor

    def set_descriptor(self, descriptor: TableDescriptor) -> None:
        """Take a new schema; files of dropped families leave the view."""
        with self.lock:
            view = self.view
            files = {family: view.files.get(family, ()) for family in descriptor.family_names}
            view.active.consolidate = self._consolidate
            self.lowering = Lowering(descriptor, view.shapes, self.services.config.max_key_value_bytes)
            view.shapes.by_given.clear()  # it vouches for families too
            self.view = RegionView(view.active, view.flushing, files, descriptor, view.shapes)
            self.latest_plan = ReadPlan(Get(b"\0"), descriptor, self.name)
            self.flush_size_bytes = min(
                descriptor.memstore_flush_size or self.services.config.memstore_flush_size_bytes,
                self.services.config.memstore_limit_bytes,
            )

    def policy(self, family: bytes, *, major: bool, earliest_put_timestamp: int = 0) -> StorePolicy:
        """What a flush or compaction that starts now may drop of a family."""
        schema = self.descriptor.family(family)
        forever = schema.time_to_live >= 2**31 - 1
        return StorePolicy(
            max_versions=schema.max_versions,
            min_versions=schema.min_versions,
            ttl_ms=0 if forever else schema.time_to_live * 1000,
            keep_deleted=schema.keep_deleted_cells,
            new_version_behavior=schema.new_version_behavior,
            now_ms=self.clock(),
            read_point=self.read_points.smallest(),
            major=major,
            earliest_put_timestamp=earliest_put_timestamp,
        )

    # -- opening -----------------------------------------------------------------------------

    def load(self, *, claim: bool) -> None:
        """Take the newest manifest and open its files; ``claim`` the next epoch first (not read-only)."""
        if claim:
            epoch, manifest = self.manifests.claim()
        else:
            manifest = self.manifests.newest()
            epoch = manifest.epoch if manifest else 0
        manifest = manifest or Manifest()
        fs, cache = self.services.fs, self.services.cache
        files = {
            family: tuple(self._open_file(fs, cache, entry) for entry in manifest.stores.get(family, ()))
            for family in self.descriptor.family_names
        }
        # A family dropped and added again begins empty: its old files are forgotten at the first opening
        # without it.
        stores = {family: manifest.stores.get(family, ()) for family in self.descriptor.family_names}
        self.manifest = replace(
            manifest,
            epoch=epoch,
            number=0,
            stores=stores,
            open_sequence_id=manifest.flushed_sequence_id + 1,
            region=self.info,
        )
        self.next_file = manifest.next_file
        # A bulk load's id is in no log: its files alone know of it.
        in_files = max((entry.sequence_id for entry in manifest.files()), default=0)
        self.next_sequence_id = max(manifest.flushed_sequence_id, in_files) + 1
        self.last_stamp = manifest.highest_stamp
        self.nonces.load(dict(manifest.nonces), self.clock())
        view = self.view
        self.view = RegionView(view.active, None, files, view.descriptor, view.shapes)

    def take_over(self, closed: Region) -> None:
        """Go on where ``closed``, this region flushed and closed, stopped. Dropped families leave."""
        view, families = closed.view, self.descriptor.family_names
        if view.active.rows or view.flushing is not None:
            raise HBaseIOException(f"region {self.name} was closed with edits that are in no file")
        stores = {family: closed.manifest.stores.get(family, ()) for family in families}
        self.manifests = closed.manifests
        self.manifest = replace(closed.manifest, stores=stores)
        self.next_file = closed.next_file
        self.next_sequence_id = closed.next_sequence_id
        self.last_stamp = closed.last_stamp + 1  # as in ``go_online``
        self.read_points.current = closed.next_sequence_id - 1
        self.nonces = closed.nonces
        files = {family: view.files.get(family, ()) for family in families}
        self.view = RegionView(self.view.active, None, files, self.descriptor, self.view.shapes)

    def _open_file(self, fs: FileSystem, cache: BlockCache, entry: FileEntry) -> StoreFileReader:
        try:
            return StoreFileReader(fs, entry.path, cache=cache, start_row=entry.start, stop_row=entry.stop)
        except FileNotFoundError:
            raise CorruptHFileException(
                f"{entry.path} is missing: the manifest of region {self.name} names it. Restore it from a "
                "backup; hyperbase check lists what else is damaged"
            ) from None

    def go_online(self, *, persist: bool) -> None:
        """After the replay: everything recovered is visible; record the opening, then serve.

        Raises:
            LeaseSuspendedException, LeaseLostException: the opening must not be recorded.
        """
        self.last_stamp += 1  # tombstones of the last stamp are not remembered: never use it again
        self.read_points.current = self.next_sequence_id - 1
        self.manifest = replace(self.manifest, open_sequence_id=self.next_sequence_id)
        if persist:
            # Flushed already while its log was replayed: then the epoch's first manifest is there.
            first = self.manifests.written is None
            commit_manifest(self, self.manifest if first else next_manifest(self.manifest))
            note_event(self, OPEN, epoch=self.manifest.epoch)

    # -- writing -----------------------------------------------------------------------------

    def check_rows(self, rows: Sequence[bytes]) -> None:
        """The region is open and has these rows. The lock is held."""
        self._check_open()
        for row in rows:
            self.check_range(row)

    def check_range(self, row: bytes) -> None:
        """The row is of this region.

        Raises:
            WrongRowIOException
        """
        if not self.info.contains(row):
            raise WrongRowIOException(f"Requested row {row!r} is out of range of region {self.name}")

    def _check_open(self) -> None:
        if self.closed:
            raise NotServingRegionException(f"region {self.name} is closed: locate the row again and retry")

    def submit_rows(
        self,
        rows: Sequence[LoweredRow],
        durability: Durability,
        nonce: Nonce | None = None,
        also: Sequence[int] = (),
    ) -> Commit:
        """Write lowered rows, in order, as one group with one sync. Returns at once.

        What the nonce (with a number for each row: each row's) says was applied before is not applied again,
        nor are any of the rows if one of the client's numbers ``also`` was: they are a part of that mutation.
        """
        services = self.services
        if services.wal is None:
            raise ReadOnlyException("the store was opened read-only")
        services.admit(self)
        with self.lock:
            self._check_open()
            now = self.stamp(rows)  # may let go of the lock for a moment: what has to hold is checked after
            if nonce is not None:
                if any(self.nonces.seen(nonce[0], number)[0] for number in also):
                    return self.answered(None)
                if isinstance(nonce[1], tuple):
                    nonce, rows = self.nonces.unseen(nonce, rows)
                    if not rows:
                        return self.answered(None)
                else:
                    known, answer = self.nonces.seen(nonce[0], nonce[1])
                    if known:
                        return self.answered(answer)
            return self.append(rows, now, durability, nonce)

    def would_wait(self, rows: Sequence[bytes]) -> bool:
        """A write to these rows waits for memory, or up to a millisecond for the next stamp."""
        if self.services.would_wait(self):
            return True
        marked = self._tombstoned
        return bool(marked) and self.clock() <= self.last_stamp and not marked.isdisjoint(rows)

    def answered(self, answer: Any) -> Commit:
        """A commit for a mutation applied before: done once everything up to now is durable."""
        commit = Commit(self, self.next_sequence_id - 1, answer)
        assert self.services.wal is not None
        commit.position = self.services.wal.appended_position
        commit.logged = False
        return commit

    def _advance_stamp(self) -> int:
        now = self.clock()
        if now > self.last_stamp:
            self.last_stamp = now
            if self._tombstoned:
                self._tombstoned.clear()
        return self.last_stamp

    def stamp(self, rows: Sequence[LoweredRow]) -> int:
        """The timestamp for these rows: never one that a tombstone of theirs already has."""
        while True:
            now = self._advance_stamp()
            if not self._tombstoned or not any(row[0] in self._tombstoned for row in rows):
                return now
            if self.clock() < now:  # the clock was set back: do not wait for it
                self.last_stamp = now + 1
                self._tombstoned.clear()
                return now + 1
            self.lock.release()
            time.sleep(_STAMP_WAIT_S)
            self.lock.acquire()
            self._check_open()

    def append(
        self,
        rows: Sequence[LoweredRow],
        now: int,
        durability: Durability,
        nonce: Nonce | None = None,
        result: Any = None,
        answer: Any = None,
    ) -> Commit:
        """Give rows their stamps and ids, log them, insert them. The lock is held."""
        services, first = self.services, self.next_sequence_id
        wal = services.wal
        assert wal is not None
        observers = services.observers
        if observers:
            rows = self._observe_before(rows, observers)
        rows = self._finish_rows(rows, now, first)
        if durability is Durability.USE_DEFAULT:
            durability = self.descriptor.durability
        last = first + len(rows) - 1
        commit = Commit(self, last, result)
        if durability is Durability.SKIP_WAL:
            commit.logged = False
            commit.position = wal.appended_position
        else:
            remembered = None if nonce is None else (*nonce, answer)
            payload = encode_payload(first, now, rows, self.view.shapes.shapes, remembered)
            commit.position = wal.append(self.id16, last, payload, EDIT, commit)
        if nonce is not None:
            self.nonces.remember(nonce, answer, now)
        self._insert(rows, now, first, commit if observers else None)
        self.next_sequence_id = last + 1
        self.writes += len(rows)
        if (
            durability in (Durability.SKIP_WAL, Durability.ASYNC_WAL)
            and self.read_points.current == first - 1
        ):
            commit.publish_now()
            if durability is Durability.ASYNC_WAL:
                wal.request_sync()
        return commit

    def _observe_before(
        self, rows: Sequence[LoweredRow], observers: Sequence[RegionObserver]
    ) -> list[LoweredRow]:
        out: list[LoweredRow] = []
        for row, shape_id, values, stamp, size in rows:
            cells: list[RawCell] = list(values)
            if shape_id >= 0:
                names = self.view.shapes.shapes[shape_id].names
                cells = [
                    (*split_name(name), stamp, PUT, value, 0)
                    for name, value in zip(names, values, strict=True)
                ]
            added = [cell for observer in observers for cell in observer.before(self, row, cells)]
            if added:
                out.append((row, GENERAL, (*cells, *added), None, 0))
            else:
                out.append((row, shape_id, values, stamp, size))
        return out

    def _finish_rows(self, rows: Sequence[LoweredRow], now: int, first: int) -> Sequence[LoweredRow]:
        """Stamp the general rows; note the tombstones that got the current stamp."""
        if GENERAL not in map(_shape_of, rows):
            return rows
        finished: list[LoweredRow] = []
        for sequence_id, (row, shape_id, values, stamp, size) in enumerate(rows, first):
            if shape_id >= 0:
                finished.append((row, shape_id, values, stamp, size))
                continue
            cells = stamp_cells(values, now, sequence_id)
            finished.append((row, GENERAL, cells, None, general_size(cells)))
            if has_markers(values) and any(cell[2] == -now and cell[3] != -PUT for cell in cells):
                self._tombstoned.add(row)
        return finished

    def _insert(self, rows: Sequence[LoweredRow], now: int, first: int, commit: Commit | None) -> None:
        memstore = self.view.active
        before = memstore.size_bytes
        if not memstore.rows:
            self.memstore_since = time.monotonic()
        memstore.insert_rows(rows, first, now)
        if commit is not None:
            commit.edits = [
                (row, (sequence_id, now if stamp is None else stamp, shape_id, values))
                for sequence_id, (row, shape_id, values, stamp, _) in enumerate(rows, first)
            ]
        self.services.memory_changed(self, memstore.size_bytes - before)

    def _consolidate(self, row: bytes, edits: tuple[Edit, ...]) -> tuple[tuple[Edit, ...], int]:
        """Fold a hot row's edits, newest first: into one for each read point in use.

        What every reader either sees whole or not at all may be folded, so an open scan costs a hot row one
        edit more, not one for every write since.
        """
        points = self.read_points.in_use()
        out: list[Edit] = [edit for edit in edits if edit[0] > points[-1]]
        freed, begin = 0, len(out)
        for point, older in zip(reversed(points), [*reversed(points[:-1]), -1], strict=True):
            end = begin
            while end < len(edits) and edits[end][0] > older:
                end += 1
            group = edits[begin:end]
            if len(group) > 1:
                folded = self._fold(group, point)
                freed += sum(self._edit_size(row, edit) for edit in group) - general_size(folded[3])
                out.append(folded)
            else:
                out += group
            begin = end
        return tuple(out), freed

    def _fold(self, edits: tuple[Edit, ...], point: int) -> Edit:
        """One edit that shows what these show, to readers at ``point`` or later."""
        shapes = self.view.shapes.shapes
        cells: list[EditCell] = []
        for family in self.descriptor.family_names:
            merged: list[StoreCell] = sorted(
                cell for edit in edits for cell in edit_cells(edit, shapes, family)
            )
            policy = replace(self.policy(family, major=False), read_point=point)
            cells += [(family, *cell) for cell in compact_row(merged, policy)]
        return (edits[0][0], edits[0][1], GENERAL, tuple(cells))

    def _edit_size(self, row: bytes, edit: Edit) -> int:
        if edit[2] < 0:
            return general_size(edit[3])
        return regular_size(row, self.view.shapes.shapes[edit[2]], sum(map(len, edit[3])))

    def publish(self, commit: Commit) -> None:
        """Show the commit's edits. Called in log order, under the lock."""
        if commit.sequence_id > self.read_points.current:
            self.read_points.current = commit.sequence_id
        edits, commit.edits = commit.edits, None  # ASYNC_WAL: shown before the log tells of it
        if edits is not None:
            for observer in self.services.observers:
                try:
                    observer.after(self, edits, False)
                except Exception:  # the edits are durable and visible: an observer cannot undo that
                    logger.exception(
                        "observer failed region=%s sequence_id=%d", self.name, commit.sequence_id
                    )

    def wait_for(self, commit: Commit) -> None:
        """Block until the commit is durable, or failed."""
        wal = self.services.wal
        assert wal is not None
        wal.sync(commit.position)
        if not commit.logged:  # everything logged before it is durable now
            with self.lock:
                commit.publish_now()

    def request_sync(self, then: Callable[[BaseException | None], None] | None = None) -> None:
        """Have the log synced by its own thread, and ``then`` told."""
        if self.services.wal is not None:
            self.services.wal.request_sync(then)

    # -- replay ------------------------------------------------------------------------------

    def replay(self, payload: bytes) -> int:
        """Apply a log record's edits that no file holds yet; returns how many rows."""
        flushed = self.manifest.flushed_sequence_id
        decoded = DecodedPayload(payload, self.view.shapes)
        memstore = self.view.active
        before = memstore.size_bytes
        families = frozenset(self.descriptor.family_names)
        applied: list[tuple[bytes, Edit]] = []
        if decoded.rows:  # nobody reads yet: all of it counts as visible, so that a hot row can be folded
            newest = decoded.rows[-1][1][0]
            self.read_points.current = max(self.read_points.current, newest)
        for row, edit, size in decoded.rows:
            if edit[0] <= flushed:
                continue
            if edit[2] < 0 and any(cell[0] not in families for cell in edit[3]):
                edit = (edit[0], edit[1], GENERAL, tuple(c for c in edit[3] if c[0] in families))
            memstore.insert(row, edit, size)
            applied.append((row, edit))
        if decoded.nonce is not None:
            self.nonces.remember(decoded.nonce[:3], decoded.nonce[3], self.clock())
        self.last_stamp = max(self.last_stamp, decoded.timestamp)
        if applied:
            self.next_sequence_id = max(self.next_sequence_id, applied[-1][1][0] + 1)
            self.services.memory_changed(self, memstore.size_bytes - before)
            for observer in self.services.observers:
                observer.after(self, applied, True)
        return len(applied)

    # -- reading -----------------------------------------------------------------------------

    def latest(self, row: bytes, load: bool = True) -> Result:
        """The newest version of every column of a row.

        Raises:
            BlockNotCachedError: without ``load``, when a file would have to be read. So does ``get``.
        """
        if self.closed:
            self._check_open()
        self.reads += 1
        view = self.view
        plan = self.latest_plan
        if plan.plain and view.memstore_only:
            edits = view.active.rows.get(row)
            if edits is None:
                return Result(row)
            if edits[0][0] <= self.read_points.current:
                edit = newest_regular(edits)
                if edit is not None:
                    return Result(row, view.shapes.shapes[edit[2]].names, edit[3], edit[1])
        if plan.plain:
            plan.move_to(self.clock())
        else:
            plan = ReadPlan(Get(row), view.descriptor, self.name, self.clock())
        return self.check_size(read_row(plan, view, row, self.read_points, load)) or Result(row)

    def get(self, get: Get, load: bool = True) -> Result:
        """What a Get shows; an empty Result when nothing is there."""
        self._check_open()
        self.reads += 1
        plan = ReadPlan(get, self.descriptor, self.name, self.clock())
        return self.check_size(read_row(plan, self.view, get.row, self.read_points, load)) or Result(get.row)

    def would_read_disk(self, row: bytes) -> bool:
        """Reading this row means reading a file: what it holds of the row is not in the block cache."""
        view = self.view
        if view.memstore_only:
            return False
        try:
            for _, reader in view.all_files:
                if reader.may_contain(row):
                    row_spans(reader, row, load=False)
        except BlockNotCachedError:
            return True
        return False

    def scan_would_read_disk(self, start: bytes) -> bool:
        """A scan from this row on begins with reading a file."""
        return not all(reader.starts_in_cache(start) for _, reader in self.view.all_files)

    def check_size(self, result: Result | None) -> Result | None:
        """The result, unless it is larger than one answer may be.

        Raises:
            RowTooBigException: read the row in parts, with ``batch``, ``columns`` or ``store_limit``.
        """
        if result is not None and len(result.values) >= _MANY_CELLS:
            size = sum(map(len, result.values)) + sum(map(len, result.names))
            limit = self.services.config.max_row_result_bytes
            if size > limit:
                raise RowTooBigException(
                    f"Max row size allowed: {limit}, but the row {result.row[:64]!r} of region {self.name} "
                    f"is bigger than that: {size} bytes. Name columns, or page with store_limit and "
                    "store_offset"
                )
        return result

    def get_newest(self, get: Get) -> Result:
        """As ``get``, over edits that are not synced yet too: for read-modify-write, under the lock."""
        plan = ReadPlan(get, self.descriptor, self.name, self.clock())
        return read_row(plan, self.view, get.row, _NEWEST) or Result(get.row)

    def open_scanner(self, scan: Scan) -> HeldScanner:
        """A scanner over this region's part of the scan's range."""
        self._check_open()
        plan = ReadPlan(scan, self.descriptor, self.name, self.clock())
        span = ScanRange(scan)
        span.clip(self.info.start_key, self.info.end_key)
        scanner = HeldScanner(self, plan, scan, span)
        self._scanners.add(scanner)
        return scanner

    def release_scanners(self) -> None:
        """The view has changed: idle scanners let go of what they read before."""
        for scanner in list(self._scanners):
            scanner.release_if_idle()

    def counts(self) -> dict[str, int]:
        """Requests served, under the metrics' names."""
        points = self.read_points
        return {
            "readRequestCount": self.reads,
            "writeRequestCount": self.writes,
            "keyRangeAndBloomSkipCount": points.key_skips,
            "timeRangeSkipCount": points.time_range_skips,
        }

    def current_view(self) -> RegionView:
        """The view, for scanners: a closed region has none."""
        self._check_open()
        return self.view

    @property
    def memstore_bytes(self) -> int:
        """Accounted bytes in memory, those being flushed included."""
        view = self.view
        return view.active.size_bytes + (view.flushing.size_bytes if view.flushing else 0)

    @property
    def store_files(self) -> Mapping[bytes, tuple[StoreFileReader, ...]]:
        return self.view.files


class HeldScanner(RegionScanner):
    """A scanner that keeps its read point's cells from being dropped until it is closed."""

    def __init__(self, region: Region, plan: ReadPlan, scan: Scan, span: ScanRange) -> None:
        self._points = region.read_points
        self._held: int | None = region.read_points.hold()
        self._region = region
        self._busy = threading.Lock()
        super().__init__(plan, scan, span, region.current_view, self._held)

    def next_chunk(self, max_rows: int = CHUNK_ROWS, max_bytes: int = NO_LIMIT) -> list[Result] | None:
        """As ``RegionScanner.next_chunk``."""
        with self._busy:
            chunk = super().next_chunk(max_rows, max_bytes)
            for result in chunk or ():
                if len(result.values) >= _MANY_CELLS:
                    self._region.check_size(result)
            self._region.reads += len(chunk or ())
            return chunk

    def release_if_idle(self) -> None:
        """Let go of replaced sources, unless a chunk is being read (the next one takes the new view)."""
        if self._busy.acquire(blocking=False):
            try:
                self.release()
            finally:
                self._busy.release()

    def close(self) -> None:
        """Give up the read point; a second call does nothing."""
        held, self._held = self._held, None
        if held is not None:
            self._points.release(held)
            self.release()

    def __del__(self) -> None:
        self.close()
