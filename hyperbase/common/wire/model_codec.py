"""Queries, mutations and results as msgpack values.

Result chunk := [tables, rows]
  tables := [[b"family:qualifier", ...], ...]
  row    := [row, table, values, timestamp | timestamps, types | nil, partial]; what is nil or false at the
            end is left out
Rows := [tables, [[row, table, values], ...]] of a plain put; a value is bytes
The objects are arrays that begin with a number (below) that says what they are.

Decoding checks every type: bytes where the engine takes bytes, so that nothing but bytes gets into it.
What is malformed raises IllegalArgumentException.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from hyperbase.common.errors import IllegalArgumentException
from hyperbase.common.model import (
    Action,
    Append,
    CellType,
    CheckAndMutate,
    CompareOperator,
    Delete,
    Durability,
    FilterLike,
    Get,
    Increment,
    Mutation,
    Put,
    Query,
    Result,
    RowMutations,
    Scan,
    TimeRange,
    check_timestamp,
)

# On the wire: numbers are never reused.
PUT, DELETE, INCREMENT, APPEND, ROW_MUTATIONS, CHECK, GET = 1, 2, 3, 4, 5, 6, 7

MAX_PIECE_BYTES = 8 * 1024 * 1024  # of Results in one message; a row that is larger is cut into partial ones
_CELL_BYTES = 16  # what a cell takes in a message beside name and value: two lengths, a timestamp, a type
_BYTES = frozenset({bytes})
_INTS = frozenset({int})
_OF_FAMILIES = frozenset({CellType.DELETE_FAMILY, CellType.DELETE_FAMILY_VERSION})


# -- results ---------------------------------------------------------------------------------------------


def encode_results(results: Iterable[Result]) -> tuple[list[Any], list[Any]]:
    """A chunk of Results; rows with the same columns share a table of names."""
    tables: list[Any] = []
    known: dict[Any, int] = {}
    rows: list[Any] = []
    last_names: Any = None
    table = 0
    for result in results:
        names = result.names
        if names is not last_names:  # rows of one shape share the tuple itself
            key = names if type(names) is tuple else tuple(names)
            found = known.get(key)
            if found is None:
                found = known[key] = len(tables)
                tables.append(key)
            table, last_names = found, names
        stamps = result.timestamps
        if not isinstance(stamps, int) and stamps and stamps.count(stamps[0]) == len(stamps):
            stamps = stamps[0]
        if result.partial:
            rows.append((result.row, table, result.values, stamps, result.types, True))
        elif result.types is not None:
            rows.append((result.row, table, result.values, stamps, result.types))
        else:
            rows.append((result.row, table, result.values, stamps))
    return tables, rows


def decode_results(chunk: Any) -> list[Result]:
    """What ``encode_results`` made."""
    tables, rows = chunk
    out = []
    for row in rows:
        if len(row) == 4:
            out.append(Result(row[0], tables[row[1]], row[2], row[3]))
        else:
            types = row[4]
            out.append(Result(row[0], tables[row[1]], row[2], row[3], types, len(row) > 5 and bool(row[5])))
    return out


def encode_result(result: Result | None) -> Any:
    """One Result whose row the receiver knows; nil when it is empty."""
    if result is None or not result.names:
        return None
    if result.types is None and not result.partial:
        return result.names, result.values, result.timestamps
    return result.names, result.values, result.timestamps, result.types, result.partial


def decode_result(row: bytes, payload: Any) -> Result:
    """What ``encode_result`` made."""
    return Result(row) if payload is None else Result(row, *payload)


def message_bytes(result: Result) -> int:
    """About what a Result takes in a message."""
    return len(result.row) + _names_bytes(result.names) + sum(map(len, result.values))


def weighed(results: Iterable[Result]) -> Iterator[tuple[Result, int]]:
    """Each Result with its ``message_bytes``; rows of one shape share the tuple of names, weighed once."""
    last_names: Any = None
    names_bytes = 0
    for result in results:
        if result.names is not last_names:
            last_names = result.names
            names_bytes = _names_bytes(last_names)
        yield result, names_bytes + len(result.row) + sum(map(len, result.values))


def _names_bytes(names: Sequence[bytes]) -> int:
    return sum(map(len, names)) + _CELL_BYTES * len(names)


def result_pieces(result: Result, piece_bytes: int = MAX_PIECE_BYTES) -> list[Result]:
    """The Result, in parts (all but the last partial) when it is too large for one message."""
    values = result.values
    if len(values) < 2 or message_bytes(result) <= piece_bytes:
        return [result]
    pieces: list[Result] = []
    stamps, types = result.timestamp_list(), result.types
    begin = size = 0
    for end, (name, value) in enumerate(zip(result.names, values, strict=True)):
        weight = len(name) + len(value) + _CELL_BYTES
        if end > begin and size + weight > piece_bytes:
            pieces.append(_piece(result, stamps, types, begin, end, True))
            begin, size = end, 0
        size += weight
    pieces.append(_piece(result, stamps, types, begin, len(values), result.partial))
    return pieces


def _piece(
    result: Result, stamps: Sequence[int], types: Sequence[int] | None, begin: int, end: int, partial: bool
) -> Result:
    return Result(
        result.row,
        result.names[begin:end],
        result.values[begin:end],
        stamps[begin:end],
        None if types is None else types[begin:end],
        partial,
    )


def join_pieces(pieces: Sequence[Result]) -> Result:
    """The Result that ``result_pieces`` cut."""
    if len(pieces) == 1:
        return pieces[0]
    names: list[bytes] = []
    values: list[bytes] = []
    stamps: list[int] = []
    types: list[int] | None = None if pieces[0].types is None else []
    for piece in pieces:
        names += piece.names
        values += piece.values
        stamps += piece.timestamp_list()
        if types is not None:
            types += piece.types or ()
    return Result(pieces[0].row, names, values, stamps, types, pieces[-1].partial)


# -- plain puts ------------------------------------------------------------------------------------------


def encode_rows(rows: Sequence[tuple[bytes, Mapping[bytes, bytes]]]) -> tuple[list[Any], list[Any]]:
    """Rows of ``{b"family:qualifier": value}``; rows with the same columns in one order share a table."""
    tables: list[Any] = []
    known: dict[tuple[bytes, ...], int] = {}
    out = []
    for row, data in rows:
        names = tuple(data)
        table = known.get(names)
        if table is None:
            table = known[names] = len(tables)
            tables.append(names)
        out.append((row, table, tuple(data.values())))
    return tables, out


def check_rows(tables: Any, rows: Any) -> None:
    """Refuse plain puts that hold anything but bytes where bytes belong.

    Raises:
        IllegalArgumentException
    """
    widths = []
    for names in tables:
        if type(names) is not tuple or not _BYTES.issuperset(map(type, names)):
            raise IllegalArgumentException("malformed request: column names must be bytes")
        widths.append(len(names))
    for row, table, values in rows:
        if type(row) is not bytes or type(table) is not int or type(values) is not tuple:
            raise IllegalArgumentException("malformed request: a row is [key, table, values]")
        if not 0 <= table < len(widths) or len(values) != widths[table]:
            raise IllegalArgumentException(f"malformed request: the values of row {row[:64]!r} fit no table")
        if not _BYTES.issuperset(map(type, values)):
            raise IllegalArgumentException(f"malformed request: a value of row {row[:64]!r} is not bytes")


# -- queries ---------------------------------------------------------------------------------------------


def _encode_span(span: TimeRange | None) -> Any:
    return None if span is None else (span.min_timestamp, span.max_timestamp)


def _encode_query(query: Query) -> tuple[Any, ...]:
    spans = query.family_time_ranges
    return (
        query.columns,
        query.versions,
        _encode_span(query.time_range),
        _encode_optional_filter(query.filter),
        query.store_limit,
        query.store_offset,
        None if spans is None else [(family, _encode_span(span)) for family, span in spans.items()],
    )


def _encode_optional_filter(filter_: FilterLike | None) -> Any:
    if filter_ is None:
        return None
    from hyperbase.common.wire.filter_codec import encode_filter  # loads every filter: only when one is used

    return encode_filter(filter_)


def _decode_optional_filter(fields: Any) -> FilterLike | None:
    if fields is None:
        return None
    from hyperbase.common.wire.filter_codec import decode_filter

    return decode_filter(fields)


def _columns(specs: Any) -> list[bytes] | None:
    if specs is None:
        return None
    return [_bytes(f) if q is None else _bytes(f) + b":" + _bytes(q) for f, q in specs]


def _bytes(value: Any) -> bytes:
    if type(value) is not bytes:
        raise IllegalArgumentException(f"malformed request: {value!r} stands where bytes belong"[:200])
    return value


def _query_arguments(fields: Sequence[Any]) -> dict[str, Any]:
    columns, versions, span, filter_, limit, offset, spans = fields
    return {
        "columns": _columns(columns),
        "versions": versions,
        "time_range": span,
        "filter": _decode_optional_filter(filter_),
        "store_limit": limit,
        "store_offset": offset,
        "family_time_ranges": None if spans is None else dict(spans),
    }


def encode_get(get: Get) -> tuple[Any, ...]:
    """A Get."""
    return (GET, get.row, *_encode_query(get))


def decode_get(fields: Any) -> Get:
    """What ``encode_get`` made."""
    _expect(fields, GET)
    return Get(_bytes(fields[1]), **_query_arguments(fields[2:]))


def encode_scan(scan: Scan) -> tuple[Any, ...]:
    """A Scan."""
    return (
        (scan.start, scan.stop, scan.start_inclusive, scan.stop_inclusive, scan.reverse),
        (scan.limit, scan.batch, scan.raw, scan.cache_blocks, scan.max_result_bytes),
        _encode_query(scan),
    )


def decode_scan(fields: Any) -> Scan:
    """What ``encode_scan`` made."""
    (start, stop, start_inclusive, stop_inclusive, reverse), options, query = fields
    limit, batch, raw, cache_blocks, max_result_bytes = options
    return Scan(
        _bytes(start),
        _bytes(stop),
        bool(start_inclusive),
        bool(stop_inclusive),
        reverse=bool(reverse),
        limit=limit,
        batch=batch,
        raw=bool(raw),
        cache_blocks=bool(cache_blocks),
        max_result_bytes=max_result_bytes,
        **_query_arguments(query),
    )


# -- mutations -------------------------------------------------------------------------------------------


def encode_action(action: Action | Mutation) -> tuple[Any, ...]:
    """A Put, Delete, Increment, Append, RowMutations, CheckAndMutate or Get."""
    encoder = _ENCODERS.get(type(action))
    if encoder is None:  # a subclass
        encoder = next((e for kind, e in _ENCODERS.items() if isinstance(action, kind)), None)
    if encoder is None:
        raise TypeError(f"not a mutation: {action!r}")
    return encoder(action)


def decode_action(fields: Any) -> Action:
    """What ``encode_action`` made.

    Raises:
        IllegalArgumentException: malformed, or refused by the object itself.
    """
    try:
        return _DECODERS[fields[0]](fields)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        if isinstance(error, IllegalArgumentException):
            raise
        raise IllegalArgumentException(f"malformed request: {type(error).__name__}: {error}") from error


def _encode_put(put: Put) -> tuple[Any, ...]:
    return PUT, put.row, put.ttl_ms, int(put.durability), put.cells


def _encode_delete(delete: Delete) -> tuple[Any, ...]:
    markers = [(family, qualifier, stamp, int(kind)) for family, qualifier, stamp, kind in delete.markers]
    return DELETE, delete.row, delete.timestamp, int(delete.durability), markers


def _encode_increment(step: Increment) -> tuple[Any, ...]:
    span = _encode_span(step.time_range)
    return INCREMENT, step.row, step.ttl_ms, int(step.durability), span, step.amounts


def _encode_append(step: Append) -> tuple[Any, ...]:
    span = _encode_span(step.time_range)
    return APPEND, step.row, step.ttl_ms, int(step.durability), span, step.return_results, step.cells


def _encode_row_mutations(mutations: RowMutations) -> tuple[Any, ...]:
    return ROW_MUTATIONS, mutations.row, [encode_action(step) for step in mutations.mutations]


def _encode_check(check: CheckAndMutate) -> tuple[Any, ...]:
    return (
        CHECK,
        check.row,
        check.column,
        None if check.op is None else check.op.name,
        check.value,
        _encode_optional_filter(check.filter),
        _encode_span(check.time),
        None if check.action is None else encode_action(check.action),
    )


_ENCODERS: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    Put: _encode_put,
    Delete: _encode_delete,
    Increment: _encode_increment,
    Append: _encode_append,
    RowMutations: _encode_row_mutations,
    CheckAndMutate: _encode_check,
    Get: encode_get,
}


def _expect(fields: Any, kind: int) -> None:
    if not isinstance(fields, tuple) or not fields or fields[0] != kind:
        raise IllegalArgumentException(f"malformed request: {str(fields)[:64]} is not of kind {kind}")


def _decode_put(fields: Any) -> Put:
    _, row, ttl_ms, durability, cells = fields
    put = Put(_bytes(row), None, ttl_ms, Durability(durability))
    for family, qualifier, stamp, value in cells:
        put.cells.append((_family(family), _bytes(qualifier), check_timestamp(stamp), _bytes(value)))
    return put


def _family(family: Any) -> bytes:
    if not _bytes(family) or b":" in family:
        raise IllegalArgumentException(f"malformed request: {family[:64]!r} is no family")
    return _bytes(family)


def _decode_delete(fields: Any) -> Delete:
    _, row, timestamp, durability, markers = fields
    delete = Delete(_bytes(row), timestamp, Durability(durability))
    for family, qualifier, stamp, kind in markers:
        if kind == CellType.PUT:
            raise IllegalArgumentException("malformed request: a Delete with a put in it")
        if kind in _OF_FAMILIES and qualifier != b"":  # no file takes it, and the flush would fail for ever
            raise IllegalArgumentException("malformed request: a delete of a family has no qualifier")
        marker = (_family(family), _bytes(qualifier), check_timestamp(stamp), CellType(kind))
        delete.markers.append(marker)
    return delete


def _decode_increment(fields: Any) -> Increment:
    _, row, ttl_ms, durability, span, amounts = fields
    increment = Increment(_bytes(row), None, span, ttl_ms, Durability(durability))
    for family, qualifier, amount in amounts:
        increment.add(_family(family) + b":" + _bytes(qualifier), amount)
    return increment


def _decode_append(fields: Any) -> Append:
    _, row, ttl_ms, durability, span, return_results, cells = fields
    append = Append(_bytes(row), None, span, ttl_ms, Durability(durability), bool(return_results))
    for family, qualifier, value in cells:
        append.cells.append((_family(family), _bytes(qualifier), _bytes(value)))
    return append


def _decode_row_mutations(fields: Any) -> RowMutations:
    _, row, steps = fields
    mutations = RowMutations(_bytes(row))
    for step in steps:
        decoded = decode_action(step)
        if not isinstance(decoded, Mutation):
            raise IllegalArgumentException("malformed request: RowMutations holds something else")
        mutations.add(decoded)
    return mutations


def _decode_check(fields: Any) -> CheckAndMutate:
    _, row, column, op, value, filter_, span, action = fields
    check = CheckAndMutate(_bytes(row))
    if column is not None:
        check.if_matches(
            _family(column[0]) + b":" + _bytes(column[1]),
            CompareOperator[op],
            None if value is None else _bytes(value),
        )
    condition = _decode_optional_filter(filter_)
    if condition is not None:
        check.if_filter(condition)
    check.time = TimeRange.of(span)
    if action is not None:
        decoded = decode_action(action)
        if not isinstance(decoded, (Mutation, RowMutations)):
            raise IllegalArgumentException("malformed request: a check followed by something else")
        check.then(decoded)
    return check


_DECODERS: dict[int, Callable[[Any], Action]] = {
    PUT: _decode_put,
    DELETE: _decode_delete,
    INCREMENT: _decode_increment,
    APPEND: _decode_append,
    ROW_MUTATIONS: _decode_row_mutations,
    CHECK: _decode_check,
    GET: decode_get,
}
