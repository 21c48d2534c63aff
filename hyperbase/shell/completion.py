"""What may come next while a line is typed: commands, tables, column families, attributes, variables.

``candidates`` is a plain function of the text before the cursor, so that any line editor can use it.
Names of tables and families are asked from the store when they are first needed and kept some seconds.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from hyperbase.common.errors import HBaseIOException
from hyperbase.shell.constants import (
    CONSTANTS,
    CREATE_OPTIONS,
    FAMILY_ATTRIBUTES,
    SCAN_OPTIONS,
    TABLE_ATTRIBUTES,
)
from hyperbase.shell.registry import GROUPS, commands
from hyperbase.shell.values import TableReference

if TYPE_CHECKING:
    from hyperbase.shell.session import Session

KEEP_S = 5.0
WORDS = ("help", "exit", "quit", "puts")

_STATEMENT = re.compile(r"(?:^|;)\s*(?:[a-z_]\w*\s*=(?!>)\s*)?(?P<rest>[^;]*)$")
_FIRST_WORD = re.compile(r"[\w.]*$")
_CONSTANT = re.compile(r"[A-Z]\w*$")
_VARIABLE = re.compile(r"[a-z_]\w*$")
_FIRST_STRING = re.compile(r"""^\s*\w+[\s(]+(['"])(.*?)\1""")
_TARGET = re.compile(r"^\s*([a-z_]\w*)\.(\w+)")

_OPTIONS: dict[str, tuple[str, ...]] = {
    "scan": SCAN_OPTIONS,
    "get": (
        "COLUMN", "COLUMNS", "VERSIONS", "TIMESTAMP", "TIMERANGE", "FILTER", "FORMATTER", "FORMATTER_CLASS",
        "MAXLENGTH",
    ),
    "count": ("INTERVAL", "CACHE", "FILTER", "COLUMNS", "STARTROW", "STOPROW", "ROWPREFIXFILTER"),
    "create": (*CREATE_OPTIONS, *FAMILY_ATTRIBUTES, *TABLE_ATTRIBUTES),
    "alter": ("NAME", "METHOD", *FAMILY_ATTRIBUTES, *TABLE_ATTRIBUTES),
    "alter_async": ("NAME", "METHOD", *FAMILY_ATTRIBUTES, *TABLE_ATTRIBUTES),
    "put": ("TTL", "ATTRIBUTES"),
    "incr": ("TTL", "ATTRIBUTES"),
    "append": ("TTL", "ATTRIBUTES"),
    "deleteall": ("ROWPREFIXFILTER", "CACHE"),
}  # fmt: skip


class Completer:
    """Completes lines of one session."""

    def __init__(self, session: Session, clock: Callable[[], float] = time.monotonic) -> None:
        self._session = session
        self._clock = clock
        self._kept: dict[str, tuple[float, list[str]]] = {}

    def candidates(self, before: str) -> tuple[int, list[str]]:
        """``(how many characters before the cursor are replaced, what may stand there)``."""
        match = _STATEMENT.search(before.replace("\n", " "))
        rest = match["rest"] if match is not None else before
        quote = self._open_quote(rest)
        if quote is not None:
            return self._in_string(rest, quote)
        word = _FIRST_WORD.search(rest)
        if word is not None and not rest[: word.start()].strip():
            return self._first_word(word[0])
        constant = _CONSTANT.search(rest)
        if constant is not None:
            options = _OPTIONS.get(self._command(rest), tuple(sorted(CONSTANTS)))
            return len(constant[0]), _matching(options, constant[0])
        variable = _VARIABLE.search(rest)
        if variable is not None:
            return len(variable[0]), _matching(
                [*self._session.variables, "true", "false", "nil"], variable[0]
            )
        if rest.rstrip().endswith(("{", ",")) and self._command(rest) in _OPTIONS:
            return 0, list(dict.fromkeys(_OPTIONS[self._command(rest)]))
        return 0, []

    def _first_word(self, word: str) -> tuple[int, list[str]]:
        name, dot, method = word.partition(".")
        if dot:
            if not isinstance(self._session.variables.get(name), TableReference):
                return 0, []
            methods = sorted(
                {entry.name for entry in commands().values() if entry.on_table} | {"help", "name"}
            )
            return len(method), _matching(methods, method)
        return len(word), _matching([*commands(), *WORDS, *self._session.variables], word)

    @staticmethod
    def _open_quote(rest: str) -> str | None:
        """The quote of a string that is not closed yet."""
        quote: str | None = None
        escaped = False
        for char in rest:
            if escaped:
                escaped = False
            elif quote is not None and char == "\\":
                escaped = True
            elif quote is not None:
                quote = None if char == quote else quote
            elif char in "'\"":
                quote = char
            elif char == "#":
                return None
        return quote

    def _command(self, rest: str) -> str:
        target = _TARGET.match(rest)
        if target is not None:
            return target[2]
        words = rest.replace("(", " ").split()
        return words[0] if words else ""

    def _table(self, rest: str) -> str | None:
        """The table that the line names."""
        target = _TARGET.match(rest)
        if target is not None:
            value = self._session.variables.get(target[1])
            return value.name if isinstance(value, TableReference) else None
        first = _FIRST_STRING.match(rest)
        return None if first is None else first[2]

    def _in_string(self, rest: str, quote: str) -> tuple[int, list[str]]:
        typed = rest[rest.rfind(quote) + 1 :]
        name = self._command(rest)
        table = self._table(rest[: len(rest) - len(typed) - 1])
        if name == "help" or rest.lstrip().startswith("help"):
            names: Iterable[str] = [*commands(), *GROUPS]
        elif table is not None:
            names = [] if name in ("list", "list_namespace") else self._columns(table)
        elif name.endswith("namespace") or name == "list_namespace_tables":
            names = self._ask("namespaces", self._session.admin.list_namespaces)
        elif name == "create":
            names = [f"{each}:" for each in self._ask("namespaces", self._session.admin.list_namespaces)]
        else:
            names = [*self._ask("tables", self._session.admin.list_tables), "hbase:meta"]
        return len(typed), [
            each + quote if not each.endswith(":") else each for each in _matching(names, typed)
        ]

    def _columns(self, table: str) -> list[str]:
        def families() -> list[str]:
            described = self._session.admin.describe_table(table)
            return [name.decode("utf-8", "replace") for name in described.family_names]

        found = self._ask(f"families of {table}", families)
        return [*found, *(f"{name}:" for name in found)]

    def _ask(self, what: str, ask: Callable[[], list[str]]) -> list[str]:
        now = self._clock()
        when, names = self._kept.get(what, (now - 2 * KEEP_S, []))
        if now - when > KEEP_S:
            try:
                names = ask()
            except (HBaseIOException, OSError):
                names = []
            self._kept[what] = (now, names)
        return names


def _matching(names: Iterable[str], begin: str) -> list[str]:
    found: Sequence[str] = [name for name in names if name.startswith(begin)]
    return sorted(dict.fromkeys(found))
