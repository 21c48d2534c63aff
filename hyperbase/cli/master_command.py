"""``hyperbase master``: one master of a cluster, in the foreground; ``hyperbase fault-points``."""

from __future__ import annotations

import argparse
import json
from typing import Any

from hyperbase.cli.console import CommandError, ExitCode, say
from hyperbase.cli.server_commands import add_member_flags, settings_of


def add_parsers(subparsers: Any) -> None:
    """Describe the commands to argparse."""
    parser = subparsers.add_parser(
        "master",
        help="start a master of a cluster",
        description="Start a master: of several, one is active, the others stand by. The first one makes the "
        "root directory. Exit code 4: another master has taken over; start it again.",
    )
    add_member_flags(parser, 16000, 16010)
    parser.set_defaults(run=run_master_command)
    parser = subparsers.add_parser(
        "fault-points",
        help="the places where a test may have a process die (HYPERBASE_FAULT)",
        description="List the places where HYPERBASE_FAULT=name[:nth]:kill|stop|error|delay acts.",
    )
    parser.add_argument("--json", action="store_true", help="as a JSON array")
    parser.set_defaults(run=run_fault_points)


def run_master_command(args: argparse.Namespace) -> ExitCode:
    """Stand by and lead until a signal comes, or the cluster ends."""
    settings = settings_of(args)
    from hyperbase.cluster.run import run_master
    from hyperbase.common.process.life import ServerStartError

    try:
        return ExitCode(run_master(settings, say))
    except ServerStartError as error:
        raise CommandError(str(error)) from error


def run_fault_points(args: argparse.Namespace) -> ExitCode:
    """Print their names."""
    import master.active  # noqa: F401  (declares the procedures' steps)
    from hyperbase.common.fault_points import known

    if args.json:
        say(json.dumps(known(), indent=2))
    else:
        for name in known():
            say(name)
    return ExitCode.CLEAN
