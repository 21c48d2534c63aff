"""BufferedMutator on every implementation: what is sent when, what waits, who hears of errors."""

from __future__ import annotations

import threading
import time

import pytest

from hyperbase import BufferedMutator, Connection, Delete, Put
from hyperbase.common.errors import (
    IllegalArgumentException,
    IllegalStateException,
    RetriesExhaustedWithDetailsException,
    TableNotFoundException,
)
from tests.support.engine import Bench

Q = b"f:q"


def put(number: int, size: int = 10) -> Put:
    return Put(b"r%06d" % number).add(Q, b"v" * size)


def wait_for_rows(bench: Bench, count: int) -> None:
    deadline = time.monotonic() + 20
    while len(bench.rows()) != count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_flush_and_close_write_what_was_taken(bench: Bench) -> None:
    with BufferedMutator(bench.connection, bench.name) as mutator:
        assert mutator.name == bench.table.name
        mutator.mutate(put(1))
        mutator.mutate([put(2), put(3)])
        assert bench.rows() == []
        mutator.flush()
        assert len(bench.rows()) == 3
        mutator.mutate(Delete(b"r000001"))
    assert bench.rows() == [b"r000002", b"r000003"]
    mutator.close()
    with pytest.raises(IllegalStateException):
        mutator.mutate(put(4))


def test_a_full_buffer_is_sent_and_mutations_of_a_row_keep_their_order(bench: Bench) -> None:
    mutator = BufferedMutator(bench.table, write_buffer_bytes=5000)
    for number in range(300):
        mutator.mutate(put(number))
        mutator.mutate(Put(b"counter").add(Q, b"%d" % number))
    deadline = time.monotonic() + 20
    while not bench.rows():
        assert time.monotonic() < deadline
    mutator.close()
    assert len(bench.rows()) == 301
    assert bench.table.row(b"counter") == {Q: b"299"}


def test_an_old_buffer_is_sent(bench: Bench) -> None:
    with BufferedMutator(bench.table, flush_interval_s=0.05) as mutator:
        mutator.mutate(put(1))
        wait_for_rows(bench, 1)
        mutator.mutate(put(2))
        wait_for_rows(bench, 2)


def test_mutate_waits_while_too_much_is_under_way(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    target = bench.table._target()
    real = type(target).put_rows
    monkeypatch.setattr(type(target), "put_rows", lambda *arguments: (gate.wait(20), real(*arguments))[1])
    mutator = BufferedMutator(bench.table, write_buffer_bytes=1000)
    for number in range(2):
        mutator.mutate(put(number, 1000))
    late = threading.Thread(target=mutator.mutate, args=(put(2, 1000),))
    late.start()
    late.join(0.1)
    assert late.is_alive()
    gate.set()
    late.join(20)
    assert not late.is_alive()
    mutator.close()
    assert len(bench.rows()) == 3


def test_flush_raises_what_failed_and_the_rest_is_written(bench: Bench) -> None:
    mutator = BufferedMutator(bench.table)
    mutator.mutate([put(1), Put(b"bad").add(b"nope:q", b"v"), put(2)])
    with pytest.raises(RetriesExhaustedWithDetailsException) as caught:
        mutator.flush()
    assert [row for row, _ in caught.value.failures] == [b"bad"]
    assert bench.rows() == [b"r000001", b"r000002"]
    mutator.flush()
    mutator.close()


def test_the_callback_hears_of_errors_and_may_try_again(bench: Bench) -> None:
    heard: list[bytes] = []

    def on_error(error: RetriesExhaustedWithDetailsException, mutator: BufferedMutator) -> None:
        for row, _ in error.failures:
            heard.append(row)
            mutator.mutate(Put(row).add(Q, b"mended"))

    with BufferedMutator(bench.table, on_error=on_error) as mutator:
        mutator.mutate([Put(b"bad").add(b"nope:q", b"v"), Delete(b"x")])
        mutator.flush()
    assert heard == [b"bad"]
    assert bench.table.row(b"bad") == {Q: b"mended"}


def test_what_the_callback_raises_is_raised_by_flush(bench: Bench) -> None:
    def on_error(error: RetriesExhaustedWithDetailsException, mutator: BufferedMutator) -> None:
        raise ZeroDivisionError

    mutator = BufferedMutator(bench.table, on_error=on_error)
    mutator.mutate(Put(b"bad").add(b"nope:q", b"v"))
    with pytest.raises(ZeroDivisionError):
        mutator.flush()
    mutator.close()


def test_a_missing_table_fails_every_mutation(connection: Connection) -> None:
    mutator = BufferedMutator(connection, "absent")
    mutator.mutate([put(1), put(2)])
    with pytest.raises(RetriesExhaustedWithDetailsException) as caught:
        mutator.close()
    assert [type(error) for _, error in caught.value.failures] == [TableNotFoundException] * 2


def test_what_it_does_not_take(bench: Bench) -> None:
    with pytest.raises(IllegalArgumentException):
        BufferedMutator(bench.table, write_buffer_bytes=0)
    with pytest.raises(TypeError):
        BufferedMutator(bench.connection)
    with pytest.raises(TypeError):
        BufferedMutator(bench.table, "t")
    with BufferedMutator(bench.table) as mutator:
        with pytest.raises(IllegalArgumentException):
            mutator.mutate([put(1), Put(b"empty")])
        with pytest.raises(TypeError):
            mutator.mutate([(b"r", {})])  # type: ignore[list-item]
    assert bench.rows() == []
