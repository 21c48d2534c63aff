"""Filters as msgpack values: a filter string as it is, a filter object as its class's name and arguments.

Filter     := text or bytes (a filter string, parsed by the receiver) | [class name, argument, ...]
Comparator := [class name, argument, ...]
Only the classes named here are made: nothing that arrives can choose another one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hyperbase.common import filters
from hyperbase.common.errors import IllegalArgumentException
from hyperbase.common.filters import Comparator, Filter
from hyperbase.common.model import FilterLike

MAX_DEPTH = 100

# The attributes of each class that its constructor takes, in order.
_FILTERS: dict[type[Filter], tuple[str, ...]] = {
    filters.ColumnCountGetFilter: ("limit",),
    filters.ColumnPaginationFilter: ("limit", "offset"),
    filters.ColumnPrefixFilter: ("prefix",),
    filters.ColumnRangeFilter: (
        "min_column",
        "min_column_inclusive",
        "max_column",
        "max_column_inclusive",
    ),
    filters.ColumnValueFilter: ("family", "qualifier", "op", "comparator"),
    filters.DependentColumnFilter: ("family", "qualifier", "drop_dependent_column", "op", "comparator"),
    filters.FamilyFilter: ("op", "comparator"),
    filters.FirstKeyOnlyFilter: (),
    filters.FirstKeyValueMatchingQualifiersFilter: ("qualifiers",),
    filters.FuzzyRowFilter: ("fuzzy_keys",),
    filters.InclusiveStopFilter: ("stop_row",),
    filters.KeyOnlyFilter: ("length_as_value",),
    filters.MultiRowRangeFilter: ("ranges",),
    filters.MultipleColumnPrefixFilter: ("prefixes",),
    filters.PageFilter: ("page_size",),
    filters.PrefixFilter: ("prefix",),
    filters.QualifierFilter: ("op", "comparator"),
    filters.RandomRowFilter: ("chance",),
    filters.RowFilter: ("op", "comparator"),
    filters.SingleColumnValueExcludeFilter: (
        "family",
        "qualifier",
        "op",
        "comparator",
        "filter_if_missing",
        "latest_version_only",
    ),
    filters.SingleColumnValueFilter: (
        "family",
        "qualifier",
        "op",
        "comparator",
        "filter_if_missing",
        "latest_version_only",
    ),
    filters.SkipFilter: ("filter",),
    filters.TimestampsFilter: ("timestamps", "can_hint"),
    filters.ValueFilter: ("op", "comparator"),
    filters.WhileMatchFilter: ("filter",),
}
_COMPARATORS: dict[type[Comparator], tuple[str, ...]] = {
    filters.BigDecimalComparator: ("number",),
    filters.BinaryComparator: ("value",),
    filters.BinaryComponentComparator: ("value", "offset"),
    filters.BinaryPrefixComparator: ("value",),
    filters.BitComparator: ("value", "op"),
    filters.LongComparator: ("number",),
    filters.NullComparator: (),
    filters.RegexStringComparator: ("pattern", "flags", "charset"),
    filters.SubstringComparator: ("value",),
}
_FILTER_CLASSES = {cls.__name__: cls for cls in _FILTERS}
_COMPARATOR_CLASSES = {cls.__name__: cls for cls in _COMPARATORS}


def encode_filter(filter_: FilterLike) -> Any:
    """A filter for the wire.

    Raises:
        IllegalArgumentException: a class that no server knows.
        TypeError: not a filter.
    """
    if isinstance(filter_, (str, bytes)):
        return filter_
    if isinstance(filter_, (bytearray, memoryview)):
        return bytes(filter_)
    if not isinstance(filter_, Filter):
        raise TypeError(f"filter must be a Filter, str or bytes, not {type(filter_).__name__}: {filter_!r}")
    if isinstance(filter_, filters.FilterList):
        return ("FilterList", filter_.operator.name, [encode_filter(member) for member in filter_.filters])
    return _encode(filter_, _FILTERS)


def _encode(value: Any, table: dict[Any, tuple[str, ...]]) -> Any:
    names = table.get(type(value))
    if names is None:
        raise IllegalArgumentException(
            f"a {type(value).__name__} cannot be sent: servers know the filters of hyperbase.filters only. "
            "Filter what the scan returns, or open the directory in this process"
        )
    return (type(value).__name__, *(_encode_argument(getattr(value, name)) for name in names))


def _encode_argument(value: Any) -> Any:
    if isinstance(value, Filter):
        return encode_filter(value)
    if isinstance(value, Comparator):
        return _encode(value, _COMPARATORS)
    if value is None or isinstance(value, (bytes, str, bool, int, float)):
        return value
    if isinstance(value, (filters.RowRange)):
        return (
            value.start_row,
            value.start_row_inclusive,
            value.stop_row,
            value.stop_row_inclusive,
        )
    if isinstance(value, (list, tuple, frozenset)):
        return [_encode_argument(item) for item in value]
    name = getattr(value, "name", None)  # an operator
    return name if isinstance(name, str) else str(value)


def decode_filter(fields: Any) -> FilterLike:
    """What ``encode_filter`` made.

    Raises:
        IllegalArgumentException: malformed, an unknown class, or arguments it refuses.
    """
    if isinstance(fields, (str, bytes)):
        return fields
    return _decode_filter(fields, 0)


def _decode_filter(fields: Any, depth: int) -> Filter:
    if depth > MAX_DEPTH:
        raise IllegalArgumentException(f"filters are nested more than {MAX_DEPTH} deep")
    if not isinstance(fields, (tuple, list)) or not fields:
        raise IllegalArgumentException(f"malformed filter: {str(fields)[:64]}")
    if fields[0] == "FilterList":
        operator, members = fields[1:]
        decoded = [
            filters.parse_filter(m) if isinstance(m, (str, bytes)) else _decode_filter(m, depth + 1)
            for m in members
        ]
        return filters.FilterList(decoded, operator=operator)
    return _make(fields, _FILTER_CLASSES, depth)  # type: ignore[no-any-return]


def _make(fields: Sequence[Any], classes: dict[str, Any], depth: int) -> Any:
    name, *arguments = fields
    cls: Callable[..., Any] | None = classes.get(name) if isinstance(name, str) else None
    if cls is None:
        raise IllegalArgumentException(f"Filter Name {str(name)[:64]} not supported")
    try:
        return cls(*(_decode_argument(argument, depth) for argument in arguments))
    except (TypeError, ValueError, AttributeError, KeyError, OverflowError) as error:
        if isinstance(error, IllegalArgumentException):
            raise
        raise IllegalArgumentException(f"malformed {name}: {error}") from error


def _decode_argument(value: Any, depth: int) -> Any:
    if isinstance(value, tuple) and value and isinstance(value[0], str):
        if value[0] in _COMPARATOR_CLASSES:
            return _make(value, _COMPARATOR_CLASSES, depth + 1)
        if value[0] == "FilterList" or value[0] in _FILTER_CLASSES:
            return _decode_filter(value, depth + 1)
    return value
