"""The ``hyperbase`` command: finds the subcommand, and turns every error into one line and an exit code.

Exit codes: 0 clean; 1 damage or a failure was found; 2 wrong usage or unreadable input; 3 some rows were
rejected; 4 a cluster's server ended since others take over what it held. Subcommands import the engine when
they run, so ``hyperbase --help`` does not wait for it.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from hyperbase.cli import (
    cluster_commands,
    config_command,
    demo_command,
    export_command,
    hbck_command,
    import_command,
    inspect_commands,
    master_command,
    region_server_command,
    server_commands,
    shell_command,
)
from hyperbase.cli.console import CommandError, ExitCode, warn
from hyperbase.common.errors import (
    DoNotRetryIOException,
    HBaseIOException,
    IllegalArgumentException,
    NoSuchColumnFamilyException,
    ReadOnlyException,
    StoreFormatException,
    StoreLockedException,
    TableNotEnabledException,
    TableNotFoundException,
)

# What the caller can put right by typing something else; any other error of the store is a failure.
_USAGE_ERRORS: tuple[type[BaseException], ...] = (
    IllegalArgumentException,
    NoSuchColumnFamilyException,
    ReadOnlyException,
    StoreFormatException,
    StoreLockedException,
    TableNotEnabledException,
    TableNotFoundException,
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
TRACEBACK_VARIABLE = "HYPERBASE_TRACEBACK"
LOG_VARIABLE = "HYPERBASE_LOG"  # a level of ``logging``: what the store tells of its work on standard error


def build_parser() -> argparse.ArgumentParser:
    """Every subcommand with its options."""
    parser = argparse.ArgumentParser(
        prog="hyperbase",
        description="A wide-column store with HBase's data model, in one directory.",
        epilog="exit codes: 0 clean, 1 damage or failure found, 2 usage or unreadable input, 3 rows "
        "rejected, 4 a cluster's server lost what it held to others",
    )
    parser.add_argument("--version", action="store_true", help="print the version and leave")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    demo_command.add_parser(subparsers)
    import_command.add_parser(subparsers)
    export_command.add_parser(subparsers)
    inspect_commands.add_parsers(subparsers)
    hbck_command.add_parser(subparsers)
    server_commands.add_parsers(subparsers)
    cluster_commands.add_parser(subparsers)
    master_command.add_parsers(subparsers)
    region_server_command.add_parser(subparsers)
    config_command.add_parser(subparsers)
    shell_command.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code. Usage errors of argparse leave with code 2."""
    _occupy_standard_streams()
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.version:
        import hyperbase

        print(f"hyperbase {hyperbase.__version__}")
        return ExitCode.CLEAN
    if not hasattr(args, "run"):
        parser.print_help()
        return ExitCode.USAGE
    _set_up_logging()
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except BaseException as error:
        if os.environ.get(TRACEBACK_VARIABLE) or isinstance(error, (SystemExit, GeneratorExit)):
            raise
        return _explain(error)
    return code


def _occupy_standard_streams() -> None:
    """A standard stream that the caller closed becomes the null device.

    Else its number, and what is printed, would go to the next file that is opened, perhaps of the store.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            os.set_inheritable(number, True)
            mode = "w" if number else "r"
            setattr(sys, name, os.fdopen(number, mode, closefd=False, encoding="utf-8"))


class _OneLine(logging.Formatter):
    """Log records as one line each; an exception by its message."""

    def format(self, record: logging.LogRecord) -> str:
        text = f"hyperbase: {record.getMessage()}"
        if record.exc_info and record.exc_info[1] is not None:
            text += f": {record.exc_info[1]}"
        return " ".join(text.split())


def _set_up_logging() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine())
    level = os.environ.get(LOG_VARIABLE, "ERROR").upper()
    known = level in logging.getLevelNamesMapping()
    logging.basicConfig(handlers=[handler], level=level if known else "ERROR")


def _explain(error: BaseException) -> ExitCode:
    """One line on standard error, and the exit code."""
    if isinstance(error, BrokenPipeError):  # the reader of our output had enough: `hyperbase … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.CLEAN
    if isinstance(error, KeyboardInterrupt):
        warn("hyperbase: interrupted; every acknowledged write is on disk")
        return ExitCode.DAMAGE
    message = " ".join(str(error).split())
    if isinstance(error, CommandError):
        warn(f"hyperbase: {message}")
        return error.code
    if isinstance(error, _USAGE_ERRORS):
        warn(f"hyperbase: {_named(error, message)}")
        return ExitCode.USAGE
    if isinstance(error, (HBaseIOException, DoNotRetryIOException, OSError)):
        warn(f"hyperbase: {_named(error, message)}")
        return ExitCode.DAMAGE
    warn(
        f"hyperbase: unexpected {type(error).__name__}: {message or 'no message'}; "
        f"please report it with the output of {TRACEBACK_VARIABLE}=1"
    )
    return ExitCode.DAMAGE


def _named(error: BaseException, message: str) -> str:
    """The store's errors carry HBase's name; the system's are plain sentences already."""
    return f"{type(error).__name__}: {message}" if isinstance(error, HBaseIOException) else message


if __name__ == "__main__":
    sys.exit(main())
