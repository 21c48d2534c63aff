"""How stored bytes become text: the functions of HBase's ``Bytes`` that a column may name.

``cf:q:toInt`` and ``cf:q:c(org.apache.hadoop.hbase.util.Bytes).toInt`` decode the values of ``cf:q``.
Numbers print as Java prints them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from hyperbase.common.names import to_string_binary
from hyperbase.shell.errors import ArgumentError

Converter = Callable[[bytes], str]

_BYTES_CLASSES = ("org.apache.hadoop.hbase.util.Bytes", "Bytes")
_CLASS_CALL = re.compile(r"c\((.+)\)\.(.+)", re.DOTALL)
_LOOKS_LIKE_ONE = re.compile(r"to[A-Z]\w*|c\(.*")


def _number(form: str) -> Callable[[bytes], int | float]:
    size = struct.calcsize(form)

    def unpack(data: bytes) -> int | float:
        if len(data) < size:
            raise ArgumentError(f"offset (0) + length ({size}) exceed the capacity of the array: {len(data)}")
        value: int | float = struct.unpack_from(form, data)[0]
        return value

    return unpack


def _integer(form: str) -> Converter:
    unpack = _number(form)
    return lambda data: str(unpack(data))


def _double(data: bytes) -> str:
    number = _number(">d")(data)
    return java_float(number, repr(number))


def _float(data: bytes) -> str:
    number = _number(">f")(data)
    for digits in range(1, 18):  # the shortest text that reads back as the same 4 bytes
        text = f"{number:.{digits}g}"
        try:
            if number != number or struct.pack(">f", float(text)) == struct.pack(">f", number):
                return java_float(number, repr(float(text)))
        except OverflowError:
            continue
    return java_float(number, repr(number))


def java_float(number: float, shortest: str) -> str:
    """A number as Java prints it: ``0.1``, ``1.0E10``, ``1.5E-5``, ``Infinity``, ``NaN``."""
    if number != number:
        return "NaN"
    if number in (float("inf"), float("-inf")):
        return "Infinity" if number > 0 else "-Infinity"
    sign = "-" if shortest.startswith("-") else ""
    mantissa, _, exponent = shortest.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return f"{sign}0.0"
    # The value is 0.DIGITS × 10 ** point.
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    if -3 < point <= 7:
        if point <= 0:
            return f"{sign}0.{'0' * -point}{digits}"
        padded = digits.ljust(point, "0")
        return f"{sign}{padded[:point]}.{padded[point:] or '0'}"
    return f"{sign}{digits[0]}.{digits[1:] or '0'}E{point - 1}"


def _boolean(data: bytes) -> str:
    if len(data) != 1:
        raise ArgumentError(f"Array has wrong size: {len(data)}")
    return "true" if data[0] else "false"


def _big_decimal(data: bytes) -> str:
    """4 bytes of scale, then the unscaled value in two's complement."""
    if len(data) < 5:
        return ""
    scale = struct.unpack_from(">i", data)[0]
    unscaled = int.from_bytes(data[4:], "big", signed=True)
    if abs(scale) > 10_000 or len(data) > 4_096:
        raise ArgumentError(f"a decimal of scale {scale} with {len(data) - 4} bytes is too large to print")
    sign, digits = "-" if unscaled < 0 else "", _digits(abs(unscaled))
    if scale == 0:
        return sign + digits
    adjusted = len(digits) - 1 - scale
    if scale > 0 and adjusted >= -6:
        digits = digits.rjust(scale + 1, "0")
        return f"{sign}{digits[:-scale]}.{digits[-scale:]}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}E{adjusted:+d}" if adjusted else f"{sign}{digits[0]}{fraction}"


def _digits(number: int) -> str:
    """Decimal digits of any number; Python refuses to print more than some thousands at once."""
    parts = []
    while number >= 10**4000:
        number, part = divmod(number, 10**4000)
        parts.append(str(part).rjust(4000, "0"))
    return str(number) + "".join(reversed(parts))


CONVERTERS: dict[str, Converter] = {
    "toString": lambda data: data.decode("utf-8", "replace"),
    "toStringBinary": to_string_binary,
    "toInt": _integer(">i"),
    "toLong": _integer(">q"),
    "toShort": _integer(">h"),
    "toFloat": _float,
    "toDouble": _double,
    "toBoolean": _boolean,
    "toBigDecimal": _big_decimal,
    "toHex": bytes.hex,
    "len": lambda data: str(len(data)),
}


def converter(name: str) -> Converter:
    """The converter of that name, given as ``toInt`` or ``c(Class).toInt``.

    Raises:
        ArgumentError: there is none.
    """
    match = _CLASS_CALL.fullmatch(name)
    method = name
    if match is not None:
        if match[1] not in _BYTES_CLASSES:
            raise ArgumentError(
                f"{match[1]} is not a class here; c({_BYTES_CLASSES[0]}) is the only one there is"
            )
        method = match[2]
    if method not in CONVERTERS:
        raise ArgumentError(f"unknown converter {name}; there are {', '.join(CONVERTERS)}")
    return CONVERTERS[method]


def split_converter(column: str) -> tuple[str, Converter | None]:
    """``"cf:q:toInt"`` → ``("cf:q", toInt)``; a column that names none is returned as it is.

    A last part that looks like a converter and is none is an ArgumentError; any other belongs to the
    qualifier, which may hold colons.
    """
    family, colon, qualifier = column.partition(":")
    if not colon or ":" not in qualifier:
        return column, None
    position = qualifier.find(":c(") if ":c(" in qualifier else qualifier.rfind(":")
    plain, last = qualifier[:position], qualifier[position + 1 :]
    if last in CONVERTERS or _LOOKS_LIKE_ONE.fullmatch(last):
        return f"{family}:{plain}", converter(last)
    return column, None
