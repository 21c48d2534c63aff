"""Procedures: changes of several steps that survive the master who began them.

A procedure is plain data and the name of its next step. Both are written to the master's store before the
step's effects begin; a step that was interrupted is carried out again, by this master or by the next, and
looks first at what is there already. When a step fails for good, ``undo`` takes back what was done before the
point of no return, and the error is the procedure's outcome.

    submit → claim (tables, regions) → step … step → removed from the store → outcome

Threads: one for each procedure under way.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from hyperbase.common.errors import HBaseIOException, LeaseLostException, MasterNotRunningException
from hyperbase.common.fault_points import declare, fault_point
from hyperbase.common.wire.faults import decode_fault, encode_fault
from master.locks import Locks, Name
from master.store import MasterStore, StoredProcedure

if TYPE_CHECKING:
    from master.core import Core

logger = logging.getLogger(__name__)

RETRY_S = 1.0  # of a step that failed and cannot be given up
KEEP_OUTCOMES_S = 900.0  # of changes that clients may ask for again
DONE = ""
Key = tuple[bytes, int]  # client id and nonce of the call that asked for it


class Procedure:
    """One change. Subclasses name their steps and have a method for each.

    A step's method returns ``None`` for the step after it, or the name of another, or ``DONE``.
    """

    kind: ClassVar[str] = ""
    endless: ClassVar[bool] = False  # never given up: a step that fails is tried again until it succeeds
    steps: ClassVar[tuple[str, ...]] = ()
    _kinds: ClassVar[dict[str, type[Procedure]]] = {}

    def __init_subclass__(cls) -> None:
        if cls.kind:
            Procedure._kinds[cls.kind] = cls
            declare(f"{cls.kind}.{step}.{where}" for step in cls.steps for where in ("before", "after"))

    def __init__(self, data: dict[str, Any]) -> None:
        self.core: Core
        self.data = data  # what msgpack takes
        self.number = 0
        self.step = self.steps[0]
        self.began = time.time()
        self.note = ""  # what it waits for, in words
        self.error: Exception | None = None
        self.result: Any = None
        self._done = threading.Event()

    @classmethod
    def restore(cls, stored: StoredProcedure) -> Procedure:
        """A procedure that another master began."""
        procedure = cls._kinds[stored.kind](stored.data)
        procedure.number, procedure.step = stored.number, stored.step
        return procedure

    def claims(self) -> Iterable[Name]:
        """What must be its own while it is under way."""
        return ()

    def undo(self, error: Exception) -> None:
        """Take back what was done; called after a step failed for good."""

    def describe(self) -> str:
        """For people: what it is about."""
        return self.kind

    def wait(self) -> Any:
        """The result, when it is done. Raises its error."""
        self._done.wait()
        if self.error is not None:
            raise self.error
        return self.result

    def finish(self, error: Exception | None) -> None:
        """It is over."""
        self.error = error
        self._done.set()

    @property
    def done(self) -> bool:
        """Whether it is over."""
        return self._done.is_set()


class Executor:
    """Runs procedures and remembers them.

    Args:
        core: what steps work with (``core.py``).
        check: raises when this master must not act any more.
    """

    def __init__(self, core: Core, store: MasterStore, locks: Locks, check: Callable[[], None]) -> None:
        self._core = core
        self._store = store
        self._locks = locks
        self._check = check
        self._lock = threading.Lock()
        self._last = int(time.time() * 1000)
        self._running: dict[int, Procedure] = {}
        self._by_key: dict[Key, Procedure] = {}
        self._stopped = False

    def submit(self, procedure: Procedure, key: Key | None = None) -> Procedure:
        """Write it down and begin; the same key again gives the first one's procedure."""
        with self._lock:
            if self._stopped:
                raise MasterNotRunningException("this master is stopping: ask the next one")
            if key is not None:
                self._forget_old()
                known = self._by_key.get(key)
                if known is not None:
                    return known
                procedure.data["asked"] = list(key)
                self._by_key[key] = procedure
            self._number(procedure)
        try:
            self._store.save(_stored(procedure))
        except BaseException as error:
            with self._lock:
                del self._running[procedure.number]
                if key is not None:
                    del self._by_key[key]
            procedure.finish(error if isinstance(error, Exception) else None)
            raise
        self._begin(procedure)
        return procedure

    def prepare(self, procedure: Procedure) -> Procedure:
        """Write it down; ``begin_resumed`` begins it."""
        with self._lock:
            self._number(procedure)
        self._store.save(_stored(procedure))
        return procedure

    def _number(self, procedure: Procedure) -> None:
        self._last = procedure.number = max(self._last + 1, int(time.time() * 1000))
        procedure.core = self._core
        self._running[procedure.number] = procedure

    def resume(self) -> list[Procedure]:
        """Take over what earlier masters left, in its order; each has its claims before the next."""
        found = []
        for stored in self._store.procedures():
            procedure = Procedure.restore(stored)
            procedure.core = self._core
            self._last = max(self._last, procedure.number)
            key = procedure.data.get("asked")
            with self._lock:
                if key is not None:
                    self._by_key[(key[0], key[1])] = procedure
                if procedure.step != DONE:
                    self._running[procedure.number] = procedure
            if procedure.step == DONE:
                outcome = procedure.data.get("outcome")
                procedure.finish(None if outcome is None else decode_fault(outcome))
                continue
            logger.info("procedure resumed %s step=%s", procedure.describe(), procedure.step)
            found.append(procedure)
        return found

    def begin_resumed(self, procedures: Iterable[Procedure]) -> None:
        """Go on with them: what was claimed by one begun earlier is claimed first."""
        for procedure in procedures:
            self._locks.try_acquire(procedure.claims(), procedure.number)
        for procedure in procedures:
            self._begin(procedure)

    def known(self, key: Key) -> Procedure | None:
        """The procedure that was begun for this call before, if any."""
        with self._lock:
            return self._by_key.get(key)

    def running(self) -> list[Procedure]:
        """Those under way, oldest first."""
        with self._lock:
            return sorted(self._running.values(), key=lambda procedure: procedure.number)

    def stop(self) -> None:
        """Begin no further steps; what is under way is the next master's."""
        with self._lock:
            self._stopped = True

    def _begin(self, procedure: Procedure) -> None:
        name = f"procedure-{procedure.number}"
        threading.Thread(target=self._run, args=(procedure,), name=name, daemon=True).start()

    def _run(self, procedure: Procedure) -> None:
        error: Exception | None = None
        try:
            self._locks.acquire(procedure.claims(), procedure.number)
            error = self._steps(procedure)
            self._check()
            self._record_end(procedure, error)
        except (MasterNotRunningException, LeaseLostException) as stopped:
            procedure.finish(MasterNotRunningException(str(stopped)))
            return  # it stays in the store
        except Exception as failed:
            logger.exception("procedure failed %s step=%s", procedure.describe(), procedure.step)
            error = failed
        with self._lock:
            self._running.pop(procedure.number, None)
        self._locks.release(procedure.number)
        logger.info(
            "procedure done %s error=%s took_ms=%d",
            procedure.describe(),
            error,
            (time.time() - procedure.began) * 1000,
        )
        procedure.finish(error)

    def _steps(self, procedure: Procedure) -> Exception | None:
        """Carry the steps out; returns the error if it was undone."""
        while procedure.step != DONE:
            self._check()
            step = procedure.step
            fault_point(f"{procedure.kind}.{step}.before")
            try:
                following = getattr(procedure, step)()
            except (MasterNotRunningException, LeaseLostException):
                raise
            except (HBaseIOException, OSError) as error:
                self._check()
                if procedure.endless:
                    procedure.note = f"{step} failed: {error}"
                    logger.warning("stuck %s step=%s error=%s", procedure.describe(), step, error)
                    time.sleep(RETRY_S)
                    continue
                logger.warning("undone %s step=%s error=%s", procedure.describe(), step, error)
                procedure.undo(error)
                return error
            fault_point(f"{procedure.kind}.{step}.after")
            procedure.step = _after(procedure, step) if following is None else following
            if procedure.step != DONE:
                self._check()
                self._store.save(_stored(procedure))
        return None

    def _record_end(self, procedure: Procedure, error: Exception | None) -> None:
        """What a client asked for is kept with its outcome: the client may ask the next master again."""
        if "asked" not in procedure.data:
            self._store.remove(procedure.number)
            return
        procedure.step = DONE
        procedure.data["outcome"] = None if error is None else encode_fault(error)
        self._store.save(_stored(procedure))

    def _forget_old(self) -> None:
        limit = time.time() - KEEP_OUTCOMES_S
        for key, procedure in list(self._by_key.items()):
            if procedure.done and procedure.number < limit * 1000:
                del self._by_key[key]
                self._store.remove(procedure.number)


def _after(procedure: Procedure, step: str) -> str:
    steps = procedure.steps
    place = steps.index(step) + 1
    return steps[place] if place < len(steps) else DONE


def _stored(procedure: Procedure) -> StoredProcedure:
    return StoredProcedure(procedure.number, procedure.kind, procedure.step, procedure.data)
