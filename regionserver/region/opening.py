"""Opening regions whose last edits may be in other servers' logs, and serving them only then.

Steps, and what a crash of this process after each leaves:

1. The region's next epoch is claimed, then its newest manifest is read.    One more epoch.
2. Edits above the manifest's ``flushed`` are taken from the logs, into memory.    The logs, which stay.
3. The opening is recorded: the epoch's first manifest.    Nothing that was not there before.
4. What was replayed is flushed: from here on the region needs those logs no more.    As 3, or files.
5. The region is served.

Many regions are one pass over each log. Their logs were sealed by who set them aside: nothing is written
there. A region that fails fails alone, and leaves nothing in memory.

Threads: loading and flushing may be spread over some; a log is read by the caller's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from hyperbase.common.descriptors import TableDescriptor
from hyperbase.common.errors import DamagedWALException, HBaseIOException, StoreClosedException
from hyperbase.common.region_info import RegionInfo
from regionserver.region.engine import Engine
from regionserver.region.flush import flush_region
from regionserver.region.region import Region
from regionserver.storage.wal import EDIT, WalRecord
from regionserver.storage.wal_reader import LogRecovery

logger = logging.getLogger(__name__)

_WORTH_FLUSHING = (
    16  # a share of the MemStore limit: less of a region is not flushed in the middle of a replay
)


@dataclass(frozen=True, slots=True)
class Opening:
    """A region to open. ``logs``: directories of sealed logs that may hold edits of it, oldest first."""

    info: RegionInfo
    descriptor: TableDescriptor
    directory: str
    logs: tuple[str, ...] = ()


def open_regions(
    engine: Engine, openings: Sequence[Opening], threads: Executor | None = None
) -> list[Region | Exception]:
    """Open and serve regions; each one's Region, or what kept it from being served.

    The engine is started; none of the regions is open here, and nobody else opens one of them meanwhile.
    """
    attempts = [_Attempt(engine, opening) for opening in openings]
    _each(threads, _Attempt.load, attempts)
    for log in dict.fromkeys(log for opening in openings for log in opening.logs):
        _replay(engine, log, [attempt for attempt in attempts if log in attempt.opening.logs])
    _each(threads, _Attempt.finish, attempts)
    return [attempt.outcome() for attempt in attempts]


def _each(threads: Executor | None, step: Callable[[_Attempt], None], attempts: Iterable[_Attempt]) -> None:
    """Do one step of every attempt that has not failed yet; an error ends its own attempt only."""

    def guarded(attempt: _Attempt) -> None:
        if attempt.error is None:
            try:
                step(attempt)
            except Exception as error:
                attempt.fail(error)

    for _ in map(guarded, attempts) if threads is None else threads.map(guarded, attempts):
        pass


def _replay(engine: Engine, log: str, attempts: Sequence[_Attempt]) -> None:
    """One pass over a log for all regions that may have edits in it."""
    began = time.monotonic()
    waiting = {attempt.opening.info.id16: attempt for attempt in attempts if attempt.error is None}
    if not waiting:
        return
    before = sum(attempt.rows for attempt in waiting.values())
    try:
        if not engine.fs.exists(log):
            raise HBaseIOException(f"the log directory {log} is missing: its edits cannot be replayed")
        recovery = LogRecovery(engine.fs, log, seal=False)
        for record in recovery.records():
            if engine.closed:
                raise StoreClosedException(f"the replay of {log} was given up: the server is stopping")
            attempt = waiting.get(record.region)
            if attempt is not None and record.kind == EDIT:
                attempt.take(record)
                if engine.memstore_bytes > engine.config.memstore_limit_bytes:
                    _make_room(engine, waiting.values())
        if not recovery.sealed:
            raise HBaseIOException(f"the log in {log} is not sealed: its end is not known for certain")
    except (HBaseIOException, OSError) as error:
        for attempt in waiting.values():
            attempt.fail(error)
        return
    rows = sum(attempt.rows for attempt in waiting.values()) - before
    engine.replayed_rows += rows
    took_ms = round((time.monotonic() - began) * 1000)
    logger.info("replayed log=%s regions=%d rows=%d took_ms=%d", log, len(waiting), rows, took_ms)


def _make_room(engine: Engine, attempts: Iterable[_Attempt]) -> None:
    """Memory is over its limit in the middle of a replay: flush what holds most of it."""
    largest = max(attempts, key=lambda attempt: attempt.memstore_bytes)
    if largest.memstore_bytes * _WORTH_FLUSHING >= engine.config.memstore_limit_bytes:
        _each(None, _Attempt.flush, [largest])
    elif engine.regions:
        engine.request_flush(max(list(engine.regions.values()), key=lambda region: region.memstore_bytes))


class _Attempt:
    """One region on its way to being served."""

    def __init__(self, engine: Engine, opening: Opening) -> None:
        self.opening = opening
        self.error: Exception | None = None
        self.rows = 0  # replayed
        self._engine = engine
        self._region: Region | None = None
        self._in_files = 0  # edits up to here were in files when the region was loaded
        self._newest = 0  # of the edits that were replayed

    @property
    def memstore_bytes(self) -> int:
        return 0 if self._region is None else self._region.memstore_bytes

    def load(self) -> None:
        """Claim the region and open its files."""
        opening = self.opening
        self._region = self._engine.open_region(
            opening.info, opening.descriptor, opening.directory, serve=False
        )
        self._in_files = self._newest = self._region.manifest.flushed_sequence_id

    def take(self, record: WalRecord) -> None:
        """Apply a record unless files hold it."""
        region, sequence_id = self._region, record.sequence_id
        if region is None or self.error is not None or sequence_id <= self._in_files:
            return
        if sequence_id <= self._newest:
            # Who opened the region last flushed what it had replayed before it took a new edit.
            self.fail(
                DamagedWALException(
                    f"{record.path} at offset {record.offset}: edit {sequence_id} of region {region.name} "
                    f"comes after edit {self._newest}; the logs contradict each other"
                )
            )
            return
        self._newest = sequence_id
        try:
            self.rows += region.replay(record.payload)
        except Exception as error:
            self.fail(error)

    def flush(self) -> None:
        """Write what was replayed to files."""
        assert self._region is not None
        flush_region(self._region)

    def finish(self) -> None:
        """Record the opening, flush, serve."""
        assert self._region is not None
        self._engine.serve_region(self._region)

    def fail(self, error: Exception) -> None:
        """It is not opened: give up what is in memory."""
        if self.error is not None:
            return
        self.error = error
        region, self._region = self._region, None
        if region is not None:
            self._engine.give_up_region(region)
        known = isinstance(error, OSError)
        name = self.opening.info.region_name_text
        logger.warning("opening failed region=%s error=%s", name, error, exc_info=not known)

    def outcome(self) -> Region | Exception:
        if self.error is not None:
            return self.error
        assert self._region is not None
        return self._region
