"""A simulated ZooKeeper, a server with a lease, and what may go wrong between them, on one clock.

The world knows what no server can: when the znode went and from when on somebody else may serve. A scenario
moves time and stages faults; each 10 ms the server beats and tries to answer. ``World.end`` fails if it has
answered at a time when others could have taken over. Worst cases are taken where ZooKeeper leaves
room: a session expires exactly ``timeout`` after the newest touch that the leader knows of, and through a
follower it hears of touches late.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from hyperbase.common.errors import HBaseIOException
from hyperbase.common.zookeeper.lease import Lease, SessionLostError, ZnodeGoneError

STEP_S = 0.01
ANSWER_S = 0.002
PATH = "/hyperbase/rs/h,1,1"


@dataclass
class Stat:
    ephemeralOwner: int  # noqa: N815
    czxid: int


class World:
    """Time, one ensemble, one server.

    Args:
        timeout_s, asked_s: the session timeout ZooKeeper granted, and what the server had asked for.
        relay_every_s: how often the leader asks the follower which sessions it heard from; 0: no follower.
        zookeeper_rate: seconds of ZooKeeper's clock in one of ours.
    """

    def __init__(
        self,
        lease: type[Lease] = Lease,
        *,
        timeout_s: float = 10.0,
        asked_s: float = 0.0,
        tick_s: float = 2.0,
        relay_every_s: float = 0.0,
        zookeeper_rate: float = 1.0,
        monotonic_clock: bool = False,
        check_first: bool = False,
    ) -> None:
        self.now = 1000.0
        self.slept_s = 0.0
        self.timeout_s = timeout_s
        self.relay_every_s = relay_every_s
        self.zookeeper_rate = zookeeper_rate
        self.check_first = check_first
        self.session = Session(self, asked_s or timeout_s)
        self.reachable = True  # leader and quorum, from the server or its follower
        self.follower_reachable = True
        self.silent_new_session = False
        self.next_zxid = 7
        self.znode: Stat | None = Stat(self.session.session_id, self.next_zxid)
        self.started = self.touched = self.granted = self.now
        self.taken_over_at = float("inf")
        self.answers: list[float] = []
        self.last_error: Exception | None = None
        clock = self.monotonic if monotonic_clock else self.boottime
        self.lease = lease(self.session, PATH, b"v", czxid=self.znode.czxid, tick_s=tick_s, clock=clock)

    def boottime(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now - self.slept_s

    # -- what a scenario does

    def run(self, seconds: float) -> None:
        """The server runs."""
        for _ in range(round(seconds / STEP_S)):
            self.pass_time(STEP_S)
            self.session.reconnect()
            self.lease.step()
            self.try_to_answer()

    def stop(self, seconds: float, *, machine: bool = False) -> None:
        """The server's process is stopped (SIGSTOP), or its machine sleeps."""
        self.pass_time(seconds)
        if machine:
            self.slept_s += seconds

    def wake(self) -> None:
        """What a stopped process was about to do, it does at once when it goes on."""
        self.try_to_answer()
        self.lease.step()
        self.try_to_answer()

    def remove_znode(self) -> None:
        """A recovery removes the znode, and waits as long as the lease may last."""
        self.znode = None
        self.taken_over_at = min(self.taken_over_at, self.now + self.timeout_s)

    def register_again(self) -> None:
        """The server makes its znode anew, in the session that it has."""
        if self.znode is None:
            self.next_zxid += 1
            self.znode = Stat(self.session.session_id, self.next_zxid)

    def try_to_answer(self, effect: Callable[[], None] = lambda: None) -> bool:
        """One write: its effect (append and fsync), the lease check, the answer."""
        try:
            if self.check_first:
                self.lease.check()
                effect()
            else:
                self.lease.confirm(effect())
        except HBaseIOException as error:
            self.last_error = error
            return False
        self.answers.append(self.now)
        return True

    def end(self) -> World:
        """Fail if an answer was given when others could have taken over."""
        late = [time for time in self.answers if time >= self.taken_over_at]
        assert not late, f"{len(late)} answers up to {late[-1] - self.taken_over_at:.2f} s after the takeover"
        return self

    # -- what ZooKeeper does

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        if self.relay_every_s and self.reachable:
            asks = math.ceil((self.granted - self.started) / self.relay_every_s)
            asked = self.started + asks * self.relay_every_s
            if asked <= self.now:
                self.touched = max(self.touched, asked)
        if (self.now - self.touched) * self.zookeeper_rate >= self.timeout_s:
            expired_at = self.touched + self.timeout_s / self.zookeeper_rate
            if self.znode is not None and self.znode.ephemeralOwner == self.session.first_id:
                self.znode = None
            self.taken_over_at = min(self.taken_over_at, expired_at)
            self.session.expired = True

    def grant(self) -> None:
        """The quorum answered a request of the session, sent now."""
        self.granted = self.now
        if not self.relay_every_s:
            self.touched = self.now


class Session:
    """The server's session, as a lease sees it."""

    def __init__(self, world: World, asked_s: float) -> None:
        self.world = world
        self.asked_s = asked_s
        self.first_id = self.session_id = 0x1234
        self.expired = False
        self.connected = True
        self.connect_sent = world.now
        self.lost = ""
        self.writes = 0
        self.drops = 0
        self.write_error: Exception | None = None

    @property
    def timeout_s(self) -> float:
        return self.world.timeout_s

    def write(self, path: str, value: bytes, on_done: Callable[[], None]) -> Pending:
        assert path == PATH
        self.writes += 1
        if self.write_error is not None:
            raise self.write_error
        world = self.world
        if not world.reachable:
            return Pending(self, None)
        if self.expired and world.silent_new_session:
            self.session_id = 0x9999
            world.register_again()
        elif self.expired:
            return Pending(self, SessionLostError("expired"))
        else:
            world.grant()
        if world.znode is None:
            return Pending(self, ZnodeGoneError())
        return Pending(self, Stat(world.znode.ephemeralOwner, world.znode.czxid))

    def reconnect(self) -> None:
        """A new connection: the leader is told."""
        world = self.world
        if self.connected or not world.reachable or (self.expired and not world.silent_new_session):
            return
        self.connected = True
        self.connect_sent = world.now
        if not self.expired:
            world.touched = world.granted = world.now

    def read(self) -> Pending:
        """What a follower answers, from what it last knew."""
        world = self.world
        if world.reachable:
            world.grant()
        elif not world.follower_reachable:
            return Pending(self, None)
        return Pending(self, Stat(self.first_id, 7))

    def add_listener(self, listener: Callable[[], None]) -> None:
        pass

    def remove_listener(self, listener: Callable[[], None]) -> None:
        pass


class Pending:
    """A heartbeat whose answer arrives ``ANSWER_S`` later, or never."""

    def __init__(self, session: Session, answer: Stat | Exception | None) -> None:
        self.session = session
        self.answer = answer
        self.arrives = session.world.now + ANSWER_S

    def done(self) -> bool:
        return self.answer is not None and self.session.world.now >= self.arrives

    def result(self) -> Stat:
        if isinstance(self.answer, Exception):
            raise self.answer
        assert self.answer is not None
        return self.answer

    def drop_connection(self) -> None:
        self.session.drops += 1
        self.session.connected = False
