"""Runs statements: looks words up, evaluates arguments, calls commands in their frame.

The frame of a command is HBase's: what it prints, then ``Took 0.1234 seconds``; an error prints between
blank lines and the session goes on, or, when it is not interactive, ends it.
"""

from __future__ import annotations

import difflib
import time
import traceback
from collections.abc import Callable, Sequence

from hyperbase.shell.constants import CONSTANTS
from hyperbase.shell.errors import ArgumentError, LeaveShell, NameError_, ShellError, ShellSyntaxError
from hyperbase.shell.failures import translate
from hyperbase.shell.help import show_help
from hyperbase.shell.registry import Command, commands
from hyperbase.shell.session import Session
from hyperbase.shell.syntax import (
    Array,
    Assign,
    Call,
    Constant,
    Element,
    Hash,
    Literal,
    Pair,
    Statement,
    Variable,
)
from hyperbase.shell.values import TableReference, inspect, ruby_class, to_s


class CommandFailed(Exception):  # a verdict, already told or about to be
    """A command failed in a session that is not interactive."""

    def __init__(self, ruby_name: str, message: str) -> None:
        super().__init__(f"{ruby_name}: {message}")


class Interpreter:
    """Evaluates what the parser made, in one session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._builtins: dict[str, Callable[[list[object]], object]] = {
            "help": self._help,
            "exit": self._exit,
            "quit": self._exit,
            "puts": self._puts,
        }

    def run(self, source: str) -> None:
        """Run a text of one or more statements; an interactive session prints the last value.

        Raises:
            LeaveShell: ``exit``. KeyboardInterrupt: Ctrl-C.
            CommandFailed, ShellError: something failed; interactive sessions get only the latter, for text
                that is not in the language.
        """
        if source.strip() in ("\\", "\\\\"):
            return show_help(self.session, "converters")
        from hyperbase.shell.parser import parse

        value: object = None
        try:
            for statement in parse(source):
                value = self._statement(statement)
        except RecursionError:
            raise ShellSyntaxError("the statement is nested too deep") from None
        if self.session.interactive and value is not None:
            self.session.say(f"=> {inspect(value)}")

    def _statement(self, statement: Statement) -> object:
        if isinstance(statement, Assign):
            value = self._evaluate(statement.value)
            self.session.variables[statement.name] = value
            return value
        return self._evaluate(statement)

    def _evaluate(self, node: Statement | Pair) -> object:
        match node:
            case Literal(value):
                return value
            case Constant(name):
                return self._constant(name)
            case Array(items):
                return self._arguments(items)
            case Hash(pairs):
                return {self._key(pair): self._evaluate(pair.value) for pair in pairs}
            case Element(value, index):
                return self._element(self._evaluate(value), self._evaluate(index))
            case Variable(name):
                if name in self.session.variables:
                    return self.session.variables[name]
                return self._command(name, [])
            case Call(name, arguments, None):
                return self._command(name, self._arguments(arguments))
            case Call(name, arguments, target):
                return self._method(node, name, arguments, target)
        raise AssertionError(node)

    def _arguments(self, nodes: Sequence[object]) -> list[object]:
        """Values of arguments; neighbouring pairs make one hash."""
        values: list[object] = []
        pairs: dict[object, object] | None = None
        for node in nodes:
            if isinstance(node, Pair):
                if pairs is None:
                    pairs = {}
                    values.append(pairs)
                pairs[self._key(node)] = self._evaluate(node.value)
            else:
                pairs = None
                values.append(self._evaluate(node))  # type: ignore[arg-type]
        return values

    def _key(self, pair: Pair) -> object:
        key = self._evaluate(pair.key)
        if isinstance(key, (list, dict)):
            raise ArgumentError(f"a {ruby_class(key)} cannot be the key of a hash: {inspect(key)}")
        return key

    def _constant(self, name: str) -> object:
        if name == "ARGV":
            return list(self.session.arguments)
        if name in CONSTANTS:
            return name
        raise NameError_(f"uninitialized constant {name}{_suggestion(name, CONSTANTS)}")

    @staticmethod
    def _element(value: object, index: object) -> object:
        if isinstance(value, list) and isinstance(index, int):
            return value[index] if -len(value) <= index < len(value) else None
        if isinstance(value, dict):
            return value.get(index)
        raise ArgumentError(f"{inspect(value)} has no element {inspect(index)}")

    # -- calls -------------------------------------------------------------------------------------------

    def _command(self, name: str, arguments: list[object]) -> object:
        if name in self._builtins:
            return self._builtins[name](arguments)
        found = commands().get(name)
        if found is None:
            raise NameError_(
                f"undefined local variable or method `{name}' for main:Object"
                + _suggestion(name, [*commands(), *self._builtins, *self.session.variables])
            )
        return self.call(found, arguments)

    def _method(self, node: Call, name: str, arguments: Sequence[object], target: object) -> object:
        root = target
        while isinstance(root, Call) and root.target is not None:
            root = root.target
        if isinstance(root, (Constant, Variable)) and root.name in ("org", "java", "Bytes", "Java"):
            raise ShellSyntaxError("there is no Java here: filters are written as text, see help 'scan'")
        value = self._evaluate(target)  # type: ignore[arg-type]
        values = self._arguments(arguments)
        if isinstance(value, TableReference):
            return self._table_method(value, name, values)
        simple: dict[str, Callable[[], object]] = {
            "to_s": lambda: to_s(value),
            "inspect": lambda: inspect(value),
            "size": lambda: len(value) if isinstance(value, (str, list, dict)) else None,
            "length": lambda: len(value) if isinstance(value, (str, list, dict)) else None,
            "first": lambda: value[0] if isinstance(value, list) and value else None,
            "last": lambda: value[-1] if isinstance(value, list) and value else None,
        }
        if name not in simple:
            raise NameError_(f"undefined method `{name}' for {inspect(value)}:{ruby_class(value)}")
        return simple[name]()

    def _table_method(self, reference: TableReference, name: str, values: list[object]) -> object:
        if name == "name":
            return reference.name
        if name == "help":
            self._help(values or ["table_help"])
            return None
        found = commands().get(name)
        if found is None or not found.on_table:
            methods = [entry.name for entry in commands().values() if entry.on_table]
            raise NameError_(
                f"undefined method `{name}' for {inspect(reference)}{_suggestion(name, methods)}"
            )
        return self.call(found, [reference, *values])

    def call(self, command: Command, arguments: list[object]) -> object:
        """Run a command in its frame; the value is None when it failed."""
        session = self.session
        started = time.perf_counter()
        error: Exception | None = None
        value: object = None
        try:
            with session.interrupts.command(command.stoppable):
                command.check_arity(len(arguments))
                value = command.run(session, *arguments)
        except KeyboardInterrupt:
            session.say("")
            session.say(f"{command.name}: interrupted")
            self._took(started)
            raise
        except Exception as caught:  # whatever it is, the session goes on
            error = caught
        if error is not None:
            ruby_name, message = translate(error, session, arguments)
            if not session.interactive:
                if session.debug:
                    session.say("".join(traceback.format_exception(error)).rstrip())
                self._took(started)
                raise CommandFailed(ruby_name, message) from error
            self._show(command, error, message)
        self._took(started)
        return value

    def _show(self, command: Command, error: Exception, message: str) -> None:
        session = self.session
        mark = ("\x1b[31m", "\x1b[0m") if session.colours else ("", "")
        session.say("")
        session.say(f"{mark[0]}ERROR: {message}{mark[1]}")
        if session.debug:
            session.say("".join(traceback.format_exception(error)).rstrip())
        session.say("")
        if not isinstance(error, ShellError) or error.ruby_name != "NotImplementedError":
            session.say(f"For usage try 'help \"{command.name}\"'")
            session.say("")

    def _took(self, started: float) -> None:
        self.session.formatter.padded(f"Took {time.perf_counter() - started:.4f} seconds")
        self.session.out.flush()

    # -- words of the language ---------------------------------------------------------------------------

    def _help(self, arguments: list[object]) -> None:
        show_help(self.session, to_s(arguments[0]) if arguments else None)

    @staticmethod
    def _exit(arguments: list[object]) -> object:
        code = arguments[0] if arguments else 0
        if isinstance(code, bool):
            raise LeaveShell(0 if code else 1)
        raise LeaveShell(code if isinstance(code, int) and 0 <= code < 256 else 0)

    def _puts(self, arguments: list[object]) -> None:
        for value in arguments or [""]:
            for item in value if isinstance(value, list) else [value]:
                self.session.say(to_s(item))


def _suggestion(name: str, known: object) -> str:
    close = difflib.get_close_matches(name, sorted(set(known)), n=1)  # type: ignore[call-overload]
    return f"; did you mean {close[0]}?" if close else ""
