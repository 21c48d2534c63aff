"""What the arguments of a Table's methods mean as queries and mutations, and what their answers look like.

Blocking and asyncio tables share it. Nothing here asks a store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import index
from struct import Struct
from typing import TYPE_CHECKING, Any

from hyperbase.client.batch import make_delete as delete_of
from hyperbase.client.checks import before, column_specs, stamp
from hyperbase.common.argument_checks import check_integer
from hyperbase.common.cluster_status import split_server_name
from hyperbase.common.errors import (
    IllegalArgumentException,
    IllegalStateException,
    WrongTypeException,
    shown,
)
from hyperbase.common.model import (
    ALL_VERSIONS,
    Append,
    CheckAndMutate,
    Column,
    Delete,
    FilterLike,
    Get,
    Increment,
    Put,
    Result,
    RowMutations,
    Scan,
    check_row,
)

if TYPE_CHECKING:
    from hyperbase.common.descriptors import TableDescriptor
    from hyperbase.common.region_info import RegionInfo

_COUNTER = Struct(">q")

Row = bytes | str
Columns = Sequence[Column]
RowDict = dict[bytes, Any]  # {column: value | (value, timestamp) | list of either}


def families_dict(descriptor: TableDescriptor) -> dict[bytes, dict[str, Any]]:
    """``{family: options}`` as HappyBase has them: texts are bytes."""
    return {family.name: _texts_as_bytes(family.to_happybase()) for family in descriptor.families}


def _texts_as_bytes(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value.encode("utf-8") if isinstance(value, str) else value for key, value in options.items()}


def region_dict(region: RegionInfo, server: str) -> dict[str, Any]:
    """One of ``Table.regions``."""
    host, port, _ = split_server_name(server)
    return {
        "start_key": region.start_key,
        "end_key": region.end_key,
        "id": region.region_id,
        "name": region.region_name,
        "version": 1,
        "server_name": host.encode("utf-8") if port != "0" else b"",
        "port": int(port or 0),
    }


def make_get(row: Row, columns: Columns | None, timestamp: int | None, versions: int | str | None) -> Get:
    """The Get of ``Table.row`` and ``Table.rows``."""
    if columns is not None and not isinstance(columns, (tuple, list)):
        raise WrongTypeException(f"'columns' must be a tuple or list, not {shown(columns)}")
    return Get(row, columns, 1 if versions is None else versions, before(timestamp))


def make_cells_get(row: Row, column: Column, versions: int | None, timestamp: int | None) -> Get:
    """The Get of ``Table.cells``."""
    if versions is None:
        versions = ALL_VERSIONS
    elif not isinstance(versions, int):
        raise WrongTypeException(f"'versions' must be a number or None, not {shown(versions)}")
    elif versions < 1:
        raise IllegalArgumentException(f"'versions' must be at least 1 (or None), not {shown(versions)}")
    return Get(row, [column], versions, before(timestamp))


def cells_of(result: Result, include_timestamp: bool) -> list[Any]:
    """What ``Table.cells`` returns."""
    if include_timestamp:
        return list(zip(result.values, result.timestamp_list(), strict=True))
    return list(result.values)


def make_scan(
    row_start: Row | None,
    row_stop: Row | None,
    row_prefix: Row | None,
    columns: Columns | None,
    filter: FilterLike | None,
    timestamp: int | None,
    batch_size: int,
    scan_batching: int | None,
    limit: int | None,
    reverse: bool,
    versions: int | str | None,
) -> Scan:
    """The Scan of ``Table.scan``."""
    for name, number in (("batch_size", batch_size), ("limit", limit), ("scan_batching", scan_batching)):
        if number is not None:
            check_integer(number, f"'{name}'", 1)
    if row_prefix is not None and (row_start is not None or row_stop is not None):
        raise WrongTypeException("'row_prefix' cannot be combined with 'row_start' or 'row_stop'")
    return Scan(
        start=b"" if row_start is None else row_start,
        stop=b"" if row_stop is None else row_stop,
        prefix=row_prefix,
        reverse=reverse,
        limit=limit,
        batch=scan_batching,
        columns=columns,
        versions=1 if versions is None else versions,
        time_range=before(timestamp),
        filter=filter,
    )


def pack_counter(value: int) -> bytes:
    """A counter as HBase stores it: 8 bytes, big-endian, signed."""
    return _COUNTER.pack(check_integer(value, "the counter's value"))


def counter_step(value: object) -> int:
    """What a counter is changed by; integers of numpy too."""
    try:
        return index(value)  # type: ignore[arg-type]
    except TypeError:
        raise WrongTypeException(f"a counter's step must be an integer, not {shown(value)}") from None


def counts_of(result: Result) -> dict[bytes, int]:
    """``{column: count}`` of an increment's Result."""
    values = [int(_COUNTER.unpack(value)[0]) for value in result.values]
    return dict(zip(result.names, values, strict=True))


def row_maker(include_timestamp: bool, versions: int | str | None) -> Callable[[Result], RowDict]:
    """How a Result becomes the dict of the HappyBase style."""
    if versions is not None:
        return Result.to_versions if not include_timestamp else _versions_with_timestamps
    return Result.to_dict_with_timestamps if include_timestamp else Result.to_dict


def _versions_with_timestamps(result: Result) -> RowDict:
    return result.to_versions(include_timestamp=True)


def make_delete(
    row: Row, columns: Iterable[Column] | None, timestamp: int | None, wal: bool
) -> Delete | None:
    """The Delete of ``Table.delete``; ``None`` when an empty list of columns asks for nothing."""
    specs = None if columns is None else column_specs(columns)
    delete = delete_of(check_row(row), specs, stamp(timestamp), wal)
    return delete if specs is None or specs else None


def check_action(action: object) -> None:
    """Refuse an action that says nothing before anything is sent, as HBase's client does."""
    if isinstance(action, Put):
        if not action.cells:
            raise IllegalArgumentException(
                f"No columns to insert: the Put of row {shown(action.row)} is empty"
            )
    elif isinstance(action, Increment):
        if not action.amounts:
            raise IllegalArgumentException(f"Increment of row {shown(action.row)}: zero columns specified")
    elif isinstance(action, Append):
        if not action.cells:
            raise IllegalArgumentException(f"Append to row {shown(action.row)}: zero columns specified")
    elif isinstance(action, CheckAndMutate):
        if action.action is None:
            raise IllegalStateException(
                "condition is null. You need to specify the condition and the action: "
                "CheckAndMutate(row).if_equals(column, value).then(mutation)"
            )
        check_action(action.action)
    elif isinstance(action, RowMutations):
        for mutation in action.mutations:
            check_action(mutation)
    elif not isinstance(action, (Get, Delete)):
        raise WrongTypeException(
            "actions are Get, Put, Delete, Increment, Append, RowMutations or CheckAndMutate objects, "
            f"not {type(action).__name__}: {shown(action)}"
        )
