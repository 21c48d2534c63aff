"""Arrow rows into a table: small inputs through the log, large ones as StoreFiles of the regions.

The input is taken in slices of ``SLICE_BYTES``. A slice is checked as a whole before any of it is written.
From ``FILE_BYTES`` of raw cells on it is sorted, split at the region bounds and written as one StoreFile
per family and region: each region's part becomes visible at once, all or nothing, and is durable then.
Which regions there are, and what to do when one moves, is the ``Target``'s.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hyperbase.client.arrow_types import to_stored
from hyperbase.common.errors import IllegalArgumentException, NotServingRegionException
from hyperbase.common.model import MAX_ROW_LENGTH, MAX_TIMESTAMP, Put
from regionserver.region.bulk_load import bulk_load
from regionserver.region.lowering import KEY_VALUE_OVERHEAD, Lowering
from regionserver.region.read_ahead import read_ahead
from regionserver.region.region import Region
from regionserver.storage.cells import PUT
from regionserver.storage.store_file import SCHEMA

SLICE_BYTES = 256 * 1024 * 1024
FILE_BYTES = 16_000_000  # raw cells of a slice that is worth files of its own
CHUNK_BYTES = 4 * 1024 * 1024  # handed to the StoreFile writer at a time
LOG_ROWS = 1000  # in one group of the log

Ints = npt.NDArray[np.int64]


class Target(Protocol):
    """A table that rows are loaded into: where its regions are, and what to do when they move."""

    max_key_value_bytes: int

    def lowering(self) -> Lowering:
        """Knows the table's families. Raises TableNotFoundException and the like."""

    def check_rows(self, keys: pa.Array) -> None:
        """Raises when not all of these rows can be loaded here; nothing of the slice is written then."""

    def region_of(self, row: bytes) -> Region:
        """The open region of a row. Raises NotServingRegionException."""

    def moved(self, region: Region, error: NotServingRegionException) -> None:
        """The region closed in the middle: return when ``region_of`` may be asked again, or raise."""

    def loaded(self, region: Region) -> None:
        """Files were added to the region."""

    def put_rows(self, rows: Sequence[tuple[bytes, Mapping[bytes, bytes]]], timestamp: int | None) -> None:
        """Through the log, durable then."""

    def put_all(self, puts: Sequence[Put]) -> None:
        """As ``put_rows``, each with a timestamp of its own."""


def put_arrow(
    target: Target,
    data: pa.RecordBatchReader,
    row_key: str,
    timestamp: int | str | None,
    family: bytes | None,
) -> int:
    """See ``Table.put_arrow``. Returns how many input rows had at least one value.

    Raises:
        IllegalArgumentException, NoSuchColumnFamilyException: nothing of the slice that holds the mistake,
            or of later ones, was written; inputs below ``SLICE_BYTES`` are one slice.
    """
    layout = _Layout.of(target, data.schema, row_key, timestamp, family)
    rows = begin = 0
    for batches in _slices(data):
        piece = _Slice.of(layout, batches, begin)
        begin += len(piece.keys)
        piece.check(target.max_key_value_bytes)
        target.check_rows(piece.keys)
        if piece.raw_bytes() >= FILE_BYTES:
            _load_files(target, piece)
        else:
            _put_logged(target, piece)
        rows += piece.filled_rows()
    return rows


def _slices(data: pa.RecordBatchReader) -> Iterator[list[pa.RecordBatch]]:
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in data:
        if not batch.num_rows:
            continue
        step = max(1, int(batch.num_rows * min(1, SLICE_BYTES / max(1, batch.nbytes))))
        for begin in range(0, batch.num_rows, step):
            part = batch.slice(begin, step)
            if held and size + part.nbytes > SLICE_BYTES:
                yield held
                held, size = [], 0
            held.append(part)
            size += part.nbytes
    if held:
        yield held


@dataclass(frozen=True, slots=True)
class _Layout:
    """What each column of the input is."""

    row_key: int
    stamp_column: int | None
    timestamp: int | None  # of every cell; None: the store's clock, or the column's
    columns: list[tuple[bytes, bytes, int]]  # (family, qualifier, index), in cell order

    @classmethod
    def of(
        cls,
        target: Target,
        schema: pa.Schema,
        row_key: str,
        timestamp: int | str | None,
        family: bytes | None,
    ) -> _Layout:
        lowering = target.lowering()
        special = {row_key: _find(schema, row_key, "row_key")}
        if isinstance(timestamp, str):
            special[timestamp] = _find(schema, timestamp, "timestamp")
            if not pa.types.is_integer(schema.field(special[timestamp]).type):
                raise IllegalArgumentException(
                    f"timestamp column {timestamp!r} is {schema.field(special[timestamp]).type}: "
                    "give integers of milliseconds, or one integer for all cells"
                )
        columns: list[tuple[bytes, bytes, int]] = []
        for index, name in enumerate(schema.names):
            if index in special.values():
                continue
            into, qualifier = family, name.encode("utf-8")
            if into is None:
                into, colon, qualifier = qualifier.partition(b":")
                if not colon or not into:
                    raise IllegalArgumentException(
                        f"column {name!r}: name it family:qualifier, or give family= for plain names"
                    )
            lowering.check_family(into)
            columns.append((into, qualifier, index))
        columns.sort()
        for one, two in itertools.pairwise(columns):
            if one[:2] == two[:2]:
                raise IllegalArgumentException(f"column {schema.names[two[2]]!r} is there twice")
        if not columns:
            raise IllegalArgumentException("no columns besides the row key")
        at = None if isinstance(timestamp, str) else timestamp
        return cls(
            special[row_key], special.get(timestamp) if isinstance(timestamp, str) else None, at, columns
        )


def _find(schema: pa.Schema, name: str, what: str) -> int:
    found: list[int] = schema.get_all_field_indices(name)
    if len(found) != 1:
        raise IllegalArgumentException(
            f"{what} {name!r}: the data has {'no' if not found else 'more than one'} such column; "
            f"it has {', '.join(map(repr, schema.names))}"
        )
    return found[0]


@dataclass(slots=True)
class _Slice:
    """Some rows, every column as bytes to be stored."""

    layout: _Layout
    begin: int  # input rows before these
    keys: pa.Array
    values: list[pa.Array]  # parallel to layout.columns
    stamps: Ints | None  # -1: the store's clock

    @classmethod
    def of(cls, layout: _Layout, batches: Sequence[pa.RecordBatch], begin: int) -> _Slice:
        def column(index: int) -> pa.Array:
            if len(batches) == 1:
                return to_stored(batches[0].column(index))
            return pa.concat_arrays([to_stored(batch.column(index)) for batch in batches])

        stamps: Ints | None = None
        if layout.stamp_column is not None:
            given = [batch.column(layout.stamp_column).cast(pa.int64()) for batch in batches]
            joined = pa.concat_arrays(given)
            if bool(pc.any(pc.less(joined, 0)).as_py()):
                place = pc.index(pc.less(joined, 0), True).as_py()
                raise IllegalArgumentException(
                    f"Timestamp cannot be negative. ts={joined[place].as_py()} in data row {begin + place}"
                )
            stamps = pc.fill_null(joined, -1).to_numpy(zero_copy_only=False).copy()
            stamps[stamps == MAX_TIMESTAMP] = -1  # as everywhere: "now"
        values = [column(index) for _, _, index in layout.columns]
        return cls(layout, begin, column(layout.row_key), values, stamps)

    def check(self, max_key_value_bytes: int) -> None:
        """Raises IllegalArgumentException for a row key or a value that the store does not take."""
        keys = self.keys
        if keys.null_count:
            self._refuse(pc.is_null(keys), "its row key is null")
        sizes = pc.binary_length(keys)
        if pc.min(sizes).as_py() == 0:
            self._refuse(pc.equal(sizes, 0), "Row length is 0: a row key has at least one byte")
        if pc.max(sizes).as_py() > MAX_ROW_LENGTH:
            self._refuse(pc.greater(sizes, MAX_ROW_LENGTH), f"Row length is > {MAX_ROW_LENGTH}")
        for (family, qualifier, _), values in zip(self.layout.columns, self.values, strict=True):
            room = max_key_value_bytes - KEY_VALUE_OVERHEAD - len(family) - len(qualifier)
            largest = pc.max(pc.binary_length(values)).as_py()
            if max_key_value_bytes <= 0 or largest is None or largest + pc.max(sizes).as_py() <= room:
                continue
            cells = pc.add(pc.binary_length(values), sizes)
            if pc.max(cells).as_py() > room:
                name = (family + b":" + qualifier).decode("utf-8", "backslashreplace")
                self._refuse(
                    pc.fill_null(pc.greater(cells, room), False),
                    f"KeyValue size too large in column {name}: at most {max_key_value_bytes} bytes with "
                    "its key (max_key_value_bytes)",
                )

    def _refuse(self, bad: pa.Array, why: str) -> None:
        place = pc.index(bad, True).as_py()
        raise IllegalArgumentException(f"data row {self.begin + place}: {why}; nothing of it was written")

    def raw_bytes(self) -> int:
        """Keys and values of the cells."""
        cells = sum(len(values) - values.null_count for values in self.values)
        key = (pc.sum(pc.binary_length(self.keys)).as_py() or 0) / max(1, len(self.keys))
        held = sum(pc.sum(pc.binary_length(values)).as_py() or 0 for values in self.values)
        return int(held + cells * (key + KEY_VALUE_OVERHEAD))

    def filled_rows(self) -> int:
        """Rows with a value."""
        if any(not values.null_count for values in self.values):
            return len(self.keys)
        filled = np.zeros(len(self.keys), np.bool_)
        for values in self.values:
            filled |= values.is_valid().to_numpy(zero_copy_only=False)
        return int(filled.sum())

    def take(self, order: pa.Array) -> _Slice:
        """The same rows in another order."""
        stamps = None if self.stamps is None else self.stamps[order.to_numpy()]
        values = [values.take(order) for values in self.values]
        return _Slice(self.layout, self.begin, self.keys.take(order), values, stamps)

    def part(self, begin: int, end: int) -> _Slice:
        """Rows ``begin <= i < end``."""
        stamps = None if self.stamps is None else self.stamps[begin:end]
        values = [values.slice(begin, end - begin) for values in self.values]
        return _Slice(self.layout, self.begin, self.keys.slice(begin, end - begin), values, stamps)


# -- through the log -----------------------------------------------------------------------------------


def _put_logged(target: Target, piece: _Slice) -> None:
    names = [family + b":" + qualifier for family, qualifier, _ in piece.layout.columns]
    for begin in range(0, len(piece.keys), LOG_ROWS):
        part = piece.part(begin, min(begin + LOG_ROWS, len(piece.keys)))
        rows = []
        for key, *values in zip(part.keys.to_pylist(), *(v.to_pylist() for v in part.values), strict=True):
            data = dict(zip(names, values, strict=True))
            if None in values:
                data = {name: value for name, value in data.items() if value is not None}
            rows.append((key, data))
        if part.stamps is None:
            filled = [row for row in rows if row[1]]
            if filled:
                target.put_rows(filled, piece.layout.timestamp)
            continue
        puts = []
        for (key, data), stamp in zip(rows, part.stamps.tolist(), strict=True):
            put = Put(key, timestamp=None if stamp < 0 else stamp)
            for name, value in data.items():
                put.add(name, value)
            if put.cells:
                puts.append(put)
        target.put_all(puts)


# -- as StoreFiles -------------------------------------------------------------------------------------


def _load_files(target: Target, piece: _Slice) -> None:
    """Each region's rows in one step; a region that closes meanwhile is located anew."""
    keys = piece.keys
    if len(keys) > 1 and pc.any(pc.less(keys.slice(1), keys.slice(0, len(keys) - 1))).as_py():
        piece = piece.take(pc.sort_indices(keys))  # stable: of equal rows the later stays the later
    begin = 0
    while begin < len(piece.keys):
        region = target.region_of(piece.keys[begin].as_py())
        end = _rows_below(piece.keys, region.info.end_key, begin)
        part = piece.part(begin, end)
        families: dict[bytes, list[int]] = {}
        for index, (family, _, _) in enumerate(piece.layout.columns):
            families.setdefault(family, []).append(index)
        try:
            bulk_load(
                region,
                part.keys.to_pylist(),
                {family: partial(_family_cells, part, indexes) for family, indexes in families.items()},
            )
        except NotServingRegionException as error:
            target.moved(region, error)
            continue
        target.loaded(region)
        begin = end


def _rows_below(keys: pa.Array, row: bytes, begin: int) -> int:
    """Index of the first of the ascending ``keys`` that is not below ``row`` (``b""``: no bound)."""
    low, high = begin, len(keys)
    if not row:
        return high
    while low < high:
        middle = (low + high) // 2
        if keys[middle].as_py() < row:
            low = middle + 1
        else:
            high = middle
    return low


def _family_cells(
    piece: _Slice, indexes: Sequence[int], now: int, sequence_id: int
) -> Iterator[pa.RecordBatch]:
    """The cells of one family in store order, some megabytes at a time."""
    keys, count = piece.keys, len(piece.keys)
    new_row = np.ones(count, np.bool_)
    if count > 1:
        differs = pc.not_equal(keys.slice(1), keys.slice(0, count - 1))
        new_row[1:] = differs.to_numpy(zero_copy_only=False)
    step = max(1, int(count * CHUNK_BYTES / max(1, piece.raw_bytes())))

    def chunks() -> Iterator[tuple[int, int]]:
        begin = 0
        while begin < count:
            end = min(begin + step, count)
            while end < count and not new_row[end]:
                end += 1
            yield begin, end
            begin = end

    def cells(chunk: tuple[int, int]) -> pa.RecordBatch:
        return _chunk_cells(piece.part(*chunk), new_row[slice(*chunk)], indexes, now, sequence_id)

    return (batch for batch in read_ahead(chunks(), cells) if batch.num_rows)


def _chunk_cells(
    piece: _Slice, new_row: npt.NDArray[np.bool_], indexes: Sequence[int], now: int, sequence_id: int
) -> pa.RecordBatch:
    height, width = len(piece.keys), len(indexes)
    columns = [piece.values[index] for index in indexes]
    values = pa.concat_arrays(columns)  # column after column: cell (row, column) is at column * height + row
    places: Ints = np.arange(height * width).reshape(width, height).T.ravel()
    if values.null_count:
        places = places[values.is_valid().to_numpy(zero_copy_only=False)[places]]
    stamp = now if piece.layout.timestamp is None else piece.layout.timestamp
    stamps = np.full(height, stamp, np.int64)
    if piece.stamps is not None:
        stamps = np.where(piece.stamps < 0, now, piece.stamps)
    if not new_row.all():
        places = _resolve_repeated(places, np.cumsum(new_row), stamps, height)
    rows = places % height
    qualifiers = pa.array([piece.layout.columns[index][1] for index in indexes], pa.binary())
    cells = len(places)
    return pa.RecordBatch.from_arrays(
        [
            piece.keys.take(pa.array(rows)),
            qualifiers.take(pa.array(places // height)),
            pa.array(stamps[rows]),
            pa.array(np.full(cells, PUT, np.uint8)),
            values.take(pa.array(places)),
            pa.array(np.full(cells, sequence_id, np.int64)),
            pa.nulls(cells, pa.binary()),
        ],
        schema=SCHEMA,
    )


def _resolve_repeated(places: Ints, groups: Ints, stamps: Ints, height: int) -> Ints:
    """Cells of equal row keys in store order; of one column and timestamp only the last given stays."""
    rows, columns = places % height, places // height
    group, stamp = groups[rows], stamps[rows]
    order = np.lexsort((-rows, -stamp, columns, group))
    group, columns, stamp = group[order], columns[order], stamp[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (group[1:] != group[:-1]) | (columns[1:] != columns[:-1]) | (stamp[1:] != stamp[:-1])
    kept: Ints = places[order[first]]
    return kept
