"""Errors of the store in the words of HBase's shell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hyperbase.common.errors import (
    HBaseIOException,
    NamespaceNotFoundException,
    NoSuchColumnFamilyException,
    RetriesExhaustedWithDetailsException,
    TableExistsException,
    TableNotDisabledException,
    TableNotEnabledException,
    TableNotFoundException,
    UnknownRegionException,
)
from hyperbase.shell.errors import ShellError
from hyperbase.shell.values import TableReference, to_s

if TYPE_CHECKING:
    from hyperbase.shell.session import Session

_WORDS: dict[type[Exception], str] = {
    TableNotFoundException: "Unknown table {}!",
    TableNotEnabledException: "Table {} is disabled!",
    TableNotDisabledException: "Table {} should be disabled!",
    TableExistsException: "Table already exists: {}!",
    UnknownRegionException: "Unknown region {}!",
}


def translate(error: Exception, session: Session, arguments: Sequence[object]) -> tuple[str, str]:
    """``(class, message)`` of a command's error, given the command's arguments."""
    if isinstance(error, ShellError):
        return error.ruby_name, str(error)
    if isinstance(error, RetriesExhaustedWithDetailsException) and len(error.failures) == 1:
        error = error.failures[0][1]
    first = _name(arguments)
    for kind, words in _WORDS.items():
        if isinstance(error, kind):
            return "RuntimeError", words.format(_region(error, first))
    if isinstance(error, NamespaceNotFoundException):
        return "RuntimeError", f"Unknown namespace {first.split(':')[0]}!"
    causes = [error, *(cause for _, cause in getattr(error, "failures", ()))]
    if any(isinstance(cause, NoSuchColumnFamilyException) for cause in causes):
        valid = _families(session, arguments)
        if valid:
            return "RuntimeError", f"Unknown column family! Valid column names: {valid}"
    if isinstance(error, (HBaseIOException, OSError, ValueError, TypeError)):
        return _class_name(error), " ".join(str(error).split()) or type(error).__name__
    return type(error).__name__, f"unexpected {type(error).__name__}: {error}"


def _class_name(error: Exception) -> str:
    return "ArgumentError" if type(error) in (ValueError, TypeError) else type(error).__name__


def _region(error: Exception, first: str) -> str:
    """Of several regions that were named, the one that is unknown."""
    if isinstance(error, UnknownRegionException):
        return str(error).partition(": ")[0] or first
    return first


def _name(arguments: Sequence[object]) -> str:
    if not arguments:
        return ""
    return arguments[0].name if isinstance(arguments[0], TableReference) else to_s(arguments[0])


def _families(session: Session, arguments: Sequence[object]) -> str:
    try:
        descriptor = session.admin.describe_table(session.table_name(arguments[0]))
    except (ShellError, HBaseIOException, IndexError):
        return ""
    return ", ".join(f"{name.decode('utf-8', 'replace')}:*" for name in descriptor.family_names)
