"""The gate of a region server: what its lease says decides what leaves, and what is committed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from hyperbase.cluster.gate import LeaseGate
from hyperbase.common.errors import LeaseLostException, LeaseSuspendedException
from hyperbase.common.zookeeper.lease import LeaseState


class Ended(BaseException):
    """The process would have ended."""


class FakeLease:
    """A lease in the state that a test says."""

    def __init__(self) -> None:
        self.state = LeaseState.HELD
        self.lost = ""
        self.listeners: list[Callable[[LeaseState], None]] = []

    def add_listener(self, listener: Callable[[LeaseState], None]) -> None:
        self.listeners.append(listener)

    def check(self) -> None:
        if self.state is LeaseState.SUSPENDED:
            raise LeaseSuspendedException("not now")
        if self.state is LeaseState.LOST:
            raise LeaseLostException(self.lost)

    def become(self, state: LeaseState) -> None:
        self.state = state
        for listener in self.listeners:
            listener(state)


@pytest.fixture
def gate() -> LeaseGate:
    def end(reason: str) -> NoReturn:
        raise Ended(reason)

    return LeaseGate(end)


def take(gate: LeaseGate) -> FakeLease:
    lease: Any = FakeLease()
    gate.take(lease)
    return lease  # type: ignore[no-any-return]


def test_before_a_server_is_registered_nothing_leaves(gate: LeaseGate) -> None:
    assert not gate()
    assert gate.state == "starting"
    with pytest.raises(LeaseSuspendedException):
        gate.check_owner()
    take(gate)
    assert gate()
    gate.check_owner()
    assert gate.state == "held"


def test_a_suspended_lease_keeps_answers_and_commits_back(gate: LeaseGate) -> None:
    lease = take(gate)
    lease.become(LeaseState.SUSPENDED)
    assert not gate()
    assert gate.state == "suspended"
    with pytest.raises(LeaseSuspendedException):
        gate.check_owner()
    lease.become(LeaseState.HELD)
    assert gate()


def test_a_lost_lease_ends_the_process_whoever_notices_first(gate: LeaseGate) -> None:
    lease = take(gate)
    lease.state, lease.lost = LeaseState.LOST, "its znode was removed"
    for notice in (gate, gate.check_owner, lambda: lease.become(LeaseState.LOST)):
        with pytest.raises(Ended, match="its znode was removed"):
            notice()


def test_a_lease_that_is_given_back_ends_nothing(gate: LeaseGate) -> None:
    lease = take(gate)
    gate.shut()
    lease.lost = "released"
    lease.become(LeaseState.LOST)
    assert not gate()
    assert gate.state == "stopping"


def test_with_a_failed_log_nothing_leaves_and_the_process_ends() -> None:
    problems = [""]

    def end(reason: str) -> NoReturn:
        raise Ended(reason)

    gate = LeaseGate(end, lambda: problems[-1])
    take(gate)
    assert gate()
    problems.append("its log failed: no space")
    with pytest.raises(Ended, match="no space"):
        gate()
    gate.shut()  # it ends already
    assert not gate()
