"""Values of schema options, from what people write: ``5`` or ``"5"``, ``True`` or ``"true"``, ``"FOREVER"``.

Each parser takes the option's name for its message and raises ``IllegalArgumentException`` for a value
that does not fit; none of them judges whether a legal value is sensible, ``TableDescriptor.check`` does.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from operator import index
from typing import Any

from hyperbase.common.errors import IllegalArgumentException, shown

FOREVER = 2**31 - 1  # seconds; a family without expiry

INT32 = 2**31 - 1
INT64 = 2**63 - 1

_INTERVAL = re.compile(
    r"\s*(?:(\d+)\s*DAYS?)?\s*(?:(\d+)\s*HOURS?)?\s*(?:(\d+)\s*MINUTES?)?\s*(?:(\d+)\s*SECONDS?)?\s*",
    re.IGNORECASE,
)
_INTERVAL_SECONDS = (86_400, 3_600, 60, 1)
_BYTE_UNITS = {"B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}
_BYTES = re.compile(
    r"\s*(?:(\d+)\s*TB)?\s*(?:(\d+)\s*GB)?\s*(?:(\d+)\s*MB)?\s*(?:(\d+)\s*KB)?\s*(?:(\d+)\s*B)?\s*",
    re.IGNORECASE,
)


def parse_text(option: str, value: Any) -> str:
    """Text or UTF-8 bytes as text."""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _unfit(option, "text", value) from error
    if isinstance(value, str):
        if not value.isascii() and value.encode("utf-8", "replace").decode("utf-8") != value:
            raise _unfit(option, "text", value)  # a lone surrogate
        return value
    raise _unfit(option, "text", value)


def parse_int(option: str, value: Any, limit: int = INT32) -> int:
    """An integer or its decimal text, ``-limit - 1 <= value <= limit``."""
    try:
        if isinstance(value, bool):
            raise _unfit(option, "an integer", value)
        number = int(parse_text(option, value)) if isinstance(value, (str, bytes)) else index(value)
    except (TypeError, ValueError) as error:
        raise _unfit(option, "an integer", value) from error
    if not -limit - 1 <= number <= limit:
        raise IllegalArgumentException(
            f"{option} must be between {-limit - 1} and {limit}, not {shown(number)}"
        )
    return number


def parse_bool(option: str, value: Any) -> bool:
    """``True``, ``False``, or the texts ``true`` and ``false`` in any case."""
    if isinstance(value, bool):
        return value
    if isinstance(value, (str, bytes)):
        lowered = parse_text(option, value).strip().lower()
        if lowered in ("true", "false"):
            return lowered == "true"
    elif isinstance(value, int) and value in (0, 1):
        return bool(value)
    raise _unfit(option, "true or false", value)


def parse_seconds(option: str, value: Any) -> int:
    """Seconds as a number, ``"FOREVER"``, or an interval such as ``"1 DAY 12 HOURS"``."""
    if isinstance(value, (str, bytes)):
        text = parse_text(option, value).strip()
        if text.upper() == "FOREVER":
            return FOREVER
        match = _INTERVAL.fullmatch(text)
        if match and any(match.groups()):
            parts = zip(match.groups(), _INTERVAL_SECONDS, strict=True)
            return parse_int(option, sum(int(count or 0) * unit for count, unit in parts))
    return parse_int(option, value)


def parse_bytes(option: str, value: Any, limit: int = INT64) -> int:
    """Bytes as a number or a text such as ``"64 KB"`` or ``"1 GB 512 MB"``."""
    if isinstance(value, str):
        match = _BYTES.fullmatch(value)
        if match and any(match.groups()):
            parts = zip(match.groups(), reversed(_BYTE_UNITS.values()), strict=True)
            return parse_int(option, sum(int(count or 0) * unit for count, unit in parts), limit)
    return parse_int(option, value, limit)


def parse_choice(option: str, value: Any, choices: Iterable[str]) -> str:
    """One of ``choices``, given in any case; ``True`` and ``False`` stand for their names."""
    known = tuple(choices)
    text = str(value) if isinstance(value, bool) else parse_text(option, value)
    upper = text.strip().upper()
    if upper in known:
        return upper
    raise IllegalArgumentException(f"{option} must be one of {', '.join(known)}, not {shown(value)}")


def parse_text_mapping(option: str, value: Any) -> dict[str, str]:
    """A mapping of text to text; numbers and booleans become HBase's text for them."""
    if not isinstance(value, Mapping):
        raise _unfit(option, "a mapping of text to text", value)
    return {
        parse_text(option, key): plain_text(f"{option} {shown(key)}", item) for key, item in value.items()
    }


def plain_text(option: str, value: Any) -> str:
    """A value as attributes hold it: text; ``True`` is ``"true"``, ``5`` is ``"5"``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    return parse_text(option, value)


def unknown_option(option: str, known: Iterable[str], what: str) -> IllegalArgumentException:
    """The error for an option nobody knows: it names the option and the closest known one."""
    names = sorted(known)
    by_lower = {name.lower(): name for name in names}
    close = difflib.get_close_matches(option.lower(), by_lower, n=1, cutoff=0.5)
    hint = f"; did you mean {by_lower[close[0]]}?" if close else f"; known options: {', '.join(names)}"
    return IllegalArgumentException(f"unknown option {shown(option)} for {what}{hint}")


def _unfit(option: str, wanted: str, value: Any) -> IllegalArgumentException:
    return IllegalArgumentException(f"{option} must be {wanted}, not {type(value).__name__} {shown(value)}")
