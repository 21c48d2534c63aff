"""The ways to run the shell: commands given with ``-e``, a script, standard input, a prompt.

With ``-n`` or ``-e`` the first error ends it with exit code 1 and one line, ``ERROR Class: message``.
Otherwise errors are told and the session goes on, exit code 0. Statements run one by one as they come,
so what stands before an error in a script has been done.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TextIO

import hyperbase
from hyperbase.shell.errors import IncompleteInput, LeaveShell, ShellError
from hyperbase.shell.interpreter import CommandFailed, Interpreter
from hyperbase.shell.session import Session

BANNER = """\
HBase Shell
Use "help" to get list of supported commands.
Use "exit" to quit this interactive shell.
For Reference, please see docs/shell.md
Version {version}
Took {seconds:.4f} seconds
"""


def prompt_text(number: int, depth: int, continues: bool) -> str:
    """``hbase:001:0> ``; within an unfinished statement ``*`` in place of ``>``."""
    return f"hbase:{number:03d}:{depth}{'*' if continues else '>'} "


def statements(lines: Iterable[str]) -> Iterator[tuple[str, ShellError | None]]:
    """Texts that are complete; the last may come with the error that it is not.

    A text that no further line can complete is handed on as it is: running it tells what is wrong.
    """
    pending = ""
    missing: ShellError | None = None
    for line in lines:
        pending += line if line.endswith("\n") else line + "\n"
        missing = incomplete(pending)
        if missing is None:
            yield pending, None
            pending = ""
    if pending:
        yield pending, missing


def incomplete(text: str) -> ShellError | None:
    """Why the text cannot be run yet; None: it can, or never will."""
    from hyperbase.shell.lexer import tokenize

    try:
        for _ in tokenize(text):
            pass
    except IncompleteInput as error:
        return error
    except ShellError:
        return None
    return None


def run_batch(interpreter: Interpreter, lines: Iterable[str]) -> int:
    """Run statements up to the first error; returns the exit code."""
    out = interpreter.session.out
    try:
        for text, missing in statements(lines):
            if missing is not None:
                raise missing
            interpreter.run(text)
    except LeaveShell as leaving:
        return leaving.code
    except KeyboardInterrupt:
        return 130
    except CommandFailed as failed:
        out.write(f"ERROR {failed}\n")
        return 1
    except ShellError as error:
        out.write(f"ERROR {error.ruby_name}: {error}\n")
        return 1
    return 0


def run_script(interpreter: Interpreter, path: str) -> int | None:
    """Run a script in an interactive session; the exit code if it leaves the shell, else None."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        for text, missing in statements(file):
            code = run_one(interpreter, text, missing)
            if code is not None:
                return code
    return None


def run_one(interpreter: Interpreter, text: str, missing: ShellError | None = None) -> int | None:
    """Run one text in an interactive session; the exit code if it leaves the shell, else None."""
    try:
        if missing is not None:
            raise missing
        interpreter.run(text)
    except LeaveShell as leaving:
        return leaving.code
    except KeyboardInterrupt:  # told already
        pass
    except (ShellError, CommandFailed) as error:
        name = error.ruby_name if isinstance(error, ShellError) else "Error"
        interpreter.session.say(f"{name}: {error}")
    interpreter.session.out.flush()
    return None


def print_banner(session: Session) -> None:
    """What an interactive session begins with."""
    session.out.write(BANNER.format(version=hyperbase.__version__, seconds=session.open_seconds))


def run_piped(interpreter: Interpreter, source: TextIO) -> int:
    """An interactive session whose lines are not typed: they are echoed behind their prompts."""
    session = interpreter.session
    print_banner(session)
    pending, number = "", 1
    missing: ShellError | None = None
    for line in source:
        session.out.write(prompt_text(number, int(bool(pending)), bool(pending)) + line.rstrip("\n") + "\n")
        number += 1
        pending += line
        missing = incomplete(pending)
        if missing is None:
            code = run_one(interpreter, pending)
            if code is not None:
                return code
            pending = ""
    if pending:
        run_one(interpreter, pending, missing)
    session.out.write(prompt_text(number, 0, False) + "\n")
    return 0


def ask_at_input(session_out: TextIO, source: TextIO, question: str) -> str:
    """Put a question on the output and read the answer's line from the input."""
    session_out.write(question)
    session_out.flush()
    return source.readline()


def standard_streams() -> None:
    """Let any bytes pass through standard input and output: keys and values need not be UTF-8."""
    for stream in (sys.stdin, sys.stdout):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors="surrogateescape")
