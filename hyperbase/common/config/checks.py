"""What every group of settings shares: each value is checked alone, then all of them together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar

from hyperbase.common.errors import IllegalArgumentException

KIB, MIB, GIB = 2**10, 2**20, 2**30
MAX_PORT = 65_535


class CheckedSettings:
    """Base of the frozen dataclasses: their fields are numbers, texts, or one such group.

    Raises:
        IllegalArgumentException: a value of the wrong type or range, or two that contradict each other.
    """

    __slots__ = ()

    # Where 0 means "off", "none" or "any"; every other number must be positive.
    MAY_BE_ZERO: ClassVar[frozenset[str]] = frozenset()
    # Texts that are one of a few words.
    CHOICES: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    # Texts that may be empty.
    MAY_BE_EMPTY: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        for setting in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            self.check_value(setting.name, getattr(self, setting.name))
        self.check_together()

    def check_together(self) -> None:
        """Raise IllegalArgumentException when values that are fine alone contradict each other."""

    @classmethod
    def kinds(cls) -> dict[str, str]:
        """The type of each setting by its name: ``"int"``, ``"float"``, ``"str"``, or a group's class."""
        return {setting.name: str(setting.type) for setting in fields(cls)}  # type: ignore[arg-type]

    @classmethod
    def check_value(cls, name: str, value: Any) -> None:
        """Raise IllegalArgumentException when ``value`` alone cannot work as the setting ``name``."""
        kind = cls.kinds()[name]
        if kind in ("int", "float"):
            _check_number(name, value, integer=kind == "int", may_be_zero=name in cls.MAY_BE_ZERO)
            if name == "port" or name.endswith("_port"):
                _check_port(name, value)
        elif kind == "str":
            _check_text(name, value, cls.CHOICES.get(name), may_be_empty=name in cls.MAY_BE_EMPTY)
        elif type(value).__name__ != kind:
            raise IllegalArgumentException(f"{name} must be a {kind}, not {type(value).__name__} {value!r}")


def unit_of(name: str) -> str:
    """The unit a setting's name ends in, for people; counts, ports and texts have none."""
    for ending, unit in (("_bytes_per_s", "bytes/s"), ("_bytes", "bytes"), ("_ms", "ms"), ("_s", "s")):
        if name.endswith(ending):
            return unit
    return ""


def _check_number(name: str, value: object, *, integer: bool, may_be_zero: bool) -> None:
    if isinstance(value, bool) or not isinstance(value, int if integer else (int, float)):
        wanted = "an integer" if integer else "a number"
        raise IllegalArgumentException(f"{name} must be {wanted}, not {type(value).__name__} {value!r}")
    if not math.isfinite(value):
        raise IllegalArgumentException(f"{name} must be finite, not {value!r}")
    if value < 0 or (value == 0 and not may_be_zero):
        wanted = "0 or more" if may_be_zero else "positive"
        raise IllegalArgumentException(f"{name} must be {wanted}, not {value!r}")


def _check_port(name: str, value: int) -> None:
    if value > MAX_PORT:
        raise IllegalArgumentException(f"{name} must be a port, 0 to {MAX_PORT}, not {value!r}")


def _check_text(name: str, value: object, choices: tuple[str, ...] | None, *, may_be_empty: bool) -> None:
    if not isinstance(value, str):
        raise IllegalArgumentException(f"{name} must be text, not {type(value).__name__} {value!r}")
    if choices is not None:
        if value not in choices:
            raise IllegalArgumentException(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    elif not value and not may_be_empty:
        raise IllegalArgumentException(f"{name} must not be empty")
    elif any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise IllegalArgumentException(f"{name} must not hold control characters: {value!r}")
