"""Where many small things meet one row, one batch or one moment: what must stay right, and cheap."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator

import pytest

from hyperbase import CheckAndMutate, Connection, Increment, Put, RowMutations, Scan
from hyperbase.common.errors import IllegalArgumentException
from hyperbase.common.model import Durability
from regionserver.region.mutations import submit_check
from regionserver.region.reads import REMEMBERED_COLUMNS, _remembered_names, full_names
from regionserver.storage.edits import ShapeTable
from tests.support.engine import Bench, memory_connection, regions_of, store_of


@pytest.fixture
def connection() -> Iterator[Connection]:
    connection = memory_connection()
    yield connection
    connection.close()


def test_threads_that_meet_new_column_sets_get_ids_that_are_places() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):
            table, start = ShapeTable(), threading.Barrier(4)

            def work(number: int, table: ShapeTable = table, start: threading.Barrier = start) -> None:
                start.wait()
                for step in range(8):
                    table.find(tuple(b"f:%d_%d_%d" % (number, step, i) for i in range(3)))

            threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert [shape.id for shape in table.shapes] == list(range(32))
    finally:
        sys.setswitchinterval(interval)


def test_the_strictest_durability_of_row_mutations_counts(connection: Connection) -> None:
    bench = Bench(connection)
    weak = Put(b"r", durability=Durability.SKIP_WAL).add(b"f:b", b"2")
    bench.table.mutate_row(RowMutations(b"r").add(Put(b"r").add(b"f:a", b"1")).add(weak))
    bench.crash()
    assert bench.table.row(b"r") == {b"f:a": b"1", b"f:b": b"2"}


def test_a_failed_check_calls_back(connection: Connection) -> None:
    bench = Bench(connection)
    region = regions_of(connection, bench.name)[0]
    check = CheckAndMutate(b"r").if_equals(b"f:a", b"x").then(Put(b"r").add(b"f:a", b"1"))
    done = threading.Event()
    bench.table.put(b"r", {b"f:a": b"0"})
    commit = submit_check(region, check)
    commit.add_done_callback(lambda _: done.set())
    assert done.wait(10)
    assert commit.result.success is False


def test_a_hot_row_is_replayed_and_batched_in_linear_time(connection: Connection) -> None:
    bench = Bench(connection)
    begin = time.monotonic()
    outcomes = bench.table.run_batch([Increment(b"r", {b"f:n": 1}) for _ in range(4000)])
    assert not any(isinstance(outcome, Exception) for outcome in outcomes)
    bench.crash()
    assert bench.table.counter_get(b"r", b"f:n") == 4000
    region = regions_of(connection, bench.name)[0]
    assert len(region.view.active.rows[b"r"]) < 50
    assert time.monotonic() - begin < 10


def test_a_wide_row_takes_columns_one_by_one_in_linear_time(connection: Connection) -> None:
    bench = Bench(connection)
    begin = time.monotonic()
    for number in range(10_000):
        bench.table.put(b"r", {b"f:%06d" % number: b"v"}, wal=False)
    assert len(bench.table.row(b"r")) == 10_000
    assert time.monotonic() - begin < 10


def test_a_batch_larger_than_a_log_record_is_written(connection: Connection) -> None:
    bench = Bench(connection)
    appends = store_of(connection).engine.wal.metrics  # type: ignore[union-attr]
    before, value = appends.appends, b"x" * (9 << 20)
    bench.table.run_batch([Put(b"p%d" % number).add(b"f:a", value) for number in range(4)])
    with bench.table.batch() as batch:
        for number in range(4):
            batch.put(b"r%d" % number, {b"f:a": value})
    assert appends.appends - before >= 6
    assert len(bench.rows()) == 8


def test_names_of_wide_rows_are_not_kept_in_memory() -> None:
    names = tuple(b"%d" % number for number in range(REMEMBERED_COLUMNS + 1))
    before = _remembered_names.cache_info().currsize
    assert full_names(b"f:", names)[0] == b"f:0"
    assert _remembered_names.cache_info().currsize == before


def test_a_scan_without_room_for_a_row_is_refused() -> None:
    with pytest.raises(IllegalArgumentException, match="max_result_bytes must be positive"):
        Scan(max_result_bytes=0)


@pytest.mark.parametrize("name", ["limit", "batch", "max_result_bytes", "store_limit", "store_offset"])
def test_a_scan_counts_in_integers(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} must be an integer"):
        Scan(**{name: 1.5})  # type: ignore[arg-type]


def test_a_ttl_that_no_file_can_hold_is_refused() -> None:
    with pytest.raises(IllegalArgumentException, match="ttl_ms"):
        Put(b"r", ttl_ms=2**63)


def test_regions_are_split_and_merged_as_they_are_listed(connection: Connection) -> None:
    bench = Bench(connection, splits=[b"m"])
    connection.admin.split(connection.admin.regions(bench.name)[0], b"c")
    first, second, _ = connection.admin.regions(bench.name)
    connection.admin.merge_regions(first, second)
    assert [region.start_key for region in connection.admin.regions(bench.name)] == [b"", b"m"]
