"""The regions of a table as a client keeps them: holes, parts that are read anew, what to read for that."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperbase.client.network.regions import (
    Place,
    Regions,
    covering,
    part_scan,
    read_places,
    table_scan,
    without_hole,
)
from hyperbase.common.errors import NotServingRegionException
from hyperbase.common.model import MAX_ROW_LENGTH, Result
from hyperbase.common.region_info import RegionInfo, RegionState

KEYS = st.binary(max_size=3) | st.text("+,-ab", max_size=3).map(str.encode)


def place(low: bytes, high: bytes, address: str = "here:1") -> Place:
    return Place(b"%r" % low, low, high, address)


def places(*keys: bytes) -> list[Place]:
    return [place(low, high) for low, high in pairwise(keys)]


def meta_row(info: RegionInfo, address: bytes = b"here:1", state: bytes = b"OPEN") -> Result:
    cells = {b"info:regioninfo": info.to_bytes(), b"info:server": address, b"info:state": state}
    return Result(info.region_name, list(cells), list(cells.values()), 1)


def bounds(found: list[Place]) -> list[tuple[bytes, bytes, bool]]:
    return [(one.start_key, one.end_key, bool(one.id16)) for one in found]


@given(st.sets(KEYS.filter(bool), max_size=8), st.data())
def test_a_part_of_meta_has_every_region_that_begins_in_it(splits: set[bytes], data: st.DataObject) -> None:
    """Whatever bytes keys are made of, and though rows of hbase:meta are not in the order of start keys."""
    keys = [b"", *sorted(splits), b""]
    low = data.draw(st.sampled_from(keys[:-1]))
    high = data.draw(st.sampled_from([key for key in keys if key > low] + [b""]))
    scan = part_scan("t", low, high)
    assert scan is not None
    for begin, end in pairwise(keys):
        row = RegionInfo("t", begin, end, 1).region_name
        if low <= begin and (not high or begin < high):
            assert scan.start <= row < scan.stop
        assert table_scan("t").start <= row < table_scan("t").stop


def test_a_key_that_no_scan_may_begin_with() -> None:
    assert part_scan("t", b"k" * MAX_ROW_LENGTH, b"") is None
    assert part_scan("t", b"", b"k" * (MAX_ROW_LENGTH - 2)) is None


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ([], [(b"", b"", False)]),
        ([(b"", b"")], [(b"", b"", True)]),
        ([(b"", b"g"), (b"g", b"")], [(b"", b"g", True), (b"g", b"", True)]),
        ([(b"g", b"")], [(b"", b"g", False), (b"g", b"", True)]),
        ([(b"", b"g")], [(b"", b"g", True), (b"g", b"", False)]),
        ([(b"", b"g"), (b"p", b"")], [(b"", b"g", True), (b"g", b"p", False), (b"p", b"", True)]),
        ([(b"", b"p"), (b"g", b"m")], [(b"", b"p", True), (b"g", b"m", True), (b"p", b"", False)]),
    ],
)
def test_holes_have_a_place_of_their_own(
    listed: list[tuple[bytes, bytes]], expected: list[tuple[bytes, bytes, bool]]
) -> None:
    assert bounds(covering([place(*one) for one in listed], b"", b"")) == expected


def test_a_hole_is_not_served() -> None:
    regions = Regions(covering([place(b"", b"g"), place(b"p", b"")], b"", b""))
    assert regions.of(b"f").where() == "here:1"
    with pytest.raises(NotServingRegionException, match="lists no region from b'g' to b'p'"):
        regions.of(b"h").where()
    assert [one.start_key for one in regions.unknown([b"a", b"h", b"i", b"z"])] == [b"g"]


@pytest.mark.parametrize(
    ("keys", "low", "high", "whole"),
    [
        ((b"a", b"c"), b"a", b"c", True),
        ((b"a", b"b", b"c"), b"a", b"c", True),
        ((b"a", b"b", b"d"), b"a", b"c", True),  # merged with what follows
        ((b"a", b""), b"a", b"c", True),
        ((b"a", b"b"), b"a", b"c", False),
        ((b"b", b"c"), b"a", b"c", False),
        ((b"a", b"b"), b"a", b"", False),
        ((), b"a", b"c", False),
    ],
)
def test_what_a_part_lacks_is_noticed(keys: tuple[bytes, ...], low: bytes, high: bytes, whole: bool) -> None:
    assert without_hole(places(*keys), low, high) is whole


def test_a_part_takes_its_place() -> None:
    regions = Regions(places(b"", b"c", b"f", b"m", b""))

    def changed(*keys: bytes) -> list[bytes] | None:
        new = regions.with_part(places(*keys))
        return None if new is None else new.starts

    assert changed(b"c", b"d", b"f") == [b"", b"c", b"d", b"f", b"m"]  # split
    assert changed(b"c", b"m") == [b"", b"c", b"m"]  # merged
    assert changed(b"f", b"") == [b"", b"c", b"f"]
    assert changed(b"", b"c") == [b"", b"c", b"f", b"m"]
    assert changed(b"d", b"f") is None
    assert changed(b"c", b"g") is None
    assert changed(b"m", b"z") is None


def test_only_open_regions_have_an_address() -> None:
    rows = [
        meta_row(RegionInfo("t", b"", b"c", 1)),
        meta_row(RegionInfo("t", b"c", b"f", 1), state=b"OPENING"),
        meta_row(RegionInfo("t", b"f", b"", 1, offline=True, split=True), state=b"SPLIT"),
        meta_row(RegionInfo("t", b"f", b"m", 2)),
        meta_row(RegionInfo("t", b"m", b"", 2), state=RegionState.CLOSED.value.encode()),
    ]
    found, state = read_places("t", rows)
    assert state is None
    assert [(one.start_key, one.address) for one in found] == [
        (b"", "here:1"),
        (b"c", ""),
        (b"f", "here:1"),
        (b"m", ""),
    ]
