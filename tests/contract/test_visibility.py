"""Which cells count: expiry, delete markers, KEEP_DELETED_CELLS, NEW_VERSION_BEHAVIOR, raw scans."""

from __future__ import annotations

from typing import Any

import pytest

from hyperbase import (
    Append,
    CellType,
    Connection,
    Delete,
    Get,
    Increment,
    Put,
    RowMutations,
    Scan,
)
from hyperbase.common.errors import (
    IllegalArgumentException,
    NoSuchColumnFamilyException,
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


# -- expiry ------------------------------------------------------------------------------------------------


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


# -- delete markers ----------------------------------------------------------------------------------------


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


# -- KEEP_DELETED_CELLS ------------------------------------------------------------------------------------


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


# -- NEW_VERSION_BEHAVIOR ----------------------------------------------------------------------------------


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


def test_new_version_behavior_counts_the_versions_asked_for_inside_the_time_range(
    connection: Connection,
) -> None:
    bench = Bench(connection, max_versions=3, new_version_behavior=True)
    fill(bench, 1, 2, 3, 4)

    for state in bench.states():
        assert stamps(bench, versions=1, time_range=(0, 4)) == [3], state
        assert stamps(bench, versions=1, time_range=(0, 2)) == [], state  # 1 is surplus, whatever is asked


def test_new_version_behavior_counts_the_versions_asked_for_before_the_filter(
    connection: Connection,
) -> None:
    for by_sequence in (False, True):
        bench = Bench(connection, max_versions=3, new_version_behavior=by_sequence)
        bench.table.put(ROW, {Q: b"old"}, timestamp=1)
        bench.table.put(ROW, {Q: b"new"}, timestamp=2)
        for state in bench.states():
            found = stamps(bench, versions=1, filter="ValueFilter(=, 'binary:old')")
            assert found == ([] if by_sequence else [1]), state


def test_new_version_behavior_an_expired_cell_is_no_version(connection: Connection, clock: Clock) -> None:
    bench = Bench(connection, max_versions=1, new_version_behavior=True)
    now = clock()
    fill(bench, now - 5)
    bench.table.put(Put(ROW, ttl_ms=100).add(Q, b"", now))
    assert stamps(bench) == [now]
    clock.advance(1000)

    for state in bench.states():
        assert stamps(bench) == [now - 5], state


@pytest.mark.parametrize("keep", ["TRUE", "TTL"])
def test_new_version_behavior_with_keep_deleted_cells_shows_what_was_there_before_the_delete(
    connection: Connection, keep: str
) -> None:
    bench = Bench(connection, max_versions=2, new_version_behavior=True, keep_deleted_cells=keep)
    fill(bench, 1, 2, 3)
    bench.table.delete(Delete(ROW).add_columns(Q, 5))

    for state in bench.states():
        assert stamps(bench) == [], state
        assert stamps(bench, time_range=(0, 5)) == [3, 2], state
    assert raw(bench) == [(b"q", 5, 12), (b"q", 3, 4), (b"q", 2, 4)]  # 1 was surplus


def test_min_versions_shows_one_expired_version_more_of_a_column_that_is_named(
    connection: Connection, clock: Clock
) -> None:
    bench = Bench(connection, max_versions=5, min_versions=1, time_to_live=10)
    now = clock()
    fill(bench, now - 30_000, now - 20_000, now)

    assert stamps(bench) == [now, now - 20_000]  # as HBase's tracker of named columns has it
    assert stamps(bench, columns=["f"]) == [now]
    clock.advance(60_000)
    for state in bench.states():
        assert stamps(bench) == stamps(bench, columns=["f"]) == [now], state


# -- raw scans ---------------------------------------------------------------------------------------------


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
