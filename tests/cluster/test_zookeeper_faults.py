"""Processes with leases under faults of a real ZooKeeper: a recovery finds all that was acknowledged.

Each process appends a number, syncs, asks its lease, acknowledges. The moment its znode vanishes, the log is
read, as a recovery would: what was acknowledged, before or after, must be in there.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from hyperbase.common.server_name import ServerName
from hyperbase.common.zookeeper.coordination import ZooKeeperCoordination
from hyperbase.common.zookeeper.lease import Lease, LeaseState, boottime
from hyperbase.common.zookeeper.session import ZooKeeperSession
from tests.cluster.conftest import TICK_S, Join
from tests.support.waiting import fault_lasts, keep_beating, wait_for
from tests.support.zookeeper_server import CutProxy, ZooKeeperEnsemble, ZooKeeperServer

SERVER = ServerName("h", 1, 1)
STOP_TRIALS = 36
STOP_BATCH = 18
UNCHECKED = 6  # more in each batch
STOP_TIMEOUT_S = 1.5
SEED = int(os.environ.get("HYPERBASE_SEED", "0")) or random.randrange(1, 10**9)


class Processes:
    """Lease holders in processes of their own, and what they wrote and said."""

    def __init__(self, quorum: str, root: str, directory: Path, tick_s: float = TICK_S) -> None:
        self.tick_s = tick_s
        self.command = [quorum, root, str(directory)]
        self.directory = directory
        self.parents: list[subprocess.Popen[str]] = []
        self.pids: dict[int, int] = {}

    def start(self, role: str, first: int, count: int, timeout_s: float) -> None:
        parent = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.support.lease_processes", *self.command),
                *(role, str(timeout_s), str(self.tick_s), str(first), str(count)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.parents.append(parent)
        assert parent.stdout is not None
        for _ in range(count):
            _, number, pid = parent.stdout.readline().split()
            self.pids[int(number)] = int(pid)

    def signal(self, number: int, what: int) -> None:
        os.kill(self.pids[number], what)

    def said(self, number: int) -> list[str]:
        path = self.directory / f"{number}.said"
        return path.read_text().splitlines() if path.exists() else []

    def acked(self, number: int) -> list[int]:
        return [int(line.split()[1]) for line in self.said(number) if line.startswith("acked ")]

    def beats(self, number: int) -> list[float]:
        """When the answered heartbeats of a hasty one were sent."""
        return [float(line.split()[1]) for line in self.said(number) if line.startswith("beat ")]

    def logged(self, number: int) -> set[int]:
        """What a recovery reads."""
        return {int(line) for line in (self.directory / f"{number}.log").read_text().split()}

    def go_on(self, numbers: Iterable[int], attempts: int) -> None:
        """Return once each of them has tried to acknowledge so many times more."""
        before = {number: len(self.logged(number)) for number in numbers}
        wait_for(
            lambda: all(len(self.logged(n)) >= count + attempts for n, count in before.items()),
            lambda: (before, {n: len(self.logged(n)) for n in before}),
        )

    def states(self, number: int) -> list[str]:
        return [line.split()[1] for line in self.said(number) if line.startswith("state ")]

    def end(self) -> None:
        for parent in self.parents:
            parent.kill()
            parent.wait(10)
        for pid in self.pids.values():
            for what in (signal.SIGCONT, signal.SIGKILL):
                try:
                    os.kill(pid, what)
                except ProcessLookupError:
                    break


@pytest.fixture
def processes(zookeeper: ZooKeeperServer, root: str, directory: Path) -> Iterator[Processes]:
    holders = Processes(zookeeper.quorum, root, directory)
    yield holders
    holders.end()


class Answering:
    """A thread that asks a lease all the time, as a busy server does, and what it was told when."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.states: list[LeaseState] = []
        self.held_until = 0.0
        self.longest_gap_s = 0.0
        lease.add_listener(self.states.append)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.held_until = time.monotonic()
        while not self._end.wait(0.002):
            now = time.monotonic()
            if self.lease.state is LeaseState.HELD:
                self.longest_gap_s = max(self.longest_gap_s, now - self.held_until)
                self.held_until = now

    def stop(self) -> None:
        self._end.set()
        self._thread.join(5)


def test_a_stopped_process_acknowledges_nothing_that_its_recovery_did_not_read(
    join: Join, processes: Processes
) -> None:
    """SIGSTOP for three times the timeout, at any moment."""
    observer = join()
    rng = random.Random(SEED)
    print(f"HYPERBASE_SEED={SEED}")
    acks = {"checked": 0, "unchecked": 0}
    lost_acks = {"checked": 0, "unchecked": 0}
    gone_after: list[float] = []
    for first in range(0, STOP_TRIALS * 10, STOP_BATCH * 10):
        unchecked = range(first + STOP_BATCH, first + STOP_BATCH + UNCHECKED)
        numbers = range(first, first + STOP_BATCH + UNCHECKED)
        processes.start("regionserver", first, STOP_BATCH, STOP_TIMEOUT_S)
        processes.start("unchecked", unchecked.start, UNCHECKED, STOP_TIMEOUT_S)
        wait_for(lambda: all(len(processes.acked(number)) > 10 for number in numbers))  # noqa: B023
        stopped_at: dict[int, float] = {}
        for number in rng.sample(numbers, len(numbers)):
            time.sleep(rng.random() * 0.04)
            processes.signal(number, signal.SIGSTOP)
            stopped_at[number] = time.monotonic()
        replayed: dict[int, set[int]] = {}
        states_at: dict[int, int] = {}
        while len(replayed) < len(numbers):
            alive = {server.port for server in observer.servers()}
            for number in set(numbers) - set(replayed) - alive:
                replayed[number] = processes.logged(number)
                states_at[number] = len(processes.states(number))
                gone_after.append(time.monotonic() - stopped_at[number])
            time.sleep(0.01)
        wait_for(lambda: time.monotonic() > max(stopped_at.values()) + 3 * STOP_TIMEOUT_S)  # noqa: B023
        for number in numbers:
            processes.signal(number, signal.SIGCONT)
        for number in numbers:
            wait_for(
                lambda: processes.states(number)[-1:] == ["lost"],  # noqa: B023
                lambda: processes.states(number),  # noqa: B023
            )
        processes.go_on(numbers, 50)
        for number in numbers:
            kind = "unchecked" if number in unchecked else "checked"
            acked = processes.acked(number)
            acks[kind] += len(acked)
            lost_acks[kind] += len(set(acked) - replayed[number])
            assert "held" not in processes.states(number)[states_at[number] :]
    print(f"{STOP_TRIALS} trials, acknowledged: {acks}, of these not in what the recovery read: {lost_acks}")
    span = f"{min(gone_after):.2f} to {max(gone_after):.2f}"
    print(f"znodes went {span} s after the stop, timeout {STOP_TIMEOUT_S} s")
    assert lost_acks["checked"] == 0
    assert acks["checked"] > 10 * STOP_TRIALS
    assert lost_acks["unchecked"] > 0, "this test must catch a server that does not check"


def test_a_follower_cut_off_right_after_a_pause(root: str, directory: Path) -> None:
    """Its leader never hears of the heartbeat that was answered: the session expires as if there were none.

    The process is paused for less than its timeout; what is left of that is less than its lease would be.
    """
    timeout_s, checked, hasty = 6.0, 1, 2
    lost_acks = {checked: 0, hasty: 0}
    gone_s: dict[int, float] = {}
    with ZooKeeperEnsemble(directory / "ensemble", tick_ms=1000) as ensemble:
        follower = ensemble.in_mode("follower")
        leader = ensemble.in_mode("leader")
        observer = ZooKeeperCoordination(ZooKeeperSession(leader.quorum, timeout_s=20).start(30), root)
        observer.prepare()
        processes = Processes(follower.quorum, root, directory, tick_s=1.0)
        try:
            processes.start("regionserver", checked, 1, timeout_s)
            processes.start("hasty", hasty, 1, timeout_s)
            wait_for(lambda: all(len(processes.acked(number)) > 100 for number in (checked, hasty)))

            def beats() -> list[int]:
                return [beats_of(observer, number) for number in (checked, hasty)]

            for number in (checked, hasty):
                processes.signal(number, signal.SIGSTOP)
            fault_lasts(0.7 * timeout_s)
            before, woken = beats(), boottime()
            for number in (checked, hasty):
                processes.signal(number, signal.SIGCONT)
            while any(now == then for now, then in zip(beats(), before, strict=True)):
                time.sleep(0.001)
            # The answer itself must be there, and to a heartbeat of after the pause.
            while not any(
                line.startswith("beat ") and float(line.split()[1]) > woken for line in processes.said(hasty)
            ):
                time.sleep(0.001)
            follower.signal(signal.SIGSTOP)
            answered = time.monotonic()
            replayed: dict[int, set[int]] = {}
            while len(replayed) < 2:
                alive = {server.port for server in observer.servers()}
                for number in {checked, hasty} - set(replayed) - alive:
                    replayed[number] = processes.logged(number)
                    gone_s[number] = time.monotonic() - answered
                time.sleep(0.005)
            processes.go_on((checked, hasty), 600)
            for number in (checked, hasty):
                lost_acks[number] = len(set(processes.acked(number)) - replayed[number])
        finally:
            processes.end()
            observer.close()
    spans = ", ".join(f"{span:.2f}" for span in gone_s.values())
    print(f"znodes gone {spans} s after an answered heartbeat, timeout {timeout_s} s")
    print(f"acknowledged and not recovered: {lost_acks[checked]}; of a hasty one {lost_acks[hasty]}")
    assert lost_acks[checked] == 0
    if gone_s[hasty] < timeout_s - 2:  # else the leader had asked the follower in between
        assert lost_acks[hasty] > 0, "this test must catch a lease that counts from any heartbeat"


def beats_of(observer: ZooKeeperCoordination, number: int) -> int:
    found = observer.session.get(observer.paths.server(ServerName("h", number, 1)))
    assert found is not None
    version: int = found[1].version  # type: ignore[attr-defined]
    return version


def test_of_three_masters_one_is_active_and_another_takes_over_from_the_dead(
    join: Join, processes: Processes
) -> None:
    observer = join()
    processes.start("master", 1, 3, 2.0)
    epochs: list[int] = []
    while processes.pids:
        wait_for(lambda: len(epochs) < sum(len(masters(processes, n)) for n in (1, 2, 3)))
        info, epoch = observer.active_master_info()
        active = info.server.port
        assert masters(processes, active) == [epoch]
        assert all(epoch > earlier for earlier in epochs)
        epochs.append(epoch)
        wait_for(lambda: len(processes.acked(active)) > 5)  # noqa: B023
        wait_for(lambda: len(observer.backup_masters()) == len(processes.pids) - 1)
        processes.signal(active, signal.SIGKILL)
        killed = time.monotonic()
        del processes.pids[active]
        if processes.pids:
            wait_for(lambda: len(epochs) < sum(len(masters(processes, n)) for n in (1, 2, 3)))
            print(f"another master {time.monotonic() - killed:.2f} s after kill -9, session timeout 2 s")
    assert len(epochs) == 3


def masters(processes: Processes, number: int) -> list[int]:
    return [int(line.split()[1]) for line in processes.said(number) if line.startswith("master ")]


def lease_of(member: ZooKeeperCoordination) -> Lease:
    lease = member.lease_server(SERVER)
    lease.wait(10)
    keep_beating(lease, 2 * TICK_S)
    return lease


@pytest.mark.parametrize("how", ["stopped", "killed and started"])
def test_zookeeper_away_for_half_the_timeout_is_invisible(
    zookeeper: ZooKeeperServer, join: Join, how: str
) -> None:
    member = join(timeout_s=6)
    answering = Answering(lease_of(member))
    try:
        if how == "stopped":
            zookeeper.signal(signal.SIGSTOP)
            fault_lasts(3)
            zookeeper.signal(signal.SIGCONT)
        else:
            zookeeper.kill()
            fault_lasts(1.5)
            zookeeper.start()
        keep_beating(answering.lease, 2 * TICK_S)
        assert answering.states == []
        print(f"longest time without a held lease {answering.longest_gap_s:.3f} s")
        assert member.servers() == [SERVER]
    finally:
        answering.stop()


@pytest.mark.parametrize("how", ["stopped", "killed and started"])
def test_zookeeper_away_for_twice_the_timeout_costs_waiting(
    zookeeper: ZooKeeperServer, join: Join, how: str
) -> None:
    """A killed one keeps its sessions: the lease resumes. A stopped one may find them expired."""
    timeout_s = 2.0
    member, observer = join(timeout_s=timeout_s), join(timeout_s=10)
    lease = lease_of(member)
    answering = Answering(lease)
    try:
        if how == "stopped":
            zookeeper.signal(signal.SIGSTOP)
        else:
            zookeeper.kill()
        away = time.monotonic()
        wait_for(lambda: answering.states == [LeaseState.SUSPENDED], lambda: answering.states)
        fault_lasts(away + 2 * timeout_s - time.monotonic())
        assert answering.states == [LeaseState.SUSPENDED]
        back = time.monotonic()
        if how == "stopped":
            zookeeper.signal(signal.SIGCONT)
        else:
            zookeeper.start()
        wait_for(lambda: len(answering.states) == 2, lambda: answering.states)
        print(f"{how}: {answering.states[-1].value} {time.monotonic() - back:.2f} s after it was back")
        if answering.states[-1] is LeaseState.HELD:
            keep_beating(lease, 2 * TICK_S)
            assert answering.states[-1] is LeaseState.HELD
            assert observer.servers() == [SERVER]
            assert how == "stopped" or answering.longest_gap_s >= timeout_s
        else:
            assert how == "stopped"
            assert answering.held_until - away < timeout_s
            assert lease.lost
            wait_for(lambda: observer.servers() == [])
    finally:
        answering.stop()


def test_a_cut_connection_suspends_and_a_healed_one_resumes(zookeeper: ZooKeeperServer, join: Join) -> None:
    """Cut for less than the session timeout and more than the lease: same session, same znode, held again."""
    proxy = CutProxy(zookeeper.port)
    timeout_s = 4.0
    member = join(quorum=proxy.quorum, timeout_s=timeout_s)
    answering = Answering(lease_of(member))
    try:
        proxy.reset()
        keep_beating(answering.lease, 2 * TICK_S)
        assert answering.states == [], "a broken connection is made again in time"
        proxy.cut()
        wait_for(lambda: answering.states == [LeaseState.SUSPENDED])
        proxy.heal()
        healed = time.monotonic()
        wait_for(lambda: len(answering.states) == 2, lambda: answering.states)
        assert answering.states[-1] is LeaseState.HELD
        print(f"held again {time.monotonic() - healed:.2f} s after the connection was healed")
    finally:
        answering.stop()
        proxy.close()


def test_a_connection_cut_for_longer_than_the_timeout_loses(zookeeper: ZooKeeperServer, join: Join) -> None:
    proxy = CutProxy(zookeeper.port)
    timeout_s = 2.0
    member, observer = join(quorum=proxy.quorum, timeout_s=timeout_s), join()
    answering = Answering(lease_of(member))
    gone: list[float] = []
    watch = observer.watch_servers(lambda servers: None if servers else gone.append(time.monotonic()))
    try:
        proxy.cut()
        wait_for(lambda: bool(gone))
        assert answering.states == [LeaseState.SUSPENDED]
        assert answering.held_until < gone[0]
        print(f"last held {gone[0] - answering.held_until:.2f} s before the znode went")
        proxy.heal()
        wait_for(lambda: answering.states[-1] is LeaseState.LOST)
        assert answering.held_until < gone[0]
        assert answering.states == [LeaseState.SUSPENDED, LeaseState.LOST]
    finally:
        answering.stop()
        watch.close()
        proxy.close()
