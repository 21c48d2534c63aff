"""Runs a group: all contestants warm, then in turn, round after round."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.network.hbase import HBase
from benchmarks.network.processes import machine_busy, wait_until_quiet
from benchmarks.network.server import EchoServer
from benchmarks.network.team import Sample, Team, Worker, WorkerFailed
from benchmarks.network.works import ECHO, HAPPYBASE, HBASE_SIDES, JAVA, OUR_SIDES, Contestant, Group

MINIMUM_WARM_UP_OPS = 20
COLD_TEAM = 2.5  # times longer, until several JVMs that share the cores are compiled
Results = dict[Contestant, list[Sample]]


@dataclass(frozen=True)
class Timing:
    """How long things take."""

    rounds: int = 5
    seconds: float = 4.0  # of each measurement
    warm_up_s: float = 3.0
    java_warm_up_s: float = 15.0  # until the JIT compilers of client and server are through


@dataclass
class Arena:
    """The servers that are up."""

    location: str  # of Hyperbase
    pids: list[int]  # of all servers, to wait until they have finished what a measurement left behind
    echo: EchoServer
    hbase: HBase | None
    rows: int
    logs: Path
    busy: list[float] = field(default_factory=list)  # how busy others kept the machine, at each measurement

    def team(self, contestant: Contestant, timing: Timing, sizes: Mapping[str, int]) -> Team:
        """The contestant's clients, warming up."""
        make = self._worker_maker(contestant, timing, sizes)
        return Team([make(number) for number in range(contestant.clients)])

    def _worker_maker(
        self, contestant: Contestant, timing: Timing, sizes: Mapping[str, int]
    ) -> Callable[[int], Worker]:
        work = contestant.work
        if contestant.side == JAVA:
            hbase = self.hbase
            assert hbase is not None
            warm_up_s = timing.java_warm_up_s * (COLD_TEAM if contestant.clients > 1 else 1)
            return lambda number: hbase.worker(work, number, self.rows, warm_up_s, MINIMUM_WARM_UP_OPS)
        location = self.location
        if contestant.side == HAPPYBASE:
            assert self.hbase is not None
            location = self.hbase.thrift_location
        elif contestant.side == ECHO:
            location = f"{self.echo.port}:{sizes['request_bytes']}:{sizes['response_bytes']}"

        def make(number: int) -> Worker:
            # Clients of both of our sides may write at once: each has keys of its own.
            client = number + (100 if contestant.side == OUR_SIDES[1] else 0)
            command = [sys.executable, "-m", "benchmarks.network.worker", contestant.side, location, work]
            command += [str(client), str(self.rows), str(timing.warm_up_s), str(MINIMUM_WARM_UP_OPS)]
            return Worker(command, self.logs / f"{contestant.side}-{work}-{client}.log")

        return make


def run(group: Group, arena: Arena, timing: Timing, failures: list[str]) -> Results:
    """Samples of each contestant, one for each round; HBase's are left out when there is none.

    A contestant whose client fails is left out too, with a line in ``failures``; the others go on.
    """
    teams: dict[Contestant, Team] = {}
    results: Results = {}

    def attempt(one: Contestant, step: Callable[[], None]) -> None:
        try:
            step()
        except WorkerFailed as error:
            failures.append(f"{one.work}, {one.clients} of {one.side}: {error}")
            print(f"FAILED {failures[-1]}", flush=True)
            results.pop(one, None)
            if team := teams.pop(one, None):
                team.close()

    def warm(one: Contestant) -> None:
        ours = group.contestant(OUR_SIDES[0])
        if one.side == ECHO and ours not in teams:
            raise WorkerFailed("without Hyperbase's client the sizes of its frames are not known")
        teams[one] = arena.team(one, timing, teams[ours].sizes if one.side == ECHO and ours else {})
        teams[one].wait_ready()
        results[one] = []

    def measure(one: Contestant) -> None:
        wait_until_quiet(arena.pids)
        arena.busy.append(machine_busy(0.2))
        results[one].append(teams[one].measure(timing.seconds))

    try:
        present = [one for one in group.contestants if arena.hbase is not None or one.side not in HBASE_SIDES]
        for one in sorted(present, key=lambda one: one.side == ECHO):  # it needs our sizes
            attempt(one, partial(warm, one))
        for number in range(timing.rounds):
            running = [one for one in group.contestants if one in teams]
            turn = number % max(1, len(running))
            for one in running[turn:] + running[:turn]:
                attempt(one, partial(measure, one))
    finally:
        for team in teams.values():
            team.close()
    return results
