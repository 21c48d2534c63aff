"""A region server that wakes up after its regions have moved acknowledges nothing and commits nothing.

HYPERBASE_CHAOS_TRIALS   how many zombies; ``make chaos`` has 200
HYPERBASE_CHAOS_SEED     when they are stopped, and what they are asked
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import hyperbase
from hyperbase import ColumnFamilyDescriptor, Connection, TableDescriptor
from tests.support.cluster_load import PATIENT
from tests.support.cluster_processes import ClusterProcesses
from tests.support.zombies import TABLE, ZombieTrials, summary

SEED = int(os.environ.get("HYPERBASE_CHAOS_SEED", "20261125"))
TRIALS = int(os.environ.get("HYPERBASE_CHAOS_TRIALS", "3"))
UNCHECKED = (sys.executable, "-m", "tests.support.unchecked_server")
# A few rows are a flush; a flush or a compaction is under way nearly always.
SETTINGS = {
    "HYPERBASE_STORE_MEMSTORE_FLUSH_SIZE_BYTES": str(16 << 10),
    "HYPERBASE_STORE_MEMSTORE_LIMIT_BYTES": str(1 << 20),
    "HYPERBASE_STORE_WAL_SEGMENT_BYTES": str(1 << 20),
    "HYPERBASE_STORE_JANITOR_INTERVAL_S": "2",
}


@pytest.fixture
def programs() -> dict[str, tuple[str, ...]]:
    return {}


@pytest.fixture
def cluster(tmp_path: Path, programs: dict[str, tuple[str, ...]]) -> Iterator[ClusterProcesses]:
    with ClusterProcesses(
        tmp_path,
        masters=1,
        servers=4,
        tick_s=0.3,
        timeout_s=1.5,
        settings=SETTINGS,
        programs=programs,
    ) as cluster:
        yield cluster


@pytest.fixture
def connection(cluster: ClusterProcesses) -> Iterator[Connection]:
    # Who stands still is given up as soon as others may have what it served.
    quick = {"keepalive_interval_s": 0.5, "keepalive_timeout_s": cluster.timeout_s}
    with hyperbase.connect(cluster.url, **PATIENT, **quick) as connection:
        keys = [b"%02d" % number for number in range(1, 12)]
        connection.admin.create_table(TableDescriptor(TABLE, [ColumnFamilyDescriptor(b"f")]), keys)
        yield connection


def test_zombies_acknowledge_nothing_and_commit_nothing(
    cluster: ClusterProcesses, connection: Connection
) -> None:
    begun = time.monotonic()
    trials = ZombieTrials(cluster, connection, SEED)
    done = []
    for _ in range(TRIALS):
        trial = trials.run()
        done.append(trial)
        trial.check()
    print(f"\n{summary(done)}; seed {SEED}; {time.monotonic() - begun:.0f} s")
    assert all(trial.acked for trial in done), "void: a zombie had nothing to do before"
    there = {row for row, _ in connection.table(TABLE).scan()}
    lost = {row for trial in done for row in trial.acked} - there
    assert not lost, f"{len(lost)} acknowledged rows are lost\n{cluster.tell()}"


@pytest.mark.parametrize("programs", [{"r1": UNCHECKED}], ids=["unchecked"])
def test_without_the_check_a_zombie_is_found_out(cluster: ClusterProcesses, connection: Connection) -> None:
    """The control: the same trial, of a server that does not look at its lease."""
    trial = ZombieTrials(cluster, connection, SEED).run(cluster.members["r1"])
    print(f"\n{summary([trial])}")
    with pytest.raises(AssertionError, match="after its regions had moved"):
        trial.check()
    there = {row for row, _ in connection.table(TABLE).scan()}
    assert set(trial.late) - there  # what it acknowledged is lost
    assert set(trial.acked) <= there
