"""Texts, numbers and JSON values as the bytes of a cell, and the other way round where a person reads.

Values are stored as the text a person would write: ``7`` is ``b"7"``, ``True`` is ``b"true"``, an object
or a list is compact JSON, a date is ISO 8601. A type checks that the text is one; a type that ends in ``_be``
stores the form of HBase's ``Bytes`` class instead: big-endian integers and IEEE floats, one byte for a
boolean. ``Table.scan_arrow(types=…)`` reads both under the same names.
"""

from __future__ import annotations

import datetime
import json
import struct
from collections.abc import Callable, Collection
from typing import Any

from hyperbase.cli.console import CommandError

Encoder = Callable[[Any], bytes]

_TRUE = {"true", "t", "yes", "y", "1"}
_FALSE = {"false", "f", "no", "n", "0"}
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def encode_text(value: Any) -> bytes:
    """Any value as text in UTF-8; bytes as they are. Undecodable input bytes come back unchanged."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, (int, float)):
        return repr(value).encode("ascii")
    if isinstance(value, (dict, list)):
        return encode_json(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat().encode("ascii")
    return str(value).encode("utf-8", "surrogateescape")


def encode_json(value: Any) -> bytes:
    """Compact JSON in UTF-8."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_json_default)
    return text.encode("utf-8", "surrogateescape")


def _json_default(value: Any) -> Any:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _packed(layout: str, number: Callable[[Any], int | float]) -> Encoder:
    packer = struct.Struct(layout)

    def encode(value: Any) -> bytes:
        try:
            return packer.pack(number(value))
        except (struct.error, OverflowError):
            raise ValueError(f"{value!r} does not fit {packer.size} bytes") from None

    return encode


def _integer(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError(f"{value!r} is not an integer")
    try:
        return int(value)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"{value!r} is not an integer") from None


def _float(value: Any) -> float:
    try:
        return float(value)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"{value!r} is not a number") from None


def _boolean(value: Any) -> bool:
    text = str(value).strip().lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError(f"{value!r} is not a boolean")


def _checked_integer(layout: str) -> Encoder:
    fits = _packed(layout, _integer)

    def encode(value: Any) -> bytes:
        fits(value)
        return b"%d" % _integer(value)

    return encode


ENCODERS: dict[str, Encoder] = {
    "string": encode_text,
    "json": encode_json,
    "int64": _checked_integer(">q"),
    "int32": _checked_integer(">i"),
    "int16": _checked_integer(">h"),
    "float64": lambda value: repr(_float(value)).encode("ascii"),
    "bool": lambda value: b"true" if _boolean(value) else b"false",
    "counter": _packed(">q", _integer),
    "int64_be": _packed(">q", _integer),
    "int32_be": _packed(">i", _integer),
    "int16_be": _packed(">h", _integer),
    "float64_be": _packed(">d", _float),
    "float32_be": _packed(">f", _float),
    "bool_be": lambda value: b"\xff" if _boolean(value) else b"\x00",
}


def parse_types(text: str | None, known: Collection[str] | None = None) -> dict[str, str]:
    """``"a=int64,cf:b=float64"`` → ``{"a": "int64", "cf:b": "float64"}``; only ``known`` types."""
    types: dict[str, str] = {}
    for part in (text or "").split(","):
        if not part.strip():
            continue
        name, equals, kind = part.rpartition("=")
        if not equals or (known is not None and kind.strip() not in known):
            names = f", TYPE one of {', '.join(known)}" if known else ""
            raise CommandError(f"--types {part.strip()!r}: write COLUMN=TYPE{names}")
        types[name.strip()] = kind.strip()
    return types


def parse_timestamp(value: Any) -> int:
    """Milliseconds since the epoch from a number of milliseconds, ISO 8601 text, a date or a date and time.

    A time without a zone is UTC. Raises ValueError.
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8")
    if isinstance(value, str):
        text = value.strip()
        if text.lstrip("-").isdigit():
            value = int(text)
        else:
            value = datetime.datetime.fromisoformat(text)
    if isinstance(value, datetime.datetime):
        moment = value if value.tzinfo is not None else value.replace(tzinfo=datetime.UTC)
        stamp = (moment - _EPOCH) // datetime.timedelta(milliseconds=1)
    elif isinstance(value, datetime.date):
        stamp = (value - _EPOCH.date()) // datetime.timedelta(milliseconds=1)
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{value!r} is not a timestamp: write milliseconds or an ISO 8601 date")
    else:
        stamp = int(value)
    if not 0 <= stamp < 2**63:
        raise ValueError(f"timestamp {stamp} is outside 0 … 2**63-1")
    return stamp


def printable(data: bytes, limit: int = 0) -> str:
    """Bytes for a person, in the form of HBase's shell: text as it is, other bytes as ``\\xNN``.

    ``limit`` > 0 cuts long values and says how long they are.
    """
    cut = data[:limit] if limit else data
    try:
        text = cut.decode("utf-8")
        if text.isprintable() and "\\x" not in text:
            shown = text
        else:
            shown = _escape(cut)
    except UnicodeDecodeError:
        shown = _escape(cut)
    return shown if len(cut) == len(data) else f"{shown}… ({len(data):,} bytes)"


def _escape(data: bytes) -> str:
    return "".join(chr(b) if 32 <= b < 127 and b != 92 else f"\\x{b:02X}" for b in data)
