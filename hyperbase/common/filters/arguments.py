"""From the arguments of one filter in a filter string to the filter.

An argument is the bytes as written: quoted ones keep their outer quotes (doubled quotes inside are already
single), so that ``PageFilter('5')`` and ``PrefixFilter(row)`` can be told from what they should be.

Source: Apache HBase 2.6, ``createFilterFromArguments`` of each filter, ParseFilter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hyperbase.common.errors import IllegalArgumentException
from hyperbase.common.filters.base import Filter
from hyperbase.common.filters.column_filters import (
    ColumnCountGetFilter,
    ColumnPaginationFilter,
    ColumnPrefixFilter,
    ColumnRangeFilter,
    FirstKeyOnlyFilter,
    KeyOnlyFilter,
    MultipleColumnPrefixFilter,
    TimestampsFilter,
)
from hyperbase.common.filters.column_value_filters import (
    ColumnValueFilter,
    SingleColumnValueExcludeFilter,
    SingleColumnValueFilter,
)
from hyperbase.common.filters.comparators import (
    BinaryComparator,
    BinaryPrefixComparator,
    Comparator,
    RegexStringComparator,
    SubstringComparator,
)
from hyperbase.common.filters.compare_filters import (
    CompareFilter,
    DependentColumnFilter,
    FamilyFilter,
    QualifierFilter,
    RowFilter,
    ValueFilter,
)
from hyperbase.common.filters.row_filters import InclusiveStopFilter, PageFilter, PrefixFilter
from hyperbase.common.model import CompareOperator

Arguments = Sequence[bytes]
FilterFactory = Callable[[Arguments], Filter]

_MAX_INT = 2**31 - 1
_MAX_LONG = 2**63 - 1
_OPERATORS = {op.value.encode(): op for op in CompareOperator if op is not CompareOperator.NO_OP}
_COMPARATORS: dict[bytes, Callable[[bytes], Comparator]] = {
    b"binary": BinaryComparator,
    b"binaryprefix": BinaryPrefixComparator,
    b"regexstring": RegexStringComparator,
    b"substring": SubstringComparator,
}


def byte_argument(argument: bytes) -> bytes:
    """A quoted argument without its quotes."""
    if len(argument) < 2 or argument[:1] != b"'" or argument[-1:] != b"'":
        raise IllegalArgumentException(f"bytes must be in single quotes: {_show(argument)}")
    return argument[1:-1]


def long_argument(argument: bytes) -> int:
    """A bare decimal number of at most 64 bits."""
    digits = argument[1:] if argument[:1] == b"-" else argument
    if digits.strip(b"0123456789"):
        raise IllegalArgumentException(f"Byte Array should only contain digits: {_show(argument)}")
    # Length first: a number of a million digits is not worth converting.
    significant = digits.lstrip(b"0")
    if len(significant) > 19 or int(significant or b"0") > _MAX_LONG:
        raise IllegalArgumentException(f"Long Argument too large: {_show(argument[:40])}")
    number = int(significant or b"0")
    return -number if argument[:1] == b"-" else number


def int_argument(argument: bytes) -> int:
    """A bare decimal number of at most 32 bits."""
    number = long_argument(argument)
    if number > _MAX_INT:
        raise IllegalArgumentException(f"Integer Argument too large: {number}")
    if number < -_MAX_INT - 1:
        raise IllegalArgumentException(f"Integer Argument too small: {number}")
    return number


def boolean_argument(argument: bytes) -> bool:
    """Bare ``true`` or ``false``, in any case."""
    word = argument.lower()
    if word not in (b"true", b"false"):
        raise IllegalArgumentException(f"Incorrect Boolean Expression: {_show(argument)}")
    return word == b"true"


def operator_argument(argument: bytes) -> CompareOperator:
    """Bare ``<`` ``<=`` ``=`` ``!=`` ``>`` ``>=``."""
    try:
        return _OPERATORS[argument]
    except KeyError:
        raise IllegalArgumentException(
            f"Invalid compare operator: {_show(argument)}, use one of < <= = != > >="
        ) from None


def comparator_argument(argument: bytes, op: CompareOperator) -> Comparator:
    """Quoted ``type:value``, checked against the operator that goes with it."""
    kind, colon, value = byte_argument(argument).partition(b":")
    if not colon:
        raise IllegalArgumentException(f"Incorrect comparator: {_show(argument)}, write 'type:value'")
    make = _COMPARATORS.get(kind)
    if make is None:
        raise IllegalArgumentException(
            f"Incorrect comparatorType: {_show(kind)}, use binary, binaryprefix, regexstring or substring"
        )
    comparator = make(value)
    if isinstance(comparator, RegexStringComparator | SubstringComparator) and op not in (
        CompareOperator.EQUAL,
        CompareOperator.NOT_EQUAL,
    ):
        raise IllegalArgumentException(
            "A regexstring comparator and substring comparator can only be used with EQUAL and NOT_EQUAL"
        )
    return comparator


def _show(argument: bytes) -> str:
    return argument.decode("utf-8", "backslashreplace")


def _expect(arguments: Arguments, *counts: int) -> None:
    if len(arguments) not in counts:
        expected = " or ".join(map(str, counts))
        raise IllegalArgumentException(f"Expected {expected} but got: {len(arguments)}")


def _key_only(arguments: Arguments) -> Filter:
    _expect(arguments, 0, 1)
    return KeyOnlyFilter(*map(boolean_argument, arguments))


def _first_key_only(arguments: Arguments) -> Filter:
    _expect(arguments, 0)
    return FirstKeyOnlyFilter()


def _prefix(arguments: Arguments) -> Filter:
    _expect(arguments, 1)
    return PrefixFilter(byte_argument(arguments[0]))


def _column_prefix(arguments: Arguments) -> Filter:
    _expect(arguments, 1)
    return ColumnPrefixFilter(byte_argument(arguments[0]))


def _multiple_column_prefix(arguments: Arguments) -> Filter:
    return MultipleColumnPrefixFilter(map(byte_argument, arguments))


def _column_count_get(arguments: Arguments) -> Filter:
    _expect(arguments, 1)
    return ColumnCountGetFilter(int_argument(arguments[0]))


def _page(arguments: Arguments) -> Filter:
    _expect(arguments, 1)
    return PageFilter(long_argument(arguments[0]))


def _column_pagination(arguments: Arguments) -> Filter:
    _expect(arguments, 2)
    return ColumnPaginationFilter(int_argument(arguments[0]), int_argument(arguments[1]))


def _inclusive_stop(arguments: Arguments) -> Filter:
    _expect(arguments, 1)
    return InclusiveStopFilter(byte_argument(arguments[0]))


def _timestamps(arguments: Arguments) -> Filter:
    return TimestampsFilter(map(long_argument, arguments))


def _compare(kind: type[CompareFilter]) -> FilterFactory:
    def make(arguments: Arguments) -> Filter:
        _expect(arguments, 2)
        op = operator_argument(arguments[0])
        return kind(op, comparator_argument(arguments[1], op))

    return make


def _column_range(arguments: Arguments) -> Filter:
    _expect(arguments, 4)
    return ColumnRangeFilter(
        byte_argument(arguments[0]) or None,
        boolean_argument(arguments[1]),
        byte_argument(arguments[2]) or None,
        boolean_argument(arguments[3]),
    )


def _single_column_value(kind: type[SingleColumnValueFilter]) -> FilterFactory:
    def make(arguments: Arguments) -> Filter:
        _expect(arguments, 4, 6)
        family, qualifier = byte_argument(arguments[0]), byte_argument(arguments[1])
        op = operator_argument(arguments[2])
        comparator = comparator_argument(arguments[3], op)
        return kind(family, qualifier, op, comparator, *map(boolean_argument, arguments[4:]))

    return make


def _dependent_column(arguments: Arguments) -> Filter:
    _expect(arguments, 2, 3, 5)
    family, qualifier = byte_argument(arguments[0]), byte_argument(arguments[1])
    drop = len(arguments) > 2 and boolean_argument(arguments[2])
    if len(arguments) < 5:
        return DependentColumnFilter(family, qualifier, drop)
    op = operator_argument(arguments[3])
    return DependentColumnFilter(family, qualifier, drop, op, comparator_argument(arguments[4], op))


def _column_value(arguments: Arguments) -> Filter:
    _expect(arguments, 4)
    family, qualifier = byte_argument(arguments[0]), byte_argument(arguments[1])
    op = operator_argument(arguments[2])
    return ColumnValueFilter(family, qualifier, op, comparator_argument(arguments[3], op))


# In the order in which the shell's show_filters knows them.
BUILT_IN: dict[str, FilterFactory] = {
    "KeyOnlyFilter": _key_only,
    "FirstKeyOnlyFilter": _first_key_only,
    "PrefixFilter": _prefix,
    "ColumnPrefixFilter": _column_prefix,
    "MultipleColumnPrefixFilter": _multiple_column_prefix,
    "ColumnCountGetFilter": _column_count_get,
    "PageFilter": _page,
    "ColumnPaginationFilter": _column_pagination,
    "InclusiveStopFilter": _inclusive_stop,
    "TimestampsFilter": _timestamps,
    "RowFilter": _compare(RowFilter),
    "FamilyFilter": _compare(FamilyFilter),
    "QualifierFilter": _compare(QualifierFilter),
    "ValueFilter": _compare(ValueFilter),
    "ColumnRangeFilter": _column_range,
    "SingleColumnValueFilter": _single_column_value(SingleColumnValueFilter),
    "SingleColumnValueExcludeFilter": _single_column_value(SingleColumnValueExcludeFilter),
    "DependentColumnFilter": _dependent_column,
    "ColumnValueFilter": _column_value,
}
