"""create, enable, disable, drop, exists, truncate and their relatives for many tables."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from hyperbase.common.descriptors import TableDescriptor
from hyperbase.common.errors import HBaseIOException
from hyperbase.shell.errors import ArgumentError
from hyperbase.shell.registry import command
from hyperbase.shell.schemas import check_schema_argument, take_family, take_table_options
from hyperbase.shell.session import Session
from hyperbase.shell.split_algorithms import take_splits
from hyperbase.shell.strings import text_of
from hyperbase.shell.values import TableReference, boolean, flatten, inspect, to_s


@command(
    "create",
    "ddl",
    [
        "create 'ns1:t1', {NAME => 'f1', VERSIONS => 5}",
        "create 't1', {NAME => 'f1'}, {NAME => 'f2'}, {NAME => 'f3'}",
        "create 't1', 'f1', 'f2', 'f3'   # the same with less to type",
        "create 't1', {NAME => 'f1', TTL => 2592000, BLOCKCACHE => true, COMPRESSION => 'ZSTD'}",
        "create 't1', {NAME => 'f1', CONFIGURATION => {'hbase.hstore.blockingStoreFiles' => '10'}}",
        "create 't1', 'f1', SPLITS => ['10', '20', '30', '40']",
        "create 't1', 'f1', SPLITS_FILE => 'splits.txt'",
        "create 't1', {NAME => 'f1', VERSIONS => 5}, METADATA => {'mykey' => 'myvalue'}",
        "create 't1', 'f1', {NUMREGIONS => 15, SPLITALGO => 'HexStringSplit'}",
        "create 't1', 'f1', {MAX_FILESIZE => '134217728', DURABILITY => 'ASYNC_WAL', SPLIT_ENABLED => false}",
        "t1 = create 't1', 'f1'   # and keep a reference to it",
    ],
)
def create(session: Session, table: object, *arguments: Any) -> TableReference:
    """Create a table from its name, its column families, and options of the table last.

    A family is a name, or a hash with NAME and: VERSIONS, MIN_VERSIONS, TTL (seconds), BLOCKSIZE,
    BLOOMFILTER, COMPRESSION, IN_MEMORY, BLOCKCACHE, KEEP_DELETED_CELLS, NEW_VERSION_BEHAVIOR,
    DATA_BLOCK_ENCODING, METADATA, CONFIGURATION and HBase's others. n split keys make n + 1 regions; they
    come from SPLITS, from the lines of SPLITS_FILE, or from NUMREGIONS and SPLITALGO, one of HexStringSplit,
    UniformSplit and DecimalStringSplit.
    """
    if not isinstance(table, str):
        raise ArgumentError("Table name must be of type String")
    name = session.table_name(table)
    descriptor, families, splits = TableDescriptor(name), {}, None
    for argument in flatten(arguments):
        check_schema_argument(argument)
        if isinstance(argument, str) or "NAME" in argument:
            options = {"NAME": argument} if isinstance(argument, str) else argument
            family = take_family(session, options, None)
            if family.name in families:
                session.say(f"Family '{text_of(family.name)}' already exists, the old one will be replaced")
            families[family.name] = family
            continue
        options = dict(argument)
        if options.pop("METHOD", "table_att") != "table_att":
            raise ArgumentError("table_att is currently the only supported method")
        keys = take_splits(options)
        splits = splits if keys is None else keys
        descriptor, unknown = take_table_options(descriptor, options)
        for key in unknown:
            session.say(f"An argument ignored (unknown or overridden): {key}")
    if not families:
        raise ArgumentError("Table must have at least one column family")
    for family in families.values():
        descriptor = descriptor.with_family(family)
    session.admin.create_table(descriptor, splits)
    session.say(f"Created table {to_s(table)}")
    return session.reference(name)


def _require_table(session: Session, table: object) -> str:
    name = session.table_name(table)
    if not session.admin.table_exists(name):
        raise ArgumentError(f"Table {name} does not exist.")
    return name


@command("enable", "ddl", ["enable 't1'", "enable 'ns1:t1'"], on_table=True)
def enable(session: Session, table: object) -> None:
    """Serve a disabled table again. Nothing happens when it is enabled."""
    name = _require_table(session, table)
    if not session.admin.is_table_enabled(name):
        session.admin.enable_table(name)


@command("disable", "ddl", ["disable 't1'", "disable 'ns1:t1'"], on_table=True)
def disable(session: Session, table: object) -> None:
    """Stop serving a table: it can be neither read nor written. Nothing happens when it is disabled."""
    name = _require_table(session, table)
    if session.admin.is_table_enabled(name):
        session.admin.disable_table(name)


@command("drop", "ddl", ["drop 't1'", "drop 'ns1:t1'"], on_table=True)
def drop(session: Session, table: object) -> None:
    """Remove a table with its data. It must be disabled first."""
    name = _require_table(session, table)
    if session.admin.is_table_enabled(name):
        raise ArgumentError(f"Table {name} is enabled. Disable it first.")
    session.admin.drop_table(name)


def matching_tables(session: Session, pattern: object) -> list[str]:
    """Names of tables that the regular expression matches as a whole."""
    try:
        re.compile(to_s(pattern))
    except re.error as error:
        raise ArgumentError(f"{inspect(pattern)} is not a regular expression: {error}") from error
    return session.admin.list_tables(to_s(pattern))


def _many(session: Session, verb: str, pattern: object, act: Callable[[str], None]) -> None:
    """Ask, act on each table that matches, and tell how many there were."""
    names = matching_tables(session, pattern)
    for name in names:
        session.formatter.padded(name)
    if not names:
        session.say(f"No tables matched the regex {to_s(pattern)}")
        return
    answer = session.ask(f"\n{verb.capitalize()} the above {len(names)} tables (y/n)?\n")
    if answer.strip().lower() not in ("y", "yes"):
        return
    failed = []
    for name in names:
        session.interrupts.check()
        try:
            act(name)
        except HBaseIOException as error:
            session.say(f"table:{name}, error:{error}")
            failed.append(name)
    past = {"drop": "dropped"}.get(verb, f"{verb}d")
    session.say(f"{len(names) - len(failed)} tables successfully {past}")
    if failed:
        session.say(f"{len(failed)} tables not {past} due to an exception: {', '.join(failed)}")


@command("disable_all", "ddl", ["disable_all 't.*'", "disable_all 'ns:t.*'", "disable_all 'ns:.*'"])
def disable_all(session: Session, regex: object) -> None:
    """Disable every table whose whole name matches a regular expression, after asking."""
    admin = session.admin

    def act(name: str) -> None:
        if admin.is_table_enabled(name):
            admin.disable_table(name)

    _many(session, "disable", regex, act)


@command("enable_all", "ddl", ["enable_all 't.*'", "enable_all 'ns:t.*'", "enable_all 'ns:.*'"])
def enable_all(session: Session, regex: object) -> None:
    """Enable every table whose whole name matches a regular expression, after asking."""
    admin = session.admin

    def act(name: str) -> None:
        if not admin.is_table_enabled(name):
            admin.enable_table(name)

    _many(session, "enable", regex, act)


@command("drop_all", "ddl", ["drop_all 't.*'", "drop_all 'ns:t.*'", "drop_all 'ns:.*'"])
def drop_all(session: Session, regex: object) -> None:
    """Drop every disabled table whose whole name matches a regular expression, after asking."""
    _many(session, "drop", regex, session.admin.drop_table)


@command("exists", "ddl", ["exists 't1'", "exists 'ns1:t1'"], on_table=True)
def exists(session: Session, table: object) -> bool:
    """Tell whether there is a table of that name."""
    name = session.table_name(table)
    found = session.admin.table_exists(name)
    session.formatter.padded(f"Table {name} {'does exist' if found else 'does not exist'}")
    return found


@command("is_enabled", "ddl", ["is_enabled 't1'", "is_enabled 'ns1:t1'"], on_table=True)
def is_enabled(session: Session, table: object) -> bool:
    """Tell whether a table is served."""
    enabled = session.admin.is_table_enabled(session.table_name(table))
    session.formatter.padded("true" if enabled else "false")
    return enabled


@command("is_disabled", "ddl", ["is_disabled 't1'", "is_disabled 'ns1:t1'"], on_table=True)
def is_disabled(session: Session, table: object) -> bool:
    """Tell whether a table is disabled."""
    disabled = not session.admin.is_table_enabled(session.table_name(table))
    session.formatter.padded("true" if disabled else "false")
    return disabled


@command(
    "clone_table_schema",
    "ddl",
    ["clone_table_schema 't1', 't2'", "clone_table_schema 't1', 't2', false"],
    on_table=True,
)
def clone_table_schema(
    session: Session, table: object, new_table: object, preserve_splits: object = True
) -> None:
    """Create an empty table with the schema of another.

    It gets the bounds of the other's regions too, unless the third argument is false.
    """
    admin = session.admin
    keep = boolean(preserve_splits, "preserve_splits")
    admin.clone_table_schema(session.table_name(table), session.table_name(new_table), keep)


def _truncate(session: Session, table: object, preserve_splits: bool) -> None:
    name, admin = session.table_name(table), session.admin
    session.say(f"Truncating '{name}' table (it may take a while):")
    if admin.is_table_enabled(name):
        session.say("Disabling table...")
        admin.disable_table(name)
    session.say("Truncating table...")
    admin.truncate_table(name, preserve_splits)


@command("truncate", "dml", ["truncate 'ns1:t1'"], on_table=True)
def truncate(session: Session, table: object) -> None:
    """Remove every row of a table: disable it and make it anew, with one region."""
    _truncate(session, table, preserve_splits=False)


@command("truncate_preserve", "dml", ["truncate_preserve 'ns1:t1'"], on_table=True)
def truncate_preserve(session: Session, table: object) -> None:
    """Remove every row of a table, as truncate does, but keep the bounds of its regions."""
    _truncate(session, table, preserve_splits=True)
