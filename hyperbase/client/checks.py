"""What a caller hands in becomes the bytes a backend takes: fast for bytes, converted for anything else.

Columns that passed the check once are remembered, so a row of ten known columns is checked by two loops
in C and costs well under a microsecond. The memory is bounded: it is emptied when it is full.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

from hyperbase.common.argument_checks import check_items
from hyperbase.common.errors import IllegalArgumentException, WrongTypeException, shown
from hyperbase.common.model import (
    ColumnSpec,
    Durability,
    TimeRange,
    check_timestamp,
    parse_column,
    split_column,
    to_bytes,
)

_KNOWN_LIMIT = 65_536
_KNOWN_NAME_BYTES = 256  # longer names are not worth remembering
_known_columns: set[bytes] = set()
_BYTES_ONLY = frozenset({bytes})


def row_data(data: Mapping[Any, Any]) -> dict[bytes, bytes]:
    """A copy of ``{column: value}`` in bytes, every column with a family and a colon.

    Text becomes UTF-8 and ``None`` an empty value, as HBase stores them.

    Raises:
        TypeError: not a mapping, or a column or value that is neither bytes nor text.
        IllegalArgumentException: a column without a family or without ``:``.
    """
    # Being known implies bytes, a family and a colon. Set operations loop in C.
    if (
        type(data) is dict
        and data.keys() <= _known_columns
        and _BYTES_ONLY.issuperset(map(type, data.values()))
    ):
        return data.copy()
    return _converted(data)


def _converted(data: Mapping[Any, Any]) -> dict[bytes, bytes]:
    if not isinstance(data, Mapping):
        raise WrongTypeException(
            f"data must be a mapping of columns to values, not {type(data).__name__}: {shown(data)}"
        )
    out: dict[bytes, bytes] = {}
    for column, value in data.items():
        name = to_bytes(column, "column")
        if name not in _known_columns:
            _check_column(name)
        out[name] = b"" if value is None else to_bytes(value)
    return out


def _check_column(name: bytes) -> None:
    family, qualifier = split_column(name)
    if not family or qualifier is None:
        raise IllegalArgumentException(
            f"column {shown(name)} cannot be written: write family:qualifier "
            "(family: for the empty qualifier)"
        )
    if len(name) <= _KNOWN_NAME_BYTES:
        if len(_known_columns) >= _KNOWN_LIMIT:
            _known_columns.clear()
        _known_columns.add(name)


def column_specs(columns: Iterable[Any]) -> list[ColumnSpec]:
    """Columns of a delete as ``(family, qualifier | None)``, ``None`` for the whole family."""
    if isinstance(columns, (bytes, str)):
        raise WrongTypeException(
            f"columns must be a list of columns, not {shown(columns)}: write [{shown(columns)}]"
        )
    return [parse_column(column) for column in check_items(columns, "columns")]


def stamp(timestamp: object) -> int | None:
    """The timestamp of a mutation: ``None`` or an integer ``0 <= t < 2**63`` of milliseconds."""
    if timestamp is None:
        return None
    if not isinstance(timestamp, Integral):
        raise WrongTypeException(f"'timestamp' must be an integer or None, not {shown(timestamp)}")
    return check_timestamp(int(timestamp))


def before(timestamp: object) -> TimeRange | None:
    """The time range ``[0, timestamp)`` that HappyBase's readers mean by ``timestamp``."""
    if timestamp is None:
        return None
    if not isinstance(timestamp, Integral):
        raise WrongTypeException(f"'timestamp' must be an integer, not {shown(timestamp)}")
    return TimeRange(0, int(timestamp))


def durability(wal: bool) -> Durability:
    """``wal=True`` leaves the choice to the table (synced by default), ``False`` skips the log."""
    return Durability.USE_DEFAULT if wal else Durability.SKIP_WAL
