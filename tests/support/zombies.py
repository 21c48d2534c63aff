"""Zombies: region servers that are stopped until others serve their regions, and then go on.

What a zombie acknowledges after that is lost, and what it commits could hide what its heirs have written: it
must do neither. Clients keep it busy: some write until it is stopped, others have large writes waiting in its
sockets when it wakes up, of which any makes a flush due.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hyperbase import Connection
from hyperbase.common.catalog import region_directory
from hyperbase.common.errors import HBaseIOException
from hyperbase.common.model import Durability
from hyperbase.common.process.life import LOST
from hyperbase.common.region_info import RegionInfo
from hyperbase.common.wire.messages import Method
from regionserver.region.manifest import MANIFEST_DIRECTORY
from tests.support.cluster_processes import SERVER, ClusterProcesses, Member
from tests.support.waiting import fault_lasts, wait_for
from tests.support.wire_client import WireClient

TABLE, COLUMN = "t", b"f:q"
SYNC = int(Durability.SYNC_WAL)
WRITERS, WAITING = 3, 4  # connections that write, and that have something waiting when it wakes up
LARGE = b"x" * 6_000
Manifests = dict[str, set[tuple[int, int]]]  # region directory → (epoch, number) of each manifest


@dataclass
class Trial:
    """What one zombie did."""

    victim: str
    regions: int = 0
    acked: list[bytes] = field(default_factory=list)  # rows, before it was stopped
    late: list[bytes] = field(default_factory=list)  # rows that it acknowledged after it had woken up
    exit_code: int | None = None
    commits: int = 0  # manifests that it wrote after it had woken up, and that count
    void_commits: int = 0  # that do not count: their region has a newer epoch

    def check(self) -> None:
        """Raises AssertionError: it acknowledged or committed something."""
        assert not self.late, f"{self.victim} acknowledged {len(self.late)} rows after its regions had moved"
        assert not self.commits, f"{self.victim} committed {self.commits} manifests that count"
        assert self.exit_code == LOST, f"{self.victim} ended with {self.exit_code}"


class _Client(threading.Thread):
    """One connection to the victim; notes rows in ``into`` when they are acknowledged."""

    def __init__(self, victim: Member, infos: list[RegionInfo], prefix: bytes, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self.into: list[bytes] = []
        self._infos = infos
        self._prefix = prefix
        self._chance = chance
        self._link = WireClient(victim.port, host=victim.host, wait_s=60)

    def send(self, number: int, value: bytes) -> tuple[int, bytes]:
        """A put of a new row in one of the regions; call id and row."""
        info = self._chance.choice(self._infos)
        row = info.start_key + b"-%s-%d" % (self._prefix, number)
        rows = ((row, 0, (value,)),)
        return self._link.send(Method.PUT_ROWS, [(info.id16, ((COLUMN,),), rows, None)], None, SYNC), row

    def take(self, call_id: int, row: bytes) -> bool:
        """Wait for an answer; whether the row was acknowledged. HBaseIOException: none comes any more."""
        ((_, kind, _),) = self._link.answer(call_id)
        if kind == 0:
            self.into.append(row)
        return bool(kind == 0)

    def close(self) -> None:
        self._link.close()


class _Writer(_Client):
    """Puts, one after the other, until the connection breaks or a region is gone."""

    def run(self) -> None:
        number = 0
        try:
            while self.take(*self.send(number, b"v" * 200)):
                number += 1
        except (HBaseIOException, OSError):
            pass


class _Waiting(_Client):
    """Large puts that are sent while the victim stands still; their answers are waited for."""

    def begin(self) -> None:
        self._sent = [self.send(number, LARGE) for number in range(3)]
        self.start()

    def run(self) -> None:
        try:
            for call_id, row in self._sent:
                self.take(call_id, row)
        except (HBaseIOException, OSError):
            pass


class ZombieTrials:
    """Trials one after the other, on one cluster with a table ``TABLE``."""

    def __init__(self, cluster: ClusterProcesses, connection: Connection, seed: int) -> None:
        self._cluster = cluster
        self._connection = connection
        self._chance = random.Random(f"{seed} zombies")
        self._number = 0

    def run(self, victim: Member | None = None) -> Trial:
        """One trial; the victim is somebody with regions, and is started again at the end."""
        self._number += 1
        victim, infos = self._choose(victim)
        trial = Trial(victim.name, len(infos))
        writers, waiting = self._clients(victim, infos)
        for writer in writers:
            writer.start()
        fault_lasts(self._chance.uniform(0.02, 0.4))
        assert victim.stop()
        before = {name: max(found) for name, found in self._manifests(infos).items() if found}
        for late in waiting:
            late.begin()
        self._wait_until_others_serve(victim, infos)
        trial.acked = [row for writer in writers for row in writer.into]
        assert not any(client.into for client in waiting)
        there = self._manifests(infos)
        victim.go_on()
        trial.exit_code = victim.wait()
        for client in (*writers, *waiting):
            client.join(60)
            client.close()
        every = {row for client in (*writers, *waiting) for row in client.into}
        trial.late = sorted(every - set(trial.acked))
        self._count_commits(trial, infos, before, there)
        self._cluster.revive()
        wait_for(lambda: len(self._cluster.registered()) > 2, self._cluster.tell, 60)
        return trial

    def _choose(self, victim: Member | None) -> tuple[Member, list[RegionInfo]]:
        """A server that has regions, and those that it has."""
        held: dict[str, list[RegionInfo]] = {}

        def look() -> bool:
            held.clear()
            status = self._connection.admin.cluster_status()
            if status.dead_servers or status.regions_in_transition:
                return False
            for info, server in self._connection.admin.region_locations(TABLE):
                held.setdefault(":".join(server.split(",")[:2]), []).append(info)
            alive = {member.address for member in self._cluster.registered()}
            return set(held) <= alive and len(alive) > 2

        wait_for(look, self._cluster.tell, 60)
        members = [m for m in self._cluster.of_role(SERVER) if m.address in held and victim in (None, m)]
        chosen = self._chance.choice(members)
        return chosen, held[chosen.address]

    def _clients(self, victim: Member, infos: list[RegionInfo]) -> tuple[list[_Writer], list[_Waiting]]:
        def prefix(kind: bytes, n: int) -> bytes:
            return b"%s-%d-%d" % (kind, self._number, n)

        return (
            [_Writer(victim, infos, prefix(b"w", n), self._chance) for n in range(WRITERS)],
            [_Waiting(victim, infos, prefix(b"z", n), self._chance) for n in range(WAITING)],
        )

    def _wait_until_others_serve(self, victim: Member, infos: list[RegionInfo]) -> None:
        """A client's write to each region was acknowledged by another server."""
        table = self._connection.table(TABLE)
        for info in infos:
            table.put(info.start_key + b"-heir-%d" % self._number, {COLUMN: b"v"})
        places = dict(self._connection.admin.region_locations(TABLE))
        assert all(not places[info].startswith(f"{victim.host},") for info in infos), places

    def _manifests(self, infos: list[RegionInfo]) -> Manifests:
        found: Manifests = {}
        for info in infos:
            directory = self._cluster.root / region_directory(info) / MANIFEST_DIRECTORY
            found[info.encoded_name] = {_epoch_of(path) for path in directory.glob("[0-9]*-*")}
        return found

    def _count_commits(
        self, trial: Trial, infos: list[RegionInfo], before: dict[str, tuple[int, int]], there: Manifests
    ) -> None:
        """Manifests of the zombie's epoch, or of an earlier one, that came after it woke up."""
        for name, found in self._manifests(infos).items():
            epoch = before[name][0]
            late = {manifest for manifest in found - there[name] if manifest[0] <= epoch}
            counts = max(found)[0] <= epoch
            trial.commits += len(late) * counts
            trial.void_commits += len(late) * (not counts)


def _epoch_of(path: Path) -> tuple[int, int]:
    epoch, number = path.name.split("-")
    return int(epoch), int(number)


def summary(trials: list[Trial]) -> str:
    """For people."""
    codes = Counter(trial.exit_code for trial in trials)
    return (
        f"{len(trials)} trials: {sum(len(trial.acked) for trial in trials)} rows acknowledged before, "
        f"{sum(len(trial.late) for trial in trials)} after waking up; "
        f"{sum(trial.regions for trial in trials)} regions moved; manifests after waking up: "
        f"{sum(trial.commits for trial in trials)} that count, "
        f"{sum(trial.void_commits for trial in trials)} that do not; exit codes {dict(codes)}"
    )
