"""describe, alter, alter_async, alter_status."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from hyperbase.common.descriptors import TableDescriptor
from hyperbase.shell.errors import ArgumentError
from hyperbase.shell.registry import command
from hyperbase.shell.schemas import (
    check_schema_argument,
    family_text,
    table_text,
    take_family,
    take_table_options,
    unset_attribute,
    unset_configuration,
)
from hyperbase.shell.session import Session
from hyperbase.shell.values import flatten, to_bytes, to_s

_UNSET: dict[str, Callable[[TableDescriptor, str], TableDescriptor]] = {
    "table_att_unset": unset_attribute,
    "table_conf_unset": unset_configuration,
}
_COPROCESSOR = re.compile(r"coprocessor\$(\d+)", re.IGNORECASE)


@command(
    "describe", "ddl", ["describe 't1'", "describe 'ns1:t1'", "desc 't1'"], aliases=["desc"], on_table=True
)
def describe(session: Session, table: object) -> None:
    """Print the schema of a table: its options, and a line for each of its column families."""
    name, formatter = session.table_name(table), session.formatter
    if not session.admin.table_exists(name):
        raise ArgumentError(f"Table {name} does not exist.")
    enabled = session.admin.is_table_enabled(name)
    descriptor = session.admin.describe_table(name)
    formatter.header([f"Table {name} is {'ENABLED' if enabled else 'DISABLED'}"])
    formatter.row([table_text(descriptor)])
    formatter.header(["COLUMN FAMILIES DESCRIPTION"])
    for family in descriptor.families:
        formatter.row([family_text(family)])
        session.say()
    formatter.footer()
    session.say("Quota is disabled")


def _altered(session: Session, table: object, arguments: Sequence[Any]) -> TableDescriptor:
    """The table's schema with the changes that alter was given."""
    name = session.table_name(table)
    if not session.admin.table_exists(name):
        raise ArgumentError(f"Can't find a table: {name}")
    if not arguments:
        raise ArgumentError("There should be at least one argument but the table name")
    descriptor = session.admin.describe_table(name)
    for argument in flatten(arguments):
        check_schema_argument(argument)
        options = {"NAME": argument} if isinstance(argument, str) else dict(argument)
        if options.get("delete"):
            options = {"METHOD": "delete", "NAME": options["delete"]}
        method = options.pop("METHOD", None)
        if method is None and "NAME" in options:
            family = take_family(session, options, descriptor)
            descriptor = descriptor.with_family(family, modify=family.name in descriptor.family_names)
        elif method is not None and method != "table_att":
            descriptor = _by_method(session, descriptor, to_s(method), options)
        else:
            options.pop("NAME", None)
            descriptor = _add_coprocessors(descriptor, options)
            descriptor, unknown = take_table_options(descriptor, options)
            for key in unknown:
                session.say(f"Unknown argument ignored: {key}")
    return descriptor


def _by_method(
    session: Session, descriptor: TableDescriptor, method: str, options: dict[Any, Any]
) -> TableDescriptor:
    name = options.pop("NAME", None)
    if method != "delete" and method not in _UNSET:
        raise ArgumentError(f"Unknown method: {method}")
    if not name:
        raise ArgumentError(f"NAME parameter missing for {method} method")
    if method == "delete":
        descriptor = descriptor.without_family(to_bytes(name))
    else:
        for key in flatten([name]):
            descriptor = _UNSET[method](descriptor, to_s(key))
    for key in options:
        session.say(f"Unknown argument ignored: {to_s(key)}")
    return descriptor


def _add_coprocessors(descriptor: TableDescriptor, options: dict[Any, Any]) -> TableDescriptor:
    """Keep ``'coprocessor' => 'path|class|priority|arguments'`` as HBase does, under the next free number."""
    attributes = dict(descriptor.attributes)
    for key in [key for key in options if "coprocessor" in to_s(key).lower()]:
        taken = [int(match[1]) for match in map(_COPROCESSOR.fullmatch, attributes) if match is not None]
        attributes[f"coprocessor${max(taken, default=0) + 1}"] = to_s(options.pop(key)).strip()
    return replace(descriptor, attributes=attributes)


@command(
    "alter",
    "ddl",
    [
        "alter 't1', NAME => 'f1', VERSIONS => 5",
        "alter 't1', 'f1', {NAME => 'f2', IN_MEMORY => true}, {NAME => 'f3', VERSIONS => 5}",
        "alter 'ns1:t1', NAME => 'f1', METHOD => 'delete'",
        "alter 'ns1:t1', 'delete' => 'f1'",
        "alter 't1', MAX_FILESIZE => '134217728'",
        "alter 't1', CONFIGURATION => {'hbase.hregion.scan.loadColumnFamiliesOnDemand' => 'true'}",
        "alter 't1', {NAME => 'f2', CONFIGURATION => {'hbase.hstore.blockingStoreFiles' => '10'}}",
        "alter 't1', METADATA => {'mykey' => 'myvalue'}",
        "alter 't1', METHOD => 'table_att_unset', NAME => ['MAX_FILESIZE', 'mykey']",
        "alter 't1', METHOD => 'table_conf_unset', NAME => 'hbase.hregion.majorcompaction'",
        "alter 't1', {NAME => 'f1', VERSIONS => 3}, {MAX_FILESIZE => '134217728'}, {'delete' => 'f2'}",
    ],
    on_table=True,
)
def alter(session: Session, table: object, *arguments: Any) -> None:
    """Change the schema of a table: add or change a column family, delete one, set or unset options.

    A hash with NAME is a family, which is added when the table does not have it; what is not named stays.
    Any other hash is options of the table. All changes of one call are made at once.
    """
    session.admin.alter_table(_altered(session, table, arguments))
    session.say("Updating all regions with the new schema...")
    _status(session, table)


@command(
    "alter_async",
    "ddl",
    ["alter_async 't1', NAME => 'f1', VERSIONS => 5", "alter_async 't1', 'delete' => 'f1'"],
    on_table=True,
)
def alter_async(session: Session, table: object, *arguments: Any) -> None:
    """Change the schema of a table as alter does, without a report on its regions: see alter_status."""
    session.admin.alter_table(_altered(session, table, arguments))


@command("alter_status", "ddl", ["alter_status 't1'"], on_table=True)
def alter_status(session: Session, table: object) -> None:
    """Tell how many regions of a table have its newest schema."""
    name = session.table_name(table)
    if not session.admin.table_exists(name):
        raise ArgumentError(f"Can't find a table: {name}")
    _status(session, table)


def _status(session: Session, table: object) -> None:
    name = session.table_name(table)
    if session.admin.is_table_enabled(name):
        count = len(session.admin.regions(name))
        session.say(f"{count}/{count} regions updated.")
    else:
        session.say("All regions updated.")
    session.say("Done.")
