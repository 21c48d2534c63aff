"""Scans as Arrow batches and Arrow rows as puts, over the public API."""

from __future__ import annotations

import datetime
import importlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

import hyperbase
from hyperbase.common.errors import IllegalArgumentException, NoSuchColumnFamilyException
from hyperbase.common.model import Delete, Put, Scan
from regionserver.region import arrow_load, vector_scan
from regionserver.server import arrow_service
from tests.support.aio_backend import aio_directory
from tests.support.served import served_directory

OPENERS = {"embedded": hyperbase.connect, "server": served_directory, "asyncio": aio_directory}


@pytest.fixture(params=list(OPENERS))
def open_store(request: pytest.FixtureRequest) -> Callable[..., hyperbase.Connection]:
    """Opens a directory, in this process or through a server."""
    return OPENERS[request.param]


@pytest.fixture
def db(tmp_path: Path, open_store: Callable[..., hyperbase.Connection]) -> Iterator[hyperbase.Connection]:
    with open_store(tmp_path / "store") as connection:
        connection.create_table(
            "t", {"f": {"max_versions": 3, "block_size": 1024}, "g": {"block_size": 1024}}
        )
        yield connection


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments, chunks and files of a few rows."""
    monkeypatch.setattr(vector_scan, "SEGMENT_BYTES", 2000)
    monkeypatch.setattr(vector_scan, "SEGMENT_MEMORY_ROWS", 100)
    monkeypatch.setattr(arrow_load, "FILE_BYTES", 1)
    monkeypatch.setattr(arrow_load, "CHUNK_BYTES", 300)


def fill(db: hyperbase.Connection, count: int = 500) -> None:
    table = db.table("t")
    with table.batch() as batch:
        for number in range(count):
            batch.put(f"r{number:05}", {b"f:n": b"%d" % number, b"g:name": b"name-%d" % (number % 7)})


def scan_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("hyperbase-scan")]


def wait_for_scan_threads_to_end() -> None:
    """A server's end when it hears of the end of the scan."""
    deadline = time.monotonic() + 10
    while scan_threads() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not scan_threads()


# -- scanning ------------------------------------------------------------------------------------------


def test_wide_columns_have_types_and_order(db: hyperbase.Connection, small: None) -> None:
    fill(db)
    db.admin.flush("t")
    fill(db, 20)  # some rows in memory and in a file
    reader = db.table("t").scan_arrow(
        columns=[b"g:name", b"f:n", b"f:absent"], types={b"f:n": "int64", "g:name": "string"}
    )
    assert reader.schema == pa.schema(
        [
            pa.field("row", pa.binary(), nullable=False),
            ("g:name", pa.string()),
            ("f:n", pa.int64()),
            ("f:absent", pa.binary()),
        ]
    )
    table = reader.read_all()
    assert table["f:n"].to_pylist() == list(range(500))
    assert table["row"][499].as_py() == b"r00499"
    assert table["g:name"][8].as_py() == "name-1"
    assert table["f:absent"].null_count == 500
    table.validate(full=True)


def test_columns_are_found_when_they_are_not_named(db: hyperbase.Connection, small: None) -> None:
    fill(db)
    db.table("t").put(b"r00100", {b"f:other": b"x", b"f:": b"empty qualifier"})
    for _ in range(2):
        names = db.table("t").scan_arrow().schema.names
        assert names == ["row", "f:", "f:n", "f:other", "g:name"]
        assert db.table("t").scan_arrow(b"r00200", b"r00300").schema.names == ["row", "f:n", "g:name"]
        assert db.table("t").scan_arrow(columns=["f"], row_prefix=b"r0030").read_all().num_rows == 10
        db.admin.flush("t")
    assert db.table("t").scan_arrow(row_prefix=b"zz").read_all().num_rows == 0


def test_cells_layout(db: hyperbase.Connection, small: None) -> None:
    table = db.table("t")
    table.put(b"a", {b"f:q": b"1"}, timestamp=1)
    table.put(b"a", {b"f:q": b"2", b"g:z": b"3"}, timestamp=2)
    db.admin.flush("t")
    table.put(b"b", {b"f:q": b""}, timestamp=3)
    expected = [
        (b"a", b"f", b"q", 2, 4, b"2"),
        (b"a", b"f", b"q", 1, 4, b"1"),
        (b"a", b"g", b"z", 2, 4, b"3"),
        (b"b", b"f", b"q", 3, 4, b""),
    ]
    found = table.scan_arrow(layout="cells", versions=3).read_all()
    assert [tuple(row.values()) for row in found.to_pylist()] == expected
    with pytest.raises(IllegalArgumentException, match='layout="wide"'):
        table.scan_arrow(layout="cells", types={b"f:q": "int64"})
    table.delete(b"a", [b"f:q"])
    raw = table.scan_arrow(Scan(raw=True, versions="all"), layout="cells").read_all()
    assert 12 in raw["type"].to_pylist()
    with pytest.raises(IllegalArgumentException, match="raw"):
        table.scan_arrow(Scan(raw=True))


def test_types_of_values(db: hyperbase.Connection) -> None:
    table = db.table("t")
    stored = {
        "int64": (b"-5", -5),
        "float64": (b"2.5", 2.5),
        "bool": (b"true", True),
        "int32": (b"7", 7),
        "string": ("é".encode(), "é"),
        "timestamp[ms]": (b"2024-01-31T23:59:59.250000", datetime.datetime(2024, 1, 31, 23, 59, 59, 250_000)),
        "date32": (b"2024-01-31", datetime.date(2024, 1, 31)),
        "counter": ((9).to_bytes(8, "big"), 9),
        "int32_be": ((9).to_bytes(4, "big"), 9),
        "float64_be": (b"\x3f\xf8" + bytes(6), 1.5),
        "binary": (b"\xff", b"\xff"),
    }
    table.put(b"r", {f"f:{name}".encode(): value for name, (value, _) in stored.items()})
    table.put(
        b"s", {b"f:int64": (258).to_bytes(8, "big"), b"f:bool": b"\x00", b"f:float64": b"\x3f\xf8" + bytes(6)}
    )
    found = table.scan_arrow(types={f"f:{name}": name for name in stored}).read_all().to_pylist()
    assert found[0] == {"row": b"r", **{f"f:{name}": value for name, (_, value) in sorted(stored.items())}}
    assert (found[1]["f:int64"], found[1]["f:bool"], found[1]["f:float64"]) == (258, False, 1.5)
    assert found[1]["f:string"] is None


def test_a_value_that_is_not_of_its_type_is_named(db: hyperbase.Connection) -> None:
    db.table("t").put(b"good", {b"f:n": b"1"})
    db.table("t").put(b"worse", {b"f:n": b"one"})
    for kind in ("int64", "counter", "timestamp[ms]", "int16"):
        with pytest.raises(IllegalArgumentException, match=r"row b'\w+', column f:n: b'\w+' is not"):
            db.table("t").scan_arrow(types={"f:n": kind}).read_all()
    with pytest.raises(IllegalArgumentException, match=r"row b'worse', column f:n: b'one' is not int64"):
        db.table("t").scan_arrow(types={"f:n": "int64"}).read_all()
    with pytest.raises(IllegalArgumentException, match="unknown column type 'int'"):
        db.table("t").scan_arrow(types={"f:n": "int"})


def test_dropping_the_reader_leaves_no_thread(db: hyperbase.Connection, small: None) -> None:
    fill(db)
    db.admin.flush("t")
    reader = db.table("t").scan_arrow(layout="cells")
    reader.read_next_batch()
    assert scan_threads()
    del reader
    wait_for_scan_threads_to_end()
    (region,) = db._open_backend().store.tables["t"].regions  # type: ignore[attr-defined]
    assert region.read_points.smallest() == region.read_points.current
    db.table("t").scan_arrow(layout="cells").read_all()
    wait_for_scan_threads_to_end()


@pytest.mark.parametrize("layout", ["cells", "wide"])
def test_a_scan_goes_on_through_flush_compaction_split_and_merge(
    db: hyperbase.Connection, small: None, layout: str
) -> None:
    fill(db, 2000)
    steps = [
        lambda: db.admin.flush("t"),
        lambda: db.admin.major_compact("t"),
        lambda: db.admin.split("t", b"r01000"),
        lambda: db.admin.merge_regions(*[region.encoded_name for region in db.admin.regions("t")]),
    ]
    expected = db.table("t").scan_arrow(layout=layout).read_all()
    for with_changes in (True, False):
        reader = db.table("t").scan_arrow(layout=layout)
        batches = []
        for number, batch in enumerate(reader):
            batches.append(batch)
            if with_changes and number % 2 and steps:
                steps.pop(0)()
        assert pa.Table.from_batches(batches).combine_chunks() == expected.combine_chunks()
        db.table("t").put(b"r00000", {b"f:n": b"0"}, timestamp=1)  # older than what is there
    assert not steps


@pytest.mark.parametrize("layout", ["wide", "cells"])
def test_a_row_larger_than_a_message(
    db: hyperbase.Connection, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    monkeypatch.setattr(arrow_service, "FRAGMENT_BYTES", 10_000)
    monkeypatch.setattr(arrow_service, "PART_BYTES", 20_000)
    values = {b"f:%02d" % number: bytes([number]) * 5000 for number in range(20)}
    db.table("t").put(b"large", values)
    db.table("t").put(b"small", {b"f:00": b"v"})
    table = db.table("t").scan_arrow(layout=layout).read_all()
    if layout == "wide":
        assert [table.column(name.decode())[0].as_py() for name in values] == list(values.values())
        assert table["row"].to_pylist() == [b"large", b"small"]
    else:
        assert table["value"].to_pylist() == [*values.values(), b"v"]


def test_a_limit_and_bounds(db: hyperbase.Connection, small: None) -> None:
    fill(db, 3000)
    db.admin.flush("t")
    table = db.table("t")
    for limit in (0, 1, 10, 2500, 5000):
        found = table.scan_arrow(layout="cells", limit=limit).read_all()
        assert found.num_rows == 2 * min(limit, 3000)
        assert table.scan_arrow(columns=["f:n"], limit=limit).read_all().num_rows == min(limit, 3000)
    scan = Scan(b"r00010", b"r00020", start_inclusive=False, stop_inclusive=True)
    rows = table.scan_arrow(scan).read_all()["row"].to_pylist()
    assert rows == [b"r%05d" % number for number in range(11, 21)]
    backwards = table.scan_arrow(Scan(b"r00020", b"r00010", reverse=True)).read_all()["row"].to_pylist()
    assert backwards == [b"r%05d" % number for number in range(20, 10, -1)]
    filtered = table.scan_arrow(filter="PrefixFilter('r0001')", columns=["f:n"]).read_all()
    assert filtered.num_rows == 10


# -- loading -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file_bytes", [1, 1 << 40], ids=["files", "log"])
def test_put_arrow_stores_what_it_was_given(
    db: hyperbase.Connection, monkeypatch: pytest.MonkeyPatch, file_bytes: int
) -> None:
    monkeypatch.setattr(arrow_load, "FILE_BYTES", file_bytes)
    monkeypatch.setattr(arrow_load, "CHUNK_BYTES", 300)
    db.admin.split("t", b"k3")
    moment = datetime.datetime(2024, 1, 31, 12, 30, 0, 1000)
    data = pa.table(
        {
            "id": ["k4", "k1", "k5", "k1", "k2"],
            "f:int": pa.array([1, 2, None, 3, 4], pa.int32()),
            "g:text": ["a", None, None, "é", "c"],
            "f:float": [0.5, 1e20, None, 0.1, 2.0],
            "f:bool": [True, False, None, None, True],
            "f:time": pa.array([moment, None, None, None, None], pa.timestamp("ms")),
            "g:raw": pa.array([b"\xff", b"", None, None, b"x"], pa.large_binary()),
        }
    )
    assert db.table("t").put_arrow(data, row_key="id", timestamp=77) == 4
    rows = dict(db.table("t").scan(include_timestamp=True))
    assert rows == {
        b"k1": {
            b"f:bool": (b"false", 77),
            b"f:float": (b"0.1", 77),
            b"f:int": (b"3", 77),
            b"g:raw": (b"", 77),
            b"g:text": ("é".encode(), 77),
        },
        b"k2": {
            b"f:bool": (b"true", 77),
            b"f:float": (b"2.0", 77),
            b"f:int": (b"4", 77),
            b"g:raw": (b"x", 77),
            b"g:text": (b"c", 77),
        },
        b"k4": {
            b"f:bool": (b"true", 77),
            b"f:float": (b"0.5", 77),
            b"f:int": (b"1", 77),
            b"f:time": (b"2024-01-31T12:30:00.001000", 77),
            b"g:raw": (b"\xff", 77),
            b"g:text": (b"a", 77),
        },
    }


@pytest.mark.parametrize("file_bytes", [1, 1 << 40], ids=["files", "log"])
def test_put_arrow_with_a_timestamp_column_and_a_family(
    db: hyperbase.Connection, monkeypatch: pytest.MonkeyPatch, file_bytes: int
) -> None:
    monkeypatch.setattr(arrow_load, "FILE_BYTES", file_bytes)
    table = db.table("t")
    data = pa.table({"row": ["a", "a", "b", "a"], "at": [5, 9, 7, 5], "q": ["old", "new", "x", "again"]})
    assert table.put_arrow(data, timestamp="at", family="f") == 4
    assert table.cells(b"a", b"f:q", include_timestamp=True) == [(b"new", 9), (b"again", 5)]
    assert table.row(b"b", include_timestamp=True) == {b"f:q": (b"x", 7)}
    table.put_arrow(pa.table({"row": ["a"], "q": ["now"]}), family=b"f")
    assert table.row(b"a") == {b"f:q": b"now"}


@pytest.mark.parametrize(
    ("columns", "arguments", "message"),
    [
        ({"row": ["a"], "q": ["x"]}, {}, "column 'q': name it family:qualifier"),
        ({"row": ["a"], "h:q": ["x"]}, {}, "Column family h does not exist"),
        ({"row": ["a"], "q": ["x"]}, {"family": "h"}, "Column family h does not exist"),
        ({"row": ["a", None], "f:q": ["x", "y"]}, {}, "data row 1: its row key is null"),
        ({"row": ["a", ""], "f:q": ["x", "y"]}, {}, "data row 1: Row length is 0"),
        ({"row": ["a", "k" * 70_000], "f:q": ["x", "y"]}, {}, "data row 1: Row length is > 65536"),
        (
            {"row": ["a", "b"], "f:q": ["x", "y" * 2000]},
            {},
            "data row 1: KeyValue size too large in column f:q",
        ),
        ({"row": ["a"], "f:q": ["x"]}, {"row_key": "id"}, "row_key 'id': the data has no such column"),
        ({"row": ["a"], "t": [-1], "f:q": ["x"]}, {"timestamp": "t"}, "Timestamp cannot be negative. ts=-1"),
        ({"row": ["a"], "t": ["1"], "f:q": ["x"]}, {"timestamp": "t"}, "timestamp column 't' is string"),
        ({"row": ["a"]}, {}, "no columns besides the row key"),
    ],
)
def test_put_arrow_refuses_before_it_writes(
    tmp_path: Path,
    open_store: Callable[..., hyperbase.Connection],
    columns: dict[str, list[object]],
    arguments: dict[str, str],
    message: str,
) -> None:
    with open_store(tmp_path / "store", max_key_value_bytes=1000) as db:
        db.create_table("t", {"f": {}})
        with pytest.raises((IllegalArgumentException, NoSuchColumnFamilyException)) as caught:
            db.table("t").put_arrow(pa.table(columns), **arguments)
        assert message in str(caught.value)
        assert list(db.table("t").scan()) == []


def test_loaded_files_mix_with_edits_before_and_after(
    tmp_path: Path, small: None, open_store: Callable[..., hyperbase.Connection]
) -> None:
    data = pa.table({"row": [f"r{n:03}" for n in range(200)], "f:q": ["load"] * 200})
    for flush_before, flush_after in ((False, False), (True, False), (False, True)):
        with open_store(tmp_path / f"{flush_before}{flush_after}") as db:
            db.create_table("t", {"f": {}})
            table = db.table("t")
            table.put(b"r001", {b"f:q": b"before", b"f:other": b"kept"}, timestamp=50)
            if flush_before:
                db.admin.flush("t")
            table.put_arrow(data, timestamp=50)
            assert table.row(b"r001") == {b"f:other": b"kept", b"f:q": b"load"}
            table.put(b"r002", {b"f:q": b"after"}, timestamp=50)
            table.delete(b"r003")
            if flush_after:
                db.admin.flush("t")
        for _ in range(2):  # opened again, then compacted
            with open_store(tmp_path / f"{flush_before}{flush_after}") as db:
                table = db.table("t")
                assert table.row(b"r001") == {b"f:other": b"kept", b"f:q": b"load"}
                assert table.row(b"r002") == {b"f:q": b"after"}
                assert table.row(b"r003") == {}
                assert sum(1 for _ in table.scan()) == 199
                table.put(b"r004", {b"f:q": b"later"}, timestamp=50)  # its id is above the load's
                assert table.row(b"r004") == {b"f:q": b"later"}
                db.admin.major_compact("t")


def test_a_load_into_an_empty_table_is_there_after_a_crash(
    tmp_path: Path, small: None, open_store: Callable[..., hyperbase.Connection]
) -> None:
    data = pa.table({"row": ["a", "b"], "f:q": ["1", "2"], "g:q": ["3", None]})
    db = open_store(tmp_path / "store")
    db.create_table("t", {"f": {}, "g": {}})
    db.table("t").put_arrow(data)
    db._open_backend().store.crash()  # type: ignore[attr-defined]
    from hyperbase.embedded.store import EmbeddedStore, make_config
    from hyperbase.embedded.table import EmbeddedTable
    from regionserver.storage.local_filesystem import LocalFileSystem

    store = EmbeddedStore(
        LocalFileSystem(str(tmp_path / "store")), make_config({}), root=str(tmp_path / "store")
    )
    assert EmbeddedTable(store, "t").row(b"a").to_dict() == {b"f:q": b"1", b"g:q": b"3"}
    assert EmbeddedTable(store, "t").row(b"b").to_dict() == {b"f:q": b"2"}
    store.close()


def test_a_stream_of_batches_is_loaded_slice_by_slice(
    db: hyperbase.Connection, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow_load, "SLICE_BYTES", 4000)
    batches = (
        pa.record_batch({"row": [f"r{n:05}" for n in range(b * 50, b * 50 + 50)], "f:n": range(50)})
        for b in reversed(range(20))
    )
    assert db.table("t").put_arrow(batches) == 1000
    found = db.table("t").scan_arrow(types={"f:n": "int64"}).read_all()
    assert found["f:n"].to_pylist() == list(range(50)) * 20


def test_what_was_read_can_be_written(db: hyperbase.Connection, small: None) -> None:
    fill(db, 300)
    db.create_table("copy", {"f": {}, "g": {}})
    assert db.table("copy").put_arrow(db.table("t").scan_arrow()) == 300
    assert dict(db.table("copy").scan()) == dict(db.table("t").scan())


# -- other programs ------------------------------------------------------------------------------------


def test_duckdb_and_polars_read_scans(db: hyperbase.Connection, small: None) -> None:
    duckdb = importlib.import_module("duckdb")
    importlib.import_module("polars")
    fill(db)
    db.admin.flush("t")
    people = db.table("t").scan_arrow(types={"f:n": "int64", "g:name": "string"})
    assert people.schema.names == ["row", "f:n", "g:name"]
    answer = duckdb.sql('SELECT "g:name", sum("f:n") FROM people GROUP BY 1 ORDER BY 1 LIMIT 2').fetchall()
    assert answer == [("name-0", sum(range(0, 500, 7))), ("name-1", sum(range(1, 500, 7)))]
    frame = db.table("t").to_polars(types={"f:n": "int64", "g:name": "string"}, row_prefix=b"r0001")
    assert frame["f:n"].sum() == sum(range(10, 20))
    assert db.table("t").put_arrow(frame.rename({"f:n": "f:copy"}).select("row", "f:copy")) == 10
    assert db.table("t").row(b"r00010")[b"f:copy"] == b"10"


def test_pandas_both_ways(db: hyperbase.Connection) -> None:
    pandas = importlib.import_module("pandas")
    frame = pandas.DataFrame({"row": ["a", "b"], "f:n": [1, 2]})
    assert db.table("t").put_arrow(frame) == 2
    assert db.table("t").to_pandas(types={"f:n": "int64"})["f:n"].tolist() == [1, 2]


def test_the_document_s_examples_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("duckdb")
    importlib.import_module("polars")
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[2] / "docs" / "arrow.md").read_text(encoding="utf-8")
    blocks = [part.split("```")[0] for part in text.split("```python\n")[1:]]
    assert len(blocks) >= 4
    exec(compile("\n".join(blocks), "docs/arrow.md", "exec"), {})


def test_deletes_and_versions_in_files_and_memory(db: hyperbase.Connection, small: None) -> None:
    backend = db._open_backend().table("t")
    for stamp in (1, 2, 3, 4):
        for number in range(40):
            backend.put(Put(b"r%02d" % number).add(b"f:q", b"%d" % stamp, timestamp=stamp))
        if stamp < 4:
            db.admin.flush("t")
    backend.delete(Delete(b"r05"))
    backend.delete(Delete(b"r06").add_column(b"f:q", 4))
    found = db.table("t").scan_arrow(layout="cells", versions=3).read_all()
    assert found["timestamp"].to_pylist()[:3] == [4, 3, 2]
    assert b"r05" not in found["row"].to_pylist()
    assert found.num_rows == 39 * 3
