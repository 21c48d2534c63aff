"""kill -9 at random moments, on a real directory: everything acknowledged is there, nothing twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import hyperbase
from hyperbase import ColumnFamilyDescriptor, TableDescriptor
from regionserver.region.check import check_store
from tests.support.sigkill_writer import BATCH_ROWS, DELETE_ROWS

ROOT = Path(__file__).parents[2]
KILLS = 12
SEED = 20260101

State = dict[bytes, bytes | None]  # row -> a:n; None: no such row


@dataclass
class Oracle:
    """What the table must show, and what operations under way at the last kill may have made of it."""

    rows: State = field(default_factory=dict)
    counter: int = 0
    first: int = 1  # of the next run
    flushes: int = 0
    compactions: int = 0

    def take(self, said: str) -> list[State]:
        """Note a run's acknowledgements; returns the writes that were under way, each all or nothing."""
        last = {"put": self.first - 1, "batch": self.first - 1, "delete": self.first - 1}
        heard = False
        flushes = compactions = 0
        for line in said.splitlines():
            kind, *fields = line.split()
            numbers = [int(text) for text in fields]
            if kind == "metrics":
                flushes, compactions = numbers
            elif kind == "increment":
                assert numbers[0] == self.counter + 1 or (numbers[0] == self.counter + 2 and not heard), (
                    f"the counter went from {self.counter} to {numbers[0]}"
                )
                self.counter, heard = numbers[0], True
            elif kind != "ready":
                assert numbers[0] == last[kind] + 1
                last[kind] = numbers[0]
                self.rows.update(effect(kind, numbers[0]))
        self.flushes += flushes
        self.compactions += compactions
        self.first = max(last.values()) + 2
        return [effect(kind, number + 1) for kind, number in last.items()]


def effect(kind: str, number: int) -> State:
    """The rows that an operation of the writer leaves."""
    value = b"%d" % number
    if kind == "put":
        return {b"p%08d" % number: value}
    if kind == "batch":
        return {b"b%08d-%d" % (number, index): value for index in range(BATCH_ROWS)}
    return {b"d%02d" % (number % DELETE_ROWS): None if number % 2 else value}


def test_acknowledged_writes_survive_sigkill(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    directory = tmp_path / "store"
    with hyperbase.connect(directory) as connection:
        families = [ColumnFamilyDescriptor(b"a"), ColumnFamilyDescriptor(b"b")]
        connection.admin.create_table(TableDescriptor("t", families), [b"c"])
    oracle = Oracle()
    kill = 0
    # On a busy machine a run may be killed before its first compaction: go on until every kind was seen.
    while kill < KILLS or (oracle.compactions == 0 and kill < 4 * KILLS):
        kill += 1
        said = _write_until_killed(directory, oracle.first, chance.uniform(0.05, 1.5))
        under_way = oracle.take(said)
        verify(directory, oracle, under_way, read_only=kill % 2 == 0)
    print(
        f"{kill} kills, {len(oracle.rows)} rows, {oracle.counter} increments, {oracle.flushes} flushes, "
        f"{oracle.compactions} compactions"
    )
    assert len(oracle.rows) > 300
    assert oracle.flushes > 0
    assert oracle.compactions > 0
    assert check_store(str(directory)) == []


def _write_until_killed(directory: Path, first: int, seconds: float) -> str:
    """Run the writer, kill it ``seconds`` after its first line; returns what it said."""
    command = [sys.executable, "-m", "tests.support.sigkill_writer", str(directory), str(first)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        head = child.stdout.readline()
        if head:
            time.sleep(seconds)
        os.kill(child.pid, signal.SIGKILL)
        said = head + child.stdout.read()
        error = child.stderr.read().decode()
    assert head, error
    assert "Traceback" not in error, error
    return said.decode()


def verify(directory: Path, oracle: Oracle, under_way: list[State], *, read_only: bool) -> None:
    """Compare the table with the oracle; afterwards it knows what became of the writes under way."""
    with hyperbase.connect(directory, read_only=read_only) as connection:
        table = connection.table("t")
        shown: State = {row: data[b"a:n"] for row, data in table.scan(columns=[b"a:n"])}
    counter = int.from_bytes(shown.pop(b"counter", None) or b"", "big")
    assert counter in (oracle.counter, oracle.counter + 1), "the counter was lost or doubled"
    oracle.counter = counter
    for state in under_way:
        if all(shown.get(row) == value for row, value in state.items()):
            oracle.rows.update(state)
        else:  # then not a part of it either
            assert all(shown.get(row) == oracle.rows.get(row) for row in state), "half a batch"
    expected = {row: value for row, value in oracle.rows.items() if value is not None}
    lost, extra = expected.keys() - shown.keys(), shown.keys() - expected.keys()
    assert shown == expected, f"lost: {sorted(lost)[:5]}, too many: {sorted(extra)[:5]}"
