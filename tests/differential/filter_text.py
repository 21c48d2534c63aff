"""Random filter strings over the whole grammar HBase's ParseFilter reads.

Names, operators and comparators are HBase's; rows, qualifiers, values and timestamps come from the small
space the operations use, so that filters hit about as often as they miss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

OPERATORS = ("<", "<=", "=", "!=", ">=", ">")
PATTERNS = ("v", "^v1$", "v.", "[ab]", "V2", "^$", "v1|v3", "q+")

# What the grammar refuses or barely accepts; `{}` is replaced by a random well-formed filter.
ODD = (
    "PrefixFilter(row)",
    "PageFilter('3')",
    "PageFilter(05)",
    "PageFilter(-1)",
    "ColumnPaginationFilter('1','2')",
    "ColumnCountGetFilter(2147483648)",
    "TimestampsFilter()",
    "TimestampsFilter(1,,2)",
    "MultipleColumnPrefixFilter()",
    "PrefixFilter('')",
    "NoSuchFilter('a')",
    "ValueFilter(=,'binary')",
    "ValueFilter(=,'nosuch:v')",
    "ValueFilter(>>,'binary:v')",
    "ValueFilter(<,'substring:v')",
    "ValueFilter(<,'regexstring:v')",
    "RowFilter(=)",
    "{} {}",
    "{} and {}",
    "{} AND",
    "AND {}",
    "({} AND {}",
    "{})",
    "(({}))",
    "()",
    "",
    "SKIP",
    "{}AND {}",
    "({})AND({})",
    "{} OR{}",
    "SKIP SKIP {}",
    "WHILE(SKIP({}))",
    "PrefixFilter ('a')",
    "PrefixFilter('a',)",
    "KeyOnlyFilter(true)",
    "KeyOnlyFilter('a')",
    "FirstKeyOnlyFilter(1)",
    "InclusiveStopFilter('b''a')",
    "ColumnRangeFilter('a',TRUE,'r',False)",
    "ColumnRangeFilter('a',yes,'r',false)",
)


class FilterText:
    """Draws filter strings; ``draw`` is the only door."""

    def __init__(
        self,
        random: Random,
        rows: Sequence[bytes],
        families: Sequence[str],
        qualifiers: Sequence[bytes],
        values: Sequence[bytes],
        stamp: Callable[[], int],
    ) -> None:
        self.random = random
        self.rows, self.families, self.qualifiers, self.values = rows, families, qualifiers, values
        self.stamp = stamp

    def draw(self, on_get: bool) -> str:
        """One filter string; one in twenty is odd or wrong. ``on_get`` lets Get-only filters in."""
        random = self.random
        if random.random() < 0.05:
            odd = random.choice(ODD)
            while "{}" in odd:
                odd = odd.replace("{}", self._leaf(on_get), 1)
            return odd
        return self._expression(random.choice((0, 0, 0, 1, 1, 2)), on_get)

    def _expression(self, depth: int, on_get: bool) -> str:
        random = self.random
        if depth == 0:
            text = self._leaf(on_get)
            if random.random() < 0.15:
                text = f"{random.choice(('SKIP', 'WHILE'))} {text}"
            return text
        parts = [self._expression(depth - 1, on_get) for _ in range(random.choice((2, 2, 3)))]
        text = parts[0]
        for part in parts[1:]:
            text += f" {random.choice(('AND', 'OR'))} {part}"
        if random.random() < 0.4:
            text = f"({text})"
            if random.random() < 0.3:
                text = f"{random.choice(('SKIP', 'WHILE'))} {text}"
        return text

    def _leaf(self, on_get: bool) -> str:
        kinds = [
            "KeyOnly",
            "FirstKeyOnly",
            "Prefix",
            "ColumnPrefix",
            "MultipleColumnPrefix",
            "Page",
            "ColumnPagination",
            "InclusiveStop",
            "Timestamps",
            "Row",
            "Family",
            "Qualifier",
            "Value",
            "Value",
            "ColumnRange",
            "SingleColumnValue",
            "SingleColumnValue",
            "SingleColumnValueExclude",
            "ColumnValue",
            "DependentColumn",
        ]
        if on_get:
            kinds.append("ColumnCountGet")
        kind = self.random.choice(kinds)
        return f"{kind}Filter({', '.join(self._arguments(kind))})"

    def _arguments(self, kind: str) -> list[str]:
        random = self.random
        number = random.choice((0, 1, 1, 2, 3, 5))
        if kind in ("KeyOnly", "FirstKeyOnly"):
            return []
        if kind in ("Prefix", "InclusiveStop"):
            return [_quote(self._part(self.rows))]
        if kind == "ColumnPrefix":
            return [_quote(self._part(self.qualifiers))]
        if kind == "MultipleColumnPrefix":
            return [_quote(self._part(self.qualifiers)) for _ in range(random.choice((1, 2, 3)))]
        if kind in ("Page", "ColumnCountGet"):
            return [str(number)]
        if kind == "ColumnPagination":
            return [str(number), str(random.choice((0, 0, 1, 2)))]
        if kind == "Timestamps":
            return [str(self.stamp()) for _ in range(random.choice((1, 2, 4)))]
        if kind == "Row":
            return self._comparison(self.rows)
        if kind == "Family":
            return self._comparison([family.encode() for family in self.families])
        if kind == "Qualifier":
            return self._comparison(self.qualifiers)
        if kind == "Value":
            return self._comparison(self.values)
        if kind == "ColumnRange":
            low, high = self._part(self.qualifiers), self._part(self.qualifiers)
            return [_quote(low), self._flag(), _quote(high), self._flag()]
        column = [_quote(random.choice(self.families).encode()), _quote(random.choice(self.qualifiers))]
        if kind == "ColumnValue":
            return column + self._comparison(self.values)
        if kind == "DependentColumn":
            if random.random() < 0.4:
                return column
            column.append(self._flag())
            return column if random.random() < 0.5 else column + self._comparison(self.values)
        column += self._comparison(self.values)
        return column if random.random() < 0.5 else [*column, self._flag(), self._flag()]

    def _comparison(self, space: Sequence[bytes]) -> list[str]:
        random = self.random
        kind = random.choice(("binary", "binary", "binaryprefix", "regexstring", "substring"))
        operator = random.choice(OPERATORS if kind.startswith("binary") else ("=", "!="))
        value = random.choice(PATTERNS).encode() if kind == "regexstring" else self._part(space)
        return [operator, _quote(kind.encode() + b":" + value)]

    def _part(self, space: Sequence[bytes]) -> bytes:
        """An element of the space, or a prefix of one; only text, for a filter string is text."""
        element = self.random.choice([one for one in space if one.isascii() and b"\0" not in one])
        return element[: self.random.randint(1, 2)] if self.random.random() < 0.3 else element

    def _flag(self) -> str:
        return self.random.choice(("true", "false"))


def _quote(value: bytes) -> str:
    return "'" + value.decode("ascii").replace("'", "''") + "'"
