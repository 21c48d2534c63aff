"""What clients do while a cluster suffers: they build linked lists, and record what they see of single rows.

Each client has a connection of its own, so each has its own, perhaps outdated, idea of where regions are.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import hyperbase
from hyperbase import CheckAndMutate, Connection, Put, Table
from hyperbase.client.network.retries import is_unreachable
from hyperbase.common.errors import HBaseIOException
from hyperbase.common.region_info import RegionInfo
from hyperbase.common.wire.messages import Method
from hyperbase.common.wire.model_codec import decode_result
from tests.support.cluster_processes import SERVER, ClusterProcesses
from tests.support.linearizability import ADD, READ, SWAP, WRITE, Operation, Recorder, State
from tests.support.linked_list import ring
from tests.support.wire_client import WireClient

PATIENT: dict[str, Any] = {"operation_timeout_s": 600.0, "max_retries": 1_000_000, "retry_delay_max_ms": 500}
LIST, ROWS = "list", "rows"  # tables
VALUE, COUNT = b"f:v", b"f:n"
PAUSE_S = 0.004  # between operations of one client: several share two cores with the servers


class Load(threading.Thread):
    """One client. ``error`` is what ended it before its time."""

    def __init__(self, name: str, url: str, seed: int) -> None:
        super().__init__(name=name, daemon=True)
        self.chance = random.Random(f"{seed} {name}")
        self.error: BaseException | None = None
        self.ending = threading.Event()
        self._url = url

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:
            self.error = error

    def work(self) -> None:
        """Until ``ending`` is set."""
        raise NotImplementedError


class RingWriter(Load):
    """Rings, one after the other; it ends when one is whole.

    It never gives up on a batch: a copy of one that was given up might come into effect after a later one.

    Args:
        allowed: how many nodes all writers together may have begun by now.
    """

    def __init__(
        self, name: str, url: str, seed: int, width: int, wrap: int, allowed: Callable[[], int]
    ) -> None:
        super().__init__(name, url, seed)
        self.nodes = 0  # of whole rings
        self.begun = 0  # rows that were put, those put twice twice
        self.longest_s = 0.0  # that a batch took
        self._width, self._wrap = width, wrap
        self._allowed = allowed

    def work(self) -> None:
        with hyperbase.connect(self._url, **PATIENT) as connection:
            table = connection.table(LIST)
            while not self.ending.is_set():
                for batch in ring(self.chance, self._width, self._wrap):
                    while self.begun >= self._allowed() and not self.ending.wait(0.02):
                        pass
                    begun = time.monotonic()
                    with table.batch() as puts:
                        for row, cells in batch:
                            puts.put(row, cells)
                    self.longest_s = max(self.longest_s, time.monotonic() - begun)
                    self.begun += len(batch)
                self.nodes += self._width * self._wrap


class Rows:
    """Which rows are in use: a few at a time, all over the table, for so many operations each."""

    def __init__(self, seed: int, *, count: int = 6, operations: int = 80) -> None:
        self._chance = random.Random(f"{seed} rows")
        self._lock = threading.Lock()
        self._operations = operations
        self._numbers = itertools.count()
        self._left: dict[bytes, int] = {self._new(): operations for _ in range(count)}

    def _new(self) -> bytes:
        number = next(self._numbers)
        kind = b"counter" if number % 3 == 0 else b"register"
        return b"%02x-%s-%d" % (self._chance.randrange(256), kind, number)

    def take(self, chance: random.Random) -> bytes:
        """A row to do something with."""
        with self._lock:
            row = chance.choice(list(self._left))
            self._left[row] -= 1
            if not self._left[row]:
                del self._left[row]
                self._left[self._new()] = self._operations
            return row

    def current(self) -> list[bytes]:
        """Those in use."""
        with self._lock:
            return list(self._left)


def is_counter(row: bytes) -> bool:
    """Whether the row is added to; else it is written and swapped."""
    return b"-counter-" in row


def state_of(row: bytes, cells: dict[bytes, bytes]) -> State:
    """What a read shows."""
    if is_counter(row):
        value = cells.get(COUNT)
        return None if value is None else int.from_bytes(value, "big")
    return cells.get(VALUE)


class RowClient(Load):
    """Reads, writes, swaps and adds, and writes down what it was answered.

    Args:
        timeout_s: after this the outcome of an operation is unknown.
    """

    def __init__(
        self, name: str, url: str, seed: int, rows: Rows, recorder: Recorder, timeout_s: float
    ) -> None:
        super().__init__(name, url, seed)
        self._rows = rows
        self._recorder = recorder
        self._timeout_s = timeout_s
        self._numbers = itertools.count(1)
        self._seen: dict[bytes, State] = {}  # what is expected of a swap

    def work(self) -> None:
        config: dict[str, Any] = {
            **PATIENT,
            "operation_timeout_s": self._timeout_s,
            "retry_delay_max_ms": 200,
        }
        with hyperbase.connect(self._url, **config) as connection:
            table = connection.table(ROWS)
            while not self.ending.wait(PAUSE_S):
                row = self._rows.take(self.chance)
                if is_counter(row):
                    self._count(table, row)
                else:
                    self._change(table, row)

    def _count(self, table: Table, row: bytes) -> None:
        if self.chance.random() < 0.6:
            by = self.chance.choice([1, 1, 1, 7])
            self._do(row, ADD, by, lambda: table.increment(row, {COUNT: by})[COUNT])
        else:
            self._read(table, row)

    def _change(self, table: Table, row: bytes) -> None:
        dice = self.chance.random()
        value = b"%s:%d" % (self.name.encode(), next(self._numbers))
        if dice < 0.4:
            self._read(table, row)
        elif dice < 0.7:
            self._do(row, WRITE, value, lambda: table.put(row, {VALUE: value}))
        elif dice < 0.75:
            self._do(row, WRITE, None, lambda: table.delete(row))
        else:
            expected = self._seen.get(row)
            self._do(row, SWAP, (expected, value), lambda: swap(table, row, expected, value))

    def _read(self, table: Table, row: bytes) -> None:
        self._seen[row] = self._do(row, READ, None, lambda: state_of(row, table.row(row)))

    def _do(self, row: bytes, kind: str, argument: object, act: Callable[[], object]) -> State:
        seen: State = self._recorder.call(self.name, row, kind, argument, act, HBaseIOException)
        return seen


def swap(table: Table, row: bytes, expected: State, value: bytes) -> bool:
    """Check and put."""
    check = CheckAndMutate(row)
    if expected is None:
        check.if_not_exists(VALUE)
    else:
        assert isinstance(expected, bytes)
        check.if_equals(VALUE, expected)
    done, _ = table.check_and_mutate(check.then(Put(row).add(VALUE, value)))
    return done


class Asker(Load):
    """Asks every server for rows of any region, whatever hbase:meta says of where that is.

    Whoever answers claims to own the region at that moment. The answers stand in the histories as reads: two
    owners of a row show as soon as the row changes.
    """

    WAIT_S = 0.3

    def __init__(
        self, name: str, cluster: ClusterProcesses, seed: int, rows: Rows, recorder: Recorder
    ) -> None:
        super().__init__(name, cluster.url, seed)
        self.answers = self.refusals = 0
        self._cluster = cluster
        self._rows = rows
        self._recorder = recorder
        self._regions: list[RegionInfo] = []
        self._links: dict[str, WireClient] = {}

    def work(self) -> None:
        with hyperbase.connect(self._url, operation_timeout_s=3.0) as connection:
            for step in itertools.count():
                if self.ending.wait(PAUSE_S):
                    break
                if step % 200 == 0:
                    self._learn(connection)
                self._ask()
        for link in self._links.values():
            link.close()

    def _learn(self, connection: Connection) -> None:
        """Regions there are; those there were stay known, somebody might still serve them."""
        try:
            found = connection.admin.regions(ROWS)
        except HBaseIOException:
            return
        self._regions = (self._regions + [info for info in found if info not in self._regions])[-64:]

    def _ask(self) -> None:
        row = self.chance.choice(self._rows.current())
        infos = [info for info in self._regions if info.contains(row)]
        member = self.chance.choice(self._cluster.of_role(SERVER))
        if not infos:
            return
        info = self.chance.choice(infos)
        before = self._recorder.clock()
        try:
            link = self._links.get(member.name)
            if link is None:
                link = WireClient(member.port, host=member.host, wait_s=self.WAIT_S)
                self._links[member.name] = link
            answer = link.call(Method.ROW, info.id16, row)
        except (HBaseIOException, OSError) as error:
            self.refusals += 1
            if not isinstance(error, HBaseIOException) or is_unreachable(error):
                self._drop(member.name)
            return
        state, who = state_of(row, decode_result(row, answer).to_dict()), f"{self.name}@{member.name}"
        self._recorder.note(row, Operation(READ, None, state, before, self._recorder.clock(), who))
        self.answers += 1

    def _drop(self, name: str) -> None:
        link = self._links.pop(name, None)
        if link is not None:
            link.close()


def read_rows(table: Table) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
    """Everything there is."""
    yield from table.scan(batch_size=2000)
