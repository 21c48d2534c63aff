"""The Unicode Character Database as rows of a table: as every Python carries it, today's and that of 2002.

One row per assigned code point but private use and surrogates; the key is the code point in six hexadecimal
digits, so rows sort as code points do. Values are text; what is at its default (not mirrored, no decimal
value, …) has no cell, unless it was something else in 2002.
"""

from __future__ import annotations

import datetime
import sys
import unicodedata
from collections.abc import Iterator

FAMILIES = ("name", "prop", "num", "map")
OLD_DATE = datetime.date(2002, 3, 27)  # Unicode 3.2

# When a version of the Unicode Standard came out; Python 3.11 has 14.0.
_DATES = {
    "13.0.0": datetime.date(2020, 3, 10),
    "14.0.0": datetime.date(2021, 9, 14),
    "15.0.0": datetime.date(2022, 9, 13),
    "15.1.0": datetime.date(2023, 9, 12),
    "16.0.0": datetime.date(2024, 9, 10),
    "17.0.0": datetime.date(2025, 9, 9),
}
_LEFT_OUT = {"Cn", "Co", "Cs"}  # not assigned, private use, surrogates

Cells = dict[bytes, bytes]


def milliseconds(date: datetime.date) -> int:
    """Midnight UTC as a timestamp."""
    return int(datetime.datetime.combine(date, datetime.time(), datetime.UTC).timestamp()) * 1000


def current_date() -> datetime.date:
    """When the version of this Python's database came out; of a version after our time, today."""
    return _DATES.get(unicodedata.unidata_version, datetime.datetime.now(datetime.UTC).date())


OLD_STAMP = milliseconds(OLD_DATE)


def row_key(code: int) -> bytes:
    """Six hexadecimal digits: keys sort as numbers do."""
    return b"%06X" % code


def _number(value: float) -> bytes:
    return b"%d" % int(value) if value == int(value) else repr(value).encode()


def _properties(database: unicodedata.UCD, char: str, category: str) -> Cells:
    """What one edition of the database says of a character."""
    cells = {b"prop:category": category.encode()}
    name = database.name(char, "")
    if name:
        cells[b"name:name"] = name.encode()
    bidirectional = database.bidirectional(char)
    if bidirectional:
        cells[b"prop:bidirectional"] = bidirectional.encode()
    combining = database.combining(char)
    if combining:
        cells[b"prop:combining"] = b"%d" % combining
    if database.mirrored(char):
        cells[b"prop:mirrored"] = b"1"
    width = database.east_asian_width(char)
    if width != "N":
        cells[b"prop:east_asian_width"] = width.encode()
    numeric = database.numeric(char, None)
    if numeric is not None:
        cells[b"num:numeric"] = _number(numeric)
        decimal, digit = database.decimal(char, None), database.digit(char, None)
        if decimal is not None:
            cells[b"num:decimal"] = b"%d" % decimal
        if digit is not None:
            cells[b"num:digit"] = b"%d" % digit
    decomposition = database.decomposition(char)
    if decomposition:
        cells[b"map:decomposition"] = decomposition.encode()
    return cells


_DEFAULTS = {b"prop:combining": b"0", b"prop:mirrored": b"0", b"prop:east_asian_width": b"N"}


def _mappings(char: str) -> Cells:
    """The computed columns: other forms of the character, where they differ from it, and its UTF-8 bytes."""
    encoded = char.encode()
    cells = {b"map:utf8": encoded.hex(" ").encode()}
    forms = (
        (b"map:upper", char.upper()),
        (b"map:lower", char.lower()),
        (b"map:title", char.title()),
        (b"map:nfd", unicodedata.normalize("NFD", char)),
        (b"map:nfkd", unicodedata.normalize("NFKD", char)),
    )
    for column, form in forms:
        if form != char:
            cells[column] = form.encode()
    return cells


def rows() -> Iterator[tuple[int, bytes, Cells, Cells]]:
    """``(code point, row key, cells of 2002, cells of today)``; newer characters have no cells of 2002."""
    old = unicodedata.ucd_3_2_0
    new: unicodedata.UCD = unicodedata  # type: ignore[assignment]  # the module has the same functions
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        category = unicodedata.category(char)
        if category in _LEFT_OUT:
            continue
        old_category = old.category(char)
        before = _properties(old, char, old_category) if old_category != "Cn" else {}
        now = _properties(new, char, category)
        for column in before.keys() - now.keys():
            now[column] = _DEFAULTS.get(column, b"")
        now.update(_mappings(char))
        yield code, row_key(code), before, now
