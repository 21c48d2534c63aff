"""Tables on the terminal, laid out as HBase's shell lays them out.

On a terminal of width W the first of two columns is W / 4 wide, the second takes the rest; longer texts
go on in the next line, shorter ones are padded. Elsewhere nothing is wrapped or padded. A header of two
columns is not inset, rows are, by one space; a single column never is.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import TextIO

_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"


class Formatter:
    """Writes rows to ``out``; ``width`` 0 is no terminal, ``None`` asks the terminal each time.

    Args:
        colours: headers in bold.
    """

    def __init__(self, out: TextIO, width: int | None = None, colours: bool = False) -> None:
        self.out = out
        self.row_count = 0
        self._width = width
        self._colours = colours
        self._columns = 0  # of the terminal when the current table began

    def _refresh(self) -> None:
        self._columns = shutil.get_terminal_size().columns if self._width is None else self._width

    def line(self, text: str = "") -> None:
        """A line as it is."""
        self.out.write(text + "\n")

    def padded(self, text: str) -> None:
        """A line of its own, padded to the terminal's width as HBase pads ``Took``."""
        self._refresh()
        self.line(text.ljust(self._columns))

    def header(self, names: Sequence[str]) -> None:
        """Begin a table."""
        self._refresh()
        if self._colours:
            self.out.write(_BOLD)
        self.row(names, inset=False)
        if self._colours:
            self.out.write(_PLAIN)
        self.row_count = 0

    def row(self, values: Sequence[str], inset: bool = True) -> None:
        """One row of one, two or more columns."""
        if len(values) == 1:
            for part in _split(self._columns, values[0]):
                self.line(part.ljust(self._columns))
        elif len(values) == 2:
            self._pair(values[0], values[1], inset)
        else:
            self.line(" " + " ".join(values))
        self.row_count += 1

    def _pair(self, left: str, right: str, inset: bool) -> None:
        if not self._columns:
            self.out.write(f" {left} {right}\n" if inset else f"{left}  {right}\n")
            return
        left_width = self._columns // 4
        right_width = max(1, self._columns - left_width - 2)
        lefts, rights = _split(left_width, left), _split(right_width, right)
        for index in range(max(len(lefts), len(rights))):
            first = lefts[index] if index < len(lefts) else ""
            second = rights[index] if index < len(rights) else ""
            before, between = (" ", " ") if inset else ("", "  ")
            self.line(before + first.ljust(left_width) + between + second.ljust(right_width))

    def footer(self, count: int | None = None) -> None:
        """``N row(s)``: the rows printed since the header, or as told."""
        self.line(f"{self.row_count if count is None else count} row(s)")


def _split(width: int, text: str) -> list[str]:
    if not width:
        return [text]
    return [text[begin : begin + width] for begin in range(0, len(text), width)]
