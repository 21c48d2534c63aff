"""Values of a wide Arrow column: from the bytes of a cell to a type, and from Arrow values to bytes.

Stored numbers are text unless somebody chose otherwise: ``put_arrow`` and the import command write what a
person would write. So a plain type name reads text; a name that ends in ``_be`` reads the big-endian form
of HBase's ``Bytes`` class, which counters have. ``int64``, ``float64`` and ``bool`` read both: the binary
form where the value is no such text (8 bytes that spell a number are text).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hyperbase.common.errors import IllegalArgumentException

Decode = Callable[[pa.Array], pa.Array]  # binary with nulls → typed with the same nulls; pa.ArrowInvalid

_NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$|^[+-]?(inf|nan|Infinity|NaN)$"
_INTEGER = r"^-?[0-9]+$"
_TRUTH = r"^(?i:true|false|0|1)$"
_TIMESTAMP = re.compile(r"timestamp\[(s|ms|us|ns)(?:, *(?:tz=)?([^\]]+))?\]")


class ColumnType:
    """A named type: ``arrow`` is what a column gets, ``decode`` turns stored bytes into it."""

    __slots__ = ("arrow", "decode", "name")

    def __init__(self, name: str, arrow: pa.DataType, decode: Decode) -> None:
        self.name = name
        self.arrow = arrow
        self.decode = decode

    def column(self, values: pa.Array, rows: pa.Array, column: str) -> pa.Array:
        """All values decoded.

        Raises:
            IllegalArgumentException: naming row, column and value of the first that is not of the type.
        """
        try:
            return self.decode(values)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError):
            pass
        for index in range(len(values)):
            try:
                self.decode(values.slice(index, 1))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
                value = values[index].as_py()
                shown = repr(value if len(value) <= 64 else value[:64] + b"...")
                raise IllegalArgumentException(
                    f"row {rows[index].as_py()!r}, column {column}: {shown} is not {self.name}; "
                    "give another type for the column, or none and take its bytes"
                ) from error
        raise AssertionError("a column fails as a whole and none of its values does")


def column_type(name: str) -> ColumnType:
    """The type of a name. Raises IllegalArgumentException for an unknown one."""
    known = _KNOWN.get(name)
    if known is not None:
        return known
    found = _TIMESTAMP.fullmatch(name)
    if found is None:
        raise IllegalArgumentException(
            f"unknown column type {name!r}: use one of {', '.join(_KNOWN)}, timestamp[s|ms|us|ns] "
            "or timestamp[ms, UTC]"
        )
    arrow = pa.timestamp(found[1], found[2])
    return ColumnType(name, arrow, _moments(arrow))


def _text(values: pa.Array) -> pa.Array:
    return values.cast(pa.string())


def _parsed(arrow: pa.DataType) -> Decode:
    return lambda values: _text(values).cast(arrow)


def _moments(arrow: pa.DataType) -> Decode:
    def decode(values: pa.Array) -> pa.Array:
        text = _text(values)
        # ISO 8601 with up to nine digits of a second; microseconds first, they reach farther.
        try:
            return text.cast(pa.timestamp("us", arrow.tz)).cast(arrow)
        except pa.ArrowInvalid:
            return text.cast(pa.timestamp("ns", arrow.tz)).cast(arrow)

    return decode


def _big_endian(arrow: pa.DataType, layout: str) -> Decode:
    width = np.dtype(layout).itemsize

    def decode(values: pa.Array) -> pa.Array:
        present = values.drop_null()
        sizes = pc.binary_length(present)
        if len(present) and not pc.all(pc.equal(sizes, width)).as_py():
            raise pa.ArrowInvalid(f"not {width} bytes")
        numbers = np.frombuffer(present.cast(pa.binary(width)).buffers()[1] or b"", layout)
        numbers = numbers[: len(present)].astype(layout[1:])
        return _spread(values, pa.array(numbers, arrow))

    return decode


def _truths(values: pa.Array) -> pa.Array:
    present = values.drop_null()
    known = pc.index_in(present, pa.array([b"\x00", b"\x01", b"\xff"], pa.binary()))
    if known.null_count:
        raise pa.ArrowInvalid("not one byte 00, 01 or FF")
    return _spread(values, pc.greater(known, 0))


def _spread(values: pa.Array, present: pa.Array) -> pa.Array:
    """``present`` in the places where ``values`` is not null."""
    if not values.null_count:
        return present
    valid = values.is_valid().to_numpy(zero_copy_only=False)
    return present.take(pa.array(np.cumsum(valid) - 1, mask=~valid))


def _either(arrow: pa.DataType, pattern: str, binary: Decode) -> Decode:
    """Text where the value is such text, else the binary form."""
    parse = _parsed(arrow)

    def decode(values: pa.Array) -> pa.Array:
        try:
            return parse(values)
        except pa.ArrowInvalid:
            spelled = pc.match_substring_regex(values, pattern)
            written = pc.fill_null(spelled, True)
            nothing = pa.scalar(None, pa.binary())
            texts = parse(pc.if_else(written, values, nothing))
            return pc.if_else(written, texts, binary(pc.if_else(written, nothing, values)))

    return decode


def _make_known() -> dict[str, ColumnType]:
    decoders: dict[str, tuple[pa.DataType, Decode]] = {
        "binary": (pa.binary(), lambda values: values),
        "string": (pa.string(), _text),
        "json": (pa.string(), _text),
        "bool": (pa.bool_(), _either(pa.bool_(), _TRUTH, _truths)),
        "int64": (pa.int64(), _either(pa.int64(), _INTEGER, _big_endian(pa.int64(), ">i8"))),
        "float64": (pa.float64(), _either(pa.float64(), _NUMBER, _big_endian(pa.float64(), ">f8"))),
        "date32": (pa.date32(), _parsed(pa.date32())),
        "counter": (pa.int64(), _big_endian(pa.int64(), ">i8")),
        "bool_be": (pa.bool_(), _truths),
    }
    for name in ("int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64", "float32"):
        arrow = pa.type_for_alias(name)
        decoders[name] = (arrow, _parsed(arrow))
    layouts = {"int16": ">i2", "int32": ">i4", "int64": ">i8", "float32": ">f4", "float64": ">f8"}
    for name, layout in layouts.items():
        arrow = pa.type_for_alias(name)
        decoders[f"{name}_be"] = (arrow, _big_endian(arrow, layout))
    return {name: ColumnType(name, arrow, decode) for name, (arrow, decode) in decoders.items()}


_KNOWN = _make_known()


# -- from Arrow to bytes -------------------------------------------------------------------------------


def to_stored(values: pa.Array) -> pa.Array:
    """The bytes to store for an Arrow column, as ``pa.binary()`` with the same nulls.

    Binary as it is, text as UTF-8, anything else as text: ``7``, ``0.5``, ``true``, ``2024-01-31``,
    ``2024-01-31T23:59:59.250000``.
    """
    kind = values.type
    if pa.types.is_dictionary(kind):
        return to_stored(values.dictionary_decode())
    if isinstance(kind, pa.ExtensionType):
        return to_stored(values.storage)
    if pa.types.is_null(kind):
        return pa.nulls(len(values), pa.binary())
    if pa.types.is_binary(kind):
        return values
    if _is_binary_like(kind):
        return values.cast(pa.binary())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return values.cast(pa.string()).cast(pa.binary())
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return values.cast(pa.string()).cast(pa.binary())
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return _nanoseconds(values)
    if pa.types.is_nested(kind) or pa.types.is_duration(kind) or pa.types.is_interval(kind):
        raise IllegalArgumentException(f"Arrow type {kind} has no obvious text: cast the column to string")
    return pa.array([_as_text(value) for value in values.to_pylist()], pa.binary())


def _is_binary_like(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind) or pa.types.is_binary_view(kind)
    )


def _nanoseconds(values: pa.Array) -> pa.Array:
    """Microseconds' text where that loses nothing, else nine digits of a second."""
    try:
        return to_stored(values.cast(pa.timestamp("us", values.type.tz)))
    except pa.ArrowInvalid:
        text = pc.strftime(values, "%Y-%m-%dT%H:%M:%S" + ("%z" if values.type.tz else ""))
        return text.cast(pa.binary())


def _as_text(value: Any) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, (date, time, datetime)):
        return value.isoformat().encode("ascii")
    if isinstance(value, float):
        return repr(value).encode("ascii")
    return str(value).encode("utf-8")
