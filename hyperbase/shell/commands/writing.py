"""put, delete, deleteall, incr, append."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hyperbase.common.model import MAX_TIMESTAMP, Append, Delete, Increment, Put, Scan, parse_column
from hyperbase.common.names import META_TABLE, to_string_binary
from hyperbase.shell.errors import ArgumentError
from hyperbase.shell.queries import refuse_later
from hyperbase.shell.registry import command
from hyperbase.shell.session import Session
from hyperbase.shell.values import inspect, integer, to_bytes

DELETE_BATCH = 100  # rows that deleteall by prefix sends at once, unless CACHE says otherwise


def _stamp_and_options(
    stamp: Any, options: Any, what: str = "timestamp"
) -> tuple[int | None, Mapping[str, Any]]:
    """From ``[number] [, {options}]``; the options may come first when there is no number."""
    if isinstance(stamp, dict) and options is None:
        stamp, options = None, stamp
    if options is not None and not isinstance(options, dict):
        raise ArgumentError(f"options must be a Hash, not {inspect(options)}")
    refuse_later(options or {})
    return None if stamp is None else integer(stamp, what), options or {}


def _ttl(options: Mapping[str, Any]) -> int | None:
    ttl = options.get("TTL")
    return None if ttl is None else integer(ttl, "TTL")


def _column(column: object, command_name: str) -> bytes:
    name = to_bytes(column)
    if parse_column(name)[1] is None:
        raise ArgumentError(f"Failed to provide both column family and column qualifier for {command_name}")
    return name


@command(
    "put",
    "dml",
    [
        "put 'ns1:t1', 'r1', 'c1:a', 'value'",
        "put 't1', 'r1', 'c1:a', 'value', 1303668804000",
        "put 't1', 'r1', 'c1:a', 'value', {TTL => 60000}",
        "put 't1', \"key\\x00\\xff\", 'c1:', \"\\x00\\x00\\x00\\x01\"",
    ],
    on_table=True,
)
def put(
    session: Session,
    table: object,
    row: object,
    column: object,
    value: object,
    timestamp: Any = None,
    options: Any = None,
) -> None:
    """Write one cell, at a timestamp or now.

    Options: TTL, the milliseconds after which the cell expires; ATTRIBUTES, which change nothing here.
    """
    stamp, chosen = _stamp_and_options(timestamp, options)
    cell = Put(to_bytes(row), timestamp=stamp, ttl_ms=_ttl(chosen))
    session.table(table).put(cell.add(to_bytes(column), to_bytes(value)))


@command(
    "delete",
    "dml",
    ["delete 'ns1:t1', 'r1', 'c1:a'", "delete 't1', 'r1', 'c1:a', 1303668804000"],
    on_table=True,
)
def delete(
    session: Session, table: object, row: object, column: object, timestamp: Any = None, options: Any = None
) -> None:
    """Delete one version of a cell: the one of that timestamp, or the newest.

    An older version shows again after that; deleteall deletes all of them.
    """
    stamp, _ = _stamp_and_options(timestamp, options)
    session.table(table).delete(_delete_one(to_bytes(row), to_bytes(column), stamp))


def _delete_one(row: bytes, column: bytes, stamp: int | None) -> Delete:
    family, qualifier = parse_column(column)
    if qualifier is None:
        return Delete(row).add_family_version(family, MAX_TIMESTAMP if stamp is None else stamp)
    return Delete(row).add_column(column, stamp)


@command(
    "deleteall",
    "dml",
    [
        "deleteall 'ns1:t1', 'r1'",
        "deleteall 't1', 'r1', 'c1:a'",
        "deleteall 't1', 'r1', 'c1:a', 1303668804000",
        "deleteall 't1', {ROWPREFIXFILTER => 'user1', CACHE => 100}",
        "deleteall 't1', {ROWPREFIXFILTER => 'user1'}, 'c1'",
    ],
    on_table=True,
)
def deleteall(
    session: Session,
    table: object,
    row: object,
    column: object = None,
    timestamp: Any = None,
    options: Any = None,
) -> None:
    """Delete a row, or all versions of one of its columns or families, up to a timestamp if one is given.

    With ROWPREFIXFILTER in place of the row: all rows whose key begins so, CACHE of them at once.
    """
    stamp, _ = _stamp_and_options(timestamp, options)
    name = None if column is None else to_bytes(column)
    target = session.table(table)
    if not isinstance(row, dict):
        target.delete(_delete_all(to_bytes(row), name, stamp))
        return
    if session.table_name(table) == META_TABLE:
        raise ArgumentError("deleteall with ROWPREFIXFILTER in hbase:meta is not allowed.")
    if row.get("ROWPREFIXFILTER") is None:
        raise ArgumentError("deleteall with a Hash requires a ROWPREFIXFILTER")
    size = max(1, integer(row.get("CACHE") or DELETE_BATCH, "CACHE"))
    batch: list[Delete] = []
    found = Scan(prefix=to_bytes(row["ROWPREFIXFILTER"]), filter="FirstKeyOnlyFilter() AND KeyOnlyFilter()")
    for result in target.scan_results(found):
        batch.append(_delete_all(result.row, name, stamp))
        if len(batch) >= size:
            _send(session, target, batch)
            batch = []
    _send(session, target, batch)


def _send(session: Session, target: Any, batch: list[Delete]) -> None:
    for outcome in target.run_batch(batch) if batch else []:
        if isinstance(outcome, Exception):
            raise outcome
    session.interrupts.check()


def _delete_all(row: bytes, column: bytes | None, stamp: int | None) -> Delete:
    if column is None:
        return Delete(row, timestamp=stamp)
    family, qualifier = parse_column(column)
    return (
        Delete(row).add_family(family, stamp) if qualifier is None else Delete(row).add_columns(column, stamp)
    )


@command(
    "incr",
    "dml",
    [
        "incr 'ns1:t1', 'r1', 'c1:hits'",
        "incr 't1', 'r1', 'c1:hits', 10",
        "incr 't1', 'r1', 'c1:hits', -1, {TTL => 60000}",
    ],
    on_table=True,
)
def incr(
    session: Session, table: object, row: object, column: object, amount: Any = None, options: Any = None
) -> None:
    """Add a number, 1 when none is given, to a counter, and print its new value.

    A counter that is not there counts from 0. Options: TTL in milliseconds.
    """
    number, chosen = _stamp_and_options(amount, options, "amount")
    increment = Increment(to_bytes(row), ttl_ms=_ttl(chosen))
    increment.add(_column(column, "incr"), 1 if number is None else number)
    values = session.table(table).increment(increment)
    (value,) = values.values()
    session.say(f"COUNTER VALUE = {value}")


@command(
    "append",
    "dml",
    ["append 'ns1:t1', 'r1', 'c1:a', ' and more'", "append 't1', 'r1', 'c1:a', ' and more', {TTL => 60000}"],
    on_table=True,
)
def append(
    session: Session, table: object, row: object, column: object, value: object, options: Any = None
) -> None:
    """Append to the value of a cell, and print the new value. Options: TTL in milliseconds."""
    _, chosen = _stamp_and_options(None, options)
    change = Append(to_bytes(row), ttl_ms=_ttl(chosen)).add(_column(column, "append"), to_bytes(value))
    result = session.table(table).append(change)
    (new,) = (result or {b"": b""}).values()
    session.say(f"CURRENT VALUE = {to_string_binary(new)}")
