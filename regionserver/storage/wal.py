"""Write-ahead log, the writer: an edit is in this file before any MemStore shows it.

``append`` frames a record and puts it in order; it waits for the disk only when it has to create the next
segment. ``sync(position)`` returns when the record is durable. Bytes: ``wal_format``, readers:
``wal_reader``, what becomes of old segments: ``wal_archive``.

Group commit: the first thread to ask for a sync becomes the leader. It takes everything appended so far,
writes it, calls fdatasync without holding a lock, tells every covered commit in log order, then wakes the
next leader first (the disk is idle until that one runs) and after it those whose records are durable.

Invariants
  * A position is reported durable only after fdatasync returned for every record up to it.
  * A write or fdatasync that fails poisons the log: it is never tried again, every pending commit fails,
    and later calls raise StoreFailedException. What was acknowledged before stays recoverable.
  * A new segment that cannot be created poisons nothing: the append that needed it raises, the log goes
    on in its current segment.
  * The next segment gets its first byte only after the trailer of the one before is durable.
  * An asynchronous exception (KeyboardInterrupt) in the leader loses nothing: the group stays, and the
    next leader finishes it. Writes are positioned, so doing one twice does no harm.
Threads: any number in every method. Commits are called by the leader with no lock of the log held.
"""

from __future__ import annotations

import errno
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable

from google_crc32c import value as crc32c

from hyperbase.common.errors import (
    HBaseIOException,
    IllegalArgumentException,
    StoreClosedException,
    StoreFailedException,
)
from regionserver.storage.filesystem import FileSystem, LogFile
from regionserver.storage.wal_archive import archive_segment, clean_archive
from regionserver.storage.wal_format import (
    EDIT,
    HEADER,
    MAX_PAYLOAD_BYTES,
    RECORD_BODY,
    RECORD_HEADER_BYTES,
    RECORD_PREFIX,
    TRAILER,
    TRAILER_BYTES,
    ClosedSegment,
    SegmentHeader,
    WalRecord,
    encode_trailer,
    segment_name,
)
from regionserver.storage.wal_group import Durable, Group, Part, Segment, SegmentInfo, Waiter, WalMetrics
from regionserver.storage.wal_reader import (
    LogRecovery,
    describe_log,
    next_segment,
    read_log,
    read_logs,
)

__all__ = [
    "EDIT",
    "ClosedSegment",
    "Durable",
    "LogRecovery",
    "SegmentInfo",
    "WalMetrics",
    "WalRecord",
    "WriteAheadLog",
    "describe_log",
    "next_segment",
    "read_log",
    "read_logs",
]

logger = logging.getLogger(__name__)

_pack_prefix = RECORD_PREFIX.pack
_pack_body = RECORD_BODY.pack


SMALLEST_SEGMENT_BYTES = 1 << 20  # the first one, when a whole one does not fit on the disk
_ALWAYS = 1 << 62  # a position no group reaches: its waiter leads sooner or later


class WriteAheadLog:
    """The one log of a store (or region server): all its regions share it."""

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        first_segment: int,
        segment_bytes: int = 64 << 20,
        roll_interval_s: float = 3600.0,
        *,
        closed_segments: Iterable[ClosedSegment] = (),
        archive_directory: str = "oldWALs",
        slow_sync_s: float = 0.1,
        sync_hook: Callable[[], None] | None = None,
    ) -> None:
        """Open a new log whose first segment is ``first_segment``.

        Args:
            fs: where it lives; ``directory`` must exist (a roll never creates it).
            first_segment: ``next_segment(fs, directory)``: numbers have no holes.
            segment_bytes: space reserved for each segment; a longer record gets a segment of its own.
            roll_interval_s: seconds after which a segment with records is closed by the next sync.
            closed_segments: ``LogRecovery.segments``, so that ``archive_flushed`` can release them.
            slow_sync_s: a group that takes longer is counted and logged.
            sync_hook: called before each fdatasync of a group.

        Raises:
            OSError: the first segment cannot be created.
        """
        self._fs = fs
        self._directory = directory
        self._archive_directory = archive_directory
        self._segment_bytes = segment_bytes
        self._roll_interval_s = roll_interval_s
        self._slow_sync_s = slow_sync_s
        self._sync_hook = sync_hook
        self.metrics = WalMetrics()
        self._lock = threading.Lock()  # guards everything below; held for microseconds
        self._archive_lock = threading.Lock()
        self._closed_segments = sorted(closed_segments, key=lambda segment: segment.number)
        self._appended = 0
        self._durable_position = 0
        self._commits: list[Durable] = []
        self._waiters: list[Waiter] = []
        self._leading = False
        self._group: Group | None = None
        self._failed: BaseException | None = None
        self._taken = False
        self._closed = False
        self._syncer: threading.Thread | None = None
        self._wanted = threading.Event()
        self._after_sync: list[Callable[[BaseException | None], None]] = []
        self._leftover = -1
        self._open: list[Segment] = []  # the last takes the appends
        self._open.append(self._create_segment(first_segment, 0))

    @property
    def durable_position(self) -> int:
        """The highest position reported durable; 0 at the start."""
        return self._durable_position

    @property
    def appended_position(self) -> int:
        """The position of the last append; 0 at the start."""
        return self._appended

    @property
    def failed(self) -> BaseException | None:
        """What poisoned the log, or None."""
        return self._failed

    @property
    def taken(self) -> bool:
        """A roll found that somebody else has the directory, or moved it: no segment is begun any more."""
        return self._taken

    def append(
        self, region: bytes, sequence_id: int, payload: bytes, kind: int = EDIT, commit: Durable | None = None
    ) -> int:
        """Put a record in the log's order and return its position, for ``sync``. Nothing is durable yet.

        Args:
            region: 16 bytes.
            sequence_id: 0 to 2**64 - 1; must rise for each region, which is the caller's duty.
            payload: up to 256 MiB.
            kind: 1 to 254, the engine's business.
            commit: is told when the record is durable or the log failed.

        Raises:
            HBaseIOException: the segment is full and a new one could not be created (``errno`` says why,
                such as ENOSPC). Nothing was appended; retry when there is space.
            StoreFailedException, StoreClosedException: nothing was appended.
        """
        length = len(payload)
        size = RECORD_HEADER_BYTES + length
        if len(region) != 16 or length > MAX_PAYLOAD_BYTES or not 0 < kind < TRAILER:
            raise IllegalArgumentException(
                f"no log record: region of {len(region)} bytes (16), payload of {length} "
                f"(at most {MAX_PAYLOAD_BYTES}), kind {kind} (1 to 254)"
            )
        with self._lock:
            if self._closed or self._failed is not None:
                raise self._refusal()
            segment = self._open[-1]
            if segment.offset + size > segment.limit:
                segment = self._next_segment(size)
            newest = segment.max_sequence_ids
            if newest.get(region, -1) < sequence_id:
                newest[region] = sequence_id
            body = _pack_body(segment.salt, kind, 0, 0, segment.durable, region, sequence_id) + payload
            # One step puts the record in the log; a KeyboardInterrupt before or behind it breaks nothing:
            # sizes and counts that matter are taken from what is pending. The commit comes last, as
            # it must never hear of a record that is not there.
            segment.pending += (_pack_prefix(length, crc32c(body)), body)
            segment.offset += size
            if commit is not None:
                self._commits.append(commit)
            self._appended = position = self._appended + 1
            return position

    def sync(self, position: int) -> None:
        """Return when the record at ``position`` and all before it are durable and their commits were told.

        Raises:
            StoreFailedException: the log failed first. Never retried: reopen the store.
            StoreClosedException: the log was closed without it.
        """
        if position <= self._durable_position:
            return
        if position > self._appended:
            raise ValueError(f"position {position} was never appended; the last is {self._appended}")
        if self._become_leader(position):
            self._lead()

    def sync_if_free(self) -> bool:
        """Make what was appended durable in this thread; ``False`` when another thread is at it already.

        Raises:
            StoreFailedException: the log failed; the commits were told.
        """
        with self._lock:
            if self._leading or self._closed or self._failed is not None:
                return False
            self._leading = True
        self._lead()
        return True

    def request_sync(self, then: Callable[[BaseException | None], None] | None = None) -> None:
        """Have what was appended synced soon, by a thread of the log, without waiting.

        ``then`` is called by that thread when it is durable, or with the error when it will not be.
        """
        if then is not None:
            with self._lock:
                refused = self._closed or self._failed is not None
                if not refused:
                    self._after_sync.append(then)
            if refused:
                then(self._sync_error())
                return
        if self._syncer is None:
            with self._lock:
                if self._syncer is None and not self._closed:
                    self._syncer = threading.Thread(
                        target=self._sync_on_request, name="wal-sync", daemon=True
                    )
                    self._syncer.start()
        if not self._wanted.is_set():
            self._wanted.set()

    def roll(self) -> None:
        """Close the current segment, if it has records, and go on in a new one.

        Raises:
            HBaseIOException: a new segment could not be created; the log goes on in the current one.
            StoreFailedException, StoreClosedException.
        """
        with self._lock:
            if self._closed or self._failed is not None:
                raise self._refusal()
            if not self._open[-1].has_records:
                return
            self._next_segment(0)
        if self._become_leader(_ALWAYS):
            self._lead()

    def close(self) -> None:
        """Make everything durable, end the log with a trailer and close it. After a failure: only close.

        Raises:
            StoreFailedException: the last sync or the trailer failed.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._wanted.set()
        try:
            if self._failed is None and self._become_leader(_ALWAYS):
                self._lead(finish=True)
        finally:
            # Interrupted while another thread leads: its file must not be closed under its hands.
            if self._failed is not None or self._open[-1].finished:
                for segment in self._open:
                    segment.file.close()

    def segments(self) -> list[SegmentInfo]:
        """Return every segment not yet archived, oldest first."""
        with self._lock:
            closed = [
                SegmentInfo(done.number, done.path, done.size_bytes, done.record_count, True)
                for done in self._closed_segments
            ]
            return closed + [segment.info(segment.finished) for segment in self._open]

    def archive_flushed(self, flushed: Callable[[bytes], int]) -> list[int]:
        """Archive closed segments, oldest first, up to the first that is still needed; return their numbers.

        Args:
            flushed: region -> the sequence id up to which all its edits are in StoreFiles.

        Raises:
            OSError: a move failed; those before it are archived, the others stay.
        """
        done: list[int] = []
        with self._archive_lock:
            for segment in tuple(self._closed_segments):
                if any(newest > flushed(region) for region, newest in segment.max_sequence_ids.items()):
                    break
                archive_segment(self._fs, segment, self._archive_directory, int(time.time() * 1000))
                with self._lock:
                    self._closed_segments.remove(segment)
                done.append(segment.number)
        return done

    def archive_ended(self, flushed: Callable[[bytes], int]) -> list[int]:
        """After ``close``, once: as ``archive_flushed``, the last segment too."""
        with self._lock:
            last = self._open[-1]
            if self._closed and last.finished:
                self._closed_segments.append(last.closed())
        return self.archive_flushed(flushed)

    def regions_in_oldest_segment(self, flushed: Callable[[bytes], int]) -> list[bytes]:
        """Return the regions whose flush would release the oldest closed segment; [] when there is none."""
        with self._lock:
            oldest = self._closed_segments[0] if self._closed_segments else None
        if oldest is None:
            return []
        return [region for region, newest in oldest.max_sequence_ids.items() if newest > flushed(region)]

    def archive_cleaner(self, ttl_s: float, limit_bytes: int, now: float) -> list[str]:
        """Delete archived segments older than ``ttl_s`` at ``now`` (s since the epoch) or above the limit."""
        return clean_archive(self._fs, self._archive_directory, ttl_s, limit_bytes, now)

    # Creating segments -------------------------------------------------------------------------------------

    def _next_segment(self, size: int) -> Segment:
        """Create the next segment, with room for a record of ``size``, and append to it from now on.

        The leader ends the one before when it comes to it; until that trailer is durable the
        new one gets no record. Called with the lock held: order must not change under us.
        """
        number = self._open[-1].number + 1
        try:
            segment = self._create_segment(number, size)
        except (FileExistsError, FileNotFoundError) as error:
            self._taken = True
            raise StoreFailedException(
                f"{self._directory} is no longer this log's own: {segment_name(number)} cannot be created "
                f"({error}). Reopen the store."
            ) from error
        except OSError as error:
            self.metrics.failed_rolls += 1
            raise HBaseIOException(
                error.errno or errno.EIO,
                f"the log segment {self._open[-1].path} is full, {segment_name(number)} cannot be created: "
                f"{error.strerror or error}. Nothing was written; retry when that is mended",
            ) from error
        self._open = [*self._open, segment]
        self.metrics.rolls += 1
        return segment

    def _create_segment(self, number: int, size: int) -> Segment:
        path = f"{self._directory}/{segment_name(number)}"
        needed = HEADER.size + size + TRAILER_BYTES
        if self._leftover == number:
            self._fs.delete(path)
        self._leftover = (
            number  # should this attempt fail, the file is ours and empty: the next one removes it
        )
        salt = 1 + secrets.randbelow((1 << 32) - 1)
        try:
            file, limit = self._reserve(path, max(self._segment_bytes, needed), needed)
        except (FileExistsError, FileNotFoundError):
            self._leftover = -1  # not ours
            raise
        try:
            file.write([SegmentHeader(number, int(time.time() * 1000), salt).encode()])
            file.sync()
        except OSError:
            file.close()
            raise
        return Segment(number, path, file, salt, limit - TRAILER_BYTES, time.monotonic())

    def _reserve(self, path: str, limit: int, needed: int) -> tuple[LogFile, int]:
        """The file of a segment and the bytes reserved for it.

        The first one is smaller on a disk nearly full: a store that cannot be opened because 64 MiB are not
        free could not be emptied either. Later ones are not, for flushes need what is left.
        """
        least = max(needed, min(limit, SMALLEST_SEGMENT_BYTES)) if not self._open else limit
        full: OSError | None = None
        while True:
            try:
                return self._fs.open_log(path, limit), limit
            except FileExistsError:
                if full is not None:  # the attempt before could not take its file back
                    raise full from None
                raise
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or limit <= least:
                    raise
                full, limit = error, max(least, limit // 4)

    # Group commit ------------------------------------------------------------------------------------------

    def _become_leader(self, position: int) -> bool:
        """Wait until ``position`` is durable (False) or it is this thread's turn to lead (True)."""
        with self._lock:
            if position <= self._durable_position:
                return False
            if self._failed is not None:
                raise self._refusal()
            if not self._leading:
                self._leading = True
                return True
            waiter = Waiter(position)
            waiter.lock.acquire()
            self._waiters.append(waiter)
        try:
            waiter.lock.acquire()
        except BaseException:
            self._leave(waiter)
            raise
        if waiter.leads:
            return True
        if position > self._durable_position:
            raise self._refusal()
        return False

    def _leave(self, waiter: Waiter) -> None:
        """Somebody who waits is interrupted: leave the queue, and pass on the lead if it was just given."""
        with self._lock:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif waiter.leads:
                self._hand_over()

    def _lead(self, finish: bool = False) -> None:
        """Make one group durable and hand over. Only for the leader."""
        try:
            if self._group is not None:
                self._complete(self._group)
            group = self._take_group(finish)
            self._complete(group)
        except Exception as error:
            self._poison(error)
            raise self._refusal() from error
        except BaseException:
            # Interrupted, not failed: the group stays for the next leader.
            with self._lock:
                self._hand_over()
            raise
        with self._lock:
            self._durable_position = group.last
            self._hand_over()

    def _take_group(self, finish: bool) -> Group:
        with self._lock:
            parts = []
            last = self._open[-1]
            for segment in self._open:
                parts.append(segment.take(finish or segment is not last))
            self._group = group = Group(parts, self._commits, self._appended)
            self._commits = []
            return group

    def _complete(self, group: Group) -> None:
        """Write and sync the group, then tell its commits; goes on where an interrupted leader stopped."""
        if not group.synced:
            begin = time.perf_counter()
            for part in group.parts:
                self._write(part)
            self._account(group, time.perf_counter() - begin)
            group.synced = True
        commits = group.commits
        while group.told < len(commits):
            commit = commits[group.told]
            group.told += 1
            commit.durable()
        self._group = None

    def _write(self, part: Part) -> None:
        segment, file = part.segment, part.segment.file
        if segment.finished:
            return
        if file.tell() < part.end:
            file.write(part.chunks)
        if part.end > segment.durable:
            if self._sync_hook is not None:
                self._sync_hook()
            file.sync()
            segment.durable = part.end
        if part.finish:
            if file.tell() == part.end:
                file.write([encode_trailer(segment.salt, part.end, segment.record_count)])
            file.sync()
            self._retire(segment, part.end + TRAILER_BYTES)
            file.close()

    def _retire(self, segment: Segment, size: int) -> None:
        with self._lock:
            segment.offset = size
            if segment is not self._open[-1]:
                if not self._closed_segments or self._closed_segments[-1].number < segment.number:
                    self._closed_segments.append(segment.closed())
                self._open = [other for other in self._open if other is not segment]
            segment.finished = True

    def _account(self, group: Group, seconds: float) -> None:
        metrics = self.metrics
        metrics.syncs += 1
        metrics.sync_seconds += seconds
        metrics.appends += group.last - self._durable_position
        metrics.appended_bytes += sum(part.size for part in group.parts)
        if seconds > self._slow_sync_s:
            metrics.slow_syncs += 1
            logger.warning(
                "slow log sync took_ms=%d records=%d", seconds * 1000, group.last - self._durable_position
            )
        segment = self._open[-1]
        if segment.has_records and time.monotonic() - segment.created > self._roll_interval_s:
            self._roll_by_age()

    def _roll_by_age(self) -> None:
        with self._lock:
            if self._closed:
                return
            try:
                self._next_segment(0)
            except HBaseIOException as error:
                self._open[-1].created = time.monotonic()  # ask again an interval later
                logger.warning("log roll failed, going on in the old segment: %s", error)

    def _hand_over(self) -> None:
        """Wake the next leader, then all whose records are durable. Called with the lock held."""
        position = self._durable_position
        if not self._waiters:
            self._leading = False
            return
        waiting = [waiter for waiter in self._waiters if waiter.position > position]
        done = [waiter for waiter in self._waiters if waiter.position <= position]
        if waiting:
            leader = waiting.pop(0)
            leader.leads = True
            leader.lock.release()
        else:
            self._leading = False
        self._waiters = waiting
        for waiter in done:
            waiter.lock.release()

    def _poison(self, error: Exception) -> None:
        with self._lock:
            self._failed = error
            self._leading = False
            group, self._group = self._group, None
            commits = self._commits if group is None else group.commits[group.told :] + self._commits
            self._commits = []
            waiters, self._waiters = self._waiters, []
        logger.error(
            "log failed, the store takes no more writes: log=%s error=%r", self._open[-1].path, error
        )
        refusal = self._refusal()
        try:
            for commit in commits:
                commit.failed(refusal)
        finally:
            for waiter in waiters:
                waiter.lock.release()

    def _refusal(self) -> HBaseIOException:
        if self._failed is None:
            return StoreClosedException(f"the log in {self._directory} is closed")
        refusal = StoreFailedException(
            f"the log {self._open[-1].path} failed: {self._failed}. What was acknowledged is safe; nothing "
            "more is accepted until the store is reopened."
        )
        refusal.__cause__ = self._failed
        return refusal

    def _sync_on_request(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            with self._lock:
                asked, self._after_sync = self._after_sync, []
            failure = self._sync_error()
            if failure is not None:
                logger.error("log sync on request failed: %s", failure)
            for then in asked:
                then(failure)
            with self._lock:
                if self._closed or self._failed is not None:
                    if not self._after_sync:
                        return  # nobody can be added any more
                    self._wanted.set()

    def _sync_error(self) -> HBaseIOException | None:
        """Sync what was appended; what went wrong, or None."""
        try:
            self.sync(self._appended)
        except HBaseIOException as error:
            return error
        return None
