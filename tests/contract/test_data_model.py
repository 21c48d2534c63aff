"""HBase's data model: order, timestamps, versions, and mutations of every kind.

What holds in memory must hold in files: most tests walk through ``Bench.states()``. What is visible under
expiry and deletes stands in ``test_visibility.py``, gets and scans in ``test_reads.py``, the catalogue in
``test_admin.py``, the best known surprises in ``test_traps.py``.
"""

from __future__ import annotations

import struct
from typing import Any

import pytest

from hyperbase import (
    Append,
    CheckAndMutate,
    Connection,
    Delete,
    Durability,
    Get,
    Increment,
    Put,
    RowMutations,
    Scan,
)
from hyperbase.common.errors import (
    DoNotRetryIOException,
    IllegalArgumentException,
    IllegalStateException,
    NoSuchColumnFamilyException,
    WrongRowIOException,
)
from tests.support.engine import Bench, Clock

Q = b"f:q"
ROW = b"r"


def fill(bench: Bench, *stamps: int, row: bytes = ROW, column: bytes = Q) -> None:
    """Puts with these stamps, each with its stamp as value."""
    for stamp in stamps:
        bench.table.put(row, {column: b"%d" % stamp}, timestamp=stamp)


def stamps(bench: Bench, row: bytes = ROW, column: bytes = Q, **options: Any) -> list[int]:
    return [stamp for stamp, _ in bench.versions(row, column, **options)]


# -- order and identity ------------------------------------------------------------------------------------


def test_rows_families_and_qualifiers_sort_as_unsigned_bytes_shorter_first(connection: Connection) -> None:
    bench = Bench(connection, "a", "b", "é")
    keys = [b"\x00", b"a", b"a\x00", b"a\xff", b"b", b"\x7f", b"\x80", b"\xff", b"\xff\xff"]
    qualifiers = [b"", b"\x00", b"a", b"a\x00", b"b", b"\xff"]
    for key in keys[::-1]:
        bench.table.put(
            key, {family + b":" + q: b"" for family in ("é".encode(), b"b", b"a") for q in qualifiers}
        )
    columns = [family + b":" + q for family in (b"a", b"b", "é".encode()) for q in qualifiers]

    for state in bench.states():
        found = list(bench.table.scan())
        assert [row for row, _ in found] == sorted(keys), state
        assert all(list(data) == columns for _, data in found), state
        assert all(list(bench.table.row(key)) == columns for key in keys), state


def test_a_family_whose_name_begins_another_does_not_get_its_cells(connection: Connection) -> None:
    bench = Bench(connection, "a", "ab")
    bench.table.put(ROW, {b"a:b": b"1", b"ab:": b"2", b"a:b:": b"3"})

    for state in bench.states():
        assert bench.table.row(ROW, [b"a"]) == {b"a:b": b"1", b"a:b:": b"3"}, state
        assert bench.table.row(ROW, [b"ab"]) == {b"ab:": b"2"}, state


def test_an_empty_value_is_a_value(bench: Bench) -> None:
    bench.table.put(ROW, {b"f:a": b"", b"f:b": None})

    for state in bench.states():
        assert bench.table.row(ROW) == {b"f:a": b"", b"f:b": b""}, state
        assert bench.table.exists(ROW), state
        assert not bench.table.exists(b"other"), state


# -- timestamps and versions -------------------------------------------------------------------------------


def test_the_store_stamps_all_cells_of_a_mutation_alike_and_never_backwards(
    connection: Connection, clock: Clock
) -> None:
    bench = Bench(connection, "f", "g", max_versions=50)
    before = clock()
    for _ in range(20):
        bench.table.put(ROW, {b"f:a": b"", b"g:b": b""})
    after = clock()

    cells = bench.table.get(Get(ROW, versions="all")).cells
    first = [cell.timestamp for cell in cells if cell.family == b"f"]
    assert first == [cell.timestamp for cell in cells if cell.family == b"g"]
    assert first == sorted(first, reverse=True)
    assert before <= first[-1] <= first[0] <= after + 1


def test_explicit_timestamps_reach_from_0_to_the_far_future(connection: Connection) -> None:
    bench = Bench(connection, max_versions=5)
    edge = 2**63 - 2
    fill(bench, 0, 5, edge)

    for state in bench.states():
        assert stamps(bench) == [edge, 5, 0], state
        assert stamps(bench, timestamp=0) == [0], state
        assert stamps(bench, timestamp=edge) == [edge], state
    bench.table.put(ROW, {Q: b"now"}, timestamp=2**63 - 1)  # HBase's LATEST_TIMESTAMP: assign one
    assert 5 < stamps(bench)[1] < edge


@pytest.mark.parametrize(
    "call",
    [
        lambda: Put(ROW, timestamp=-1),
        lambda: Put(ROW).add(Q, b"", -1),
        lambda: Delete(ROW, -1),
        lambda: Delete(ROW).add_family("f", -1),
        lambda: Get(ROW, time_range=(-1, 5)),
        lambda: Scan(time_range=(-1, 5)),
    ],
)
def test_negative_timestamps_are_refused(call: Any) -> None:
    with pytest.raises(IllegalArgumentException, match="negative"):
        call()


def test_versions_returned_are_the_fewer_of_asked_and_kept(connection: Connection) -> None:
    bench = Bench(connection, max_versions=3)
    fill(bench, 1, 2, 3, 4, 5)

    for state in bench.states():
        assert stamps(bench, versions=2) == [5, 4], state
        assert stamps(bench, versions=10) == [5, 4, 3], state
        assert stamps(bench, versions=0) == [], state  # a Scan may ask for none
        assert bench.table.row(ROW) == {Q: b"5"}, state
        assert bench.table.row(ROW, versions=2) == {Q: [b"5", b"4"]}, state
        assert bench.table.row(ROW, [Q], None, True, "all") == {Q: [(b"5", 5), (b"4", 4), (b"3", 3)]}, state
    with pytest.raises(IllegalArgumentException, match="versions must be positive"):
        Get(ROW, versions=0)


def test_versions_arriving_out_of_order_in_different_files_are_ordered_by_timestamp(
    connection: Connection,
) -> None:
    bench = Bench(connection, max_versions=3)
    for stamp in (5, 1, 4, 2, 3):
        fill(bench, stamp)
        bench.flush()

    for state in bench.states():
        assert stamps(bench) == [5, 4, 3], state
        assert bench.table.row(ROW) == {Q: b"5"}, state


def test_a_surplus_version_that_was_dropped_does_not_come_back(connection: Connection) -> None:
    bench = Bench(connection, max_versions=2)
    fill(bench, 1, 2, 3)
    bench.flush()  # drops 1
    bench.table.delete(Delete(ROW).add_column(Q, 3))

    for state in bench.states():
        assert stamps(bench) == [2], state


@pytest.mark.parametrize("method", ["get", "scan"])
def test_time_ranges(connection: Connection, method: str) -> None:
    bench = Bench(connection, "f", "g", max_versions=10)
    for stamp in range(1, 8):
        bench.table.put(ROW, {Q: b"%d" % stamp, b"g:q": b"%d" % stamp}, timestamp=stamp)

    def seen(column: bytes = Q, **options: Any) -> list[int]:
        if method == "scan":
            return stamps(bench, column=column, **options)
        options.setdefault("versions", "all")
        return list(bench.table.get(Get(ROW, [column], **options)).timestamp_list())

    for state in bench.states():
        assert seen(time_range=(3, 6)) == [5, 4, 3], state
        assert seen(time_range=(0, 2)) == [1], state
        assert seen(time_range=(7, 8)) == [7], state
        assert seen(time_range=(4, 4)) == [], state
        assert seen(time_range=(8, 100)) == [], state
        assert seen(time_range=(3, 6), versions=1) == [5], state
        per_family = {"time_range": (1, 3), "family_time_ranges": {"g": (5, 7)}}
        assert seen(**per_family) == [2, 1], state
        assert seen(column=b"g:q", **per_family) == [6, 5], state
    with pytest.raises(IllegalArgumentException, match="maxStamp is smaller than minStamp"):
        Scan(time_range=(5, 4))


def test_the_same_cell_written_again_is_one_version_with_the_later_value(connection: Connection) -> None:
    bench = Bench(connection, max_versions=3)
    for value in (b"a", b"b", b"c"):
        bench.table.put(ROW, {Q: value}, timestamp=5)
        bench.flush()
    fill(bench, 4, 3, 2)

    for state in bench.states():
        assert bench.versions() == [(5, b"c"), (4, b"4"), (3, b"3")], state


def test_of_one_put_that_names_a_cell_twice_the_last_value_counts(bench: Bench) -> None:
    bench.table.put(Put(ROW).add(Q, b"first", 5).add(Q, b"last", 5).add(b"f:z", b"", 6))

    for state in bench.states():
        assert bench.versions() == [(5, b"last")], state


def test_one_put_may_carry_several_stamps(connection: Connection) -> None:
    bench = Bench(connection, max_versions=3)
    bench.table.put(Put(ROW, timestamp=7).add(Q, b"a", 5).add(Q, b"b").add(b"f:z", b"c", 9))

    for state in bench.states():
        assert stamps(bench) == [7, 5], state
        assert stamps(bench, column=b"f:z") == [9], state


# -- put, durability, atomicity ----------------------------------------------------------------------------


def test_an_empty_put_is_refused_before_anything_is_sent(bench: Bench) -> None:
    for call in (
        lambda: bench.table.put(Put(ROW)),
        lambda: bench.table.run_batch([Put(b"good").add(Q, b""), Put(ROW)]),
        lambda: bench.table.mutate_row(RowMutations(ROW, [Put(ROW)])),
    ):
        with pytest.raises(IllegalArgumentException, match="No columns to insert"):
            call()
    assert bench.rows() == []


@pytest.mark.parametrize("durability", list(Durability))
def test_every_durability_is_visible_at_once_and_safe_after_a_flush(
    connection: Connection, durability: Durability
) -> None:
    bench = Bench(connection)
    bench.table.put(Put(ROW, durability=durability).add(Q, b"v"))
    assert bench.table.row(ROW) == {Q: b"v"}
    bench.flush()
    bench.crash()
    assert bench.table.row(ROW) == {Q: b"v"}


def test_what_skipped_the_log_is_lost_in_a_crash_and_nothing_else(bench: Bench) -> None:
    bench.table.put(b"logged", {Q: b"v"})
    bench.table.put(b"skipped", {Q: b"v"}, wal=False)
    bench.table.put(b"later", {Q: b"v"})
    bench.crash()
    assert bench.rows() == [b"later", b"logged"]


def test_a_failing_row_mutation_changes_nothing(connection: Connection) -> None:
    bench = Bench(connection)
    table = bench.table
    table.put(ROW, {b"f:text": b"xy", Q: b"before"})
    for wrong, error in (
        (Put(ROW).add(b"nope:q", b""), NoSuchColumnFamilyException),
        (Increment(ROW, {b"f:text": 1}), DoNotRetryIOException),
        (Delete(ROW).add_family("nope"), NoSuchColumnFamilyException),
    ):
        with pytest.raises(error):
            table.mutate_row(RowMutations(ROW, [Put(ROW).add(Q, b"after"), wrong]))
    with pytest.raises(NoSuchColumnFamilyException):
        table.put(ROW, {Q: b"after", b"nope:q": b""})

    for state in bench.states():
        assert table.row(ROW) == {b"f:text": b"xy", Q: b"before"}, state


def test_row_mutations_answer_counts_and_appends_in_their_own_order(connection: Connection) -> None:
    bench = Bench(connection)
    bench.table.put(ROW, {b"f:gone": b"", b"f:c": struct.pack(">q", 4)})
    result = bench.table.mutate_row(
        RowMutations(
            ROW,
            [
                Append(ROW, {b"f:z": b"x"}),
                Put(ROW).add(b"f:p", b"1"),
                Increment(ROW, {b"f:c": 3}),
                Delete(ROW).add_columns(b"f:gone"),
            ],
        )
    )
    assert list(zip(result.names, result.values, strict=True)) == [
        (b"f:z", b"x"),
        (b"f:c", struct.pack(">q", 7)),
    ]
    for state in bench.states():
        assert set(bench.table.row(ROW)) == {b"f:z", b"f:p", b"f:c"}, state
    with pytest.raises(WrongRowIOException, match="doesn't match the original one b'r'"):
        RowMutations(ROW, [Put(b"other").add(Q, b"")])


# -- increment and append ----------------------------------------------------------------------------------


def test_increments_add_wrap_and_answer_the_new_value(connection: Connection) -> None:
    bench = Bench(connection)
    table = bench.table
    assert table.counter_inc(ROW, Q, 5) == 5
    assert table.counter_dec(ROW, Q, 7) == -2
    assert table.counter_get(ROW, Q) == -2
    table.counter_set(ROW, Q, 2**63 - 1)
    assert table.counter_inc(ROW, Q, 1) == -(2**63)
    assert table.counter_inc(ROW, Q, -1) == 2**63 - 1
    assert table.increment(ROW, {b"f:a": 1, b"f:b": 2}) == {b"f:a": 1, b"f:b": 2}

    for state in bench.states():
        assert table.counter_get(ROW, Q) == 2**63 - 1, state
        assert table.increment(ROW, {b"f:a": 0, b"f:b": 0}) == {b"f:a": 1, b"f:b": 2}, state
    with pytest.raises(IllegalArgumentException, match="zero columns specified"):
        table.increment(Increment(ROW))


def test_a_time_range_on_an_increment_limits_which_value_it_sees(connection: Connection) -> None:
    bench = Bench(connection, max_versions=5)
    bench.table.put(ROW, {Q: struct.pack(">q", 100), b"f:a": b"x"}, timestamp=50)
    assert bench.table.increment(Increment(ROW, {Q: 1}, time_range=(0, 50))) == {Q: 1}
    assert bench.table.increment(Increment(ROW, {Q: 1}, time_range=(50, 51))) == {Q: 101}
    assert bench.table.append(Append(ROW, {b"f:a": b"y"}, time_range=(0, 50))) == {b"f:a": b"y"}
    assert bench.table.append(Append(ROW, {b"f:a": b"y"}, time_range=(0, 51))) == {b"f:a": b"xy"}


def test_append_concatenates_and_answers_unless_told_not_to(connection: Connection) -> None:
    bench = Bench(connection)
    table = bench.table
    assert table.append(ROW, {Q: b"a", b"f:z": b""}) == {Q: b"a", b"f:z": b""}
    assert table.append(ROW, {Q: b"b"}) == {Q: b"ab"}
    assert table.append(Append(ROW, {Q: b"c"}, return_results=False)) == {}

    for state in bench.states():
        assert table.row(ROW) == {Q: b"abc", b"f:z": b""}, state
    with pytest.raises(IllegalArgumentException, match="zero columns specified"):
        table.append(Append(ROW))


def test_steps_of_a_counter_are_versions_only_when_stamps_differ(
    connection: Connection, clock: Clock
) -> None:
    bench = Bench(connection, max_versions=3)
    for _ in range(3):
        bench.table.counter_inc(ROW, Q)
        clock.advance(5)
    for state in bench.states():
        assert [struct.unpack(">q", value)[0] for _, value in bench.versions()] == [3, 2, 1], state


# -- check and mutate --------------------------------------------------------------------------------------


def test_check_and_mutate_takes_every_kind_of_mutation_and_answers(connection: Connection) -> None:
    bench = Bench(connection)
    table = bench.table
    table.put(ROW, {Q: b"v"})

    def run(action: Any) -> tuple[bool, Any]:
        held, result = table.check_and_mutate(CheckAndMutate(ROW).if_equals(Q, b"v").then(action))
        return held, None if result is None else result.to_dict()

    assert run(Put(ROW).add(b"f:p", b"1")) == (True, None)
    assert run(Increment(ROW, {b"f:c": 3})) == (True, {b"f:c": struct.pack(">q", 3)})
    assert run(Append(ROW, {b"f:a": b"x"})) == (True, {b"f:a": b"x"})
    mixed = RowMutations(ROW, [Delete(ROW).add_columns(b"f:p"), Increment(ROW, {b"f:c": 1})])
    assert run(mixed) == (True, {b"f:c": struct.pack(">q", 4)})
    assert run(Delete(ROW).add_columns(Q)) == (True, None)
    assert run(Put(ROW).add(b"f:p", b"2")) == (False, None)

    for state in bench.states():
        assert table.row(ROW) == {b"f:a": b"x", b"f:c": struct.pack(">q", 4)}, state


def test_check_and_mutate_looks_at_the_newest_visible_version_only(connection: Connection) -> None:
    bench = Bench(connection, max_versions=5)
    fill(bench, 1, 2, 3)
    bench.table.delete(Delete(ROW).add_column(Q))

    def equals(value: bytes, span: tuple[int, int] | None = None) -> bool:
        check = CheckAndMutate(ROW).if_equals(Q, value)
        if span:
            check.time_range(*span)
        return bench.table.check_and_mutate(check.then(Put(ROW).add(b"f:seen", b"")))[0]

    for state in bench.states():
        assert [equals(b"%d" % n) for n in (1, 2, 3)] == [False, True, False], state
        assert equals(b"1", (0, 2)), state
        assert not equals(b"2", (0, 2)), state


def test_check_and_mutate_with_a_filter_passes_when_any_cell_of_the_row_does(connection: Connection) -> None:
    bench = Bench(connection)
    bench.table.put(ROW, {b"f:a": b"1", b"f:b": b"2"})

    def holds(text: str, row: bytes = ROW) -> bool:
        return bench.table.check_and_mutate(CheckAndMutate(row).if_filter(text).then(Put(row).add(Q, b"")))[0]

    for state in bench.states():
        assert holds("ValueFilter(=, 'binary:2')"), state
        assert not holds("ValueFilter(=, 'binary:3')"), state
        assert holds("SingleColumnValueFilter('f', 'absent', =, 'binary:x')"), state
        assert not holds("SingleColumnValueFilter('f', 'absent', =, 'binary:x', true, true)"), state
        assert not holds("SingleColumnValueFilter('f', 'absent', =, 'binary:x')", b"no such row"), state


def test_a_check_must_be_complete_and_of_one_row(bench: Bench) -> None:
    with pytest.raises(IllegalStateException, match="condition is null"):
        CheckAndMutate(ROW).then(Put(ROW).add(Q, b""))
    with pytest.raises(IllegalStateException, match="condition is null"):
        bench.table.check_and_mutate(CheckAndMutate(ROW).if_not_exists(Q))
    with pytest.raises(IllegalArgumentException, match=r"The row of the action b'x' doesn't match"):
        CheckAndMutate(ROW).if_not_exists(Q).then(Put(b"x").add(Q, b""))
