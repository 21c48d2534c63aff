"""Comparators: how a stored value compares with the one a filter was given.

``compare_to(stored)`` is negative, zero or positive as GIVEN is less than, equal to or greater than
STORED, as HBase's ``ByteArrayComparable`` does. Filters ask ``test(op)`` for a function that tells
whether STORED op GIVEN holds. Comparators are immutable; copies of a filter share them.

Source: Apache HBase 2.6, package org.apache.hadoop.hbase.filter.
"""

from __future__ import annotations

import abc
import decimal
import enum
import operator
import struct
from collections.abc import Callable
from typing import Any, ClassVar

from hyperbase.common.argument_checks import check_integer, check_kind
from hyperbase.common.errors import DoNotRetryIOException, IllegalArgumentException, shown
from hyperbase.common.filters.base import quote
from hyperbase.common.filters.java_regex import DOTALL, compile_java
from hyperbase.common.model import CompareOperator, to_bytes

REGEX_HELD_S = 0.01  # for one value while other threads wait; after that they go on meanwhile
REGEX_TIMEOUT_S = 2.0  # for one value; an honest pattern needs microseconds

_LONG = struct.Struct(">q")

# Decides from the sign of GIVEN - STORED whether STORED op GIVEN.
_HOLDS: dict[CompareOperator, Callable[[int], bool]] = {
    CompareOperator.LESS: lambda sign: sign > 0,
    CompareOperator.LESS_OR_EQUAL: lambda sign: sign >= 0,
    CompareOperator.EQUAL: lambda sign: sign == 0,
    CompareOperator.NOT_EQUAL: lambda sign: sign != 0,
    CompareOperator.GREATER_OR_EQUAL: lambda sign: sign <= 0,
    CompareOperator.GREATER: lambda sign: sign < 0,
    CompareOperator.NO_OP: lambda sign: False,
}
_BYTES_HOLD: dict[CompareOperator, Callable[[bytes, bytes], bool]] = {
    CompareOperator.LESS: operator.lt,
    CompareOperator.LESS_OR_EQUAL: operator.le,
    CompareOperator.EQUAL: operator.eq,
    CompareOperator.NOT_EQUAL: operator.ne,
    CompareOperator.GREATER_OR_EQUAL: operator.ge,
    CompareOperator.GREATER: operator.gt,
}


def compare_bytes(first: bytes, second: bytes) -> int:
    """-1, 0 or 1 in unsigned bytewise order."""
    return (first > second) - (first < second)


class Comparator(abc.ABC):
    """The value a filter was given, and how stored values compare with it."""

    __slots__ = ("value",)

    keyword: ClassVar[bytes] = b""  # its name in filter strings; empty: API only

    def __init__(self, value: bytes | str) -> None:
        self.value = to_bytes(value, "comparator value")

    @abc.abstractmethod
    def compare_to(self, stored: bytes | None) -> int:
        """The sign of GIVEN - STORED; ``None`` is an absent cell and compares as empty."""

    def test(self, op: CompareOperator) -> Callable[[bytes], bool]:
        """A function telling whether STORED op GIVEN; with NO_OP it never holds."""
        holds = _HOLDS[op]
        compare = self.compare_to
        return lambda stored: holds(compare(stored))

    def filter_string(self) -> bytes:
        """The comparator as an argument of a filter string, quotes included."""
        if self.keyword:
            return quote(self.keyword + b":" + self.value)
        return type(self).__name__.encode() + b"(" + self._arguments() + b")"

    def _arguments(self) -> bytes:
        return quote(self.value)

    def __deepcopy__(self, memo: dict[int, Any]) -> Comparator:
        return self

    def __repr__(self) -> str:
        return self.filter_string().decode("utf-8", "backslashreplace")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Comparator):
            return NotImplemented
        return type(self) is type(other) and self.filter_string() == other.filter_string()

    def __hash__(self) -> int:
        return hash(self.filter_string())


class BinaryComparator(Comparator):
    """``binary:``, all bytes, unsigned."""

    __slots__ = ()
    keyword = b"binary"

    def compare_to(self, stored: bytes | None) -> int:
        return compare_bytes(self.value, stored or b"")

    def test(self, op: CompareOperator) -> Callable[[bytes], bool]:
        given = self.value
        holds = _BYTES_HOLD.get(op)
        if holds is None:
            return super().test(op)
        return lambda stored: holds(stored, given)


class BinaryPrefixComparator(Comparator):
    """``binaryprefix:``, as many bytes as were given; a shorter stored value compares as it is."""

    __slots__ = ()
    keyword = b"binaryprefix"

    def compare_to(self, stored: bytes | None) -> int:
        return compare_bytes(self.value, (stored or b"")[: len(self.value)])


class BinaryComponentComparator(Comparator):
    """The bytes of the stored value from ``offset`` on, as many as were given. API only."""

    __slots__ = ("offset",)

    def __init__(self, value: bytes | str, offset: int) -> None:
        super().__init__(value)
        check_integer(offset, "offset", 0)
        self.offset = offset  # bytes

    def compare_to(self, stored: bytes | None) -> int:
        end = self.offset + len(self.value)
        return compare_bytes(self.value, (stored or b"")[self.offset : end])

    def _arguments(self) -> bytes:
        return quote(self.value) + b", %d" % self.offset


class SubstringComparator(Comparator):
    """``substring:``, 0 when the stored text (UTF-8) contains the given one, whatever the case; else 1."""

    __slots__ = ("_needle",)
    keyword = b"substring"

    def __init__(self, value: bytes | str) -> None:
        text = value if isinstance(value, str) else to_bytes(value).decode("utf-8", "replace")
        self._needle = text.lower()
        super().__init__(self._needle)

    def compare_to(self, stored: bytes | None) -> int:
        return 0 if self._needle in (stored or b"").decode("utf-8", "replace").lower() else 1


class RegexStringComparator(Comparator):
    """``regexstring:``, 0 when the Java pattern is found anywhere in the stored text, else 1.

    Args:
        value: the pattern.
        flags: Java's ``Pattern`` bits; DOTALL as in HBase.
        charset: how stored bytes become text; use ``ISO-8859-1`` for arbitrary bytes.

    Raises:
        IllegalArgumentException: not a pattern, or an unknown charset.
        DoNotRetryIOException (from ``compare_to``): one value took longer than ``REGEX_TIMEOUT_S``.
    """

    __slots__ = ("_search", "charset", "flags", "pattern")
    keyword = b"regexstring"

    def __init__(self, value: bytes | str, flags: int = DOTALL, charset: str = "UTF-8") -> None:
        self.pattern = value if isinstance(value, str) else to_bytes(value).decode("utf-8", "replace")
        check_integer(flags, "flags", 0, 2**31 - 1)
        check_kind(charset, str, "the name of a charset")
        try:
            b"a".decode(charset, "replace")  # of empty bytes Python would not look at the charset
            super().__init__(self.pattern)
        except (LookupError, UnicodeError) as error:
            raise IllegalArgumentException(f"unreadable regular expression or charset: {error}") from error
        self.flags = flags
        self.charset = charset
        self._search = compile_java(self.pattern, flags).search

    def _find(self, text: str) -> Any:
        try:
            return self._search(text, timeout=REGEX_HELD_S)
        except TimeoutError:  # once more, without keeping other threads from running
            return self._search(text, timeout=REGEX_TIMEOUT_S, concurrent=True)

    def compare_to(self, stored: bytes | None) -> int:
        text = (stored or b"").decode(self.charset, "replace")
        try:
            return 0 if self._find(text) else 1
        except TimeoutError as error:
            raise DoNotRetryIOException(
                f"the regular expression {shown(self.pattern)} ran for more than {REGEX_TIMEOUT_S:g} s on "
                f"one value of {len(text)} characters: write it without nested repetition"
            ) from error
        except MemoryError as error:
            raise DoNotRetryIOException(
                f"the regular expression {shown(self.pattern)} needs too much memory"
            ) from error

    def filter_string(self) -> bytes:
        if self.flags == DOTALL and self.charset == "UTF-8":
            return super().filter_string()
        return b"RegexStringComparator(%s, %d, %s)" % (
            quote(self.value),
            self.flags,
            quote(self.charset.encode()),
        )


class NullComparator(Comparator):
    """0 for an absent cell, 1 for every other, empty ones too. API only."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(b"")

    def compare_to(self, stored: bytes | None) -> int:
        return 0 if stored is None else 1

    def _arguments(self) -> bytes:
        return b""


class BitwiseOp(enum.Enum):
    """What ``BitComparator`` does with each pair of bytes."""

    AND = "AND"
    OR = "OR"
    XOR = "XOR"


class BitComparator(Comparator):
    """0 when GIVEN op STORED has any bit set and both are equally long, else 1. API only."""

    __slots__ = ("op",)

    def __init__(self, value: bytes | str, op: BitwiseOp | str) -> None:
        super().__init__(value)
        try:
            self.op = BitwiseOp(op)
        except (TypeError, ValueError) as error:
            raise IllegalArgumentException(
                f"unknown bitwise operator {shown(op)}: use AND, OR or XOR"
            ) from error

    def compare_to(self, stored: bytes | None) -> int:
        if stored is None or len(stored) != len(self.value):
            return 1
        given, other = int.from_bytes(self.value), int.from_bytes(stored)
        if self.op is BitwiseOp.AND:
            return 0 if given & other else 1
        return 0 if (given | other if self.op is BitwiseOp.OR else given ^ other) else 1

    def _arguments(self) -> bytes:
        return quote(self.value) + b", " + self.op.value.encode()


class LongComparator(Comparator):
    """Signed 64-bit numbers, 8 bytes big-endian as counters are. API only.

    Raises IllegalArgumentException (from ``compare_to``): the stored value is not 8 bytes long.
    """

    __slots__ = ("number",)

    def __init__(self, value: int) -> None:
        self.number = check_integer(value, "the number")
        super().__init__(_LONG.pack(value))

    def compare_to(self, stored: bytes | None) -> int:
        if stored is None or len(stored) != _LONG.size:
            raise IllegalArgumentException(
                f"Wrong length: {len(stored or b'')}, expected {_LONG.size}: the stored value is not a long"
            )
        other: int = _LONG.unpack(stored)[0]
        return (self.number > other) - (self.number < other)

    def _arguments(self) -> bytes:
        return b"%d" % self.number


class BigDecimalComparator(Comparator):
    """Decimal numbers as HBase's ``Bytes.toBytes(BigDecimal)`` stores them. API only.

    Bytes := scale (i32) | unscaled value (two's complement, at least 1 byte), big-endian.
    Raises IllegalArgumentException (from ``compare_to``): the stored value is shorter than 5 bytes.
    """

    __slots__ = ("number",)

    def __init__(self, value: decimal.Decimal | int | str) -> None:
        try:
            self.number = decimal.Decimal(value)
        except (decimal.InvalidOperation, TypeError, ValueError) as error:
            raise IllegalArgumentException(f"not a decimal number: {shown(value)}") from error
        if not self.number.is_finite():
            raise IllegalArgumentException(f"not a finite decimal number: {shown(value)}")
        super().__init__(encode_decimal(self.number))

    def compare_to(self, stored: bytes | None) -> int:
        other: decimal.Decimal = decode_decimal(stored or b"")
        return (self.number > other) - (self.number < other)

    def _arguments(self) -> bytes:
        return str(self.number).encode()


def encode_decimal(number: decimal.Decimal) -> bytes:
    """The bytes of Java's ``Bytes.toBytes(BigDecimal)`` for a finite number."""
    sign, digits, exponent = number.as_tuple()
    unscaled = int(decimal.Decimal((sign, digits, 0)))
    magnitude = unscaled if unscaled >= 0 else ~unscaled
    return struct.pack(">i", -int(exponent)) + unscaled.to_bytes(magnitude.bit_length() // 8 + 1, signed=True)


def decode_decimal(data: bytes) -> decimal.Decimal:
    """The number in the bytes of Java's ``Bytes.toBytes(BigDecimal)``."""
    if len(data) < 5:
        raise IllegalArgumentException(f"a stored decimal has at least 5 bytes, this value has {len(data)}")
    (scale,) = struct.unpack_from(">i", data)
    unscaled = decimal.Decimal(int.from_bytes(data[4:], signed=True)).as_tuple()
    return decimal.Decimal((unscaled.sign, unscaled.digits, -scale))


def as_comparator(value: Comparator | bytes | str) -> Comparator:
    """A comparator as it is; a plain value compares as ``binary:``."""
    return value if isinstance(value, Comparator) else BinaryComparator(value)
