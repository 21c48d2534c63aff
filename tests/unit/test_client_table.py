"""Table over a fake backend: arguments, conversions and what reaches the engine."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from hyperbase.client.connection import Connection
from hyperbase.client.table import Table
from hyperbase.common.errors import (
    IllegalArgumentException,
    IllegalStateException,
    NoSuchColumnFamilyException,
    StoreClosedException,
    TableNotFoundException,
)
from hyperbase.common.model import (
    ALL_VERSIONS,
    Append,
    CellType,
    CheckAndMutate,
    Delete,
    Durability,
    Get,
    Increment,
    Put,
    Result,
    RowMutations,
    Scan,
    TimeRange,
)
from tests.support.fake_backend import FakeBackend


@pytest.fixture
def store() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def table(store: FakeBackend) -> Table:
    connection = Connection(lambda: store)
    connection.create_table("t", {"cf": {}, "b": None})
    return connection.table("t")


def test_put_and_row_take_bytes_and_text(table: Table, store: FakeBackend) -> None:
    table.put(b"r1", {b"cf:a": b"1", b"cf:": b"2"})
    table.put("r2", {"cf:ä": "ö", b"b:x:y": None})
    assert table.row(b"r1") == {b"cf:a": b"1", b"cf:": b"2"}
    assert table.row("r2") == {"cf:ä".encode(): "ö".encode(), b"b:x:y": b""}
    assert table.row(b"missing") == {}
    for _, rows, timestamp, durability in store.calls:
        assert timestamp is None
        assert durability is Durability.USE_DEFAULT
        assert all(type(part) is bytes for row, data in rows for part in (row, *data, *data.values()))


def test_put_hands_over_a_copy(table: Table) -> None:
    data = {b"cf:a": b"1"}
    batch = table.batch()
    batch.put(b"r", data)
    data[b"cf:a"] = b"changed"
    data[b"cf:b"] = b"added"
    batch.send()
    assert table.row(b"r") == {b"cf:a": b"1"}


@pytest.mark.parametrize(
    ("row", "data", "error"),
    [
        (b"", {b"cf:a": b"1"}, IllegalArgumentException),
        (b"x" * 65_537, {b"cf:a": b"1"}, IllegalArgumentException),
        (1, {b"cf:a": b"1"}, TypeError),
        (b"r", {b"cf": b"1"}, IllegalArgumentException),
        (b"r", {b":a": b"1"}, IllegalArgumentException),
        (b"r", {b"cf:a": 1}, TypeError),
        (b"r", {1: b"1"}, TypeError),
        (b"r", [b"cf:a"], TypeError),
        (b"r", None, TypeError),
    ],
)
def test_put_refuses(table: Table, store: FakeBackend, row: Any, data: Any, error: type[Exception]) -> None:
    for _ in range(2):  # remembering known columns must not change the answer
        with pytest.raises(error):
            table.put(row, data)
        with pytest.raises(error):
            table.batch().put(row, data)
    assert store.calls == []


def test_put_options_reach_the_engine(table: Table, store: FakeBackend) -> None:
    table.put(b"r", {b"cf:a": b"1"}, timestamp=5, wal=False)
    table.put(b"r", {})
    assert store.calls == [("put_rows", [(b"r", {b"cf:a": b"1"})], 5, Durability.SKIP_WAL)]
    for bad in ("x", 1.5):
        with pytest.raises(TypeError):
            table.put(b"r", {b"cf:a": b"1"}, timestamp=bad)  # type: ignore[arg-type]
    with pytest.raises(IllegalArgumentException, match="negative"):
        table.put(b"r", {b"cf:a": b"1"}, timestamp=-1)


def test_a_single_put_raises_its_own_error(table: Table) -> None:
    with pytest.raises(NoSuchColumnFamilyException):
        table.put(b"r", {b"nope:a": b"1"})


def test_row_timestamp_is_an_exclusive_bound(table: Table, store: FakeBackend) -> None:
    table.put(b"r", {b"cf:a": b"old"}, timestamp=10)
    table.put(b"r", {b"cf:a": b"new"}, timestamp=20)
    assert table.row(b"r", timestamp=20) == {b"cf:a": b"old"}
    assert table.row(b"r", timestamp=10) == {}
    assert table.row(b"r", timestamp=21, include_timestamp=True) == {b"cf:a": (b"new", 20)}
    assert table.row(b"r", include_timestamp=True) == {b"cf:a": (b"new", 20)}
    assert table.row(b"r", versions=2) == {b"cf:a": [b"new", b"old"]}
    assert table.row(b"r", versions="all", include_timestamp=True) == {b"cf:a": [(b"new", 20), (b"old", 10)]}
    assert store.calls[-1][1].versions == ALL_VERSIONS


def test_row_columns(table: Table) -> None:
    table.put(b"r", {b"cf:a": b"1", b"cf:b": b"2", b"b:c": b"3"})
    assert table.row(b"r", [b"cf"]) == {b"cf:a": b"1", b"cf:b": b"2"}
    assert table.row(b"r", ("cf:b", b"b:c")) == {b"cf:b": b"2", b"b:c": b"3"}
    assert len(table.row(b"r", [])) == 3
    for bad in (b"cf:a", {b"cf:a"}, 123):
        with pytest.raises(TypeError):
            table.row(b"r", bad)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        table.row(b"r", timestamp="invalid")  # type: ignore[arg-type]
    with pytest.raises(IllegalArgumentException):
        table.row(b"")


def test_rows_keep_order_and_repeats(table: Table) -> None:
    for key in (b"a", b"b"):
        table.put(key, {b"cf:a": key})
    assert table.rows([b"b", b"none", b"a", b"b"]) == [
        (b"b", {b"cf:a": b"b"}),
        (b"a", {b"cf:a": b"a"}),
        (b"b", {b"cf:a": b"b"}),
    ]
    assert table.rows([]) == []


def test_cells(table: Table) -> None:
    for t in (1, 2, 3):
        table.put(b"r", {b"cf:a": b"%d" % t}, timestamp=t)
    assert table.cells(b"r", b"cf:a") == [b"3", b"2", b"1"]
    assert table.cells(b"r", b"cf:a", versions=2) == [b"3", b"2"]
    assert table.cells(b"r", b"cf:a", timestamp=3, include_timestamp=True) == [(b"2", 2), (b"1", 1)]
    with pytest.raises(TypeError):
        table.cells(b"r", b"cf:a", versions="3")  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        table.cells(b"r", b"cf:a", versions=0)


def fill(table: Table, count: int = 10) -> None:
    for number in range(count):
        table.put(b"r%d" % number, {b"cf:a": b"%d" % number, b"b:x": b"x"}, timestamp=number)


def test_scan_ranges(table: Table) -> None:
    fill(table)

    def keys(**arguments: Any) -> list[bytes]:
        return [row for row, _ in table.scan(**arguments)]

    assert len(keys()) == 10
    assert keys(row_start=b"r3", row_stop=b"r6") == [b"r3", b"r4", b"r5"]
    assert keys(row_start="r6", row_stop="r3", reverse=True) == [b"r6", b"r5", b"r4"]
    assert keys(row_prefix=b"r", limit=4) == [b"r0", b"r1", b"r2", b"r3"]
    assert keys(row_prefix=b"r", reverse=True, limit=1) == [b"r9"]
    assert keys(timestamp=2) == [b"r0", b"r1"]
    assert list(table.scan(row_start=b"r9", columns=[b"cf"], include_timestamp=True)) == [
        (b"r9", {b"cf:a": (b"9", 9)})
    ]
    assert list(table.scan(row_start=b"r9", columns=[b"cf:a"], versions=3)) == [(b"r9", {b"cf:a": [b"9"]})]


def test_scan_arguments_become_a_scan(table: Table, store: FakeBackend) -> None:
    list(table.scan(filter=b"PageFilter(1)", scan_batching=7, limit=3, timestamp=9))
    scan = next(call[1] for call in store.calls if call[0] == "scan")
    assert (scan.filter, scan.batch, scan.limit, scan.versions) == (b"PageFilter(1)", 7, 3, 1)
    assert scan.time_range == TimeRange(0, 9)


def test_scan_checks_lazily(table: Table) -> None:
    for bad in ({"limit": 0}, {"batch_size": 0}, {"scan_batching": 0}):
        scanner = table.scan(**bad)  # type: ignore[arg-type]
        with pytest.raises(ValueError):
            next(scanner)
    with pytest.raises(TypeError):
        next(table.scan(row_prefix=b"a", row_start=b"b"))
    with pytest.raises(TypeError):
        next(table.scan(columns=b"cf:a"))  # type: ignore[arg-type]


def test_a_scan_can_be_closed_early(table: Table, store: FakeBackend) -> None:
    fill(table)
    scanner = table.scan()
    next(scanner)
    scanner.close()  # type: ignore[attr-defined]
    assert store.calls[-1] == ("scan closed",)
    with pytest.raises(StopIteration):
        next(scanner)


def test_scan_limit_counts_items_even_when_rows_come_in_parts(table: Table, store: FakeBackend) -> None:
    class Parts:
        def scan(self, scan: Scan) -> Any:
            yield [Result(b"r", [b"cf:%d" % n], [b""], 1, partial=True) for n in range(2)]
            yield [Result(b"r", [b"cf:%d" % n], [b""], 1) for n in range(2)]

    table.row(b"r")
    table._binding = (store, Parts())  # type: ignore[assignment]
    assert len(list(table.scan(limit=3, scan_batching=1))) == 3
    assert len(list(table.scan(limit=2, scan_batching=1))) == 2


def test_delete_variants(table: Table, store: FakeBackend) -> None:
    table.delete(b"r")
    table.delete(b"r", [b"cf:a", b"cf", b"cf:"], timestamp=7, wal=False)
    table.delete(b"r", [])
    whole, some = (call[1] for call in store.calls)
    assert whole.markers == []
    assert whole.timestamp is None
    assert some.durability is Durability.SKIP_WAL
    assert some.markers == [
        (b"cf", b"a", 7, CellType.DELETE_COLUMN),
        (b"cf", b"", 7, CellType.DELETE_FAMILY),
        (b"cf", b"", 7, CellType.DELETE_COLUMN),
    ]
    with pytest.raises(TypeError):
        table.delete(b"r", b"cf:a")  # type: ignore[arg-type]


def test_delete_up_to_a_timestamp(table: Table) -> None:
    table.put(b"r", {b"cf:a": b"old"}, timestamp=10)
    table.put(b"r", {b"cf:a": b"new"}, timestamp=20)
    table.delete(b"r", [b"cf:a"], timestamp=10)
    assert table.cells(b"r", b"cf:a") == [b"new"]
    table.delete(b"r")
    assert table.row(b"r") == {}


def test_counters(table: Table) -> None:
    assert table.counter_get(b"r", "cf:n") == 0
    assert table.counter_inc(b"r", b"cf:n", 10) == 10
    assert table.counter_dec(b"r", b"cf:n") == 9
    table.counter_set(b"r", b"cf:n", -3)
    assert table.counter_dec(b"r", b"cf:n", -4) == 1
    with pytest.raises(ValueError):
        table.counter_set(b"r", b"cf:n", 2**63)
    with pytest.raises(TypeError):
        table.counter_inc(b"r", b"cf:n", 1.5)  # type: ignore[arg-type]


def test_hbase_style(table: Table) -> None:
    table.put(Put(b"r").add(b"cf:a", b"1"))
    assert table.get(Get(b"r")).value(b"cf:a") == b"1"
    assert [result.row for result in table.get_many([Get(b"r"), Get(b"none")])] == [b"r", b"none"]
    assert [result.row for result in table.scan_results(Scan())] == [b"r"]
    assert table.exists(b"r")
    assert not table.exists("none")
    assert table.exists(Get(b"r", [b"cf:a"]))
    assert not table.exists(Get(b"r", [b"cf:z"]))
    assert table.increment(b"r", {b"cf:n": 2, b"b:n": 3}) == {b"b:n": 3, b"cf:n": 2}
    assert table.increment(Increment(b"r", {b"cf:n": 1})) == {b"cf:n": 3}
    assert table.append(b"r", {b"cf:a": b"2"}) == {b"cf:a": b"12"}
    assert table.append(Append(b"r", {b"cf:a": b"3"})) == {b"cf:a": b"123"}
    table.mutate_row(RowMutations(b"r", [Put(b"r").add(b"cf:z", b"z"), Delete(b"r").add_columns(b"cf:a")]))
    assert sorted(table.row(b"r")) == [b"b:n", b"cf:n", b"cf:z"]
    table.delete(Delete(b"r"))
    assert not table.exists(b"r")


def test_run_batch_and_check_and_mutate(table: Table) -> None:
    check = CheckAndMutate(b"r").if_not_exists(b"cf:a").then(Put(b"r").add(b"cf:a", b"1"))
    assert table.check_and_mutate(check) == (True, None)
    outcomes = table.run_batch([Put(b"s").add(b"nope:a", b""), Get(b"r"), Delete(b"q"), check])
    assert isinstance(outcomes[0], NoSuchColumnFamilyException)
    assert isinstance(outcomes[1], Result)
    assert outcomes[2:] == [None, (False, None)]
    assert table.run_batch([]) == []


def test_actions_that_say_nothing_are_refused_before_anything_is_sent(
    table: Table, store: FakeBackend
) -> None:
    with pytest.raises(IllegalArgumentException, match="No columns to insert"):
        table.put(Put(b"r"))
    with pytest.raises(IllegalArgumentException, match="No columns to insert"):
        table.run_batch([Put(b"a").add(b"cf:a", b"1"), Put(b"r")])
    with pytest.raises(IllegalArgumentException, match="zero columns"):
        table.increment(b"r", {})
    with pytest.raises(IllegalArgumentException, match="zero columns"):
        table.append(b"r")
    with pytest.raises(IllegalStateException, match="condition is null"):
        table.check_and_mutate(CheckAndMutate(b"r"))
    calls: list[Any] = [table.get, table.mutate_row, table.check_and_mutate]
    for call in [*calls, lambda given: next(table.scan_results(given))]:
        with pytest.raises(TypeError):
            call(b"r")
    with pytest.raises(TypeError):
        table.run_batch([b"r"])  # type: ignore[list-item]
    assert store.calls == []


def test_families_and_regions(table: Table) -> None:
    families = table.families()
    assert sorted(families) == [b"b", b"cf"]
    assert families[b"cf"]["name"] == b"cf:"
    assert families[b"cf"]["max_versions"] == 3
    assert families[b"cf"]["compression"] == b"NONE"
    (region,) = table.regions()
    assert (region["start_key"], region["end_key"]) == (b"", b"")
    assert table.connection.table("missing").regions() == []
    with pytest.raises(TableNotFoundException):
        table.connection.table("missing").families()


def test_scan_arrow_takes_a_scan_or_arguments(table: Table, store: FakeBackend) -> None:
    fill(table)
    frame = table.scan_arrow(b"r1", b"r3", columns=[b"cf:a", "b:x"], types={"cf:a": "int64"}).read_all()
    assert frame.num_rows == 2
    _, scan, layout, types, columns = next(call for call in store.calls if call[0] == "scan_arrow")
    assert (scan.start, scan.stop, layout) == (b"r1", b"r3", "wide")
    assert types == {b"cf:a": "int64"}
    assert columns == [b"cf:a", b"b:x"]
    assert table.scan_arrow(Scan(prefix=b"r"), layout="cells").read_all().num_rows == 10
    assert table.scan_arrow(row_prefix="r", limit=2, batch_size=5).read_all().num_rows == 2
    assert table.scan_arrow(row_start="r8", columns=["cf"], timestamp=9).read_all().num_rows == 1
    assert store.calls[-2][0] == "scan"
    assert [call for call in store.calls if call[0] == "scan_arrow"][-1][4] is None
    for bad in ({"layout": "tall"}, {"timestamp": 1, "time_range": (0, 1)}, {"include_timestamp": True}):
        with pytest.raises(IllegalArgumentException):
            table.scan_arrow(**bad)
    for worse in ({"start": Scan(), "limit": 1}, {"row_prefix": b"a", "start": b"a"}, {"nonsense": 1}):
        with pytest.raises(TypeError):
            table.scan_arrow(**worse)


def test_frames(table: Table) -> None:
    fill(table, 2)
    assert list(table.to_pandas()["cf:a"]) == [b"0", b"1"]
    assert table.to_polars(limit=1).height == 1


def test_put_arrow_takes_every_kind_of_arrow(table: Table, store: FakeBackend) -> None:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    data = pa.table({"key": [b"a", b"b"], "x": [b"1", b"2"]})
    frame = pl.from_arrow(data)
    kinds = [
        data,
        data.to_batches()[0],
        data.to_reader(),
        data.to_batches(),
        iter([data]),
        frame,
        data.to_pandas(),
    ]
    for kind in kinds:
        assert table.put_arrow(kind, row_key="key", timestamp=7, family="cf") == 2
    assert [call for call in store.calls if call[0] == "put_arrow"] == [("put_arrow", "key", 7, b"cf")] * len(
        kinds
    )
    assert table.row(b"b") == {b"cf:x": b"2"}
    assert table.put_arrow([], row_key="key") == 0
    assert isinstance(kinds[-1], pd.DataFrame)
    for bad in (b"bytes", {"a": 1}, 5, [1]):
        with pytest.raises(TypeError):
            table.put_arrow(bad)


def test_a_closed_connection_refuses(table: Table, store: FakeBackend) -> None:
    table.put(b"r", {b"cf:a": b"1"})
    connection = table.connection
    connection.close()
    connection.close()
    assert store.closed == 1
    for call in (
        lambda: table.row(b"r"),
        lambda: table.put(b"r", {b"cf:a": b"1"}),
        lambda: list(table.scan()),
        lambda: table.families(),
        lambda: connection.tables(),
        lambda: connection.metrics(),
        lambda: connection.admin.list_tables(),
    ):
        with pytest.raises(StoreClosedException):
            call()
    connection.open()
    assert table.row(b"r") == {b"cf:a": b"1"}


def test_importing_is_cheap() -> None:
    code = (
        "import sys, hyperbase, hyperbase.client.connection\n"
        "assert hyperbase.Put and hyperbase.TableDescriptor\n"
        "print(sorted({'pyarrow', 'numpy', 'pandas', 'polars', 'hyperbase.embedded'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
