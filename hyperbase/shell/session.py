"""What commands work with: the connection, the output, the user's answers, the variables."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, TextIO

from hyperbase.common.names import canonical_table_name
from hyperbase.shell.errors import ArgumentError
from hyperbase.shell.formatter import Formatter
from hyperbase.shell.interrupts import Interrupts
from hyperbase.shell.strings import bytes_of
from hyperbase.shell.timestamps import format_timestamp
from hyperbase.shell.values import TableReference, inspect

if TYPE_CHECKING:
    from hyperbase.client.admin import Admin
    from hyperbase.client.connection import Connection
    from hyperbase.client.table import Table


class Session:
    """One run of the shell.

    Args:
        interactive: errors are printed and the session goes on; else the first one ends it.
        ask: puts a question and returns the answer, ``""`` at the end of the input.
        width: columns of the output; 0 is no terminal, None asks it.
        epoch: timestamps print as milliseconds since 1970.
        local: the store is in this process, so what is read costs no transfer.
        arguments: what a script finds in ``ARGV``.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        out: TextIO | None = None,
        interactive: bool = True,
        debug: bool = False,
        ask: Callable[[str], str] | None = None,
        width: int | None = 0,
        colours: bool = False,
        epoch: bool = False,
        local: bool = False,
        arguments: list[str] | None = None,
    ) -> None:
        self.connection = connection
        self.out = sys.stdout if out is None else out
        self.interactive = interactive
        self.debug = debug
        self.width = width
        self.colours = colours
        self.epoch = epoch
        self.local = local
        self.open_seconds = 0.0  # what opening the store took
        self.arguments = arguments or []
        self.interrupts = Interrupts()
        self.variables: dict[str, object] = {}
        self.formatter = Formatter(self.out, width, colours)
        self._ask = ask
        self._format_timestamp = lru_cache(maxsize=4096)(format_timestamp)  # rows share them

    @property
    def admin(self) -> Admin:
        """Administration of the store."""
        return self.connection.admin

    def say(self, text: str = "") -> None:
        """One line."""
        self.out.write(text + "\n")

    def ask(self, question: str) -> str:
        """The answer to a question, ``""`` when nobody can answer."""
        if self._ask is None:
            return ""
        self.out.flush()
        with self.interrupts.waiting():
            return self._ask(question)

    def answer_with(self, ask: Callable[[str], str]) -> None:
        """Have questions put this way from now on."""
        self._ask = ask

    def timestamp(self, stamp_ms: int) -> str:
        """A cell's timestamp as it prints."""
        return str(stamp_ms) if self.epoch else self._format_timestamp(stamp_ms)

    def table_name(self, table: object) -> str:
        """The full name of a table given by name or as a reference.

        Raises:
            ArgumentError: it is something else.
        """
        if isinstance(table, TableReference):
            return table.name
        if not isinstance(table, str):
            raise ArgumentError(f"Table name must be of type String, not {inspect(table)}")
        return canonical_table_name(bytes_of(table))

    def table(self, table: object) -> Table:
        """The table itself, given by name or as a reference."""
        if isinstance(table, TableReference):
            return table.table
        return self.connection.table(self.table_name(table).encode(), use_prefix=False)

    def reference(self, table: object) -> TableReference:
        """The table as a value of the shell."""
        return TableReference(self.table_name(table), self.table(table))
