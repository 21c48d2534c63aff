"""Writers of every kind of mutation that know exactly what the table must show, whatever the server suffers.

Each writer has rows of its own and one operation under way at a time. An operation is sent again, with its
nonce, until it is answered; so it took effect once, and what a writer reads between two operations is what
it wrote. Values are unique: an effect that is lost, doubled or torn shows.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

from hyperbase import Append, CheckAndMutate, Delete, Increment, Put, Result, RowMutations, Table
from hyperbase.common.errors import ConnectionLostException, DoNotRetryIOException
from hyperbase.common.wire.messages import Method
from hyperbase.common.wire.model_codec import decode_result, encode_action
from tests.support.wire_client import WireClient

Rows = dict[bytes, dict[bytes, bytes]]

FILL = b"x" * 300
SPLITS = [b"h", b"p"]
ANSWER_WAIT_S = 60.0


class Writer(threading.Thread):
    """One kind of operation, again and again."""

    def __init__(self, name: str, table: Table, seed: int) -> None:
        super().__init__(name=name, daemon=True)
        self.table = table
        self.chance = random.Random(f"{seed} {name}")
        self.rows: Rows = {}  # what the table must show
        self.acknowledged = 0
        self.busy = False  # an operation is under way
        self.error: BaseException | None = None
        self.ending = threading.Event()

    def run(self) -> None:
        try:
            while not self.ending.is_set():
                self.busy = True
                self.step(self.acknowledged + 1)
                self.busy = False
                self.acknowledged += 1
                if self.acknowledged % 8 == 0:
                    self.read_back()
        except BaseException as error:
            self.error = error

    def step(self, number: int) -> None:
        """One operation; returns when it was answered."""
        raise NotImplementedError

    def key(self, number: int) -> bytes:
        """A row of this writer, in one of the regions."""
        return b"%c-%s-%06d" % (b"bkt"[number % 3], self.name.encode(), number)

    def value(self, number: int) -> bytes:
        """A value that nobody else writes."""
        return b"%s:%d" % (self.name.encode(), number)

    def put_of(self, row: bytes, number: int) -> Put:
        """A Put of both families."""
        return Put(row).add(b"a:n", self.value(number)).add(b"b:fill", FILL)

    def check_of(self, row: bytes, number: int) -> CheckAndMutate:
        """From the value of the operation before to this one's."""
        check = CheckAndMutate(row)
        if number == 1:
            check.if_not_exists(b"a:n")
        else:
            check.if_equals(b"a:n", self.value(number - 1))
        return check.then(Put(row).add(b"a:n", self.value(number)))

    def written(self, row: bytes, number: int) -> None:
        """``put_of`` was acknowledged."""
        self.rows[row] = {b"a:n": self.value(number), b"b:fill": FILL}

    def read_back(self) -> None:
        """Some row of its own shows what was written."""
        if self.rows:
            row = self.chance.choice(list(self.rows))
            shown = self.table.row(row)
            assert shown == self.rows[row], f"{self.name}: {row!r} shows {shown!r}, not {self.rows[row]!r}"


class Putter(Writer):
    def step(self, number: int) -> None:
        row = self.key(number)
        self.table.put(row, {b"a:n": self.value(number), b"b:fill": FILL})
        self.written(row, number)


class Batcher(Writer):
    """Puts to three regions in one request."""

    def step(self, number: int) -> None:
        rows = [b"%c-batch-%06d-%d" % (b"bkt"[index % 3], number, index) for index in range(6)]
        with self.table.batch() as batch:
            for row in rows:
                batch.put(row, {b"a:n": self.value(number), b"b:fill": FILL})
        for row in rows:
            self.written(row, number)


class Deleter(Writer):
    """Puts and deletes the same few rows in turn, the deletes in several ways."""

    def step(self, number: int) -> None:
        row = self.key(number % 12)
        if row not in self.rows:
            self.table.put(row, {b"a:n": self.value(number), b"b:fill": FILL})
            self.written(row, number)
        elif number % 3 or b"b:fill" not in self.rows[row]:
            assert self.table.run_batch([Delete(row)]) == [None]
            del self.rows[row]
        else:  # the newest version, of which there is one
            assert self.table.run_batch([Delete(row).add_column(b"b:fill")]) == [None]
            del self.rows[row][b"b:fill"]


class Incrementer(Writer):
    def step(self, number: int) -> None:
        value = self.table.increment(b"k-counter", {b"a:n": 1, b"b:m": 2})
        assert value == {b"a:n": number, b"b:m": 2 * number}, f"increment {number} answered {value}"
        self.rows[b"k-counter"] = {b"a:n": number.to_bytes(8, "big"), b"b:m": (2 * number).to_bytes(8, "big")}


class Appender(Writer):
    def step(self, number: int) -> None:
        row = self.key(number // 50)
        before = self.rows.get(row, {}).get(b"a:n", b"")
        expected = {b"a:n": before + b"<%d>" % number}
        shown = self.table.append(row, {b"a:n": b"<%d>" % number})
        assert shown == expected, f"append {number} answered {shown}"
        self.rows[row] = expected


class Checker(Writer):
    """Each step holds only if the one before was applied, once."""

    def step(self, number: int) -> None:
        row = b"b-check"
        held, _ = self.table.check_and_mutate(self.check_of(row, number))
        assert held, f"check {number} did not hold"
        self.rows[row] = {b"a:n": self.value(number)}


class RowMutator(Writer):
    """Several mutations of one row at once, in both families."""

    def step(self, number: int) -> None:
        row = b"t-mutations"
        old, new = b"a:c%d" % ((number - 1) % 5), b"a:c%d" % (number % 5)
        mutations = RowMutations(
            row,
            [
                Put(row).add(new, self.value(number)),
                Delete(row).add_columns(old),
                Increment(row, {b"b:n": 3}),
            ],
        )
        result = self.table.mutate_row(mutations)
        assert int.from_bytes(result.value(b"b:n") or b"", "big") == 3 * number, (
            f"mutation {number}: {result}"
        )
        self.rows[row] = {new: self.value(number), b"b:n": (3 * number).to_bytes(8, "big")}


class Mixer(Writer):
    """A batch of every kind of action, to rows of three regions."""

    def step(self, number: int) -> None:
        put_row, count_row, append_row, check_row = b"b-mix", b"k-mix", b"t-mix", b"t-mix-check"
        before = self.rows.get(append_row, {}).get(b"a:n", b"") if number % 40 else b""
        actions: list[Any] = [
            self.put_of(put_row, number),
            Increment(count_row, {b"a:n": 5}),
            Append(append_row, {b"a:n": b"<%d>" % number}),
            self.check_of(check_row, number),
        ]
        if number % 40 == 0:  # the value begins anew
            assert self.table.run_batch([Delete(append_row).add_columns(b"a:n")]) == [None]
        outcomes = self.table.run_batch(actions)
        assert outcomes[0] is None, outcomes
        assert isinstance(outcomes[1], Result), outcomes
        assert outcomes[1].value(b"a:n") == (5 * number).to_bytes(8, "big"), outcomes
        assert isinstance(outcomes[2], Result), outcomes
        assert outcomes[2].value(b"a:n") == before + b"<%d>" % number, outcomes
        assert outcomes[3] == (True, None), outcomes
        self.written(put_row, number)
        self.rows[count_row] = {b"a:n": (5 * number).to_bytes(8, "big")}
        self.rows[append_row] = {b"a:n": before + b"<%d>" % number}
        self.rows[check_row] = {b"a:n": self.value(number)}


class WireIncrementer(Writer):
    """Increments over the wire itself: it looks whether an unanswered one was applied, then repeats it."""

    def __init__(self, name: str, table: Table, seed: int, port: int) -> None:
        super().__init__(name, table, seed)
        self.unanswered = 0  # the connection broke before the answer
        self.applied_unanswered = 0  # and the increment was there: the repetition must not count
        self._port = port
        self._client: WireClient | None = None
        self._client_id = self.chance.randbytes(16)
        self._row = b"k-wire"

    def step(self, number: int) -> None:
        deadline = time.monotonic() + ANSWER_WAIT_S
        first = True
        while True:
            try:
                client = self._connected(number - 1, first)
                (region,) = [r for r in client.regions("t") if r.contains(self._row)]
                first = False
                action = encode_action(Increment(self._row, {b"a:n": 1}))
                payload = client.call(Method.MUTATE, region.id16, action, (number, number))
                break
            except (ConnectionLostException, OSError) as error:
                if isinstance(error, DoNotRetryIOException) or time.monotonic() > deadline:
                    raise
                if not first and self._client is not None:
                    self.unanswered += 1
                self._client = None
                self.ending.wait(0.01)
        value = decode_result(self._row, payload).value(b"a:n")
        assert value == number.to_bytes(8, "big"), f"increment {number} answered {value!r}"
        self.rows[self._row] = {b"a:n": value}

    def _connected(self, before: int, first: bool) -> WireClient:
        if self._client is None:
            self._client = WireClient(self._port, self._client_id)
            if not first and self.table.row(self._row) != self.rows.get(self._row, {}):
                self.applied_unanswered += 1
        return self._client


def writers(table: Table, port: int, seed: int) -> list[Writer]:
    """One of each."""
    kinds: list[tuple[str, Callable[[str, Table, int], Writer]]] = [
        ("put", Putter),
        ("batch", Batcher),
        ("delete", Deleter),
        ("increment", Incrementer),
        ("append", Appender),
        ("check", Checker),
        ("mutations", RowMutator),
        ("mix", Mixer),
    ]
    made: list[Writer] = [kind(name, table, seed) for name, kind in kinds]
    return [*made, WireIncrementer("wire", table, seed, port)]


def expected_rows(made: list[Writer]) -> Rows:
    """What the table must show once every writer has ended."""
    rows: Rows = {}
    for writer in made:
        for row, data in writer.rows.items():
            if data:
                assert row not in rows
                rows[row] = data
    return rows
