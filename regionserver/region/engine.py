"""The engine: one log, one block cache, the open regions, and the threads that flush and compact.

It knows no catalogue and no network: who opens which region is decided above. Order of use, where the
engine has the store for itself: ``Engine(...)`` → ``open_region`` and ``replay_log`` as often as needed →
``start`` → work → ``close``. A server that shares its root with others calls ``start`` first, in a log
directory of its own, then ``opening.open_regions`` and ``close_region`` as it is told; another process
deletes files there.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable

from hyperbase.common.config import StoreConfig
from hyperbase.common.descriptors import TableDescriptor
from hyperbase.common.errors import (
    CompactionCancelledException,
    HBaseIOException,
    LeaseSuspendedException,
    RegionTooBusyException,
    StoreClosedException,
    StoreFailedException,
)
from hyperbase.common.region_info import RegionInfo
from regionserver.region.background import BackgroundQueue
from regionserver.region.chores import Chores
from regionserver.region.compaction_worker import close_workers
from regionserver.region.flush import flush_region
from regionserver.region.janitor import clean_region
from regionserver.region.markers import CLOSE, OPEN, note_event
from regionserver.region.observers import RegionObserver
from regionserver.region.reads import now_ms
from regionserver.region.region import Region
from regionserver.region.store_compaction import compact_region
from regionserver.storage.block_cache import BlockCache
from regionserver.storage.filesystem import FileSystem
from regionserver.storage.wal import EDIT, WriteAheadLog
from regionserver.storage.wal_reader import LogRecovery, list_segments, next_segment

logger = logging.getLogger(__name__)

WAL_DIRECTORY = "WALs"
ARCHIVE_DIRECTORY = "oldWALs"
GLOBAL_FLUSH_SHARE = 0.8  # of the MemStore limit: the largest region is flushed
_SUSPENDED_PAUSE_S = 0.2  # then a flush asks again whether it may commit


def _nobody_else() -> None:
    """The owner of a store that is locked has nothing to ask."""


class Engine:
    """See the module. Thread-safe once started."""

    def __init__(
        self,
        fs: FileSystem,
        config: StoreConfig,
        *,
        read_only: bool = False,
        clock: Callable[[], int] = now_ms,
        observers: Iterable[RegionObserver] = (),
        root: str | None = None,
        sync_hook: Callable[[], None] | None = None,
        background: bool = True,
        wal_directory: str = WAL_DIRECTORY,
        archive_directory: str = ARCHIVE_DIRECTORY,
        deletes_files: bool = True,
        check_owner: Callable[[], None] | None = None,
    ) -> None:
        """Prepare an engine; nothing is read or written yet.

        Args:
            wal_directory: where its log is. The default one is made by ``start``; any other was made by
                whoever holds its lock, and must never be made again.
            archive_directory: where segments go that are flushed.
            deletes_files: False: a janitor elsewhere removes StoreFiles, manifests and epochs.
            check_owner: raises while nothing may be committed to manifests (LeaseSuspendedException), or ever
                again (LeaseLostException).
        """
        self.fs = fs
        self.config = config
        self.wal_directory = wal_directory
        self.archive_directory = archive_directory
        self.deletes_files = deletes_files
        self.check_owner = check_owner or _nobody_else
        self.read_only = read_only
        self.clock = clock
        self.observers = tuple(observers)
        self.root = root  # directory a compaction worker process can open, when there is one
        self.cache = BlockCache(config.block_cache_bytes)
        self.wal: WriteAheadLog | None = None
        self.regions: dict[bytes, Region] = {}
        self.counters: Counter[str] = Counter()
        self.started_at = time.time()
        self.background_error: Exception | None = None
        self.after_maintenance: Callable[[Region], object] | None = None  # may split the region
        self.compactions_enabled = True
        self.compacting: dict[bytes, str] = {}  # regions at it: MINOR or MAJOR
        self.background = background  # False: nothing is flushed or compacted but by a call
        self._sync_hook = sync_hook
        self._memory = 0
        self._memory_changed = threading.Condition()
        self._flusher = BackgroundQueue("hyperbase-flush", self._flush_quietly)
        self._compactor = BackgroundQueue("hyperbase-compact", self._compact_quietly)
        self._chores = Chores(self, config.janitor_interval_s)
        self._recovery: LogRecovery | None = None
        self.closed = False
        self.replayed_rows = 0  # of the log, when the store was opened
        self._reads_seen = 0  # what the flusher looks at to decide whether to give way

    # -- opening -----------------------------------------------------------------------------

    def open_region(
        self, info: RegionInfo, descriptor: TableDescriptor, directory: str, *, serve: bool = True
    ) -> Region:
        """Open a region's files. It serves after its log records were replayed and ``go_online``.

        ``serve``: callers find it at once, as is right for a store that has none before all regions are
        online; else after ``serve_region``.
        """
        region = Region(info, descriptor, self, directory, self.clock)
        region.load(claim=not self.read_only)
        if serve:
            self.regions[region.id16] = region
        return region

    def serve_region(self, region: Region) -> None:
        """Record the opening, flush what was replayed, then let callers find the region.

        Raises:
            HBaseIOException, OSError: it is not served, see ``give_up_region``.
        """
        region.go_online(persist=True)
        flush_region(region)
        if self.closed:
            raise StoreClosedException(f"region {region.name} cannot be served: the server is stopping")
        self.regions[region.id16] = region
        self.request_compaction(region)  # looks whether there is anything to do

    def give_up_region(self, region: Region) -> None:
        """Forget a region that was opened and never served: nothing of it stays in memory."""
        with region.lock:
            region.closed = True
        self._forget(region)

    def has_log(self) -> bool:
        """There are log segments to replay."""
        return bool(list_segments(self.fs, self.wal_directory))

    def replay_log(
        self, regions: Iterable[Region], *, directory: str | None = None, seal: bool | None = None
    ) -> int:
        """Apply the log's records to these regions; returns the rows applied.

        Args:
            directory: of another engine's log, whose segments do not become this one's.
            seal: end the log for every later reader; by default of one's own log, if it may be written.

        Raises:
            DamagedWALException: the log is damaged before its end; nothing was changed on disk.
        """
        wanted = {region.id16: region for region in regions}
        own = directory is None
        if seal is None:
            seal = own and not self.read_only
        recovery = LogRecovery(self.fs, directory or self.wal_directory, seal=seal)
        rows = 0
        for record in recovery.records():
            region = wanted.get(record.region)
            if region is not None and record.kind == EDIT:
                if record.sequence_id > region.manifest.flushed_sequence_id:
                    rows += region.replay(record.payload)
        if own:
            self._recovery = recovery
        self.replayed_rows += rows
        return rows

    def start(self) -> None:
        """Open the log for writing. Replayed regions go online after this.

        Raises:
            FileNotFoundError: the log directory is gone: who recovers this server has set it aside.
        """
        if self.wal_directory == WAL_DIRECTORY:
            self.fs.make_directory(WAL_DIRECTORY)
        self.wal = WriteAheadLog(
            self.fs,
            self.wal_directory,
            next_segment(self.fs, self.wal_directory, self.archive_directory),
            segment_bytes=self.config.wal_segment_bytes,
            roll_interval_s=self.config.wal_roll_interval_s,
            closed_segments=self._recovery.segments if self._recovery else (),
            archive_directory=self.archive_directory,
            sync_hook=self._sync_hook,
        )
        if self.background:
            self._chores.start()

    def close_region(self, region: Region, *, flush: bool = True) -> None:
        """Flush and close; the region answers no more. If its flush fails it stays open.

        Raises:
            OSError, HBaseIOException: the flush failed.
        """
        if flush and not self.read_only and self.wal is not None and self.wal.failed is None:
            flush_region(region)
            with region.lock:
                region.closed = True
            try:
                flush_region(region)
            except BaseException:
                with region.lock:  # what it holds is not in files: it has to go on serving
                    region.closed = False
                raise
        else:
            with region.lock:
                region.closed = True
        region.release_scanners()
        note_event(region, CLOSE)
        self.regions.pop(region.id16, None)
        self._forget(region)

    def _forget(self, region: Region) -> None:
        self.memory_changed(region, -region.memstore_bytes)
        for _, reader in region.view.all_files:
            self.cache.evict_file(reader.path)
        for name, number in region.counts().items():
            self.counters[name] += number

    def reopen_region(self, closed: Region, descriptor: TableDescriptor | None = None) -> Region:
        """Serve a region that was flushed and closed again, maybe with another schema.

        Touches no disk, so that a change of regions or schema can always be taken back, and always be
        finished once it is committed.
        """
        with closed.compacting:  # one under way sees that the region is closed, and gives up
            region = Region(closed.info, descriptor or closed.descriptor, self, closed.directory, self.clock)
            region.take_over(closed)
        self.regions[region.id16] = region
        note_event(region, OPEN, epoch=region.manifest.epoch)
        return region

    def check_log(self) -> None:
        """Raises StoreFailedException after a failed sync of the log: no change can be committed any more."""
        if self.wal is not None and self.wal.failed is not None:
            self._refuse()

    def close(self) -> None:
        """Flush every region, end the log, stop the threads. After a failed sync nothing is flushed."""
        if self.closed:
            return
        self.closed = True
        self._chores.stop()
        self._flusher.stop()
        self._compactor.stop()
        close_workers()
        first_error: Exception | None = None
        for region in list(self.regions.values()):
            try:
                self.close_region(region)
            except (OSError, HBaseIOException) as error:  # what is not flushed stays in the log
                first_error = first_error or error
                logger.error("close: flush failed region=%s error=%s", region.name, error)
        if self.wal is not None:
            self.wal.close()  # after a failed sync it only closes its files
            if first_error is None and self.wal.failed is None:
                self._archive_logs(ended=self.wal_directory != WAL_DIRECTORY)
        self.cache.clear()
        if first_error is not None:
            raise first_error

    def abandon(self) -> None:
        """Stop the threads and write nothing more: the opening failed, or a test plays a killed process."""
        self.closed = True
        self._chores.stop()
        self._flusher.stop()
        self._compactor.stop()

    # -- memory ------------------------------------------------------------------------------

    @property
    def memstore_bytes(self) -> int:
        """Accounted bytes of all MemStores."""
        return self._memory

    def memory_changed(self, region: Region, delta_bytes: int) -> None:
        with self._memory_changed:
            self._memory += delta_bytes
            if delta_bytes < 0:
                self._memory_changed.notify_all()

    def admit(self, region: Region) -> None:
        """Back-pressure before a write: ask for flushes, and wait while memory is over its limit."""
        wal = self.wal
        if wal is None or wal.failed is not None or self.closed:
            self._refuse()
        size = region.view.active.size_bytes
        if size >= region.flush_size_bytes:
            self.request_flush(region)
        limit = self.config.memstore_limit_bytes
        if self._memory >= limit * GLOBAL_FLUSH_SHARE:
            self.request_flush(max(list(self.regions.values()), key=self._flushable_bytes))
        if self._memory >= limit or size >= region.flush_size_bytes * self.config.memstore_block_multiplier:
            self._wait_for_memory(region)

    def would_wait(self, region: Region) -> bool:
        """``admit`` would wait for memory."""
        return (
            self._memory >= self.config.memstore_limit_bytes
            or region.view.active.size_bytes
            >= region.flush_size_bytes * self.config.memstore_block_multiplier
        )

    def _flushable_bytes(self, region: Region) -> int:
        """What a flush would free; after a failed one, what it left frozen counts too."""
        return region.view.active.size_bytes if self.background_error is None else region.memstore_bytes

    def _refuse(self) -> None:
        if self.wal is not None and self.wal.failed is not None:
            raise StoreFailedException(
                f"the log could not be synced ({self.wal.failed}): what was acknowledged is safe, "
                "nothing more is accepted; close the store, mend the disk, open it again"
            )
        raise HBaseIOException("the store is closed")

    def _wait_for_memory(self, region: Region) -> None:
        deadline = time.monotonic() + self.config.blocking_wait_s
        limit = self.config.memstore_limit_bytes
        blocking = region.flush_size_bytes * self.config.memstore_block_multiplier
        self.counters["blockedRequestCount"] += 1
        started = time.monotonic()
        with self._memory_changed:
            while self._memory >= limit or region.view.active.size_bytes >= blocking:
                left = deadline - time.monotonic()
                if left <= 0 or self.background_error is not None:
                    raise RegionTooBusyException(
                        f"region {region.name}: MemStores hold {self._memory} bytes of {limit}"
                        + (f" and a flush failed: {self.background_error}" if self.background_error else "")
                        + "; wait and retry"
                    )
                self._memory_changed.wait(min(left, 0.5))
        self.counters["updatesBlockedTime"] += round((time.monotonic() - started) * 1000)

    # -- flush and compaction ----------------------------------------------------------------

    def request_flush(self, region: Region) -> None:
        """Have the region flushed in the background."""
        if self.background:
            self._flusher.submit(region)

    def request_compaction(self, region: Region) -> None:
        """Have the region's Stores looked at in the background."""
        if self.background:
            self._compactor.submit(region)

    def flush(self, region: Region) -> bool:
        """Flush now, in this thread."""
        flushed = flush_region(region, self._pause)
        if flushed:
            self._after_flush(region)
        return flushed

    def _after_flush(self, region: Region) -> None:
        self.background_error = None
        self._archive_logs()
        self._flush_oldest_segment()
        self.request_compaction(region)  # looks whether there is anything to do, splits too

    def _pause(self) -> bool:
        """Between slices of a flush: give way to readers; True while there are some."""
        time.sleep(0)
        reads = sum(region.reads for region in list(self.regions.values()))
        reading = reads != self._reads_seen
        self._reads_seen = reads
        if reading:
            time.sleep(0.0001)
        return reading

    def _flush_quietly(self, region: Region) -> None:
        try:
            deadline = time.monotonic() + self.config.blocking_wait_s
            while (
                any(len(files) >= self.config.blocking_store_files for files in region.view.files.values())
                and not region.closed
                and not self.closed
                and time.monotonic() < deadline
                and self._memory < self.config.memstore_limit_bytes
            ):
                self.request_compaction(region)
                time.sleep(0.01)
            if not region.closed:
                self.flush(region)
        except LeaseSuspendedException:
            time.sleep(_SUSPENDED_PAUSE_S)
            self.request_flush(region)
        except Exception as error:  # whatever it is, writers must hear of it, and the thread live on
            self.background_error = error
            logger.error(
                "flush failed region=%s error=%s", region.name, error, exc_info=not isinstance(error, OSError)
            )
            with self._memory_changed:
                self._memory_changed.notify_all()
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                time.sleep(0.2)  # space may come back; the next write asks again

    def _compact_quietly(self, region: Region) -> None:
        try:
            while self._may_compact(region) and self._compact_region(region, major=False):
                self._clean(region)
            if self.after_maintenance is not None and not region.closed and not self.closed:
                self.after_maintenance(region)
        except CompactionCancelledException:
            logger.debug("compaction cancelled region=%s", region.name)  # the region closed
        except LeaseSuspendedException:
            logger.debug("compaction put off region=%s", region.name)  # the next flush or chore asks again
        except Exception as error:  # the next flush or chore asks again
            logger.error(
                "compaction failed region=%s error=%s",
                region.name,
                error,
                exc_info=not isinstance(error, OSError),
            )

    def _may_compact(self, region: Region) -> bool:
        return self.compactions_enabled and not region.closed and not self.closed

    def _compact_region(self, region: Region, *, major: bool) -> bool:
        self.compacting[region.id16] = "MAJOR" if major else "MINOR"
        try:
            return compact_region(region, self, major=major)
        finally:
            self.compacting.pop(region.id16, None)

    def compact(self, region: Region, *, major: bool) -> None:
        """Compact now, in this thread: everything (major), or until no Store wants it.

        Nothing happens while compactions are switched off, as in HBase.
        """
        if not self.compactions_enabled:
            logger.info("compaction not done region=%s: compactions are switched off", region.name)
            return
        self.flush(region) if major else None
        if major:
            self._compact_region(region, major=True)
        else:
            while self._compact_region(region, major=False):
                pass
        self._clean(region)

    def _clean(self, region: Region) -> None:
        if self.deletes_files:
            clean_region(region)

    def flushed_sequence_id(self, id16: bytes) -> int:
        """Up to which edit a region's log records are no longer needed; closed regions need none."""
        region = self.regions.get(id16)
        return 2**63 if region is None else region.manifest.flushed_sequence_id

    def _archive_logs(self, *, ended: bool = False) -> None:
        """Move what no region needs any more; ``ended``: of a log that nobody goes on with, all of it."""
        if self.wal is None:
            return
        try:
            archive = self.wal.archive_ended if ended else self.wal.archive_flushed
            archive(self.flushed_sequence_id)
            self.wal.archive_cleaner(
                self.config.wal_archive_ttl_s, self.config.wal_archive_limit_bytes, time.time()
            )
        except OSError as error:  # the flush itself is done; the next one tries again
            logger.warning("archiving the log failed: %s", error)

    def _flush_oldest_segment(self) -> None:
        assert self.wal is not None
        if len(self.wal.segments()) > self.config.wal_max_segments:
            for id16 in self.wal.regions_in_oldest_segment(self.flushed_sequence_id):
                region = self.regions.get(id16)
                if region is not None:
                    self.request_flush(region)

    def count(self, event: str, *, cells: int, size_bytes: int, took_ms: int) -> None:
        """Note a flush or compaction for the metrics."""
        self.counters[f"{event}_num_ops"] += 1
        self.counters[f"{event}_cells"] += cells
        self.counters[f"{event}_size"] += size_bytes
        self.counters[f"{event}_time"] += took_ms
