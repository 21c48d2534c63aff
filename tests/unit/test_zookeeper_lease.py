"""The lease: what it grants in every staged fault, and that each near miss of its form is caught."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperbase.common.errors import (
    IllegalArgumentException,
    LeaseLostException,
    LeaseSuspendedException,
)
from hyperbase.common.zookeeper.lease import (
    RETRY_DELAY_MAX_S,
    Lease,
    LeaseState,
    boottime,
    lease_length_s,
)
from tests.support.lease_world import PATH, Session, World, ZnodeGoneError

Build = Callable[..., World]


# -- scenarios: each is run with the lease as it is, and with the near miss that it catches


def stopped_with_an_answer_on_its_way(build: Build) -> None:
    world = build()
    world.run(5)
    while world.lease._pending is None:
        world.run(0.01)
    world.stop(30)
    world.wake()
    world.run(5)
    world.end()


def stopped_during_fsync(build: Build) -> None:
    world = build()
    world.run(5)
    world.try_to_answer(lambda: world.stop(30))
    world.end()


def cut_off_with_its_follower(build: Build) -> None:
    world = build(relay_every_s=1.0)
    world.run(5)
    world.reachable = False
    world.run(20)
    world.end()


def cut_off_before_the_leader_heard_of_the_heartbeat(build: Build) -> None:
    world = build(relay_every_s=1.0)
    world.run(4.99)
    while world.granted - world.touched < 0.9:
        world.run(0.01)
    world.reachable = world.follower_reachable = False
    world.run(20)
    world.end()


def cut_off_right_after_a_pause(build: Build) -> None:
    world = build(relay_every_s=1.0)
    world.run(5.2)
    world.stop(7)
    world.run(0.1)
    assert world.granted - world.touched > 6
    world.reachable = world.follower_reachable = False
    world.run(20)
    world.end()


def cut_off_from_a_leader_with_a_fast_clock(build: Build) -> None:
    world = build(relay_every_s=2.0, timeout_s=40.0, zookeeper_rate=1.001)
    while world.granted - world.touched < 1.97:
        world.run(0.01)
    world.reachable = world.follower_reachable = False
    world.run(60)
    world.end()


def granted_less_than_asked(build: Build) -> None:
    world = build(asked_s=60.0, timeout_s=40.0)
    world.run(5)
    world.reachable = world.follower_reachable = False
    world.run(100)
    world.end()


def expired_and_silently_in_a_new_session(build: Build) -> None:
    world = build()
    world.silent_new_session = True
    world.run(5)
    world.stop(30)
    world.wake()
    world.run(5)
    world.end()


def removed_and_made_again_in_the_same_session(build: Build) -> None:
    world = build()
    world.run(5)
    world.remove_znode()
    world.register_again()
    world.run(20)
    world.end()


def removed(build: Build) -> None:
    world = build()
    world.run(5)
    world.remove_znode()
    world.run(3)
    world.register_again()
    world.run(20)
    world.end()


def machine_asleep(build: Build) -> None:
    world = build()
    world.run(5)
    world.stop(30, machine=True)
    world.wake()
    world.end()


# -- near misses


class FromAnyHeartbeat(Lease):
    def _known_when(self, newest: float) -> float:
        return newest


class FromReceipt(FromAnyHeartbeat):
    def _start(self) -> float:
        return self._clock()


class ByReading(Lease):
    def _send(self, now: float) -> None:
        super()._send(now)
        assert isinstance(self._session, Session)
        self._pending = self._session.read()


class WithoutTick(FromAnyHeartbeat):
    def _length(self, timeout_s: float) -> float:
        return timeout_s * 0.999


class WithoutDrift(FromAnyHeartbeat):
    def _length(self, timeout_s: float) -> float:
        return timeout_s - self._tick_s


class AsAsked(Lease):
    def _end(self, newest: float, timeout_s: float) -> float:
        assert isinstance(self._session, Session)
        return super()._end(newest, self._session.asked_s)


class AnySession(Lease):
    def _is_own(self, stat: object) -> bool:
        return True


class AnyCzxid(Lease):
    def _is_own(self, stat: object) -> bool:
        return getattr(stat, "ephemeralOwner", 0) == self._session_id


class NotFinal(AnyCzxid):
    def lose(self, reason: str) -> None:
        super().lose(reason)
        self._lost = ""


NEAR_MISSES = {
    "from the receipt of the answer": (stopped_with_an_answer_on_its_way, {"lease": FromReceipt}),
    "check before fsync": (stopped_during_fsync, {"check_first": True}),
    "heartbeats that read": (cut_off_with_its_follower, {"lease": ByReading}),
    "no margin for ticks": (cut_off_before_the_leader_heard_of_the_heartbeat, {"lease": WithoutTick}),
    "the first heartbeat after a pause": (cut_off_right_after_a_pause, {"lease": FromAnyHeartbeat}),
    "no margin for clocks": (cut_off_from_a_leader_with_a_fast_clock, {"lease": WithoutDrift}),
    "the timeout that was asked for": (granted_less_than_asked, {"lease": AsAsked}),
    "session not pinned": (expired_and_silently_in_a_new_session, {"lease": AnySession}),
    "czxid not pinned": (removed_and_made_again_in_the_same_session, {"lease": AnyCzxid}),
    "lost is not final": (removed, {"lease": NotFinal}),
    "a clock that stops in suspend": (machine_asleep, {"monotonic_clock": True}),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_the_lease_grants_nothing_that_could_be_anothers(name: str) -> None:
    scenario, _ = NEAR_MISSES[name]
    answers: list[World] = []

    def build(**options: object) -> World:
        answers.append(World(**options))  # type: ignore[arg-type]
        return answers[-1]

    scenario(build)
    assert len(answers[0].answers) > 100


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_each_near_miss_is_caught(name: str) -> None:
    scenario, bug = NEAR_MISSES[name]
    with pytest.raises(AssertionError, match="after the takeover"):
        scenario(lambda **options: World(**options, **bug))


EVENTS = st.one_of(
    st.tuples(st.sampled_from(["run", "stop"]), st.floats(0.01, 15)),
    st.tuples(st.sampled_from(["cut", "cut follower", "heal", "remove", "register", "fsync"]), st.just(0.0)),
    st.tuples(st.just("sleep"), st.floats(0.01, 15)),
)


@settings(max_examples=120, deadline=None)
@given(
    events=st.lists(EVENTS, max_size=12),
    relay_every_s=st.sampled_from([0.0, 1.0]),
    rate=st.sampled_from([0.999, 1.0, 1.001]),
    new_session=st.booleans(),
)
def test_no_order_of_faults_makes_it_grant_what_is_anothers(
    events: list[tuple[str, float]], relay_every_s: float, rate: float, new_session: bool
) -> None:
    world = World(relay_every_s=relay_every_s, zookeeper_rate=rate)
    world.silent_new_session = new_session
    for event, seconds in events:
        if event == "run":
            world.run(seconds)
        elif event in ("stop", "sleep"):
            world.stop(seconds, machine=event == "sleep")
            world.wake()
        elif event in ("cut", "cut follower"):
            world.reachable = False
            world.follower_reachable = event == "cut"
        elif event == "heal":
            world.reachable = world.follower_reachable = True
        elif event == "remove":
            world.remove_znode()
        elif event == "register":
            world.register_again()
        else:
            world.try_to_answer(lambda: world.stop(3))
    world.end()


# -- states


def test_an_outage_shorter_than_timeout_minus_margin_minus_a_second_is_invisible() -> None:
    world = World(timeout_s=10.0, tick_s=2.0)
    told: list[LeaseState] = []
    world.lease.add_listener(told.append)
    world.run(3)
    answered = len(world.answers)
    world.reachable = False
    world.run(10 - 2.01 - 1)
    world.reachable = True
    world.run(2)
    assert told == [LeaseState.HELD]
    assert len(world.answers) - answered == pytest.approx((10 - 2.01 - 1 + 2) * 100, abs=1)


def test_a_longer_outage_costs_waiting_and_nothing_else() -> None:
    world = World(timeout_s=10.0, tick_s=2.0)
    told: list[LeaseState] = []
    world.lease.add_listener(told.append)
    world.run(3)
    world.reachable = False
    world.run(9)
    assert world.lease.state is LeaseState.SUSPENDED
    with pytest.raises(LeaseSuspendedException, match="has not heard from ZooKeeper"):
        world.lease.check()
    world.reachable = True
    world.run(1)
    assert world.lease.state is LeaseState.HELD
    world.lease.check()
    assert told == [LeaseState.HELD, LeaseState.SUSPENDED, LeaseState.HELD]
    world.end()


def test_lost_is_final_and_says_why() -> None:
    world = World()
    told: list[LeaseState] = []
    world.lease.add_listener(told.append)
    world.run(1)
    world.remove_znode()
    world.run(2)
    world.register_again()
    world.run(5)
    assert told == [LeaseState.HELD, LeaseState.LOST]
    assert world.lease.lost == "its znode was removed"
    with pytest.raises(LeaseLostException, match="its znode was removed"):
        world.lease.confirm(1)
    with pytest.raises(LeaseLostException):
        world.lease.wait(0.01)


def test_the_end_of_the_session_is_the_end_of_the_lease() -> None:
    world = World()
    world.run(1)
    world.session.lost = "expired"
    world.run(0.01)
    assert world.lease.state is LeaseState.LOST
    assert "the ZooKeeper session has ended: expired" in world.lease.lost


def test_before_the_first_answer_nothing_is_granted() -> None:
    world = World()
    assert world.lease.state is LeaseState.SUSPENDED
    with pytest.raises(LeaseSuspendedException):
        world.lease.check()


def test_the_lease_counts_from_the_sending() -> None:
    world = World(timeout_s=10.0, tick_s=2.0)
    world.run(0.5)
    assert world.lease._until == pytest.approx(1000.01 + 9.99 - 2.0)


def test_heartbeats_are_sent_every_half_tick_and_every_second_at_least() -> None:
    for tick_s, per_second in ((2.0, 1), (0.5, 4), (10.0, 1)):
        world = World(timeout_s=30.0, tick_s=tick_s)
        world.run(10)
        assert world.session.writes == pytest.approx(10 * per_second, abs=1.1)


def test_silence_gives_the_connection_up_and_one_heartbeat_is_under_way_at_a_time() -> None:
    world = World(timeout_s=9.0, tick_s=1.0)
    world.run(2)
    writes = world.session.writes
    world.reachable = False
    world.run(2.8)
    assert (world.session.writes - writes, world.session.drops) == (1, 0)
    world.run(1.2)
    assert (world.session.writes - writes, world.session.drops) == (1, 1)


def test_without_a_connection_nothing_is_sent() -> None:
    world = World()
    world.run(2)
    world.session.connected = world.reachable = False
    writes = world.session.writes
    world.run(5)
    assert world.session.writes == writes
    world.reachable = True
    world.run(0.02)
    assert world.session.writes == writes + 1


def test_errors_are_retried_with_growing_pauses() -> None:
    world = World()
    world.run(2)

    sent: list[float] = []
    answer = world.session.write

    def failing(path: str, value: bytes, on_done: Callable[[], None]) -> object:
        sent.append(world.now)
        pending = answer(path, value, on_done)
        pending.answer = OSError("session moved")
        return pending

    world.session.write = failing  # type: ignore[method-assign, assignment]
    world.run(5)
    pauses = [later - earlier for earlier, later in itertools.pairwise(sent)]
    assert pauses == sorted(pauses)
    assert pauses[0] < 0.1
    assert max(pauses) <= RETRY_DELAY_MAX_S + 0.03
    assert world.session.drops == pytest.approx(len(sent), abs=1)
    world.session.write = answer  # type: ignore[method-assign]
    world.run(1)
    assert world.lease.state is LeaseState.HELD


def test_a_shorter_timeout_counts_from_the_connect_that_granted_it() -> None:
    world = World(timeout_s=20.0)
    world.run(5)
    sent = world.lease._sent
    world.reachable = False
    world.timeout_s = 6.0
    world.run(0.02)
    assert world.lease._until == pytest.approx(sent + lease_length_s(6.0, 2.0))


def test_a_timeout_that_leaves_no_lease_is_refused() -> None:
    with pytest.raises(
        IllegalArgumentException, match=r"timeout of 3 s, which leaves no lease.*ticks of 2 s"
    ):
        World(timeout_s=3.0, tick_s=2.0)


def test_a_waiting_answer_goes_out_when_the_lease_comes_back() -> None:
    world = World()
    outcome: list[object] = []

    def caller() -> None:
        outcome.append(world.lease.confirm("row", wait_s=5.0))

    thread = threading.Thread(target=caller)
    thread.start()
    world.run(0.1)
    thread.join(5)
    assert outcome == ["row"]


def test_a_waiting_answer_is_refused_when_the_lease_is_lost() -> None:
    world = World()
    refused: list[BaseException] = []

    def caller() -> None:
        try:
            world.lease.confirm("row", wait_s=1e6)
        except LeaseLostException as error:
            refused.append(error)

    thread = threading.Thread(target=caller)
    thread.start()
    world.lease.lose("removed")
    thread.join(5)
    assert len(refused) == 1


# -- its thread


class RealClockWorld(World):
    """The same, in real time."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.lease._clock = boottime
        self.lease._interval_s = 0.02


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_the_thread_survives_whatever_a_heartbeat_or_listener_raises() -> None:
    world = RealClockWorld()
    session = world.session
    told: list[LeaseState] = []

    def bad_listener(state: LeaseState) -> None:
        raise RuntimeError("listener")

    world.lease.add_listener(bad_listener)
    world.lease.add_listener(told.append)
    session.write_error = MemoryError("no memory")
    world.lease.start()
    wait_for(lambda: session.writes >= 2)
    assert world.lease.state is LeaseState.SUSPENDED
    session.write_error = None
    write = session.write

    def answered_at_once(path: str, value: bytes, on_done: Callable[[], None]) -> object:
        pending = write(path, value, on_done)
        pending.arrives = 0.0
        on_done()
        return pending

    session.write = answered_at_once  # type: ignore[method-assign, assignment]
    wait_for(lambda: told == [LeaseState.HELD])
    world.lease.check()
    world.lease.release()
    assert not world.lease._thread.is_alive()  # type: ignore[union-attr]
    assert told == [LeaseState.HELD, LeaseState.LOST]
    with pytest.raises(LeaseLostException, match="released"):
        world.lease.check()


def test_a_check_costs_about_a_clock_read() -> None:
    world = RealClockWorld()
    world.lease._until = float("inf")
    started = time.perf_counter()
    for _ in range(20_000):
        world.lease.check()
    assert (time.perf_counter() - started) / 20_000 < 20e-6


def test_fakes_answer_as_zookeeper_does() -> None:
    world = World()
    world.remove_znode()
    pending = world.session.write(PATH, b"", lambda: None)
    with pytest.raises(ZnodeGoneError):
        pending.result()
