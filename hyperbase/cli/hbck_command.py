"""``hyperbase hbck``: whether hbase:meta, ZooKeeper, the servers and the files agree.

A URL is looked at by the active master, or the server; a directory by this process, while nobody uses it.
Exit codes: 0 consistent, or all was repaired; 1 inconsistencies are left; 2 it could not be looked at.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from hyperbase.cli.console import CommandError, ExitCode, say
from hyperbase.common.errors import HBaseIOException
from hyperbase.common.inconsistency import Inconsistency

_CANNOT = (HBaseIOException, OSError, ValueError, ImportError)  # look at it: not there, in use, damaged


def add_parser(subparsers: Any) -> None:
    """Describe the command to argparse."""
    parser = subparsers.add_parser(
        "hbck", help="check that catalogue, servers and files agree; repair what loses nothing"
    )
    parser.add_argument(
        "targets",
        metavar="URL_OR_DIR",
        nargs="+",
        help="zk://… or hyperbase://… of what is running, or the directory of what is not",
    )
    parser.add_argument("--json", action="store_true", help="print what is found as JSON")
    parser.add_argument(
        "--repair", action="store_true", help="repair what loses nothing, and say what was done"
    )
    parser.add_argument(
        "--rebuild-meta",
        action="store_true",
        help="write hbase:meta anew from the regions' directories; only where nobody is at work",
    )
    parser.set_defaults(run=run_hbck)


def run_hbck(args: argparse.Namespace) -> ExitCode:
    """Look at each target; the worst of them decides the exit code."""
    if args.rebuild_meta:
        if args.repair or any(map(_is_url, args.targets)):
            raise CommandError(
                "--rebuild-meta is for directories that nobody uses, without --repair: stop the cluster, and "
                "give its root directory"
            )
        return max(_rebuild(target, args.json) for target in args.targets)
    outcomes = [_look(target, args.repair) for target in args.targets]
    if args.json:
        say(json.dumps([_as_json(*outcome) for outcome in outcomes], indent=2))
    else:
        for outcome in outcomes:
            _say_findings(*outcome)
    consistent = all(one.repaired for _, findings in outcomes for one in findings)
    return ExitCode.CLEAN if consistent else ExitCode.DAMAGE


def _is_url(target: str) -> bool:
    return target.startswith(("zk://", "hyperbase://"))


def _look(target: str, repair: bool) -> tuple[str, Sequence[Inconsistency]]:
    """The target, and what was found.

    Raises:
        CommandError: it could not be looked at.
    """
    try:
        if _is_url(target):
            import hyperbase

            with hyperbase.connect(target) as connection:
                return target, connection.admin.hbck(repair)
        from master.hbck_offline import check_directory

        return target, check_directory(target, repair)
    except _CANNOT as error:
        raise CommandError(f"{target} could not be checked: {_words(error)}") from error


def _words(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{type(error).__name__}: {text}" if isinstance(error, HBaseIOException) else text


def _as_json(target: str, findings: Sequence[Inconsistency]) -> dict[str, Any]:
    return {
        "target": target,
        "consistent": all(one.repaired for one in findings),
        "inconsistencies": [one.to_dict() for one in findings],
    }


def _say_findings(target: str, findings: Sequence[Inconsistency]) -> None:
    for one in findings:
        if one.repaired:
            say(f"repaired: {one.text}: {one.repaired}")
        else:
            say(f"{one.kind}: {one.text}")
    left = sum(not one.repaired for one in findings)
    say(f"{target}: {left} inconsistencies" if left else f"{target}: consistent")


def _rebuild(target: str, as_json: bool) -> ExitCode:
    """Write hbase:meta anew; prints what was decided."""
    from master.hbck_offline import rebuild_directory

    try:
        plan = rebuild_directory(target)
    except _CANNOT as error:
        raise CommandError(f"hbase:meta of {target} could not be written anew: {_words(error)}") from error
    tables = {table.descriptor.name: len(table.regions) for table in plan.tables}
    if as_json:
        found = {"target": target, "rebuilt": not plan.problems, "tables": tables}
        say(json.dumps({**found, "notes": plan.notes, "problems": plan.problems}, indent=2))
    else:
        for note in plan.notes:
            say(note)
        for problem in plan.problems:
            say(f"problem: {problem}")
        done = "nothing was written" if plan.problems else "hbase:meta was written anew"
        say(f"{target}: {done}: {len(tables)} tables, {sum(tables.values())} regions")
    return ExitCode.DAMAGE if plan.problems else ExitCode.CLEAN
