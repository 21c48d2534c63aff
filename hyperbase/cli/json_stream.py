"""JSON values one by one out of a text stream of any length.

Takes JSON lines (values separated by white space, normally one a line), an array of values, or an object
one member of which is such an array (GeoJSON's ``features``). Holds one value and a buffer in memory. A
value that is not well-formed is reported with its line, and reading goes on behind it: in JSON lines
on the next line, in an array behind the bracket that closes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TextIO

CHUNK_CHARS = 1 << 18
MAX_VALUE_CHARS = 1 << 28  # one value larger than this is a broken file, not a row

_STRUCTURE = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?P<close>"?)|[{}\[\],]', re.DOTALL)
_SPACE = re.compile(r"[ \t\r\n]*")
_SPACE_COMMA = re.compile(r"[ \t\r\n,]*")


class JsonError(Exception):
    """The text is no JSON of a known form; nothing behind this place was read."""


class JsonElements:
    """Iterate ``(line, value, error)``: ``error`` is ``None`` or says why ``value``, raw text, is no JSON."""

    def __init__(self, text: TextIO, *, lines: bool, member: str | None = None) -> None:
        self._text = text
        self._lines = lines
        self._member = member
        self._decoder = json.JSONDecoder()
        self._buffer = ""
        self._at = 0
        self._line = 1  # the line of ``_at``
        self._read_chars = CHUNK_CHARS
        self._ended = False

    def __iter__(self) -> Iterator[tuple[int, Any, str | None]]:
        if self._lines:
            yield from self._json_lines()
            return
        self._skip(_SPACE)
        first = self._peek()
        if first == "[":
            self._advance(self._at + 1)
            yield from self._array()
        elif first == "{" and self._member is not None:
            self._enter_member(self._member)
            yield from self._array()
        elif first == "{":
            yield from self._objects()
        elif first:
            raise JsonError(f"line {self._line}: an array or objects are wanted, not {first!r}")

    # Text

    def _more(self) -> bool:
        """Append text to the buffer; ``False`` at the end. Reads double: a long value costs linear time."""
        if self._ended:
            return False
        if len(self._buffer) - self._at > MAX_VALUE_CHARS:
            raise JsonError(f"line {self._line}: a value longer than {MAX_VALUE_CHARS:,} characters")
        piece = self._text.read(max(self._read_chars, len(self._buffer) - self._at))
        self._ended = not piece
        self._buffer = self._buffer[self._at :] + piece
        self._at = 0
        return bool(piece)

    def _advance(self, to: int) -> None:
        self._line += self._buffer.count("\n", self._at, to)
        self._at = to

    def _skip(self, pattern: re.Pattern[str]) -> None:
        while True:
            match = pattern.match(self._buffer, self._at)
            assert match is not None
            self._advance(match.end())
            if self._at < len(self._buffer) or not self._more():
                return

    def _peek(self) -> str:
        return self._buffer[self._at : self._at + 1]

    # Forms

    def _json_lines(self) -> Iterator[tuple[int, Any, str | None]]:
        for number, line in enumerate(self._text, 1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line), None
            except (ValueError, RecursionError) as error:
                yield number, line.rstrip("\r\n"), f"not JSON: {error}"

    def _objects(self) -> Iterator[tuple[int, Any, str | None]]:
        """Objects one behind the other. The first one alone may be a wrapper: say how to look into it."""
        count = 0
        while True:
            self._skip(_SPACE)
            if not self._peek():
                return
            item = self._value()
            count += 1
            if count == 1 and isinstance(item[1], dict):
                self._refuse_wrapper(item[1])
            yield item
            if item[2] is not None and self._peek() not in ("{", "\n", "\r", ""):
                end = self._buffer.find("\n", self._at)
                self._advance(len(self._buffer) if end < 0 else end)

    def _refuse_wrapper(self, value: dict[str, Any]) -> None:
        self._skip(_SPACE)
        if self._peek():
            return
        arrays = [name for name, inner in value.items() if isinstance(inner, list) and len(inner) > 1]
        objects = [name for name in arrays if all(isinstance(item, dict) for item in value[name][:10])]
        if objects:
            raise JsonError(f"one object that holds records in {objects[0]!r}: add --records {objects[0]}")

    def _array(self) -> Iterator[tuple[int, Any, str | None]]:
        while True:
            self._skip(_SPACE_COMMA)
            mark = self._peek()
            if mark == "]":
                return
            if not mark:
                yield self._line, None, "the file ends inside the array"
                return
            if mark == "}":
                raise JsonError(f"line {self._line}: '}}' closes nothing here")
            yield self._value()

    def _enter_member(self, member: str) -> None:
        """Go to the first element of the array under ``member`` of the outermost object."""
        self._advance(self._at + 1)
        while True:
            self._skip(_SPACE_COMMA)
            if self._peek() != '"':
                raise JsonError(f"no member {member!r} in the outermost object")
            _, name, error = self._value()
            self._skip(_SPACE)
            if error is not None or self._peek() != ":":
                raise JsonError(f"line {self._line}: the outermost object is not well-formed")
            self._advance(self._at + 1)
            self._skip(_SPACE)
            if name == member:
                if self._peek() != "[":
                    raise JsonError(f"line {self._line}: member {member!r} is no array")
                self._advance(self._at + 1)
                return
            self._value()

    def _value(self) -> tuple[int, Any, str | None]:
        """The value at ``_at``, which is no white space; goes behind it."""
        line = self._line
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._at)
            except RecursionError:
                raise JsonError(f"line {line}: nested too deeply") from None
            except json.JSONDecodeError as error:
                close = self._end_of_value()
                if close is None and self._more():
                    continue
                end = len(self._buffer) if close is None else close
                raw = self._buffer[self._at : end]
                where = line + self._buffer.count("\n", self._at, min(error.pos, end))
                self._advance(max(end, self._at + 1))
                return line, raw, f"not JSON: {error.msg} on line {where}"
            # A number at the end of the buffer may go on: read until something stands behind it.
            if end == len(self._buffer) and self._more():
                continue
            self._advance(end)
            return line, value, None

    def _end_of_value(self) -> int | None:
        """Where the broken value at ``_at`` ends by its brackets; ``None`` when the buffer ends first."""
        depth = 0
        for match in _STRUCTURE.finditer(self._buffer, self._at):
            mark = match.group()
            if mark[0] == '"':
                if not match.group("close"):
                    return None
            elif mark in "{[":
                depth += 1
            elif mark in "}]":
                depth -= 1
                if depth <= 0:
                    return match.end() if depth == 0 else match.start()
            elif depth == 0:
                return match.start()
        return None
