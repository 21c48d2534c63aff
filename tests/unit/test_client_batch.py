"""Batch: what it collects, merges, counts, and in which order it sends."""

from __future__ import annotations

from typing import Any

import pytest

from hyperbase.client.connection import Connection
from hyperbase.client.table import Table
from hyperbase.common.errors import IllegalArgumentException, RetriesExhaustedWithDetailsException
from hyperbase.common.model import CellType, Durability
from tests.support.fake_backend import FakeBackend


@pytest.fixture
def store() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def table(store: FakeBackend) -> Table:
    connection = Connection(lambda: store)
    connection.create_table("t", {"cf": {}, "b": {}})
    return connection.table("t")


def put_calls(store: FakeBackend) -> list[Any]:
    return [call[1:] for call in store.calls if call[0] == "put_rows"]


def test_rows_are_merged_and_sent_in_one_call(table: Table, store: FakeBackend) -> None:
    batch = table.batch()
    batch.put(b"r1", {b"cf:a": b"1", b"cf:b": b"2"})
    batch.put("r2", {"cf:a": "3"})
    batch.put(b"r1", {b"cf:b": b"later", b"cf:c": b"4"})
    batch.put(b"r3", {})
    assert store.calls == []
    batch.send()
    batch.send()
    rows = [(b"r1", {b"cf:a": b"1", b"cf:b": b"later", b"cf:c": b"4"}), (b"r2", {b"cf:a": b"3"})]
    assert put_calls(store) == [(rows, None, Durability.USE_DEFAULT)]


def test_puts_go_before_deletes(table: Table, store: FakeBackend) -> None:
    with table.batch(timestamp=50) as batch:
        batch.delete(b"r", [b"cf:a"])
        batch.put(b"r", {b"cf:a": b"1", b"cf:b": b"2"})
        batch.delete(b"q")
        batch.delete(b"p", [b"cf:a", b"b"])
        batch.delete(b"p", [b"cf:a"])
        batch.delete(b"o", [])
    assert table.row(b"r") == {b"cf:b": b"2"}
    assert [call[0] for call in store.calls[:2]] == ["put_rows", "run_batch"]
    deletes = {delete.row: delete.markers for delete in store.calls[1][1]}
    assert deletes == {
        b"r": [(b"cf", b"a", 50, CellType.DELETE_COLUMN)],
        b"q": [],
        b"p": [(b"cf", b"a", 50, CellType.DELETE_COLUMN), (b"b", b"", 50, CellType.DELETE_FAMILY)],
    }


@pytest.mark.parametrize("first_whole", [True, False])
def test_deleting_the_row_covers_its_columns(table: Table, store: FakeBackend, first_whole: bool) -> None:
    batch = table.batch()
    for columns in (None, [b"cf:a"]) if first_whole else ([b"cf:a"], None):
        batch.delete(b"r", columns)
    batch.send()
    (delete,) = store.calls[0][1]
    assert delete.markers == []


def test_batch_size_counts_cells(table: Table, store: FakeBackend) -> None:
    with table.batch(batch_size=5) as batch:
        for number in range(10):
            batch.put(b"r%d" % number, {b"cf:a": b"1", b"cf:b": b"2"})
    assert [len(rows) for rows, _, _ in put_calls(store)] == [3, 3, 3, 1]


def test_batch_size_counts_a_row_delete_once_per_family(table: Table, store: FakeBackend) -> None:
    with table.batch(batch_size=4) as batch:
        for number in range(5):
            batch.delete(b"r%d" % number)
    assert [len(call[1]) for call in store.calls if call[0] == "run_batch"] == [2, 2, 1]


def test_wal_is_chosen_per_batch_and_per_row(table: Table, store: FakeBackend) -> None:
    with table.batch(wal=False) as batch:
        batch.put(b"a", {b"cf:a": b"1"})
        batch.delete(b"x")
    with table.batch() as batch:
        batch.put(b"a", {b"cf:a": b"1"})
        batch.put(b"b", {b"cf:a": b"1"}, wal=False)
        batch.delete(b"x")
        batch.delete(b"y", wal=False)
    assert [(rows[0][0], durability) for rows, _, durability in put_calls(store)] == [
        (b"a", Durability.SKIP_WAL),
        (b"a", Durability.USE_DEFAULT),
        (b"b", Durability.SKIP_WAL),
    ]
    deletes = [delete for call in store.calls if call[0] == "run_batch" for delete in call[1]]
    assert [delete.durability for delete in deletes] == [
        Durability.SKIP_WAL,
        Durability.USE_DEFAULT,
        Durability.SKIP_WAL,
    ]


@pytest.mark.parametrize("transaction", [True, False])
def test_an_exception_discards_only_a_transaction(table: Table, transaction: bool) -> None:
    def failing() -> None:
        with table.batch(transaction=transaction) as batch:
            batch.put(b"r", {b"cf:a": b"1"})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert bool(table.row(b"r")) is not transaction


def test_good_rows_are_written_when_others_fail(table: Table, store: FakeBackend) -> None:
    batch = table.batch()
    batch.put(b"good", {b"cf:a": b"1"})
    batch.put(b"bad", {b"nope:a": b"1"})
    batch.put(b"worse", {b"nope:a": b"1"}, wal=False)
    batch.delete(b"good")
    with pytest.raises(RetriesExhaustedWithDetailsException) as caught:
        batch.send()
    assert [row for row, _ in caught.value.failures] == [b"bad", b"worse"]
    assert table.row(b"good") == {b"cf:a": b"1"}  # the delete was not sent
    with pytest.raises(RetriesExhaustedWithDetailsException):
        batch.send()  # it still holds everything


def test_refused_deletes_are_named(table: Table) -> None:
    batch = table.batch()
    batch.delete(b"a", [b"nope"])
    batch.delete(b"b")
    with pytest.raises(RetriesExhaustedWithDetailsException, match="NoSuchColumnFamily") as caught:
        batch.send()
    assert [row for row, _ in caught.value.failures] == [b"a"]


def test_arguments_are_checked(table: Table) -> None:
    with pytest.raises(TypeError):
        table.batch(timestamp="invalid")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        table.batch(batch_size=10, transaction=True)
    with pytest.raises(ValueError):
        table.batch(batch_size=0)
    with pytest.raises(IllegalArgumentException, match="negative"):
        table.batch(timestamp=-1)
    with pytest.raises(IllegalArgumentException):
        table.batch().delete(b"")
    with pytest.raises(TypeError):
        table.batch().delete(b"r", "cf:a")
