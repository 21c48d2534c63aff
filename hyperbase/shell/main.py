"""``hyperbase shell``: opens the store and picks the mode."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Sequence

import hyperbase
from hyperbase.shell.errors import ArgumentError
from hyperbase.shell.interpreter import Interpreter
from hyperbase.shell.location import resolve
from hyperbase.shell.modes import (
    ask_at_input,
    run_batch,
    run_piped,
    run_script,
    standard_streams,
)
from hyperbase.shell.session import Session

EPOCH_SETTING = "hbase.shell.timestamp.format.epoch"


def run_shell(
    words: Sequence[str],
    *,
    data: str | None = None,
    noninteractive: bool = False,
    commands: Sequence[str] = (),
    debug: bool = False,
    defines: Sequence[str] = (),
) -> int:
    """Run the shell; returns its exit code.

    Args:
        words: ``[LOCATION] [SCRIPT [ARGS]]``. data: the directory of this machine's server.
        commands: texts to run, without a prompt; the first error ends it, as with ``noninteractive``.
        defines: HBase's ``-D key=value``.

    Raises:
        ArgumentError: the words or settings make no sense. HBaseIOException: the store does not open.
    """
    target = resolve(words, data)
    epoch = _settings(defines)
    standard_streams()
    warnings.simplefilter("ignore")  # a regular expression that is odd is the user's own
    if debug:
        logging.getLogger("hyperbase").setLevel(logging.DEBUG)
    batch = noninteractive or bool(commands)
    typed = not batch and sys.stdin.isatty() and sys.stdout.isatty()
    started = time.perf_counter()
    with hyperbase.connect(target.location) as connection:
        session = Session(
            connection,
            interactive=not batch,
            debug=debug,
            ask=lambda question: ask_at_input(sys.stdout, sys.stdin, question),
            width=None if sys.stdout.isatty() else 0,
            colours=sys.stdout.isatty() and not os.environ.get("NO_COLOR"),
            epoch=epoch,
            local="://" not in target.location,
            arguments=target.arguments,
        )
        session.open_seconds = time.perf_counter() - started
        interpreter = Interpreter(session)
        if batch:
            return _run_batches(interpreter, target.script, commands)
        if target.script is not None:
            code = run_script(interpreter, target.script)
            if code is not None:
                return code
        if typed:
            from hyperbase.shell.terminal import run_terminal

            return run_terminal(interpreter)
        return run_piped(interpreter, sys.stdin)


def _run_batches(interpreter: Interpreter, script: str | None, commands: Sequence[str]) -> int:
    """A script first, then what ``-e`` gave; standard input when there is neither."""
    if script is not None:
        with open(script, encoding="utf-8", errors="surrogateescape") as file:
            code = run_batch(interpreter, file)
        if code:
            return code
    for text in commands:
        code = run_batch(interpreter, [text])
        if code:
            return code
    if script is None and not commands:
        return run_batch(interpreter, sys.stdin)
    return 0


def _settings(defines: Sequence[str]) -> bool:
    """Whether timestamps print as numbers."""
    epoch = False
    for define in defines:
        key, _, value = define.partition("=")
        if key != EPOCH_SETTING:
            raise ArgumentError(f"unknown setting -D {key}: there is {EPOCH_SETTING}=true")
        epoch = value.strip().lower() == "true"
    return epoch
