"""Arguments of the public calls that are no bytes: integers, mappings, iterables, objects of one kind.

Each check returns what it was given, or raises ``WrongTypeException`` or ``IllegalArgumentException`` naming
the argument and the value, so that no call fails somewhere inside with an error of Python's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from hyperbase.common.errors import IllegalArgumentException, WrongTypeException, shown

Kind = TypeVar("Kind")

INT64 = 2**63 - 1


def check_integer(value: object, what: str, lowest: int = -INT64 - 1, highest: int = INT64) -> int:
    """An integer ``lowest <= value <= highest``; ``True`` is none."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise WrongTypeException(f"{what} must be an integer, not {shown(value)}")
    if not lowest <= value <= highest:
        if lowest in (0, 1) and value < lowest:
            wanted = "not be negative" if lowest == 0 else "be positive"
            raise IllegalArgumentException(f"{what} must {wanted}: {shown(value)}")
        raise IllegalArgumentException(f"{what} {shown(value)} is not between {lowest} and {highest}")
    return value


def check_items(values: object, what: str) -> Iterable[Any]:
    """Something to iterate over that is neither text nor bytes."""
    if isinstance(values, (bytes, bytearray, memoryview, str)) or not isinstance(values, Iterable):
        raise WrongTypeException(f"{what} must be a list, not {shown(values)}")
    return values


def check_mapping(value: object, what: str) -> Mapping[Any, Any]:
    """A mapping."""
    if not isinstance(value, Mapping):
        raise WrongTypeException(f"{what} must be a mapping, not {shown(value)}")
    return value


def check_kind(value: object, kind: type[Kind], what: str | None = None) -> Kind:
    """An object of one class."""
    if not isinstance(value, kind):
        raise WrongTypeException(f"{what or f'a {kind.__name__}'} is wanted here, not {shown(value)}")
    return value
