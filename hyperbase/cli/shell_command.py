"""``hyperbase shell``: HBase's shell on a directory, a server, or the server of this machine."""

from __future__ import annotations

import argparse
from typing import Any

from hyperbase.cli.console import CommandError

_EPILOG = """\
LOCATION is a directory, which is opened in this process and made when it does not exist, a server as
hyperbase://host:port, or a cluster as zk://host:port/hyperbase. Without one the shell goes to the server
that 'hyperbase start' runs on this machine.
SCRIPT is a file; the prompt comes after it, unless the script ends with exit or -n is given. With -n or -e
the first error ends the shell with exit code 1; docs/shell.md is the guide."""


def add_parser(subparsers: Any) -> None:
    """Describe the command to argparse."""
    parser = subparsers.add_parser(
        "shell",
        help="HBase's shell: a prompt, a script, or commands",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", metavar="LOCATION | SCRIPT", help="see below")
    parser.add_argument(
        "-n", "--noninteractive", action="store_true", help="no prompt; stop at the first error"
    )
    parser.add_argument(
        "-e", "--execute", action="append", default=[], metavar="COMMANDS", help="run and leave"
    )
    parser.add_argument("-d", "--debug", action="store_true", help="tracebacks behind errors")
    parser.add_argument("-D", action="append", default=[], dest="defines", metavar="KEY=VALUE")
    parser.add_argument("--data", metavar="DIR", help="directory of this machine's server")
    parser.add_argument("--top-level-defs", action="store_true", help=argparse.SUPPRESS)  # HBase's, no need
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the shell."""
    from hyperbase.shell.errors import ArgumentError
    from hyperbase.shell.main import run_shell

    try:
        return run_shell(
            args.words,
            data=args.data,
            noninteractive=args.noninteractive,
            commands=args.execute,
            debug=args.debug,
            defines=args.defines,
        )
    except ArgumentError as error:
        raise CommandError(str(error)) from None
