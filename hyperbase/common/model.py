"""The data model: cells, mutations, queries and results, as plain values every layer hands to the next.

A cell is (row, family, qualifier, timestamp, type, value). Cells sort by row, family and qualifier
ascending (unsigned bytes), then timestamp, type and sequence id descending, so a delete marker comes
before the puts of its own timestamp and the later of two equal writes comes first.

Columns are written ``b"family:qualifier"``; the first ``:`` separates, the qualifier may hold more of
them and may be empty. ``b"family"`` without a colon means the whole family where a query or delete
takes one. Timestamps are milliseconds since the epoch, ``0 <= timestamp < 2**63``.

Source: Apache HBase's data model (KeyValue, Put, Delete, Get, Scan, CheckAndMutate).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from hyperbase.common.argument_checks import check_integer, check_items, check_mapping
from hyperbase.common.errors import (
    IllegalArgumentException,
    IllegalStateException,
    WrongRowIOException,
    WrongTypeException,
    shown,
)

if TYPE_CHECKING:
    from hyperbase.common.filters import Filter

MAX_ROW_LENGTH = 65_536
MAX_TIMESTAMP = 2**63 - 1
ALL_VERSIONS = 2**31 - 1

Column = Union[bytes, str]
FilterLike = Union["Filter", str, bytes]


class CellType(enum.IntEnum):
    """What a cell does. Persisted: numbers are never reused (they are HBase's type codes)."""

    PUT = 4
    DELETE = 8  # masks exactly its own timestamp of one column
    DELETE_FAMILY_VERSION = 10  # masks its own timestamp in every column of the family
    DELETE_COLUMN = 12  # masks every version of one column up to its timestamp
    DELETE_FAMILY = 14  # masks every cell of the family up to its timestamp


class Durability(enum.IntEnum):
    """What an acknowledgement waits for. Persisted in table descriptors: numbers are never reused."""

    USE_DEFAULT = 0
    SKIP_WAL = 1  # in memory only until a flush
    ASYNC_WAL = 2  # in the log's buffer; synced soon
    SYNC_WAL = 3  # on disk (this store always fsyncs, HBase only hflushes)
    FSYNC_WAL = 4

    @classmethod
    def of(cls, value: object) -> Durability:
        """The durability itself or its number.

        Raises:
            IllegalArgumentException: neither of them.
        """
        try:
            return cls(value)  # type: ignore[arg-type]  # anything else is refused by it
        except ValueError:
            known = ", ".join(cls.__members__)
            raise IllegalArgumentException(f"durability must be one of {known}, not {shown(value)}") from None


class CompareOperator(enum.Enum):
    """How two values are compared. In filters STORED op GIVEN, in check-and-mutate GIVEN op STORED."""

    LESS = "<"
    LESS_OR_EQUAL = "<="
    EQUAL = "="
    NOT_EQUAL = "!="
    GREATER_OR_EQUAL = ">="
    GREATER = ">"
    NO_OP = "no-op"

    @classmethod
    def parse(cls, op: CompareOperator | str) -> CompareOperator:
        """Accept the operator itself, its symbol (``"=="`` too) or its HBase name (``"LESS"``)."""
        if isinstance(op, CompareOperator):
            return op
        for member in cls if isinstance(op, str) else ():
            if op in (member.value, member.name) or (op == "==" and member is cls.EQUAL):
                return member
        raise IllegalArgumentException(f"unknown compare operator {shown(op)}: use one of < <= = != >= >")


@dataclass(frozen=True, slots=True)
class Cell:
    """One version of one column of one row: the unit every layer hands to the next."""

    row: bytes
    family: bytes
    qualifier: bytes  # may be empty
    timestamp: int  # ms since the epoch
    type: CellType = CellType.PUT
    value: bytes = b""
    sequence_id: int = 0  # breaks ties: the later write sorts first

    @property
    def column(self) -> bytes:
        """``family:qualifier``."""
        return self.family + b":" + self.qualifier

    def sort_key(self) -> tuple[bytes, bytes, bytes, int, int, int]:
        """Order columns ascending and, inside one, newest first, deletes before puts."""
        return self.row, self.family, self.qualifier, -self.timestamp, -self.type, -self.sequence_id


class KeyValue(NamedTuple):
    """A cell as filters see it inside the engine: the fields of ``Cell`` at the price of a tuple."""

    row: bytes
    family: bytes
    qualifier: bytes
    timestamp: int
    type: int
    value: bytes
    sequence_id: int = 0


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Timestamps ``min_timestamp <= t < max_timestamp``."""

    min_timestamp: int = 0
    max_timestamp: int = MAX_TIMESTAMP

    def __post_init__(self) -> None:
        for bound in (self.min_timestamp, self.max_timestamp):
            if isinstance(bound, bool) or not isinstance(bound, int):
                raise WrongTypeException(f"a bound of a time range must be an integer, not {shown(bound)}")
            if abs(bound) > MAX_TIMESTAMP:
                raise IllegalArgumentException(f"Timestamp {shown(bound)} does not fit 64 bits")
        if self.min_timestamp < 0 or self.max_timestamp < 0:
            raise IllegalArgumentException(
                f"Timestamp cannot be negative. minStamp:{self.min_timestamp}, maxStamp:{self.max_timestamp}"
            )
        if self.max_timestamp < self.min_timestamp:
            raise IllegalArgumentException(
                f"maxStamp is smaller than minStamp: {self.max_timestamp} < {self.min_timestamp}"
            )

    @classmethod
    def of(cls, value: TimeRange | tuple[int, int] | None) -> TimeRange | None:
        """Accept a ``TimeRange``, a pair ``(min, max)`` or ``None``."""
        if value is None or isinstance(value, TimeRange):
            return value
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise WrongTypeException(f"a time range is a TimeRange or a pair (min, max), not {shown(value)}")
        return cls(*value)

    @classmethod
    def at(cls, timestamp: int) -> TimeRange:
        """Exactly one timestamp."""
        return cls(timestamp, min(timestamp + 1, MAX_TIMESTAMP))


def to_bytes(value: bytes | str, what: str = "value") -> bytes:
    """Bytes as they are, text as UTF-8; anything else is refused by name."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return value.encode("utf-8")
        except UnicodeEncodeError:  # a lone surrogate
            raise IllegalArgumentException(f"{what} is no text that UTF-8 knows: {shown(value)}") from None
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    raise WrongTypeException(f"{what} must be bytes or str, not {type(value).__name__}: {shown(value)}")


def check_row(row: bytes | str) -> bytes:
    """The row key as bytes; 1 to 65,536 bytes long."""
    row = to_bytes(row, "row")
    if not row:
        raise IllegalArgumentException("Row length is 0: a row key has at least one byte")
    if len(row) > MAX_ROW_LENGTH:
        raise IllegalArgumentException(f"Row length {len(row)} is > {MAX_ROW_LENGTH}")
    return row


def check_timestamp(timestamp: int | None) -> int | None:
    """``None`` (assigned on arrival) or an integer ``0 <= t < 2**63``."""
    if timestamp is None:
        return None
    if isinstance(timestamp, bool) or not isinstance(timestamp, int):
        raise WrongTypeException(f"timestamp must be an integer of milliseconds, not {shown(timestamp)}")
    if timestamp < 0:
        raise IllegalArgumentException(f"Timestamp cannot be negative. ts={shown(timestamp)}")
    if timestamp > MAX_TIMESTAMP:
        raise IllegalArgumentException(f"Timestamp {shown(timestamp)} is > {MAX_TIMESTAMP}")
    return None if timestamp == MAX_TIMESTAMP else timestamp


@lru_cache(maxsize=65_536)
def split_column(column: bytes) -> tuple[bytes, bytes | None]:
    """``b"f:q"`` → ``(b"f", b"q")``; ``b"f"`` → ``(b"f", None)``: the whole family."""
    family, colon, qualifier = column.partition(b":")
    return family, qualifier if colon else None


def parse_column(column: Column) -> tuple[bytes, bytes | None]:
    """As ``split_column``, text accepted, an empty family refused."""
    family, qualifier = split_column(to_bytes(column, "column"))
    if not family:
        raise IllegalArgumentException(f"column {shown(column)} has no family: write family:qualifier")
    return family, qualifier


def _one_column(column: Column) -> tuple[bytes, bytes]:
    family, qualifier = parse_column(column)
    return family, b"" if qualifier is None else qualifier


class Mutation:
    """What Put, Delete, Increment, Append share: one row, a default timestamp, a durability."""

    __slots__ = ("durability", "row", "timestamp", "ttl_ms")

    def __init__(
        self,
        row: bytes | str,
        timestamp: int | None = None,
        ttl_ms: int | None = None,
        durability: Durability | None = None,
    ) -> None:
        self.row = check_row(row)
        self.timestamp = check_timestamp(timestamp)
        if ttl_ms is not None and (isinstance(ttl_ms, bool) or not isinstance(ttl_ms, int) or ttl_ms <= 0):
            raise IllegalArgumentException(
                f"ttl_ms must be a positive number of milliseconds, not {shown(ttl_ms)}"
            )
        if ttl_ms is not None and ttl_ms >= 2**63:  # 8 bytes in the log and in the files
            raise IllegalArgumentException(f"ttl_ms {shown(ttl_ms)} does not fit a signed 64-bit number")
        self.ttl_ms = ttl_ms
        self.durability = Durability.USE_DEFAULT if durability is None else Durability.of(durability)


class Put(Mutation):
    """Cells to write to one row, all or none of them.

    ``cells`` holds ``(family, qualifier, timestamp | None, value)``; ``None`` is the store's clock.
    """

    __slots__ = ("cells",)

    def __init__(
        self,
        row: bytes | str,
        timestamp: int | None = None,
        ttl_ms: int | None = None,
        durability: Durability | None = None,
    ) -> None:
        super().__init__(row, timestamp, ttl_ms, durability)
        self.cells: list[tuple[bytes, bytes, int | None, bytes]] = []

    def add(self, column: Column, value: bytes | str | None, timestamp: int | None = None) -> Put:
        """Add one cell; a ``None`` value is stored as empty bytes. Returns the Put for chaining."""
        family, qualifier = _one_column(column)
        stamp = self.timestamp if timestamp is None else check_timestamp(timestamp)
        self.cells.append((family, qualifier, stamp, b"" if value is None else to_bytes(value)))
        return self

    def __repr__(self) -> str:
        return f"Put({self.row!r}, {len(self.cells)} cells)"


class Delete(Mutation):
    """Delete markers for one row; with nothing added, the whole row.

    ``markers`` holds ``(family, qualifier, timestamp | None, CellType)``. A ``DELETE`` marker without a
    timestamp masks the newest version that exists when it is applied.
    """

    __slots__ = ("markers",)

    def __init__(
        self, row: bytes | str, timestamp: int | None = None, durability: Durability | None = None
    ) -> None:
        super().__init__(row, timestamp, None, durability)
        self.markers: list[tuple[bytes, bytes, int | None, CellType]] = []

    def _add(self, family: bytes, qualifier: bytes, timestamp: int | None, kind: CellType) -> Delete:
        stamp = self.timestamp if timestamp is None else check_timestamp(timestamp)
        self.markers.append((family, qualifier, stamp, kind))
        return self

    def add_column(self, column: Column, timestamp: int | None = None) -> Delete:
        """One version: exactly ``timestamp``, or the newest that exists. Repeats remove one more each."""
        return self._add(*_one_column(column), timestamp, CellType.DELETE)

    def add_columns(self, column: Column, timestamp: int | None = None) -> Delete:
        """Every version of the column up to ``timestamp`` (default: now)."""
        return self._add(*_one_column(column), timestamp, CellType.DELETE_COLUMN)

    def add_family(self, family: Column, timestamp: int | None = None) -> Delete:
        """Every cell of the family up to ``timestamp`` (default: now)."""
        return self._add(_family_name(family), b"", timestamp, CellType.DELETE_FAMILY)

    def add_family_version(self, family: Column, timestamp: int) -> Delete:
        """Every column's cell of exactly ``timestamp``."""
        return self._add(_family_name(family), b"", timestamp, CellType.DELETE_FAMILY_VERSION)

    @property
    def needs_read(self) -> bool:
        """Some marker masks the newest version there is, whichever that is."""
        return any(kind == CellType.DELETE and stamp is None for _, _, stamp, kind in self.markers)

    def __repr__(self) -> str:
        return f"Delete({self.row!r}, {len(self.markers) or 'whole row'})"


def _family_name(family: Column) -> bytes:
    name, qualifier = parse_column(family)
    if qualifier:
        raise IllegalArgumentException(f"{shown(family)} names a column where a family is wanted")
    return name


class Increment(Mutation):
    """Amounts to add to 8-byte big-endian counters of one row. ``amounts``: ``(family, qualifier, int)``."""

    __slots__ = ("amounts", "time_range")

    def __init__(
        self,
        row: bytes | str,
        amounts: Mapping[Column, int] | None = None,
        time_range: TimeRange | tuple[int, int] | None = None,
        ttl_ms: int | None = None,
        durability: Durability | None = None,
    ) -> None:
        super().__init__(row, None, ttl_ms, durability)
        self.time_range = TimeRange.of(time_range)
        self.amounts: list[tuple[bytes, bytes, int]] = []
        for column, amount in () if amounts is None else check_mapping(amounts, "amounts").items():
            self.add(column, amount)

    def add(self, column: Column, amount: int = 1) -> Increment:
        """Add ``amount`` (a signed 64-bit integer) to the column's counter."""
        if isinstance(amount, bool) or not isinstance(amount, int):
            raise WrongTypeException(f"amount must be an integer, not {shown(amount)}")
        if not -(2**63) <= amount < 2**63:
            raise IllegalArgumentException(f"amount {shown(amount)} does not fit a signed 64-bit counter")
        self.amounts.append((*_one_column(column), amount))
        return self


class Append(Mutation):
    """Bytes to append to the newest values of one row. ``cells``: ``(family, qualifier, bytes)``."""

    __slots__ = ("cells", "return_results", "time_range")

    def __init__(
        self,
        row: bytes | str,
        values: Mapping[Column, bytes | str] | None = None,
        time_range: TimeRange | tuple[int, int] | None = None,
        ttl_ms: int | None = None,
        durability: Durability | None = None,
        return_results: bool = True,
    ) -> None:
        super().__init__(row, None, ttl_ms, durability)
        self.time_range = TimeRange.of(time_range)
        self.return_results = return_results
        self.cells: list[tuple[bytes, bytes, bytes]] = []
        for column, value in () if values is None else check_mapping(values, "values").items():
            self.add(column, value)

    def add(self, column: Column, value: bytes | str) -> Append:
        """Append ``value`` to the column; a missing column starts empty."""
        self.cells.append((*_one_column(column), to_bytes(value)))
        return self


class RowMutations:
    """Mutations of one row, applied atomically and in order."""

    __slots__ = ("mutations", "row")

    def __init__(self, row: bytes | str, mutations: Iterable[Mutation] = ()) -> None:
        self.row = check_row(row)
        self.mutations: list[Mutation] = []
        for mutation in check_items(mutations, "mutations"):
            self.add(mutation)

    def add(self, mutation: Mutation) -> RowMutations:
        """Add a Put, Delete, Increment or Append of the same row."""
        if not isinstance(mutation, Mutation):
            raise WrongTypeException(
                f"RowMutations takes Put, Delete, Increment or Append, not {shown(mutation)}"
            )
        if mutation.row != self.row:
            raise WrongRowIOException(
                f"The row in the recently added Mutation {shown(mutation.row)} doesn't match "
                f"the original one {shown(self.row)}"
            )
        self.mutations.append(mutation)
        return self


class CheckAndMutate:
    """One condition on one row and what to do when it holds.

    A comparison evaluates GIVEN op STORED. An absent cell satisfies only ``if_not_exists`` (as does an
    empty value). A filter condition holds when it lets any cell of the row through.
    """

    __slots__ = ("action", "column", "filter", "op", "row", "time", "value")

    def __init__(self, row: bytes | str) -> None:
        self.row = check_row(row)
        self.column: tuple[bytes, bytes] | None = None
        self.op: CompareOperator | None = None
        self.value: bytes | None = None  # None or b"": the not-exists check
        self.filter: FilterLike | None = None
        self.time: TimeRange | None = None
        self.action: Mutation | RowMutations | None = None

    def if_equals(self, column: Column, value: bytes | str | None) -> CheckAndMutate:
        """Newest value equals ``value``; an empty or ``None`` value means the same as ``if_not_exists``."""
        return self.if_matches(column, CompareOperator.EQUAL, value)

    def if_not_exists(self, column: Column) -> CheckAndMutate:
        """No cell, or one with an empty value."""
        return self.if_matches(column, CompareOperator.EQUAL, None)

    def if_matches(
        self, column: Column, op: CompareOperator | str, value: bytes | str | None
    ) -> CheckAndMutate:
        """``value op stored`` (mind the direction: GIVEN first)."""
        self.column = _one_column(column)
        self.op = CompareOperator.parse(op)
        self.value = None if value is None else to_bytes(value)
        return self

    def if_filter(self, filter: FilterLike) -> CheckAndMutate:
        """The filter lets at least one cell of the row through."""
        self.filter = filter
        return self

    def time_range(self, min_timestamp: int, max_timestamp: int) -> CheckAndMutate:
        """Only cells with ``min_timestamp <= t < max_timestamp`` are looked at."""
        self.time = TimeRange(min_timestamp, max_timestamp)
        return self

    def then(self, action: Mutation | RowMutations) -> CheckAndMutate:
        """What to apply when the condition holds. Completes the object."""
        if self.column is None and self.filter is None:
            raise IllegalStateException(
                "condition is null. You need to specify the condition by if_equals, if_not_exists, "
                "if_matches or if_filter before then()"
            )
        if not isinstance(action, (Mutation, RowMutations)):
            raise WrongTypeException(
                f"then() takes Put, Delete, Increment, Append or RowMutations, not {shown(action)}"
            )
        if action.row != self.row:
            raise IllegalArgumentException(
                f"The row of the action {shown(action.row)} doesn't match the original one {shown(self.row)}"
            )
        self.action = action
        return self


ColumnSpec = tuple[bytes, "bytes | None"]  # qualifier None: the whole family


def parse_columns(columns: Iterable[Column] | None) -> tuple[ColumnSpec, ...] | None:
    """Columns as ``(family, qualifier | None)``; ``None`` or nothing at all means every column."""
    if columns is None:
        return None
    if isinstance(columns, (bytes, str)):
        raise WrongTypeException(
            f"columns must be a list of columns, not {shown(columns)}: write [{shown(columns)}]"
        )
    return tuple(parse_column(column) for column in check_items(columns, "columns")) or None


def _check_integers(**numbers: int | None) -> None:
    for name, number in numbers.items():
        if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
            raise WrongTypeException(f"{name} must be an integer, not {shown(number)}")
        if number is not None and abs(number) > MAX_TIMESTAMP:
            raise IllegalArgumentException(f"{name} {shown(number)} does not fit 64 bits")


def _time_range(span: TimeRange | tuple[int, int]) -> TimeRange:
    parsed = TimeRange.of(span)
    if parsed is None:
        raise WrongTypeException("a time range is a TimeRange or a pair (min, max), not None")
    return parsed


class Query:
    """What Get and Scan share."""

    __slots__ = (
        "columns",
        "family_time_ranges",
        "filter",
        "store_limit",
        "store_offset",
        "time_range",
        "versions",
    )

    def __init__(
        self,
        columns: Iterable[Column] | None,
        versions: int | str,
        time_range: TimeRange | tuple[int, int] | None,
        timestamp: int | None,
        filter: FilterLike | None,
        store_limit: int | None,
        store_offset: int,
        family_time_ranges: Mapping[Column, TimeRange | tuple[int, int]] | None,
    ) -> None:
        self.columns = parse_columns(columns)
        if isinstance(versions, str) and versions == "all":
            versions = ALL_VERSIONS
        if isinstance(versions, bool) or not isinstance(versions, int):
            raise WrongTypeException(f'versions must be an integer or "all", not {shown(versions)}')
        self.versions = min(max(versions, -1), ALL_VERSIONS)
        if timestamp is not None:
            if time_range is not None:
                raise IllegalArgumentException("give either timestamp or time_range, not both")
            stamp = check_timestamp(timestamp)
            self.time_range: TimeRange | None = TimeRange.at(MAX_TIMESTAMP if stamp is None else stamp)
        else:
            self.time_range = TimeRange.of(time_range)
        self.filter = filter
        _check_integers(store_limit=store_limit)
        check_integer(store_offset, "store_offset", 0)
        self.store_limit = None if store_limit is None or store_limit < 0 else store_limit
        self.store_offset = store_offset
        self.family_time_ranges: dict[bytes, TimeRange] | None = None
        if family_time_ranges is not None:
            spans = check_mapping(family_time_ranges, "family_time_ranges")
            self.family_time_ranges = {
                _family_name(family): _time_range(span) for family, span in spans.items()
            } or None


class Get(Query):
    """Read one row. ``versions`` is a positive number or ``"all"``; a missing row is an empty Result."""

    __slots__ = ("row",)

    def __init__(
        self,
        row: bytes | str,
        columns: Iterable[Column] | None = None,
        versions: int | str = 1,
        time_range: TimeRange | tuple[int, int] | None = None,
        timestamp: int | None = None,
        filter: FilterLike | None = None,
        store_limit: int | None = None,
        store_offset: int = 0,
        family_time_ranges: Mapping[Column, TimeRange | tuple[int, int]] | None = None,
    ) -> None:
        self.row = check_row(row)
        super().__init__(
            columns, versions, time_range, timestamp, filter, store_limit, store_offset, family_time_ranges
        )
        if self.versions <= 0:
            raise IllegalArgumentException(f"versions must be positive, not {shown(versions)}")


class Scan(Query):
    """Read rows from ``start`` to ``stop``; ``b""`` is no bound. Reversed, ``start`` is the higher key.

    Args:
        prefix: rows with this prefix; replaces ``start`` and ``stop``.
        limit: rows, not cells. batch: most cells of one Result; longer rows come in several.
        raw: delete markers and masked cells too; takes no columns with a qualifier.
        arrow_batch_bytes etc. belong to ``Table.scan_arrow``.
    """

    __slots__ = (
        "batch",
        "cache_blocks",
        "limit",
        "max_result_bytes",
        "raw",
        "reverse",
        "start",
        "start_inclusive",
        "stop",
        "stop_inclusive",
    )

    def __init__(
        self,
        start: bytes | str = b"",
        stop: bytes | str = b"",
        start_inclusive: bool = True,
        stop_inclusive: bool = False,
        prefix: bytes | str | None = None,
        reverse: bool = False,
        limit: int | None = None,
        batch: int | None = None,
        raw: bool = False,
        columns: Iterable[Column] | None = None,
        versions: int | str = 1,
        time_range: TimeRange | tuple[int, int] | None = None,
        timestamp: int | None = None,
        filter: FilterLike | None = None,
        store_limit: int | None = None,
        store_offset: int = 0,
        family_time_ranges: Mapping[Column, TimeRange | tuple[int, int]] | None = None,
        cache_blocks: bool = True,
        max_result_bytes: int = 2 * 1024 * 1024,
    ) -> None:
        super().__init__(
            columns, versions, time_range, timestamp, filter, store_limit, store_offset, family_time_ranges
        )
        self.start = to_bytes(start, "start row")
        self.stop = to_bytes(stop, "stop row")
        self.start_inclusive = start_inclusive
        self.stop_inclusive = stop_inclusive
        self.reverse = reverse
        if prefix is not None:
            low = to_bytes(prefix, "prefix")
            high = prefix_stop(low)
            self.start, self.stop = (high, low) if reverse else (low, high)
            self.start_inclusive, self.stop_inclusive = (False, True) if reverse else (True, False)
        _check_integers(limit=limit, batch=batch)
        if limit is not None and limit < 0:
            raise IllegalArgumentException(f"limit must not be negative: {limit}")
        self.limit = limit
        if batch is not None and batch <= 0:
            raise IllegalArgumentException(f"batch must be positive: {batch}")
        self.batch = batch
        self.raw = raw
        self.cache_blocks = cache_blocks
        self.max_result_bytes = check_integer(max_result_bytes, "max_result_bytes", 1)


def prefix_stop(prefix: bytes) -> bytes:
    """The smallest key after every key with ``prefix``; ``b""`` (no bound) when there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else b""


_PUT_TYPE = int(CellType.PUT)


class Result:
    """The cells of one row that a Get or Scan returned, in cell order, held column by column.

    ``names[i]`` is ``family:qualifier`` of cell ``i``, ``values[i]`` its value; ``timestamps`` is one
    integer when all cells share it, else a sequence. ``types`` is ``None`` when every cell is a put
    (always, but for raw scans). ``partial`` says that more cells of the row follow in the next Result.
    An empty Result is false.
    """

    __slots__ = ("names", "partial", "row", "timestamps", "types", "values")

    def __init__(
        self,
        row: bytes,
        names: Sequence[bytes] = (),
        values: Sequence[bytes] = (),
        timestamps: int | Sequence[int] = 0,
        types: Sequence[int] | None = None,
        partial: bool = False,
    ) -> None:
        self.row = row
        self.names = names
        self.values = values
        self.timestamps = timestamps
        self.types = types
        self.partial = partial

    def __bool__(self) -> bool:
        return bool(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def timestamp_list(self) -> Sequence[int]:
        """One timestamp for every cell."""
        stamps = self.timestamps
        return [stamps] * len(self.names) if isinstance(stamps, int) else stamps

    @property
    def cells(self) -> list[Cell]:
        """The cells as objects, in cell order."""
        row = self.row
        types: Iterable[int] = self.types or [_PUT_TYPE] * len(self.names)
        cells = []
        for name, stamp, kind, value in zip(
            self.names, self.timestamp_list(), types, self.values, strict=True
        ):
            family, qualifier = split_column(name)
            cells.append(Cell(row, family, qualifier or b"", stamp, CellType(kind), value))
        return cells

    def value(self, column: Column) -> bytes | None:
        """The newest value of ``family:qualifier`` in this Result, or ``None``."""
        family, qualifier = _one_column(column)
        name = family + b":" + qualifier
        for index, other in enumerate(self.names):
            if other == name:
                return self.values[index]
        return None

    def to_dict(self) -> dict[bytes, bytes]:
        """``{column: newest value}``."""
        if len(self.names) == 1:
            return {self.names[0]: self.values[0]}
        out = dict(zip(self.names, self.values))
        if len(out) != len(self.names):  # several versions of a column: the first is the newest
            out = dict(zip(reversed(self.names), reversed(self.values), strict=True))
            return {name: out[name] for name in dict.fromkeys(self.names)}
        return out

    def to_dict_with_timestamps(self) -> dict[bytes, tuple[bytes, int]]:
        """``{column: (newest value, timestamp)}``."""
        out: dict[bytes, tuple[bytes, int]] = {}
        for name, value, stamp in zip(self.names, self.values, self.timestamp_list(), strict=True):
            out.setdefault(name, (value, stamp))
        return out

    def to_versions(self, include_timestamp: bool = False) -> dict[bytes, list[Any]]:
        """``{column: [value | (value, timestamp), newest first]}``."""
        out: dict[bytes, list[Any]] = {}
        for name, value, stamp in zip(self.names, self.values, self.timestamp_list(), strict=True):
            out.setdefault(name, []).append((value, stamp) if include_timestamp else value)
        return out

    def __iter__(self) -> Iterator[Cell]:
        return iter(self.cells)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Result) and self.row == other.row and self.cells == other.cells

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Result({self.row!r}, {len(self.names)} cells{', partial' if self.partial else ''})"


Action = Union[Put, Delete, Increment, Append, Get, RowMutations, CheckAndMutate]
