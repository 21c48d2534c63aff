"""Arrow scans of servers, as far as they need no socket: what to ask, and what a message holds.

A server sends IPC streams of stored bytes; values get their types here. A part of a scan is the messages up
to one that names the row where the rest begins: it is handed on when it is whole, so after a failure nothing
is handed on twice.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from hyperbase.client.arrow_layout import CELLS_SCHEMA, Column, WideColumns, check_cells, check_wide
from hyperbase.client.network.commands import Call, Sleep, Steps
from hyperbase.client.network.locator import Locator
from hyperbase.client.network.regions import Place
from hyperbase.client.network.retries import Retries
from hyperbase.client.network.scan_cursor import ScanCursor
from hyperbase.common.errors import HBaseIOException
from hyperbase.common.model import Scan
from hyperbase.common.wire.messages import GOES_ON, Method

_COLUMNS = int(Method.ARROW_COLUMNS)


class ArrowRequest:
    """A scan into Arrow: the scan as servers are asked for it, and the form of its batches."""

    def __init__(
        self, scan: Scan, layout: str, types: Mapping[bytes, str], columns: Sequence[bytes] | None
    ) -> None:
        self.scan = copy.copy(scan)
        self.scan.batch = None  # a row of Results in parts is a row
        self._types = types
        self.wide: WideColumns | None = None  # None: cells, or the columns are still to be found
        self.must_find = False
        if layout == "cells":
            check_cells(types)
            return
        check_wide(scan)
        if self.scan.filter is None:
            self.scan.versions = min(self.scan.versions, 1)
        self.must_find = columns is None
        self.wide = WideColumns.of(columns or (), types)  # a wrong type shows before anything is read

    def found(self, columns: set[Column]) -> None:
        """The columns that the scan shows, when they were not named."""
        names = [family + b":" + qualifier for family, qualifier in sorted(columns)]
        self.wide = WideColumns.of(names, self._types)
        if names and self.scan.filter is None:
            self.scan.columns = tuple(self.wide.columns)  # what is written meanwhile is not shown

    @property
    def schema(self) -> pa.Schema:
        """Of the batches."""
        return CELLS_SCHEMA if self.wide is None else self.wide.schema

    @property
    def empty(self) -> bool:
        """No column, no batch."""
        return self.wide is not None and not self.wide.columns

    def arguments(self, region: bytes, cursor: ScanCursor, credit: int) -> tuple[Any, ...]:
        """Of ARROW_SCAN."""
        names = None
        if self.wide is not None:
            names = [family + b":" + qualifier for family, qualifier in self.wide.columns]
        return region, cursor.request(), names, credit

    def typed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch as it is handed on."""
        if self.wide is None:
            return batch
        rows, *values = batch.columns
        return self.wide.batch(rows, values)


class ArrowPart:
    """The messages of a part that is not whole yet."""

    def __init__(self) -> None:
        self._messages: list[bytes] = []
        self._fragments: list[bytes] = []  # of a stream that is too large for one message

    def take(self, payload: Any, cursor: ScanCursor) -> list[pa.RecordBatch]:
        """The batches of a part, when this message completes it."""
        data, rows, next_row = payload
        if rows == GOES_ON:
            self._fragments.append(data)
            return []
        if self._fragments:
            data = b"".join((*self._fragments, data))
            self._fragments.clear()
        self._messages.append(data)
        if next_row is None:
            return []
        batches = [batch for message in self._messages for batch in read_stream(message)]
        self._messages.clear()
        cursor.take_rows(rows, next_row)
        return batches


def read_stream(message: bytes) -> Iterator[pa.RecordBatch]:
    """The batches of an Arrow IPC stream."""
    with pa.ipc.open_stream(message) as stream:
        yield from stream


def find_columns(locator: Locator, table: str, scan: Scan, retries: Retries) -> Steps[set[Column]]:
    """Every column that a scan without a limit shows, by asking region after region."""
    cursor = ScanCursor(scan)
    found: set[Column] = set()
    while not cursor.finished:
        place: Place | None = None
        try:
            place = yield from locator.find(table, cursor.place, retries)
            if place is None:
                break
            names = yield Call(place.where(), _COLUMNS, (place.id16, cursor.request()), retries.deadline)
        except HBaseIOException as error:
            locator.failed(place, error)
            yield Sleep(retries.after(error))
            continue
        for name in names:
            family, _, qualifier = name.partition(b":")
            found.add((family, qualifier))
        cursor.region_done(place, False)
        retries.succeeded()
    return found
