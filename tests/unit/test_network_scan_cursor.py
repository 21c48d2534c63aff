"""Where a scan is: regions one after the other, both ways, and what is read again after an error."""

from __future__ import annotations

from itertools import pairwise

import pytest

from hyperbase.client.network.regions import Place, Regions
from hyperbase.client.network.retries import Retries
from hyperbase.client.network.scan_cursor import ScanCursor, credit_to_grant, pause_after
from hyperbase.common.config import ClientConfig
from hyperbase.common.errors import DoNotRetryIOException, UnknownScannerException
from hyperbase.common.model import Result, Scan
from hyperbase.common.wire.model_codec import decode_scan, encode_results

COLUMNS = [b"f:a", b"f:b", b"f:c", b"f:d"]


def regions(*splits: bytes) -> Regions:
    keys = [b"", *splits, b""]
    return Regions(
        [Place(b"%d" % number, low, high, "here:1") for number, (low, high) in enumerate(pairwise(keys))]
    )


def result(row: bytes, begin: int = 0, end: int = 4, partial: bool = False) -> Result:
    names = COLUMNS[begin:end]
    return Result(row, names, [b"v"] * len(names), 1, None, partial)


def take(cursor: ScanCursor, *results: Result) -> list[tuple[bytes, int]]:
    return [(one.row, len(one)) for one in cursor.take(encode_results(results))]


def rest(cursor: ScanCursor) -> tuple[bytes, bool, int | None]:
    scan = decode_scan(cursor.request())
    return scan.start, scan.start_inclusive, scan.limit


@pytest.mark.parametrize(
    ("scan", "starts"),
    [
        (Scan(), [b"", b"g", b"p"]),
        (Scan(b"g"), [b"g", b"p"]),
        (Scan(b"a", b"g"), [b""]),
        (Scan(b"a", b"g", stop_inclusive=True), [b"", b"g"]),
        (Scan(b"a", b"h"), [b"", b"g"]),
        (Scan(reverse=True), [b"p", b"g", b""]),
        (Scan(b"g", reverse=True), [b"g", b""]),
        (Scan(b"g", start_inclusive=False, reverse=True), [b""]),
        (Scan(b"z", b"g", reverse=True), [b"p", b"g"]),
        (Scan(b"z", b"g", reverse=True, stop_inclusive=True), [b"p", b"g"]),
        (Scan(limit=0), []),
    ],
)
def test_the_regions_of_a_scan(scan: Scan, starts: list[bytes]) -> None:
    table, cursor, seen = regions(b"g", b"p"), ScanCursor(scan), []
    while not cursor.finished:
        place = cursor.place(table)
        assert place is not None
        seen.append(place.start_key)
        cursor.region_done(place, False)
    assert seen == starts


def test_a_filter_ends_the_whole_scan() -> None:
    cursor, table = ScanCursor(Scan()), regions(b"g")
    place = cursor.place(table)
    assert place is not None
    cursor.region_done(place, True)
    assert cursor.finished


@pytest.mark.parametrize("reverse", [False, True])
def test_it_goes_on_behind_the_last_whole_row(reverse: bool) -> None:
    cursor = ScanCursor(Scan(b"x" if reverse else b"a", reverse=reverse, limit=5))
    assert rest(cursor) == (b"x" if reverse else b"a", True, 5)
    assert take(cursor, result(b"k"), result(b"m")) == [(b"k", 4), (b"m", 4)]
    assert rest(cursor) == (b"m", False, 3)
    place = cursor.place(regions(b"m"))  # the region was split at that row meanwhile
    assert place is not None
    assert place.start_key == (b"" if reverse else b"m")


def test_the_limit_counts_rows_over_regions() -> None:
    cursor = ScanCursor(Scan(limit=2))
    take(cursor, result(b"a"))
    assert not cursor.finished
    take(cursor, result(b"b"))
    assert cursor.finished


def test_pieces_of_a_large_row_are_joined_and_dropped_on_errors() -> None:
    cursor = ScanCursor(Scan())
    assert take(cursor, result(b"a"), result(b"b", 0, 2, partial=True)) == [(b"a", 4)]
    assert rest(cursor) == (b"a", False, None)  # an error: b is read anew
    assert take(cursor, result(b"b", 0, 3, partial=True)) == []
    assert take(cursor, result(b"b", 3, 4), result(b"c")) == [(b"b", 4), (b"c", 4)]
    assert rest(cursor) == (b"c", False, None)


def test_parts_that_the_caller_has_are_passed_over() -> None:
    cursor = ScanCursor(Scan(batch=1, limit=2))
    assert take(cursor, result(b"a", 0, 1, partial=True), result(b"a", 1, 2, partial=True)) == [
        (b"a", 1),
        (b"a", 1),
    ]
    assert rest(cursor) == (b"a", True, 2)  # an error: the row is read again
    again = [result(b"a", n, n + 1, partial=n < 3) for n in range(4)]
    assert take(cursor, *again) == [(b"a", 1), (b"a", 1)]
    assert rest(cursor) == (b"a", False, 1)


def test_a_part_that_is_cut_otherwise_the_second_time() -> None:
    cursor = ScanCursor(Scan(batch=3))
    take(cursor, result(b"a", 0, 1, partial=True))
    cursor.request()
    assert take(cursor, result(b"a", 0, 3, partial=True), result(b"a", 3, 4)) == [(b"a", 2), (b"a", 1)]


def test_a_row_that_vanished_between_its_parts() -> None:
    cursor = ScanCursor(Scan(batch=1))
    take(cursor, result(b"a", 0, 1, partial=True))
    cursor.request()
    assert take(cursor, result(b"b", 0, 1, partial=True), result(b"b", 1, 2)) == [(b"b", 1), (b"b", 1)]


def test_a_lost_lease_opens_the_scanner_again() -> None:
    retries = Retries(ClientConfig(), "scan")
    assert pause_after(UnknownScannerException("idle"), retries) >= 0
    with pytest.raises(DoNotRetryIOException):
        pause_after(DoNotRetryIOException("no"), retries)


def test_credit_is_given_back_by_halves() -> None:
    assert [credit_to_grant(owed, 4) for owed in range(1, 5)] == [0, 2, 3, 4]
    assert credit_to_grant(1, 1) == 1
