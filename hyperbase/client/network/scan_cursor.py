"""Where a scan is: which region comes next, from which row on, and what of an answer the caller has not seen.

A scan goes from region to region. After an error it goes on behind the last whole row; a row of which only
parts had come is read anew. Parts that the caller has already (``Scan.batch``) are passed over by counting
cells.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from hyperbase.client.network.regions import Place, Regions
from hyperbase.client.network.retries import Retries
from hyperbase.common.errors import DoNotRetryIOException, HBaseIOException, UnknownScannerException
from hyperbase.common.model import Result, Scan
from hyperbase.common.wire.model_codec import decode_results, encode_scan, join_pieces


class ScanCursor:
    """The state of one scan. Belongs to one thread or task."""

    __slots__ = (
        "_inclusive",
        "_key",
        "_left",
        "_pieces",
        "_scan",
        "_seen",
        "_skip",
        "finished",
        "region_exhausted",
    )

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._key = scan.start  # where the rest begins
        self._inclusive = scan.start_inclusive
        self._left = scan.limit  # rows
        self._pieces: list[Result] = []  # of a row that has not come whole
        self._seen = 0  # cells of a row that the caller has, when not all of them
        self._skip = 0  # of these, those still to come again
        self.finished = scan.limit == 0
        self.region_exhausted = False  # as the last ``take_rows`` said

    def place(self, regions: Regions) -> Place | None:
        """The region that the rest begins in; ``None``: there is no rest."""
        scan, key = self._scan, self._key
        if not scan.reverse:
            return regions.of(key)
        if not key:
            return regions.places[-1]
        if self._inclusive:
            return regions.of(key)
        place = regions.below(key)
        return place if place.start_key < key else None

    def request(self) -> Any:
        """The rest of the scan, for a region."""
        self._pieces.clear()
        self._skip = self._seen
        rest = copy.copy(self._scan)
        rest.start, rest.start_inclusive = self._key, self._inclusive
        rest.limit = self._left
        return encode_scan(rest)

    def take(self, chunk: Any) -> list[Result]:
        """What of a chunk goes to the caller."""
        results = decode_results(chunk)
        if not results:
            return results
        if self._scan.batch is not None:
            return self._take_parts(results)
        if results[-1].partial or results[0].partial or self._pieces:
            results = self._join(results)
        if results:
            self._passed(results[-1].row, len(results))
        return results

    def _join(self, results: Sequence[Result]) -> list[Result]:
        """Whole rows; what is not whole is kept."""
        out = []
        for result in results:
            if result.partial:
                self._pieces.append(result)
            elif self._pieces:
                out.append(join_pieces([*self._pieces, result]))
                self._pieces.clear()
            else:
                out.append(result)
        return out

    def _take_parts(self, results: Sequence[Result]) -> list[Result]:
        """Rows may come in parts, and the caller takes them so."""
        out = []
        for result in results:
            if self._skip:
                if result.row != self._key:  # the row is gone
                    self._skip = self._seen = 0
                else:
                    rest = self._unseen(result)
                    if rest is None:
                        continue
                    result = rest
            out.append(result)
            if result.partial:
                if self._key != result.row or not self._inclusive:
                    self._key, self._inclusive, self._seen = result.row, True, 0
                self._seen += len(result.names)
            else:
                self._seen = 0
                self._passed(result.row, 1)
        return out

    def _unseen(self, result: Result) -> Result | None:
        """The cells behind those that the caller has."""
        count = len(result.names)
        if count <= self._skip:
            self._skip -= count
            if not result.partial:
                self._skip = self._seen = 0
                self._passed(result.row, 1)
            return None
        begin, self._skip = self._skip, 0
        if not begin:
            return result
        return Result(
            result.row,
            result.names[begin:],
            result.values[begin:],
            result.timestamp_list()[begin:],
            None if result.types is None else result.types[begin:],
            result.partial,
        )

    def _passed(self, row: bytes, rows: int) -> None:
        self._key, self._inclusive = row, False
        if self._left is not None:
            self._left -= rows
            if self._left <= 0:
                self.finished = True

    def take_rows(self, rows: int, next_row: bytes) -> None:
        """So many rows went to the caller; the rest begins at ``next_row`` (reversed: below it)."""
        if next_row:
            self._key, self._inclusive = next_row, not self._scan.reverse
        self.region_exhausted = not next_row
        if self._left is not None:
            self._left -= rows
            if self._left <= 0:
                self.finished = True

    def region_done(self, place: Place, stopped: bool) -> None:
        """A region has no more rows; ``stopped``: a filter ended the whole scan."""
        scan = self._scan
        if stopped:
            self.finished = True
        elif scan.reverse:
            low = place.start_key
            if not low or (scan.stop and low <= scan.stop):
                self.finished = True
            self._key, self._inclusive = low, False
        else:
            high = place.end_key
            beyond = high > scan.stop or (high == scan.stop and not scan.stop_inclusive)
            if not high or (scan.stop and beyond):
                self.finished = True
            self._key, self._inclusive = high, True
        self._seen = self._skip = 0
        self.region_exhausted = False


def pause_after(error: HBaseIOException, retries: Retries) -> float:
    """How long to wait before a scan goes on; a scanner whose lease ran out is opened again."""
    if isinstance(error, UnknownScannerException):
        error = HBaseIOException(str(error))
    if isinstance(error, DoNotRetryIOException):
        raise error
    return retries.after(error)


def credit_to_grant(owed: int, credit: int) -> int:
    """How much of the credit that was used up to give anew: half of it at a time, to send few messages."""
    return owed if owed * 2 >= credit else 0
