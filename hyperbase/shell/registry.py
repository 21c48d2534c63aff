"""The commands by name and by group, with their help. Modules in ``commands/`` register themselves here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from hyperbase.shell.errors import ArgumentError, NotYetError

# The groups in the order of HBase's help, and what they are called in its longer form.
GROUPS = {
    "general": "GENERAL HBASE SHELL COMMANDS",
    "ddl": "TABLES MANAGEMENT COMMANDS",
    "namespace": "NAMESPACE MANAGEMENT COMMANDS",
    "dml": "DATA MANIPULATION COMMANDS",
    "tools": "HBASE SURGERY TOOLS",
    "replication": "CLUSTER REPLICATION TOOLS",
    "snapshots": "CLUSTER SNAPSHOT TOOLS",
    "configuration": "ONLINE CONFIGURATION TOOLS",
    "quotas": "CLUSTER QUOTAS TOOLS",
    "security": "SECURITY TOOLS",
    "procedures": "PROCEDURES & LOCKS MANAGEMENT",
    "visibility labels": "VISIBILITY LABEL TOOLS",
    "rsgroup": "RSGroups",
}
_MODULES = (
    "general", "table_lifecycle", "table_schema", "table_listing", "namespaces", "reading", "writing",
    "regions", "maintenance", "switches", "servers", "later",
)  # fmt: skip

Run = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Args:
        on_table: its first argument is a table, so ``t.name`` calls it on a reference.
        stoppable: Ctrl-C may end it anywhere, because it only reads.
        least, most: how many arguments it takes; ``most`` of None is any number.
    """

    name: str
    group: str
    run: Run
    help: str
    examples: tuple[str, ...]
    aliases: tuple[str, ...]
    on_table: bool
    stoppable: bool
    least: int
    most: int | None

    def check_arity(self, given: int) -> None:
        """Raises ArgumentError in Ruby's words."""
        if given < self.least or (self.most is not None and given > self.most):
            if self.most is None:
                expected = f"{self.least}+"
            elif self.most == self.least:
                expected = str(self.least)
            else:
                expected = f"{self.least}..{self.most}"
            raise ArgumentError(f"wrong number of arguments (given {given}, expected {expected})")


_commands: dict[str, Command] = {}


def command(
    name: str,
    group: str,
    examples: Sequence[str],
    *,
    aliases: Sequence[str] = (),
    on_table: bool = False,
    stoppable: bool = False,
) -> Callable[[Run], Run]:
    """Register a function ``(shell, *arguments)``; its docstring is the help."""

    def register(run: Run) -> Run:
        least, most = _arity(run)
        text = inspect.cleandoc(run.__doc__ or "")
        _register(
            Command(name, group, run, text, tuple(examples), tuple(aliases), on_table, stoppable, least, most)
        )
        return run

    return register


def register_later(group: str, commands: Iterable[tuple[str, str, str]]) -> None:
    """Register commands ``(name, help, example)`` of HBase's shell that are not there yet."""
    for name, text, example in commands:

        def run(shell: object, *arguments: object, name: str = name) -> None:
            raise NotYetError(f"{name} is not in this version of the shell yet")

        _register(Command(name, group, run, text, (example,), (), name == "snapshot", False, 0, None))


def _register(entry: Command) -> None:
    assert entry.group in GROUPS, entry.group
    for name in (entry.name, *entry.aliases):
        assert name not in _commands, name
        _commands[name] = entry


def _arity(run: Run) -> tuple[int, int | None]:
    parameters = list(inspect.signature(run).parameters.values())[1:]
    least = sum(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return least, None
    return least, len(parameters)


def commands() -> dict[str, Command]:
    """Every command by its name, and by its aliases."""
    for module in _MODULES:
        import_module(f"hyperbase.shell.commands.{module}")
    return _commands


def group_commands(group: str) -> list[Command]:
    """The commands of a group by name, each once."""
    found = {entry.name: entry for entry in commands().values() if entry.group == group}
    return [found[name] for name in sorted(found)]
