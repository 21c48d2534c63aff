"""The lease: until when a server may say that what it holds is its own.

A server owns its regions as long as its ephemeral znode exists; others take over once that is gone. What it
acknowledges must be true at that moment still, so it answers only while its lease lasts, and the lease ends
before ZooKeeper can delete the znode:

    newest    := send time of the newest answered heartbeat
    known     := send time of the newest answered one that is a tick older than ``newest``, or of the connect
    lease end := min(newest + timeout * 0.999 - tick, known + timeout * 0.999)

Invariants
  * A heartbeat is a write (setData on the own znode): only a leader with a quorum can answer one, a
    follower that is cut off answers reads for many seconds.
  * It counts from when it was sent, on CLOCK_BOOTTIME: an answer may lie in a buffer while this process is
    stopped, and the machine may sleep.
  * The timeout is the negotiated one. The answer must name the session and the creation (czxid) that were
    pinned when the znode was made.
  * At most one heartbeat is under way; they are sent every tick / 2 at least. A write through a follower
    does not touch the session at the leader: the leader asks every tick / 2 which sessions its followers
    heard from, and is told at each connect. With steady heartbeats it is a tick behind at most, and both
    terms are the same. After a pause it may know of none but the one before: the first heartbeat that is
    answered then proves nothing yet.
  * Effects first, then the check, then the answer: ``return lease.confirm(sync())``.
  * States: held; suspended, when time ran out: held again as soon as heartbeats of the same session and
    czxid are answered, for then the znode was never gone; lost, when znode or session is gone: for ever.
Threads: any may check, one beats (``start``), listeners are called by that one.
"""

from __future__ import annotations

import enum
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeVar

from hyperbase.common.errors import (
    IllegalArgumentException,
    LeaseLostException,
    LeaseSuspendedException,
)

logger = logging.getLogger(__name__)
T = TypeVar("T")

CLOCK_DRIFT = 0.001  # how much faster than ours ZooKeeper's clock may run
HEARTBEAT_MAX_S = 1.0
RETRY_DELAY_MIN_S = 0.05
RETRY_DELAY_MAX_S = 0.3
RETRY_BACKOFF = 1.5
SILENCE_SHARE = 1 / 3  # of the timeout: an answer that takes longer is waited for on another connection
_NEVER = float("-inf")


class ZnodeGoneError(Exception):
    """The znode does not exist (any more)."""


class SessionLostError(Exception):
    """The session has ended, and its ephemeral znodes with it."""


class ZnodeStat(Protocol):
    """The two facts of a znode that tell whose it is and when it was made."""

    @property
    def ephemeralOwner(self) -> int:  # noqa: N802
        """The session that made it."""

    @property
    def czxid(self) -> int:
        """The transaction that made it."""


class PendingWrite(Protocol):
    """A write that was sent."""

    def done(self) -> bool:
        """Whether it was answered, or failed."""

    def result(self) -> ZnodeStat:
        """Raises ZnodeGoneError, SessionLostError; anything else: it was not answered."""

    def drop_connection(self) -> None:
        """Give up the connection it was sent on, if it is still the session's; another one is made."""


class LeaseSession(Protocol):
    """What a lease needs of its ZooKeeper session."""

    @property
    def session_id(self) -> int:
        """The pinned one."""

    @property
    def timeout_s(self) -> float:
        """Negotiated at the newest connect."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection to send on."""

    @property
    def connect_sent(self) -> float:
        """When the request was sent that made the newest connection; on the lease's clock."""

    @property
    def lost(self) -> str:
        """Why the session has ended; empty while it has not."""

    def write(self, path: str, value: bytes, on_done: Callable[[], None]) -> PendingWrite:
        """Send a setData; never waits."""

    def add_listener(self, listener: Callable[[], None]) -> None:
        """Call it whenever one of these facts may have changed. It must not wait."""

    def remove_listener(self, listener: Callable[[], None]) -> None:
        """No more."""


class LeaseState(enum.Enum):
    """What a server may do."""

    HELD = "held"  # answer
    SUSPENDED = "suspended"  # wait, answer nothing
    LOST = "lost"  # end


# Where a system has no CLOCK_BOOTTIME (macOS), this other one goes on while the machine sleeps.
_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", None) or time.CLOCK_MONOTONIC


def boottime() -> float:
    """Seconds since the machine started, those included in which it slept."""
    return time.clock_gettime(_BOOTTIME)


def lease_length_s(timeout_s: float, tick_s: float) -> float:
    """How long after the sending of the newest of steady heartbeats the znode exists for certain."""
    return timeout_s * (1 - CLOCK_DRIFT) - tick_s


class Lease:
    """One server's lease, kept by heartbeats on its ephemeral znode.

    Args:
        path, value: the znode, and what each heartbeat writes into it.
        czxid: the znode's, from the answer to its creation.
        tick_s: ZooKeeper's tick (``zookeeper.tick_time_ms``); never less than the ensemble's.
        known: ``known`` of another lease of the same session: whoever beat before goes on without a pause.
        clock: seconds, going on while the machine sleeps.

    Raises:
        IllegalArgumentException: the negotiated timeout leaves no lease.
    """

    def __init__(
        self,
        session: LeaseSession,
        path: str,
        value: bytes,
        *,
        czxid: int,
        tick_s: float,
        known: float = _NEVER,
        clock: Callable[[], float] = boottime,
    ) -> None:
        self._session = session
        self._session_id = session.session_id
        self._path = path
        self._value = value
        self._czxid = czxid
        self._tick_s = tick_s
        self._clock = clock
        self._interval_s = min(tick_s / 2, HEARTBEAT_MAX_S)
        if lease_length_s(session.timeout_s, tick_s) <= self._interval_s:
            raise IllegalArgumentException(
                f"ZooKeeper granted a session timeout of {session.timeout_s:g} s, which leaves no lease "
                f"with ticks of {tick_s:g} s: ask for more than {(tick_s * 1.5) / (1 - CLOCK_DRIFT):.3g} s"
            )
        self._until = _NEVER  # check() reads it without the lock: a float is replaced in one step
        self._lost = ""
        self._lock = threading.Lock()
        self._held = threading.Condition(self._lock)
        self._listeners: list[Callable[[LeaseState], None]] = []
        self._told = LeaseState.SUSPENDED
        # The beating thread's own:
        self._pending: PendingWrite | None = None
        self._sent = _NEVER
        self._sent_timeout_s = 0.0
        self._answered_sends: deque[float] = deque()  # not yet known to the leader for certain
        self._known = known
        self._next_send = _NEVER
        self._retry_delay_s = RETRY_DELAY_MIN_S
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        session.add_listener(self._session_changed)

    # -- what acknowledgements ask

    def check(self) -> None:
        """Return if the lease is held at this moment. Ask after the effect and before the answer.

        Raises:
            LeaseSuspendedException: not now; it may be held again.
            LeaseLostException: never again.
        """
        if self._clock() >= self._until:
            self._refuse()

    def confirm(self, outcome: T, *, wait_s: float = 0.0) -> T:
        """Hand ``outcome`` on if the lease is held now, after it was computed: ``confirm(sync())``.

        Args:
            wait_s: how long to wait for a suspended lease. If it comes back, the znode was never gone, and
                nobody else has taken over meanwhile.

        Raises:
            LeaseSuspendedException, LeaseLostException: it must not be answered.
        """
        if self._clock() >= self._until:
            self.wait(wait_s)
        return outcome

    def wait(self, wait_s: float) -> None:
        """Return as soon as the lease is held.

        Raises:
            LeaseSuspendedException: not within ``wait_s``.
            LeaseLostException: never again.
        """
        end = self._clock() + wait_s
        with self._held:
            while True:
                now = self._clock()
                if now < self._until:
                    return
                if self._lost or now >= end:
                    break
                self._held.wait(end - now)
        self._refuse()

    @property
    def state(self) -> LeaseState:
        """What a check at this moment says."""
        if self._clock() < self._until:
            return LeaseState.HELD
        return LeaseState.LOST if self._lost else LeaseState.SUSPENDED

    @property
    def lost(self) -> str:
        """Why the lease is lost; empty while it is not."""
        return self._lost

    @property
    def czxid(self) -> int:
        """The pinned one; a master's is its epoch."""
        return self._czxid

    @property
    def known(self) -> float:
        """The newest moment of which ZooKeeper's leader is certain to know that the session was alive."""
        return max(self._known, self._session.connect_sent)

    def add_listener(self, listener: Callable[[LeaseState], None]) -> None:
        """Tell it of each transition, a moment later: what matters now, ``check`` says."""
        with self._lock:
            self._listeners.append(listener)

    # -- its life

    def start(self) -> Lease:
        """Beat from now on, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="hyperbase-lease", daemon=True)
        self._thread.start()
        return self

    def lose(self, reason: str) -> None:
        """End it for ever: whoever knows that others may take over says so here."""
        with self._held:
            if not self._lost:
                self._lost = reason
                self._until = _NEVER
                level = logging.INFO if self._stopping else logging.WARNING
                logger.log(level, "lease lost path=%s reason=%s", self._path, reason)
            self._held.notify_all()
        self._wake.set()

    def release(self) -> None:
        """End it before the znode is deleted by its owner."""
        self._stopping = True
        self.lose("released")
        self._session.remove_listener(self._session_changed)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5)

    def step(self) -> float:
        """Do what is due: take an answer, send a heartbeat, tell listeners. Seconds until more is due."""
        now = self._clock()
        if self._session.lost:
            self.lose(f"the ZooKeeper session has ended: {self._session.lost}")
        self._shorten()
        if not self._lost:
            self._take_answer(now)
        if not self._lost and self._pending is None and self._session.connected and now >= self._next_send:
            self._send(now)
        self._tell()
        return self._pause(self._clock())

    # -- one heartbeat

    def _send(self, now: float) -> None:
        self._sent = now
        self._sent_timeout_s = self._session.timeout_s
        self._pending = self._session.write(self._path, self._value, self._wake.set)

    def _take_answer(self, now: float) -> None:
        pending = self._pending
        if pending is None:
            return
        if not pending.done():
            if now - self._sent >= self._session.timeout_s * SILENCE_SHARE:
                self._pending = None
                self._failed(now, "no answer")
                pending.drop_connection()
            return
        self._pending = None
        try:
            stat = pending.result()
        except ZnodeGoneError:
            self.lose("its znode was removed")
        except SessionLostError as error:
            self.lose(f"the ZooKeeper session has ended: {error}")
        except Exception as error:
            self._failed(now, repr(error))
            # Some errors (a session that moved) are the connection's own and last as long as it does.
            pending.drop_connection()
        else:
            self._answered(stat)

    def _answered(self, stat: ZnodeStat) -> None:
        if not self._is_own(stat):
            self.lose(
                f"its znode is another one: session 0x{stat.ephemeralOwner:x} and czxid {stat.czxid}, "
                f"not 0x{self._session_id:x} and {self._czxid}"
            )
            return
        timeout_s = min(self._sent_timeout_s, self._session.timeout_s)
        self._retry_delay_s = RETRY_DELAY_MIN_S
        self._next_send = self._sent + self._interval_s
        until = self._end(self._start(), timeout_s)
        with self._held:
            if not self._lost:
                self._until = max(self._until, until)
                self._held.notify_all()

    def _end(self, newest: float, timeout_s: float) -> float:
        known = self._known_when(newest)
        return min(newest + self._length(timeout_s), known + timeout_s * (1 - CLOCK_DRIFT))

    def _known_when(self, newest: float) -> float:
        while self._answered_sends and self._answered_sends[0] <= newest - self._tick_s:
            self._known = self._answered_sends.popleft()
        self._answered_sends.append(newest)
        return self.known

    def _start(self) -> float:
        return self._sent

    def _length(self, timeout_s: float) -> float:
        return lease_length_s(timeout_s, self._tick_s)

    def _is_own(self, stat: ZnodeStat) -> bool:
        return stat.ephemeralOwner == self._session_id and stat.czxid == self._czxid

    def _failed(self, now: float, reason: str) -> None:
        logger.debug("heartbeat failed path=%s reason=%s", self._path, reason)
        self._next_send = now + self._retry_delay_s
        self._retry_delay_s = min(self._retry_delay_s * RETRY_BACKOFF, RETRY_DELAY_MAX_S)

    def _shorten(self) -> None:
        """A server that grants a shorter timeout than the last one did counts by its own."""
        if self._session.timeout_s < self._sent_timeout_s:
            with self._held:
                if not self._lost:
                    limit = self._sent + self._length(self._session.timeout_s)
                    self._until = min(self._until, limit)

    # -- telling, waiting

    def _refuse(self) -> None:
        if self._lost:
            raise LeaseLostException(
                f"this server's lease is lost, {self._lost}: others take over what it served. "
                "Find the new owner and retry."
            )
        raise LeaseSuspendedException(
            "this server has not heard from ZooKeeper for so long that others may take over: "
            "it answers again when it has. Retry."
        )

    def _tell(self) -> None:
        state = self.state
        if state is self._told:
            return
        self._told = state
        logger.info("lease state=%s path=%s", state.value, self._path)
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            try:
                listener(state)
            except Exception:
                logger.exception("a listener of the lease failed state=%s", state.value)

    def _pause(self, now: float) -> float:
        due = now + RETRY_DELAY_MAX_S
        if self._pending is None and self._session.connected:
            due = min(due, self._next_send)
        if now < self._until:
            due = min(due, self._until)
        return max(due - now, 0.0)

    def _session_changed(self) -> None:
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                pause_s = self.step()
            except Exception:
                # Whatever it is: without heartbeats the lease runs out, so nothing wrong is ever answered.
                logger.exception("a heartbeat failed path=%s", self._path)
                pause_s = RETRY_DELAY_MAX_S
            if self._told is LeaseState.LOST:
                return
            self._wake.wait(pause_s)
        self._tell()
