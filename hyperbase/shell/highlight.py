"""The parts of a line by their kind, for colouring while it is typed; any text, finished or not."""

from __future__ import annotations

import re
from collections.abc import Iterator

_PART = re.compile(
    r"""(?P<comment>\#.*)
  | (?P<string>'(?:[^'\\]|\\.)*'?|"(?:[^"\\]|\\.)*"?)
  | (?P<constant>\b[A-Z]\w*)
  | (?P<number>(?<![\w.])[+-]?\d[\w.]*)
  | (?P<command>(?:^|(?<=;)|(?<==))\s*[a-z_]\w*(?!\s*=[^>]))
    """,
    re.VERBOSE,
)


def highlight(line: str) -> Iterator[tuple[str, str]]:
    """``(kind, text)``; the kinds are comment, string, constant, number, command and, for the rest, empty."""
    position = 0
    for match in _PART.finditer(line):
        if match.start() > position:
            yield "", line[position : match.start()]
        if match[0]:
            yield str(match.lastgroup), match[0]
        position = match.end()
    if position < len(line):
        yield "", line[position:]
