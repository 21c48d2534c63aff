"""Arguments of the Arrow calls of a Table. pyarrow is imported when one of them is first used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from hyperbase.client.checks import before
from hyperbase.common.argument_checks import check_kind, check_mapping
from hyperbase.common.errors import IllegalArgumentException, WrongTypeException, shown
from hyperbase.common.model import Column, Scan, parse_column

if TYPE_CHECKING:
    import pyarrow as pa

LAYOUTS = ("wide", "cells")

# The names of Table.scan() and what Scan calls them.
_SCAN_NAMES = {"row_start": "start", "row_stop": "stop", "row_prefix": "prefix", "scan_batching": "batch"}


def make_scan(
    start: Scan | bytes | str | None, stop: bytes | str | None, arguments: Mapping[str, Any]
) -> Scan:
    """A Scan as it is, or one made from the arguments of ``Scan`` or of ``Table.scan``.

    ``timestamp`` means what it means to ``Table.scan``: cells older than it. Use ``time_range`` otherwise.
    """
    if isinstance(start, Scan):
        if stop is not None or arguments:
            given = sorted(arguments) + (["stop"] if stop is not None else [])
            raise WrongTypeException(f"a Scan says everything: {', '.join(given)} cannot be given beside it")
        return start
    options: dict[str, Any] = {}
    if start is not None:
        options["start"] = start
    if stop is not None:
        options["stop"] = stop
    for name, value in arguments.items():
        target = _SCAN_NAMES.get(name, name)
        if target in options:
            raise WrongTypeException(f"{shown(target)} is given twice")
        if value is not None:
            options[target] = value
    if "prefix" in options and ("start" in options or "stop" in options):
        raise WrongTypeException("a prefix cannot be combined with a start or stop row")
    if options.pop("include_timestamp", False):
        raise IllegalArgumentException('include_timestamp: use layout="cells", which has a timestamp column')
    for name in ("batch_size", "sorted_columns"):  # nothing to tune, and columns are sorted anyway
        options.pop(name, None)
    if "timestamp" in options:
        if "time_range" in options:
            raise IllegalArgumentException("give either timestamp or time_range, not both")
        options["time_range"] = before(options.pop("timestamp"))
    return Scan(**options)


def check_layout(layout: str) -> str:
    """``"wide"`` (a row per row key, a column per HBase column) or ``"cells"`` (a row per cell)."""
    if not isinstance(layout, str) or layout not in LAYOUTS:
        raise IllegalArgumentException(f"layout must be one of {', '.join(LAYOUTS)}, not {shown(layout)}")
    return layout


def column_types(types: Mapping[Column, str] | None) -> dict[bytes, str] | None:
    """``{column: type name}`` with every column spelled ``family:qualifier`` in bytes."""
    if types is None:
        return None
    out: dict[bytes, str] = {}
    for column, name in check_mapping(types, "types").items():
        family, qualifier = parse_column(column)
        check_kind(name, str, f"the type of column {shown(column)}")
        out[family + b":" + (qualifier or b"")] = name
    return out or None


def wide_columns(scan: Scan) -> list[bytes] | None:
    """The columns in the order they were asked for, when every one is named in full."""
    names = []
    for family, qualifier in scan.columns or ():
        if qualifier is None:
            return None
        names.append(family + b":" + qualifier)
    return list(dict.fromkeys(names)) or None


def as_reader(data: Any) -> pa.RecordBatchReader:
    """A reader over a Table, a RecordBatch, a reader, an iterable of batches, or any Arrow stream object.

    pandas and polars frames are Arrow stream objects. Nothing is read yet but an iterable's first batch.
    """
    import pyarrow as pa

    if isinstance(data, pa.RecordBatchReader):
        return data
    if isinstance(data, pa.Table):
        return data.to_reader()
    if isinstance(data, pa.RecordBatch):
        return pa.RecordBatchReader.from_batches(data.schema, [data])
    if hasattr(data, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(data)
    if isinstance(data, Iterable) and not isinstance(data, (bytes, str, Mapping)):
        return _batches_reader(data)
    raise WrongTypeException(f"put_arrow takes Arrow tables, batches or streams, not {type(data).__name__}")


def _batches_reader(data: Iterable[Any]) -> pa.RecordBatchReader:
    import pyarrow as pa

    iterator = iter(data)
    first = next(iterator, None)
    if first is None:
        return pa.RecordBatchReader.from_batches(pa.schema([]), [])
    if not isinstance(first, (pa.RecordBatch, pa.Table)):
        raise WrongTypeException(
            f"put_arrow takes an iterable of Arrow batches, not of {type(first).__name__}"
        )

    def batches() -> Iterable[Any]:
        for item in chain([first], iterator):
            parts: Sequence[Any] = item.to_batches() if isinstance(item, pa.Table) else [item]
            yield from parts

    return pa.RecordBatchReader.from_batches(first.schema, batches())
