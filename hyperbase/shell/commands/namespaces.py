"""Namespaces: create, alter, describe, drop, list, and the tables of one."""

from __future__ import annotations

import re
from typing import Any

from hyperbase.common.names import META_TABLE, split_table_name
from hyperbase.shell.errors import ArgumentError
from hyperbase.shell.registry import command
from hyperbase.shell.session import Session
from hyperbase.shell.values import flatten, inspect, ruby_class, to_s


def _name(namespace: object) -> str:
    if not isinstance(namespace, str):
        raise ArgumentError("Namespace name must be of type String")
    return namespace


def _require_hash(argument: object) -> dict[Any, Any]:
    if not isinstance(argument, dict):
        raise ArgumentError(f"{ruby_class(argument)} of {inspect(argument)} is not of Hash type")
    return dict(argument)


@command(
    "create_namespace",
    "namespace",
    ["create_namespace 'ns1'", "create_namespace 'ns1', {'PROPERTY_NAME' => 'PROPERTY_VALUE'}"],
)
def create_namespace(session: Session, namespace: object, *arguments: Any) -> None:
    """Create a namespace, with properties if they are given."""
    properties: dict[str, str] = {}
    for argument in flatten(arguments):
        properties |= {to_s(key): to_s(value) for key, value in _require_hash(argument).items()}
    session.admin.create_namespace(_name(namespace), properties)


@command(
    "alter_namespace",
    "namespace",
    [
        "alter_namespace 'ns1', {METHOD => 'set', 'PROPERTY_NAME' => 'PROPERTY_VALUE'}",
        "alter_namespace 'ns1', {METHOD => 'unset', NAME => 'PROPERTY_NAME'}",
    ],
)
def alter_namespace(session: Session, namespace: object, *arguments: Any) -> None:
    """Set or unset properties of a namespace."""
    found = session.admin.describe_namespace(_name(namespace))
    properties = dict(found.configuration)
    for argument in flatten(arguments):
        options = _require_hash(argument)
        method = options.pop("METHOD", None)
        if method == "unset":
            properties.pop(to_s(options.get("NAME")), None)
        elif method == "set":
            properties |= {to_s(key): to_s(value) for key, value in options.items()}
        else:
            raise ArgumentError(f"Unknown method {to_s(method)}")
    session.admin.alter_namespace(found.name, properties)


@command("describe_namespace", "namespace", ["describe_namespace 'ns1'"])
def describe_namespace(session: Session, namespace: object) -> None:
    """Print the properties of a namespace."""
    found = session.admin.describe_namespace(_name(namespace))
    properties = "".join(f", {key} => '{value}'" for key, value in sorted(found.configuration.items()))
    session.formatter.header(["DESCRIPTION"])
    session.formatter.row([f"{{NAME => '{found.name}'{properties}}}"])
    session.say("Quota is disabled")


@command("drop_namespace", "namespace", ["drop_namespace 'ns1'"])
def drop_namespace(session: Session, namespace: object) -> None:
    """Remove a namespace, which must not hold tables any more."""
    session.admin.drop_namespace(_name(namespace))


@command("list_namespace", "namespace", ["list_namespace", "list_namespace 'abc.*'"])
def list_namespace(session: Session, regex: object = ".*") -> None:
    """Print the namespaces, or those whose whole name matches a regular expression."""
    try:
        pattern = re.compile(to_s(regex))
    except re.error as error:
        raise ArgumentError(f"{inspect(regex)} is not a regular expression: {error}") from error
    session.formatter.header(["NAMESPACE"])
    for name in session.admin.list_namespaces():
        if pattern.fullmatch(name):
            session.formatter.row([name])
    session.formatter.footer()


@command("list_namespace_tables", "namespace", ["list_namespace_tables 'ns1'"])
def list_namespace_tables(session: Session, namespace: object) -> list[str]:
    """Print the tables of a namespace, without its name."""
    found = session.admin.describe_namespace(_name(namespace))
    names = [META_TABLE, *session.admin.list_tables()]
    tables = [
        qualifier for owner, qualifier in map(split_table_name, dict.fromkeys(names)) if owner == found.name
    ]
    session.formatter.header(["TABLE"])
    for name in tables:
        session.formatter.row([name])
    session.formatter.footer(len(tables))
    return tables
