"""Protobuf messages by hand: the few that HBase keeps in ``info:regioninfo`` and in znodes.

Field := tag varint (number << 3 | wire type), then a varint (type 0), or a length varint and bytes (type 2)
Readers skip fixed-width fields, as they skip every number they do not know; anything malformed is an
IllegalArgumentException. ``PBUF`` stands before a message wherever HBase keeps one on its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from hyperbase.common.errors import IllegalArgumentException

PBUF_MAGIC = b"PBUF"

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def varint_field(number: int, value: int) -> bytes:
    """A field of an integer, an enum or a bool, not negative."""
    return _varint(number << 3 | _VARINT) + _varint(value)


def bytes_field(number: int, value: bytes) -> bytes:
    """A field of bytes, text in UTF-8 or a message."""
    return _varint(number << 3 | _LENGTH) + _varint(len(value)) + value


def _read_varint(data: bytes, offset: int) -> tuple[int, int]:
    """``(value, offset behind it)``; at most ten bytes, as protobuf writes 64 bits."""
    value = 0
    for index in range(10):
        if offset + index >= len(data):
            raise IllegalArgumentException("serialized message is cut short inside a number")
        byte = data[offset + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value & (2**64 - 1), offset + index + 1
    raise IllegalArgumentException("serialized message holds a number longer than 64 bits")


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """``(field number, value)`` of every varint and bytes field; fixed-width ones are skipped."""
    offset = 0
    while offset < len(data):
        tag, offset = _read_varint(data, offset)
        kind = tag & 7
        if tag >> 3 == 0:
            raise IllegalArgumentException("serialized message holds a field numbered 0")
        if kind == _VARINT:
            number, offset = _read_varint(data, offset)
            yield tag >> 3, number
            continue
        if kind == _LENGTH:
            length, offset = _read_varint(data, offset)
        elif kind in _FIXED_SIZES:
            length = _FIXED_SIZES[kind]
        else:
            raise IllegalArgumentException(f"serialized message holds a field of unknown wire type {kind}")
        if length > len(data) - offset:
            raise IllegalArgumentException(f"serialized message is cut short inside field {tag >> 3}")
        if kind == _LENGTH:
            yield tag >> 3, data[offset : offset + length]
        offset += length


def read_message(data: bytes) -> tuple[dict[int, int], dict[int, bytes]]:
    """Numbers and bytes by field number; of a repeated field the last, as protobuf reads it."""
    numbers: dict[int, int] = {}
    texts: dict[int, bytes] = {}
    for number, value in _fields(data):
        if isinstance(value, int):
            numbers[number] = value
        else:
            texts[number] = value
    return numbers, texts
