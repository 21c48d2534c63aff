"""A seeded schedule of faults against a cluster of processes, and of changes of its regions in between.

Faults come one after the other, each kind as often as every other, in an order that the seed decides; changes
of regions go on at the same time. What was seen to happen is counted by kind: a run in which something that
was wanted did not happen proves nothing, and fails.
"""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import hyperbase
from hyperbase import Connection
from hyperbase.common.errors import HBaseIOException
from hyperbase.common.process.life import CLEAN, LOST
from hyperbase.common.region_info import RegionInfo
from tests.support.cluster_load import LIST, ROWS
from tests.support.cluster_processes import MASTER, SERVER, ClusterProcesses, Member
from tests.support.waiting import fault_lasts, wait_for

ADMIN: dict[str, Any] = {"operation_timeout_s": 20.0, "retry_delay_max_ms": 500, "max_retries": 10_000}
MOST_REGIONS, FEWEST_REGIONS = 10, 3  # of a table


class Faults:
    """What can be done to processes; a method for each kind. They return whether it was seen to happen."""

    def __init__(self, cluster: ClusterProcesses, chance: random.Random) -> None:
        self._cluster = cluster
        self._chance = chance
        self.about = ""  # of the last fault, for people

    # -- kill -9

    def kill_server(self) -> bool:
        return self._kill(self._running(SERVER))

    def kill_server_of_meta(self) -> bool:
        return self._kill([self._cluster.meta_server()])

    def kill_active_master(self) -> bool:
        return self._kill([self._cluster.active_master()])

    def kill_master_and_server_of_meta(self) -> bool:
        master, server = self._cluster.active_master(), self._cluster.meta_server()
        killed = self._kill([master])
        return self._kill([server]) and killed

    def kill_zookeeper(self) -> bool:
        """Away for up to one and a half session timeouts."""
        process = self._cluster.zookeeper.process
        assert process is not None
        self._cluster.zookeeper.kill()
        self._lasts(0.1, 1.5)
        self._cluster.start_zookeeper()
        return process.returncode == -signal.SIGKILL

    # -- SIGTERM

    def end_server(self) -> bool:
        return self._end(self._running(SERVER))

    def end_active_master(self) -> bool:
        return self._end([self._cluster.active_master()])

    # -- SIGSTOP

    def stop_server_for_half_a_timeout(self) -> bool:
        return self._stop(self._running(SERVER), 0.5)

    def stop_server_for_a_timeout(self) -> bool:
        return self._stop(self._running(SERVER), 1.0)

    def stop_server_for_three_timeouts(self) -> bool:
        return self._stop(self._running(SERVER), 3.0)

    def stop_master_for_half_a_timeout(self) -> bool:
        return self._stop([self._cluster.active_master()], 0.5)

    def stop_master_for_a_timeout(self) -> bool:
        return self._stop([self._cluster.active_master()], 1.0)

    def stop_master_for_three_timeouts(self) -> bool:
        return self._stop([self._cluster.active_master()], 3.0)

    def stop_zookeeper_for_a_timeout(self) -> bool:
        self._cluster.zookeeper.signal(signal.SIGSTOP)
        self._lasts(1.0, 1.0)
        self._cluster.zookeeper.signal(signal.SIGCONT)
        return True

    # -- partitions

    def cut_server_off_zookeeper(self) -> bool:
        return self._cut_off_zookeeper(self._running(SERVER))

    def cut_master_off_zookeeper(self) -> bool:
        return self._cut_off_zookeeper([self._cluster.active_master()])

    def cut_server_off_master(self) -> bool:
        """It keeps its lease, and clients reach it."""
        master = self._cluster.active_master()
        return master is not None and self._cut(self._running(SERVER), master.name)

    def cut_server_off_everybody(self) -> bool:
        """It keeps its lease, and nobody reaches it."""
        return self._cut(self._running(SERVER))

    def break_connections_of_server(self) -> bool:
        """Again and again: many requests arrive whose answers do not."""
        member = self._pick(self._running(SERVER))
        broken = 0
        for _ in range(20 if member is not None else 0):
            assert member is not None
            broken += member.rpc.reset()
            fault_lasts(self._chance.uniform(0.01, 0.1))
        return broken > 20

    # -- disks

    def fill_disk_of_server(self) -> bool:
        return self._fill_disk([self._cluster.meta_server()])

    def fill_disk_of_master(self) -> bool:
        return self._fill_disk([self._cluster.active_master()])

    # -- helpers

    def _running(self, role: str) -> list[Member | None]:
        return [member for member in self._cluster.of_role(role) if member.running]

    def _pick(self, among: Sequence[Member | None]) -> Member | None:
        found = [member for member in among if member is not None and member.running]
        member = self._chance.choice(found) if found else None
        self.about = f"{self.about} {member.name}" if member is not None else self.about
        return member

    def _lasts(self, least: float, most: float) -> None:
        """Let it go on for so many session timeouts."""
        fault_lasts(self._chance.uniform(least, most) * self._cluster.timeout_s)

    def _kill(self, among: Sequence[Member | None]) -> bool:
        member = self._pick(among)
        return member is not None and member.kill()

    def _end(self, among: Sequence[Member | None]) -> bool:
        member = self._pick(among)
        if member is None:
            return False
        member.signal(signal.SIGTERM)
        return member.wait() == CLEAN

    def _stop(self, among: Sequence[Member | None], timeouts: float) -> bool:
        member = self._pick(among)
        if member is None or not member.stop():
            return False
        self._lasts(timeouts, timeouts)
        seen = member.stopped
        member.go_on()
        return seen

    def _cut_off_zookeeper(self, among: Sequence[Member | None]) -> bool:
        member = self._pick(among)
        if member is None:
            return False
        link = self._cluster.zookeeper_link
        before = link.held
        member.cut_off_zookeeper()
        self._lasts(0.3, 2.0)
        link.heal(member.name)
        return link.held > before

    def _cut(self, among: Sequence[Member | None], *names: str) -> bool:
        member = self._pick(among)
        if member is None:
            return False
        before = member.rpc.held
        member.rpc.cut(*names)
        self._lasts(0.5, 3.0)
        member.rpc.heal(*names)
        return member.rpc.held > before

    def _fill_disk(self, among: Sequence[Member | None]) -> bool:
        """Until it has noticed: its log cannot be written, so it ends."""
        member = self._pick(among)
        if member is None:
            return False
        member.refuse_disk(True)
        try:
            return member.wait(5 * self._cluster.timeout_s) == LOST
        except subprocess.TimeoutExpired:
            member.refuse_disk(False)
            return False


class Changes:
    """What can be done to regions and tables; a method for each kind. They return whether it happened."""

    def __init__(self, connection: Connection, chance: random.Random) -> None:
        self._connection = connection
        self._chance = chance

    def split(self) -> bool:
        admin, table = self._connection.admin, self._table()
        before = admin.regions(table)
        if len(before) >= MOST_REGIONS:
            return False
        info = self._chance.choice(before)
        admin.split(info)
        return info not in admin.regions(table)

    def merge(self) -> bool:
        admin, table = self._connection.admin, self._table()
        before = admin.regions(table)
        if len(before) <= FEWEST_REGIONS:
            return False
        at = self._chance.randrange(len(before) - 1)
        admin.merge_regions(before[at], before[at + 1])
        return before[at] not in admin.regions(table)

    def move(self) -> bool:
        """To a server that the master chooses."""
        admin, table = self._connection.admin, self._table()
        info = self._chance.choice(admin.regions(table))
        before = self._place(table, info)
        admin.move(info)
        return bool(before) and self._place(table, info) != before

    def balance(self) -> bool:
        """Servers that have started again get their share."""
        return bool(self._connection.admin.balance())

    def roll_wal(self) -> bool:
        self._connection.admin.roll_wal()
        return True

    def flush(self) -> bool:
        self._connection.admin.flush(self._table())
        return True

    def compact(self) -> bool:
        self._connection.admin.major_compact(self._table())
        return True

    def _table(self) -> str:
        return self._chance.choice([LIST, ROWS])

    def _place(self, table: str, wanted: RegionInfo) -> str:
        return dict(self._connection.admin.region_locations(table)).get(wanted, "")


FAULTS = [name for name in vars(Faults) if not name.startswith("_")]
CHANGES = [name for name in vars(Changes) if not name.startswith("_")]


class Nemesis:
    """Faults and changes until it is told to end, or as many as are wanted.

    Args:
        faults: the kinds that come; each once before any comes again.
    """

    def __init__(self, cluster: ClusterProcesses, seed: int, faults: Sequence[str] = FAULTS) -> None:
        self.seen: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()  # tried, and not seen to happen
        self.timeline: list[tuple[float, str]] = []
        self.errors: list[BaseException] = []
        self._began = time.monotonic()
        self._cluster = cluster
        self._kinds = list(faults)
        self._chance = random.Random(f"{seed} faults")
        self._change_chance = random.Random(f"{seed} changes")
        self._faults = Faults(cluster, self._chance)
        self._ending = threading.Event()
        self._changing = threading.Thread(target=self._guarded, args=(self._change,), daemon=True)

    @property
    def fault_count(self) -> int:
        """Faults seen so far."""
        return sum(self.seen[kind] for kind in self._kinds)

    def begin_changes(self) -> None:
        """In a thread of its own, until ``end``."""
        self._changing.start()

    def strike(self, count: int, goes_on: Callable[[], None]) -> None:
        """So many faults, with pauses; ``goes_on`` is called before each and raises when it is no use."""
        while self.fault_count < count:
            for kind in self._chance.sample(self._kinds, len(self._kinds)):
                goes_on()
                self._fault(kind)
                if self.fault_count >= count and all(self.seen[kind] for kind in self._kinds):
                    return

    def end(self) -> None:
        """No more; whatever was done is healed, and who is dead starts again."""
        self._ending.set()
        self._changing.join(120)
        for member in self._cluster.members.values():
            member.heal()
        self._cluster.revive()

    def lacking(self) -> list[str]:
        """Kinds that were wanted and never seen."""
        return [kind for kind in (*self._kinds, *CHANGES) if not self.seen[kind]]

    def report(self) -> str:
        """For people."""
        kinds = ", ".join(f"{kind} {self.seen[kind]}" for kind in (*self._kinds, *CHANGES))
        return f"{self.fault_count} faults: {kinds}; not seen to happen: {dict(self.missed)}"

    def _fault(self, kind: str) -> None:
        faults = self._faults
        faults.about = kind
        begun = time.monotonic()
        seen = getattr(faults, kind)()
        self._note(kind, seen, faults.about, begun)
        # Sometimes it is still dead when the next fault comes.
        fault_lasts(self._chance.uniform(0.0, 1.0) * self._cluster.timeout_s)
        if self._chance.random() < 0.8:
            self._cluster.revive()
        self._keep_somebody_alive()

    def _keep_somebody_alive(self) -> None:
        for role in (MASTER, SERVER):
            members = self._cluster.of_role(role)
            if sum(member.running for member in members) <= 1:
                self._cluster.revive()
        if self._chance.random() < 0.3:
            wait_for(self._all_registered, self._cluster.tell, 60)

    def _all_registered(self) -> bool:
        """Servers that come back are given regions before they are hurt again."""
        self._cluster.revive()
        return len(self._cluster.registered()) == len(self._cluster.of_role(SERVER))

    def _note(self, kind: str, seen: bool, about: str, begun: float) -> None:
        (self.seen if seen else self.missed)[kind] += 1
        said = f"{about} for {time.monotonic() - begun:.1f} s" + ("" if seen else ": not seen")
        self.timeline.append((begun - self._began, said))

    def _change(self) -> None:
        with hyperbase.connect(self._cluster.url, **ADMIN) as connection:
            changes = Changes(connection, self._change_chance)
            while not self._ending.wait(self._change_chance.uniform(0.05, 0.6)):
                kind = self._change_chance.choice(CHANGES)
                begun = time.monotonic()
                try:
                    self._note(kind, getattr(changes, kind)(), kind, begun)
                except HBaseIOException as error:
                    self._note(kind, False, f"{kind}: {type(error).__name__}: {error}", begun)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self.errors.append(error)
