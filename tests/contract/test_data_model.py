"""HBase's data model: order, timestamps, versions, expiry, delete markers, mutations, reads of every kind.

What holds in memory must hold in files: most tests walk through ``Bench.states()``. Names, limits and what
the catalogue refuses stand in ``test_admin.py``; the best known surprises in ``test_traps.py``.
"""

from __future__ import annotations

import struct
from typing import Any

import pytest

from hyperbase import (
    Append,
    CellType,
    CheckAndMutate,
    ColumnFamilyDescriptor,
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


def raw(bench: Bench, **options: Any) -> list[tuple[bytes, int, int]]:
    """``(qualifier, timestamp, type)`` of every cell that is still there."""
    options.setdefault("versions", "all")
    return [(c.qualifier, c.timestamp, int(c.type)) for c in bench.cells(Scan(raw=True, **options))]


# -- order and identity ----------------------------------------------------------------------------------


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


# -- timestamps and versions -----------------------------------------------------------------------------


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


# -- expiry ----------------------------------------------------------------------------------------------


def test_a_cell_is_visible_up_to_its_familys_ttl_and_not_longer(connection: Connection, clock: Clock) -> None:
    bench = Bench(connection, max_versions=3, time_to_live=10)
    now = clock()
    for age in (30_000, 9_000, 1_000):
        bench.table.put(ROW, {Q: b"%d" % age}, timestamp=now - age)

    for state in bench.states():
        assert [v for _, v in bench.versions()] == [b"1000", b"9000"], state
    clock.advance(4_000)
    for state in bench.states():
        assert [v for _, v in bench.versions()] == [b"1000"], state
    clock.advance(10_000)
    assert bench.rows() == []
    bench.major()
    assert raw(bench) == []


def test_min_versions_keeps_the_newest_expired_versions(connection: Connection, clock: Clock) -> None:
    bench = Bench(connection, max_versions=4, min_versions=2, time_to_live=10)
    now = clock()
    for age in range(1, 6):
        bench.table.put(ROW, {Q: b""}, timestamp=now - age)

    for state in bench.states():
        assert len(stamps(bench)) == 4, state
    clock.advance(20_000)
    for state in bench.states():
        assert stamps(bench) == [now - 1, now - 2], state


def test_when_a_cell_ttl_runs_out_the_older_version_shows_again(connection: Connection, clock: Clock) -> None:
    bench = Bench(connection, max_versions=2)
    now = clock()
    bench.table.put(ROW, {Q: b"old"}, timestamp=now - 10)
    bench.table.put(Put(ROW, ttl_ms=5_000).add(Q, b"new"))

    for state in bench.states():
        assert bench.table.row(ROW) == {Q: b"new"}, state
    clock.advance(6_000)
    for state in bench.states():
        assert bench.table.row(ROW) == {Q: b"old"}, state
    with pytest.raises(IllegalArgumentException, match="ttl_ms must be a positive number"):
        Put(ROW, ttl_ms=0)


def test_a_cell_ttl_counts_from_the_cells_own_timestamp(connection: Connection, clock: Clock) -> None:
    bench = Bench(connection)
    now = clock()
    bench.table.put(Put(b"late", ttl_ms=5_000).add(Q, b"", now - 6_000))
    bench.table.put(Put(b"ahead", ttl_ms=5_000).add(Q, b"", now + 6_000))

    for state in bench.states():
        assert bench.rows() == [b"ahead"], state


def test_counters_and_appends_may_carry_a_ttl(connection: Connection, clock: Clock) -> None:
    bench = Bench(connection)
    bench.table.increment(Increment(ROW, {b"f:c": 5}, ttl_ms=3_000))
    bench.table.append(Append(ROW, {b"f:a": b"x"}, ttl_ms=3_000))

    for state in bench.states():
        assert len(bench.table.row(ROW)) == 2, state
    clock.advance(4_000)
    assert bench.table.counter_inc(ROW, b"f:c", 1) == 1  # it begins anew
    assert bench.table.append(ROW, {b"f:a": b"y"}) == {b"f:a": b"y"}


# -- delete markers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [False, True], ids=["together", "in files of their own"])
@pytest.mark.parametrize(
    ("delete", "left"),
    [
        (Delete(ROW).add_column(Q), {b"f:q": [2, 1], b"f:z": [3, 2, 1], b"g:q": [3, 2, 1]}),
        (Delete(ROW).add_column(Q, 2), {b"f:q": [3, 1], b"f:z": [3, 2, 1], b"g:q": [3, 2, 1]}),
        (Delete(ROW, 2).add_column(Q), {b"f:q": [3, 1], b"f:z": [3, 2, 1], b"g:q": [3, 2, 1]}),
        (Delete(ROW).add_columns(Q, 2), {b"f:q": [3], b"f:z": [3, 2, 1], b"g:q": [3, 2, 1]}),
        (Delete(ROW).add_columns(Q), {b"f:z": [3, 2, 1], b"g:q": [3, 2, 1]}),
        (Delete(ROW).add_family("f", 2), {b"f:q": [3], b"f:z": [3], b"g:q": [3, 2, 1]}),
        (Delete(ROW).add_family("f"), {b"g:q": [3, 2, 1]}),
        (Delete(ROW).add_family_version("f", 2), {b"f:q": [3, 1], b"f:z": [3, 1], b"g:q": [3, 2, 1]}),
        (Delete(ROW, 2), {b"f:q": [3], b"f:z": [3], b"g:q": [3]}),
        (Delete(ROW), {}),
        (Delete(ROW).add_column(Q, 9), {b"f:q": [3, 2, 1], b"f:z": [3, 2, 1], b"g:q": [3, 2, 1]}),
        (Delete(ROW).add_column(Q).add_column(Q), {b"f:q": [1], b"f:z": [3, 2, 1], b"g:q": [3, 2, 1]}),
        (
            Delete(ROW).add_columns(Q, 1).add_family_version("f", 3),
            {b"f:q": [2], b"f:z": [2, 1], b"g:q": [3, 2, 1]},
        ),
    ],
)
def test_what_each_marker_masks(
    connection: Connection, delete: Delete, left: dict[bytes, list[int]], apart: bool
) -> None:
    bench = Bench(connection, "f", "g", max_versions=5)
    for stamp in (1, 2, 3):
        bench.table.put(ROW, {b"f:q": b"", b"f:z": b"", b"g:q": b""}, timestamp=stamp)
        if apart:
            bench.flush()
    bench.table.delete(delete)

    for state in bench.states():
        result = bench.table.get(Get(ROW, versions="all"))
        found = {name: [t for _, t in pairs] for name, pairs in result.to_versions(True).items()}
        assert found == left, state
        assert bench.table.exists(ROW) == bool(left), state


def test_deleting_what_is_not_there_writes_a_marker_and_says_nothing(bench: Bench) -> None:
    for delete in (Delete(ROW), Delete(ROW).add_column(Q), Delete(ROW).add_columns(b"f:z", 5)):
        bench.table.delete(delete)

    for state in bench.states(major=False):
        assert bench.rows() == [], state
        assert {kind for _, _, kind in raw(bench)} == {14, 8, 12}, state
    bench.major()
    assert raw(bench) == []
    with pytest.raises(NoSuchColumnFamilyException):
        bench.table.delete(Delete(ROW).add_family("nope"))


def test_delete_then_put_at_once_is_visible(bench: Bench) -> None:
    """Unlike in HBase, where both may get one stamp: see docs/differences-from-hbase.md."""
    for turn in range(100):
        bench.table.put(ROW, {Q: b"%d" % turn})
        assert bench.table.row(ROW) == {Q: b"%d" % turn}
        bench.table.delete(ROW)
        assert bench.table.row(ROW) == {}
    for turn in range(20):
        bench.table.delete(Delete(ROW).add_columns(Q))
        assert bench.table.counter_inc(ROW, Q) == 1, turn


def test_flush_drops_the_puts_its_own_markers_mask_and_keeps_the_markers(connection: Connection) -> None:
    bench = Bench(connection, max_versions=3)
    fill(bench, 1, 2)
    bench.table.delete(Delete(ROW).add_columns(Q, 1))
    assert raw(bench) == [(b"q", 2, 4), (b"q", 1, 12), (b"q", 1, 4)]

    bench.flush()
    assert raw(bench) == [(b"q", 2, 4), (b"q", 1, 12)]
    bench.minor()
    assert raw(bench) == [(b"q", 2, 4), (b"q", 1, 12)]
    bench.major()
    assert raw(bench) == [(b"q", 2, 4)]


# -- KEEP_DELETED_CELLS ----------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [False, True], ids=["together", "in files of their own"])
def test_keep_deleted_cells_false_hides_deleted_cells_from_older_time_ranges_too(
    connection: Connection, apart: bool
) -> None:
    bench = Bench(connection, max_versions=3)
    fill(bench, 1, 2)
    if apart:
        bench.flush()
    bench.table.delete(Delete(ROW).add_columns(Q, 5))
    fill(bench, 7)

    for state in bench.states():
        assert stamps(bench) == [7], state
        assert stamps(bench, time_range=(0, 5)) == [], state


@pytest.mark.parametrize("marker", ["column", "family", "row"])
def test_keep_deleted_cells_true_shows_them_to_a_time_range_below_the_marker(
    connection: Connection, marker: str
) -> None:
    bench = Bench(connection, max_versions=3, keep_deleted_cells="TRUE")
    fill(bench, 1, 2)
    bench.table.delete(
        {
            "column": Delete(ROW).add_columns(Q, 5),
            "family": Delete(ROW).add_family("f", 5),
            "row": Delete(ROW, 5),
        }[marker]
    )
    fill(bench, 7)

    for state in bench.states():
        assert stamps(bench) == [7], state
        assert stamps(bench, time_range=(0, 5)) == [2, 1], state
        assert stamps(bench, time_range=(0, 6)) == [], state
        assert stamps(bench, time_range=(0, 8)) == [7], state
    fill(bench, 8, 9)  # deleted cells count as versions: 1 and 2 give way
    bench.major()
    assert stamps(bench, time_range=(0, 5)) == []
    assert stamps(bench) == [9, 8, 7]


def test_keep_deleted_cells_true_keeps_a_family_marker_behind_many_puts_of_the_empty_qualifier(
    connection: Connection,
) -> None:
    bench = Bench(connection, keep_deleted_cells="TRUE")
    bench.table.put(ROW, {b"f:a": b"deleted"}, timestamp=1)
    bench.table.delete(Delete(ROW).add_family("f", 1))
    for stamp in (2, 3, 4):
        bench.table.put(ROW, {b"f:": b"%d" % stamp}, timestamp=stamp)

    for state in bench.states():
        assert bench.table.row(ROW) == {b"f:": b"4"}, state


def test_keep_deleted_cells_ttl_keeps_them_until_they_expire(connection: Connection, clock: Clock) -> None:
    bench = Bench(connection, max_versions=3, time_to_live=10, keep_deleted_cells="TTL")
    now = clock()
    fill(bench, now - 3, now - 2)
    bench.table.delete(Delete(ROW).add_columns(Q, now - 1))

    for state in bench.states():
        assert stamps(bench) == [], state
        assert stamps(bench, time_range=(0, now - 1)) == [now - 2, now - 3], state
    clock.advance(12_000)
    for state in bench.states():
        assert stamps(bench, time_range=(0, now - 1)) == [], state
    bench.major()
    assert raw(bench) == []


# -- NEW_VERSION_BEHAVIOR --------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [False, True], ids=["together", "in files of their own"])
def test_new_version_behavior_masks_only_what_was_written_before_the_marker(
    connection: Connection, apart: bool
) -> None:
    bench = Bench(connection, max_versions=3, new_version_behavior=True)
    fill(bench, 5, row=b"before")
    for row in (b"before", b"after"):
        if apart:
            bench.flush()
        bench.table.delete(Delete(row).add_columns(Q, 9))
    fill(bench, 5, row=b"after")
    bench.table.mutate_row(
        RowMutations(b"with", [Put(b"with").add(Q, b"", 5), Delete(b"with").add_columns(Q, 5)])
    )

    for state in bench.states():
        assert bench.rows() == [b"after"], state


def test_new_version_behavior_forgets_a_surplus_version_for_good(connection: Connection) -> None:
    bench = Bench(connection, max_versions=2, new_version_behavior=True)
    fill(bench, 1, 2, 3)
    bench.table.delete(Delete(ROW).add_column(Q, 3))

    for state in bench.states():
        assert stamps(bench) == [2], state  # 1 was gone when 3 came


# -- raw scans -------------------------------------------------------------------------------------------


def test_raw_scans_show_markers_masked_and_expired_cells_until_they_are_dropped(
    connection: Connection, clock: Clock
) -> None:
    bench = Bench(connection, max_versions=3, time_to_live=10)
    now = clock()
    fill(bench, now - 2, now - 1)
    bench.table.delete(Delete(ROW).add_column(Q, now - 1))
    bench.table.delete(Delete(ROW).add_family("f", now - 5))
    bench.table.delete(Delete(ROW).add_family_version("f", now - 4))
    everything = [
        (b"", now - 4, 10),
        (b"", now - 5, 14),
        (b"q", now - 1, 8),
        (b"q", now - 1, 4),
        (b"q", now - 2, 4),
    ]
    assert raw(bench) == everything
    clock.advance(20_000)
    assert raw(bench) == everything
    assert bench.rows() == []
    assert raw(bench, time_range=(now - 2, now)) == everything[2:]
    kinds = [cell.type for cell in bench.cells(Scan(raw=True, versions="all"))]
    assert kinds[:2] == [CellType.DELETE_FAMILY_VERSION, CellType.DELETE_FAMILY]
    bench.flush()
    assert raw(bench) == []


def test_raw_scans_show_cells_of_one_stamp_once(connection: Connection) -> None:
    bench = Bench(connection, max_versions=3)
    for value in (b"a", b"b"):
        bench.table.put(ROW, {Q: value}, timestamp=5)
        bench.flush()
    cells = bench.cells(Scan(raw=True, versions="all"))
    assert [(cell.timestamp, cell.value) for cell in cells] == [(5, b"b")]


# -- put, durability, atomicity --------------------------------------------------------------------------


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


# -- increment and append --------------------------------------------------------------------------------


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


# -- check and mutate ------------------------------------------------------------------------------------


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


# -- gets and scans --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grid(connection: Connection) -> Bench:
    """Rows a0 … e4 in four regions, columns f:0 … f:3 and g:0 … g:3, two versions, partly flushed."""
    bench = Bench(connection, "f", "g", max_versions=2, splits=[b"b", b"c2", b"e"])
    for stamp in (1, 2):
        for letter in b"abcde":
            for digit in b"01234":
                data = {b"%s:%d" % (family, n): b"%d" % stamp for family in (b"f", b"g") for n in range(4)}
                bench.table.put(bytes([letter, digit]), data, timestamp=stamp)
        if stamp == 1:
            bench.flush()
    return bench


ALL = [bytes([letter, digit]) for letter in b"abcde" for digit in b"01234"]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("stop_inclusive", [False, True])
@pytest.mark.parametrize("start_inclusive", [False, True])
@pytest.mark.parametrize(
    ("low", "high"),
    [
        (b"", b""),
        (b"b1", b""),
        (b"", b"d2"),
        (b"b1", b"d2"),
        (b"b", b"e"),
        (b"c2", b"c2"),
        (b"c9", b"c"),
        (b"a", b"zz"),
    ],
)
def test_scan_bounds(
    grid: Bench, low: bytes, high: bytes, start_inclusive: bool, stop_inclusive: bool, reverse: bool
) -> None:
    start, stop = (high, low) if reverse else (low, high)
    low_in, high_in = (stop_inclusive, start_inclusive) if reverse else (start_inclusive, stop_inclusive)
    expected = [
        row
        for row in ALL
        if (not low or row > low or (row == low and low_in))
        and (not high or row < high or (row == high and high_in))
    ]
    found = grid.rows(
        start=start,
        stop=stop,
        start_inclusive=start_inclusive,
        stop_inclusive=stop_inclusive,
        reverse=reverse,
    )
    assert found == (expected[::-1] if reverse else expected)


def test_a_prefix_scan_overrides_start_and_stop(grid: Bench) -> None:
    inside = [row for row in ALL if row.startswith(b"c")]
    assert grid.rows(prefix=b"c") == inside
    assert grid.rows(prefix=b"c", start=b"a", stop=b"b") == inside
    assert grid.rows(prefix=b"c", reverse=True) == inside[::-1]
    assert grid.rows(prefix=b"") == ALL
    assert [row for row, _ in grid.table.scan(row_prefix=b"c", limit=2)] == inside[:2]


def test_a_prefix_of_the_highest_byte_is_unbounded_above(bench: Bench) -> None:
    for row in (b"\xfe\xff", b"\xff", b"\xff\xff", b"\xff\xff\x01"):
        bench.table.put(row, {Q: b""})
    for state in bench.states():
        assert bench.rows(prefix=b"\xff\xff") == [b"\xff\xff", b"\xff\xff\x01"], state
        assert bench.rows(prefix=b"\xfe\xff") == [b"\xfe\xff"], state
        assert bench.rows(prefix=b"\xff\xff", reverse=True) == [b"\xff\xff\x01", b"\xff\xff"], state


@pytest.mark.parametrize("reverse", [False, True])
def test_limit_counts_rows_across_regions(grid: Bench, reverse: bool) -> None:
    ordered = ALL[::-1] if reverse else ALL
    for limit in (0, 1, 7, 25, 26):
        assert grid.rows(limit=limit, reverse=reverse) == ordered[:limit]
    with pytest.raises(IllegalArgumentException):
        Scan(limit=-1)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("batch", [1, 3, 8, 100])
def test_batch_cuts_rows_into_results_in_cell_order(grid: Bench, batch: int, reverse: bool) -> None:
    parts = grid.results(batch=batch, reverse=reverse, limit=7)
    rows: dict[bytes, list[bytes]] = {}
    for part in parts:
        assert 0 < len(part) <= batch
        rows.setdefault(part.row, []).extend(part.names)
    assert list(rows) == (ALL[::-1] if reverse else ALL)[:7]
    columns = [b"%s:%d" % (family, n) for family in (b"f", b"g") for n in range(4)]
    assert all(names == columns for names in rows.values())
    assert [part.partial for part in parts].count(False) == 7
    with pytest.raises(IllegalArgumentException):
        Scan(batch=0)


def test_store_limit_and_offset_count_cells_of_each_family(grid: Bench) -> None:
    result = grid.table.get(Get(b"c1", store_limit=2, store_offset=1))
    assert result.names == [b"f:1", b"f:2", b"g:1", b"g:2"]
    result = grid.table.get(Get(b"c1", versions=2, store_limit=3, store_offset=3))
    assert [(cell.column, cell.timestamp) for cell in result.cells] == [
        (b"f:1", 1), (b"f:2", 2), (b"f:2", 1), (b"g:1", 1), (b"g:2", 2), (b"g:2", 1),
    ]  # fmt: skip
    assert grid.rows(store_limit=1, store_offset=4) == []
    assert len(grid.rows(store_limit=0)) == 0


def test_the_last_mention_of_a_family_among_the_columns_wins(grid: Bench) -> None:
    def names(*columns: bytes) -> list[bytes]:
        return list(grid.table.get(Get(b"a0", columns)).names)

    assert names(b"f", b"f:1") == [b"f:1"]
    assert names(b"f:1", b"f") == [b"f:0", b"f:1", b"f:2", b"f:3"]
    assert names(b"f:2", b"f:1", b"g:0") == [b"f:1", b"f:2", b"g:0"]
    assert names(b"f:nope") == []
    assert len(names()) == 8


def test_rows_answers_in_the_order_asked_and_leaves_missing_ones_out(grid: Bench) -> None:
    asked = [b"e1", b"nope", b"a0", b"e1"]
    assert [row for row, _ in grid.table.rows(asked, [b"f:0"])] == [b"e1", b"a0", b"e1"]
    results = grid.table.get_many([Get(row) for row in asked])
    assert [bool(result) for result in results] == [True, False, True, True]


def test_results_smaller_than_a_row_never_cut_it(grid: Bench) -> None:
    found = grid.results(max_result_bytes=1)
    assert [result.row for result in found] == ALL
    assert all(len(result) == 8 for result in found)


def test_a_row_larger_than_many_blocks_is_read_whole_both_ways(connection: Connection) -> None:
    bench = Bench(connection, ColumnFamilyDescriptor("f", max_versions=2, block_size=1024))
    wide = {b"f:%04d" % n: b"x" * 50 for n in range(1000)}
    for row in (b"a", b"wide", b"z"):
        bench.table.put(row, wide if row == b"wide" else {Q: b""}, timestamp=1)
    bench.flush()
    bench.table.put(b"wide", {b"f:0500": b"new"}, timestamp=2)

    for state in bench.states():
        assert bench.rows() == [b"a", b"wide", b"z"], state
        assert bench.rows(reverse=True) == [b"z", b"wide", b"a"], state
        assert bench.table.row(b"wide") == {**wide, b"f:0500": b"new"}, state
        assert bench.table.row(b"wide", [b"f:0999"]) == {b"f:0999": b"x" * 50}, state
        assert len(bench.results(start=b"wide", limit=1, versions=2)[0]) == 1001, state
        assert bench.table.row(b"y") == {}, state


def test_a_batch_runs_every_kind_of_action_and_answers_in_order(connection: Connection) -> None:
    bench = Bench(connection, splits=[b"m"])
    table = bench.table
    table.put(b"a", {Q: b"old"})
    outcomes = table.run_batch(
        [
            Get(b"a"),
            Put(b"a").add(Q, b"new"),
            Increment(b"z", {b"f:c": 2}),
            Append(b"z", {b"f:a": b"x"}),
            Delete(b"gone"),
            CheckAndMutate(b"k").if_not_exists(Q).then(Put(b"k").add(Q, b"")),
            RowMutations(b"m", [Put(b"m").add(Q, b"")]),
            Get(b"nope"),
        ]
    )
    got, put, count, text, delete, check, mutated, missing = outcomes
    assert got.to_dict() == {Q: b"old"}  # a batch's gets do not see its puts
    assert (put, delete) == (None, None)
    assert count.values == [struct.pack(">q", 2)]
    assert text.values == [b"x"]
    assert check == (True, None)
    assert not mutated
    assert not missing
    for state in bench.states():
        assert bench.rows() == [b"a", b"k", b"m", b"z"], state
        assert table.row(b"a") == {Q: b"new"}, state
