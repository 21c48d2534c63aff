"""Values of the shell and what commands make of them.

A value is ``None``, a bool, int, float, string, list, dict, or a table reference. Ruby's ``to_s`` makes
row keys, columns and cell values of any of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hyperbase.shell.errors import ArgumentError
from hyperbase.shell.strings import bytes_of, inspect_string

if TYPE_CHECKING:
    from hyperbase.client.table import Table


@dataclass(frozen=True, slots=True, eq=False)
class TableReference:
    """What ``create`` and ``get_table`` return: ``t.scan`` is ``scan`` on that table."""

    name: str
    table: Table


def inspect(value: object) -> str:
    """As Ruby's ``inspect`` prints it behind ``=>``."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return inspect_string(value)
    if isinstance(value, float):
        return ruby_float(value)
    if isinstance(value, list):
        return f"[{', '.join(map(inspect, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{inspect(key)}=>{inspect(item)}" for key, item in value.items()) + "}"
    if isinstance(value, TableReference):
        return f"Hbase::Table - {value.name}"
    return str(value)


def ruby_float(number: float) -> str:
    """``1.0``, ``1.0e+20``, ``Infinity``, ``NaN``."""
    if number != number:
        return "NaN"
    if number in (float("inf"), float("-inf")):
        return "Infinity" if number > 0 else "-Infinity"
    text = repr(number)
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{exponent}" if e else text


def ruby_class(value: object) -> str:
    """The name of the value's class in Ruby, for messages."""
    if value is None:
        return "NilClass"
    if isinstance(value, bool):
        return "TrueClass" if value else "FalseClass"
    for kind, name in ((int, "Integer"), (float, "Float"), (str, "String"), (list, "Array"), (dict, "Hash")):
        if isinstance(value, kind):
            return name
    return "Hbase::Table" if isinstance(value, TableReference) else type(value).__name__


def to_s(value: object) -> str:
    """As Ruby's ``to_s``."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return inspect(value)


def to_bytes(value: object) -> bytes:
    """The bytes of a row key, column or cell value, whatever it was written as."""
    return bytes_of(to_s(value))


def flatten(values: Any) -> list[Any]:
    """Nested arrays as one list, without nil."""
    out: list[Any] = []
    for value in values:
        if isinstance(value, list):
            out.extend(flatten(value))
        elif value is not None:
            out.append(value)
    return out


def integer(value: object, what: str) -> int:
    """A number, or a string that is one.

    Raises:
        ArgumentError: neither.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            pass
    raise ArgumentError(f"{what} must be an integer, not {inspect(value)}")


def boolean(value: object, what: str) -> bool:
    """true, false, or a string that says so.

    Raises:
        ArgumentError: none of these.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ArgumentError(f"{what} must be true or false, not {inspect(value)}")
