"""A cluster of real processes under a nemesis: nothing acknowledged is lost, nothing is applied twice, no row
has two owners.

Two checkers look at the same run: linked lists (``linked_list``), and histories of single rows
(``linearizability``). The short form runs with every other test; ``make chaos`` runs the full one.

    HYPERBASE_CHAOS_SEED     the order of faults, and what clients do
    HYPERBASE_CHAOS_FAULTS   how many faults; with 40 and more every kind comes
    HYPERBASE_CHAOS_NODES    how many nodes the lists have at least
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import hyperbase
from hyperbase import ColumnFamilyDescriptor, Connection, TableDescriptor
from tests.support.cluster_load import (
    LIST,
    PATIENT,
    ROWS,
    Asker,
    Load,
    RingWriter,
    RowClient,
    Rows,
    is_counter,
    read_rows,
    state_of,
)
from tests.support.cluster_processes import MASTER, ClusterProcesses, tracebacks
from tests.support.linearizability import READ, Operation, Recorder, counter_bounds, is_linearizable, text_of
from tests.support.linked_list import verify
from tests.support.nemesis import FAULTS, Nemesis
from tests.support.waiting import wait_for

SEED = int(os.environ.get("HYPERBASE_CHAOS_SEED", "20261125"))
FAULT_COUNT = int(os.environ.get("HYPERBASE_CHAOS_FAULTS", "10"))
NODES = int(os.environ.get("HYPERBASE_CHAOS_NODES", "20000"))
WIDTH, WRAP = 50, 20
FAULT_TAKES_S = 4.5  # with its pause: the nodes are spread over so much time
FULL = FAULT_COUNT >= 40
SHORT_FAULTS = [
    "kill_server",
    "kill_server_of_meta",
    "kill_active_master",
    "kill_zookeeper",
    "stop_server_for_half_a_timeout",
    "stop_server_for_a_timeout",
    "stop_server_for_three_timeouts",
    "stop_master_for_a_timeout",
    "cut_server_off_zookeeper",
    "cut_server_off_master",
]
# Faults fall into flushes, compactions, rolls of the log and the work of the janitor.
SETTINGS = {
    "HYPERBASE_STORE_MEMSTORE_FLUSH_SIZE_BYTES": str(512 << 10),
    "HYPERBASE_STORE_MEMSTORE_LIMIT_BYTES": str(8 << 20),
    "HYPERBASE_STORE_WAL_SEGMENT_BYTES": str(256 << 10),
    "HYPERBASE_STORE_WAL_ARCHIVE_TTL_S": "5",
    "HYPERBASE_STORE_JANITOR_INTERVAL_S": "2",
}
WHOLE_AGAIN_S = 90.0
T = TypeVar("T", bound=Load)


class Run:
    """One cluster, its clients, its nemesis, and what is checked at the end."""

    def __init__(self, cluster: ClusterProcesses) -> None:
        self.cluster = cluster
        self.begun = time.monotonic()
        self.hurt_s = 0.0
        self.recorder = Recorder()
        self.rows = Rows(SEED)
        self.nemesis = Nemesis(cluster, SEED, FAULTS if FULL else SHORT_FAULTS)
        self.writers = [
            RingWriter(f"ring-{n}", cluster.url, SEED, WIDTH, WRAP, self._allowed) for n in range(2)
        ]
        patience = (1.5, 5.0, 20.0)  # of the first every fault makes unknown outcomes
        self.clients: list[Load] = [
            RowClient(f"client-{n}", cluster.url, SEED, self.rows, self.recorder, timeout_s)
            for n, timeout_s in enumerate(patience)
        ]
        self.askers = [Asker(f"asker-{n}", cluster, SEED, self.rows, self.recorder) for n in range(2)]
        self.loads: list[Load] = [*self.writers, *self.clients, *self.askers]

    def _allowed(self) -> int:
        """The nodes are spread over the time that the faults take."""
        return int(
            NODES / len(self.writers) * (time.monotonic() - self.begun) / (FAULT_COUNT * FAULT_TAKES_S)
        )

    def create_tables(self) -> None:
        with hyperbase.connect(self.cluster.url, **PATIENT) as connection:
            keys = [bytes([at]) for at in (0x40, 0x80, 0xC0)]
            families = [ColumnFamilyDescriptor(b"p"), ColumnFamilyDescriptor(b"t")]
            connection.admin.create_table(TableDescriptor(LIST, families), keys)
            family = ColumnFamilyDescriptor(b"f")
            connection.admin.create_table(TableDescriptor(ROWS, [family]), [b"40", b"80", b"c0"])

    def hurt(self) -> None:
        """Faults while clients work, until there were enough of both."""
        for load in self.loads:
            load.start()
        wait_for(lambda: self.recorder.answered > 100 and all(w.begun for w in self.writers))
        self.nemesis.begin_changes()
        self.nemesis.strike(FAULT_COUNT, self.check_loads)
        self.nemesis.end()
        self.hurt_s = time.monotonic() - self.begun
        wait_for(lambda: sum(w.nodes for w in self.writers) >= NODES, self.tell, 600)
        for load in self.loads:
            load.ending.set()
        for load in self.loads:
            load.join(120)
            assert not load.is_alive(), f"{load.name} does not end\n{self.tell()}"
        self.check_loads()
        assert not self.nemesis.errors, self.nemesis.errors

    def check_loads(self) -> None:
        for load in self.loads:
            if load.error is not None:
                raise AssertionError(f"{load.name} ended\n{self.tell()}") from load.error

    def tell(self) -> str:
        lines = [f"{at:7.1f} s  {what}" for at, what in self.nemesis.timeline]
        return "\n".join([*lines, self.cluster.tell()])

    def report(self, regions: int, nodes: int, whole_s: float) -> None:
        """The figures of the run."""
        recorder = self.recorder
        answers, refusals = (
            sum(getattr(asker, what) for asker in self.askers) for what in ("answers", "refusals")
        )
        slowest_s = max(writer.longest_s for writer in self.writers)
        for line in (
            self.nemesis.report(),
            f"{nodes} nodes in whole rings, the slowest of their batches took {slowest_s:.1f} s",
            f"{recorder.answered} operations on {len(recorder.rows())} rows, {recorder.unknown} unanswered",
            f"servers that were asked for regions wherever these are: {answers} answers, {refusals} refusals",
            f"{self.hurt_s:.0f} s under faults, whole again {whole_s:.1f} s later with {regions} regions, "
            f"{time.monotonic() - self.begun:.0f} s in all",
            f"processes ended: {dict(self.cluster.exit_codes())}; tracebacks: {tracebacks(self.cluster)}",
        ):
            print(line)

    # -- what must hold

    def wait_until_whole(self, connection: Connection) -> float:
        """Every process serves, every region is open and nothing is under way; how long that took."""
        begun = time.monotonic()
        shown: list[object] = []

        def whole() -> bool:
            self.cluster.revive()
            status = connection.admin.cluster_status()
            shown[:] = [status]
            servers = [server for server in self.cluster.members.values() if server.role != MASTER]
            return (
                not status.dead_servers
                and not status.regions_in_transition
                and not connection.admin.procedures()
                and len(status.servers) == len(servers)
            )

        wait_for(whole, lambda: f"{shown}\n{self.tell()}", WHOLE_AGAIN_S)
        return time.monotonic() - begun

    def check_owners(self, connection: Connection) -> int:
        """Each region is open at one server, and a table's regions leave no hole and do not overlap."""
        status = connection.admin.cluster_status()
        held = Counter(region.name for server in status.servers for region in server.regions)
        twice = [name for name, count in held.items() if count > 1]
        assert not twice, f"regions with two owners: {twice}\n{self.tell()}"
        for table in (LIST, ROWS):
            infos = connection.admin.regions(table)
            assert (infos[0].start_key, infos[-1].end_key) == (b"", b"")
            assert all(low.end_key == high.start_key for low, high in pairwise(infos)), infos
            assert all(info.region_name in held for info in infos), infos
        return len(held)

    def check_lists(self, connection: Connection) -> int:
        """Every node of every ring."""
        nodes = sum(writer.nodes for writer in self.writers)
        found = verify(read_rows(connection.table(LIST)))
        assert found.is_whole(nodes), f"{nodes} nodes were acknowledged: {found}\n{self.tell()}"
        return nodes

    def check_histories(self, connection: Connection) -> None:
        """What anybody saw of a row, and what is there in the end."""
        table = connection.table(ROWS)
        for row, history in self.recorder.rows().items():
            now = self.recorder.clock()
            state = state_of(row, table.row(row))
            history = [*history, Operation(READ, None, state, now, self.recorder.clock(), "at the end")]
            assert is_linearizable(history), f"{row!r}:\n{text_of(history)}\n{self.tell()}"
            if is_counter(row):
                least, most = counter_bounds(history)
                assert least <= (state or 0) <= most, f"{row!r} is {state!r}: {text_of(history)}"  # type: ignore[operator]


@contextmanager
def seed_is_told() -> Iterator[None]:
    command = (
        f"HYPERBASE_CHAOS_SEED={SEED} HYPERBASE_CHAOS_FAULTS={FAULT_COUNT} HYPERBASE_CHAOS_NODES={NODES}"
    )
    print(f"\nrepeat with {command} python -m pytest -s {__file__}")
    yield


def test_nothing_is_lost_under_a_nemesis(tmp_path: Path) -> None:
    with seed_is_told(), ClusterProcesses(tmp_path, settings=SETTINGS) as cluster:
        run = Run(cluster)
        run.create_tables()
        run.hurt()
        with hyperbase.connect(cluster.url, **PATIENT) as connection:
            whole_s = run.wait_until_whole(connection)
            regions = run.check_owners(connection)
            nodes = run.check_lists(connection)
            run.check_histories(connection)
        run.report(regions, nodes, whole_s)
        assert not run.nemesis.lacking(), f"void: never seen: {run.nemesis.lacking()}\n{run.tell()}"
