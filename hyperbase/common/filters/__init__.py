"""Filters: which rows, columns and cells a Get or Scan returns, decided where the data is.

``parse_filter`` reads HBase's filter language; ``base`` tells in which order the engine asks a filter.
"""

from hyperbase.common.filters.arguments import FilterFactory
from hyperbase.common.filters.base import INCLUDE_CODES, Filter, Hint, ReturnCode
from hyperbase.common.filters.column_filters import (
    ColumnCountGetFilter,
    ColumnPaginationFilter,
    ColumnPrefixFilter,
    ColumnRangeFilter,
    FirstKeyOnlyFilter,
    FirstKeyValueMatchingQualifiersFilter,
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
    BigDecimalComparator,
    BinaryComparator,
    BinaryComponentComparator,
    BinaryPrefixComparator,
    BitComparator,
    BitwiseOp,
    Comparator,
    LongComparator,
    NullComparator,
    RegexStringComparator,
    SubstringComparator,
    as_comparator,
)
from hyperbase.common.filters.compare_filters import (
    CompareFilter,
    DependentColumnFilter,
    FamilyFilter,
    QualifierFilter,
    RowFilter,
    ValueFilter,
)
from hyperbase.common.filters.filter_list import FilterList, Operator
from hyperbase.common.filters.parse import (
    parse_filter,
    register_filter,
    registered_filters,
    resolve_filter,
)
from hyperbase.common.filters.row_filters import (
    InclusiveStopFilter,
    PageFilter,
    PrefixFilter,
    RandomRowFilter,
)
from hyperbase.common.filters.row_range_filters import FuzzyRowFilter, MultiRowRangeFilter, RowRange
from hyperbase.common.filters.wrapper_filters import SkipFilter, WhileMatchFilter

__all__ = [
    "INCLUDE_CODES",
    "BigDecimalComparator",
    "BinaryComparator",
    "BinaryComponentComparator",
    "BinaryPrefixComparator",
    "BitComparator",
    "BitwiseOp",
    "ColumnCountGetFilter",
    "ColumnPaginationFilter",
    "ColumnPrefixFilter",
    "ColumnRangeFilter",
    "ColumnValueFilter",
    "Comparator",
    "CompareFilter",
    "DependentColumnFilter",
    "FamilyFilter",
    "Filter",
    "FilterFactory",
    "FilterList",
    "FirstKeyOnlyFilter",
    "FirstKeyValueMatchingQualifiersFilter",
    "FuzzyRowFilter",
    "Hint",
    "InclusiveStopFilter",
    "KeyOnlyFilter",
    "LongComparator",
    "MultiRowRangeFilter",
    "MultipleColumnPrefixFilter",
    "NullComparator",
    "Operator",
    "PageFilter",
    "PrefixFilter",
    "QualifierFilter",
    "RandomRowFilter",
    "RegexStringComparator",
    "ReturnCode",
    "RowFilter",
    "RowRange",
    "SingleColumnValueExcludeFilter",
    "SingleColumnValueFilter",
    "SkipFilter",
    "SubstringComparator",
    "TimestampsFilter",
    "ValueFilter",
    "WhileMatchFilter",
    "as_comparator",
    "parse_filter",
    "register_filter",
    "registered_filters",
    "resolve_filter",
]
