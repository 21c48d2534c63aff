"""``hyperbase regionserver``: one region server of a cluster, in the foreground."""

from __future__ import annotations

import argparse
from typing import Any

from hyperbase.cli.console import CommandError, ExitCode, say
from hyperbase.cli.server_commands import add_member_flags, settings_of


def add_parser(subparsers: Any) -> None:
    """Describe the command to argparse."""
    parser = subparsers.add_parser(
        "regionserver",
        help="start a region server of a cluster",
        description="Start a region server: it joins the cluster that a master has started in ZooKeeper, and "
        "serves the regions that it is given, until a signal comes or the cluster ends. Exit code 4: it lost "
        "what it served to others; start it again.",
    )
    add_member_flags(parser, 16020, 16030)
    parser.set_defaults(run=run_region_server_command)


def run_region_server_command(args: argparse.Namespace) -> ExitCode:
    """Serve until a signal comes, or the cluster ends."""
    settings = settings_of(args)
    from hyperbase.cluster.run import run_region_server
    from hyperbase.common.process.life import ServerStartError

    try:
        return ExitCode(run_region_server(settings, say))
    except ServerStartError as error:
        raise CommandError(str(error)) from error
