"""``hyperbase cluster start``, ``status``, ``stop`` and ``kill``: a whole cluster on one machine."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from hyperbase.cli import cluster_demo
from hyperbase.cli.console import CommandError, ExitCode, say, warn
from hyperbase.common.errors import IllegalArgumentException

if TYPE_CHECKING:
    from collections.abc import Callable

    from hyperbase.cluster.layout import ClusterFile, Layout, ProcessRecord
    from hyperbase.cluster.view import ClusterView
    from hyperbase.common.zookeeper.location import ZooKeeperLocation

DEFAULT_DIRECTORY = "./hyperbase-cluster"
START_TIMEOUT_S = 120.0
STOP_SLACK_S = 30.0  # beyond the time after which the supervisor kills what does not end
READY, NOT_READY, NOT_RUNNING = 0, 1, 2  # exit codes of status
SIGNALS = {"KILL": signal.SIGKILL, "STOP": signal.SIGSTOP, "CONT": signal.SIGCONT}
_LAST_LINE = "ready"
_POLL_S = 0.05


def add_parser(subparsers: Any) -> None:
    """Describe the commands to argparse."""
    parser = subparsers.add_parser(
        "cluster", help="a cluster on this machine: start, status, stop, kill, demo"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    start = commands.add_parser(
        "start",
        help="start ZooKeeper, masters and region servers",
        description="Start a cluster in a directory, and a supervisor that starts again what dies. Returns "
        "when the cluster is ready. Settings of the processes: --config, or hyperbase.toml in the directory, "
        "and the environment.",
    )
    _add_directory(start)
    start.add_argument("--regionservers", type=int, default=3, metavar="N", help="default: %(default)s")
    start.add_argument(
        "--masters", type=int, default=2, metavar="N", help="one is active (default: %(default)s)"
    )
    start.add_argument(
        "--zookeeper",
        metavar="HOST:PORT[,…][/ROOT]",
        help="one that runs, instead of one of the cluster's own",
    )
    start.add_argument("--config", metavar="FILE", help="settings of masters and region servers")
    place = start.add_mutually_exclusive_group()
    place.add_argument(
        "--daemon", action="store_true", help="leave the supervisor in the background: the default"
    )
    place.add_argument("--foreground", action="store_true", help="stay, until Ctrl-C or SIGTERM: for systemd")
    start.add_argument(
        "--timeout",
        type=float,
        default=START_TIMEOUT_S,
        metavar="S",
        help="to be ready in (default: %(default)g)",
    )
    start.set_defaults(run=run_start)
    status = commands.add_parser("status", help="exit code 0: ready, 1: degraded, 2: not running")
    _add_directory(status)
    status.add_argument("--json", action="store_true", help="as one JSON object")
    status.set_defaults(run=run_status)
    stop = commands.add_parser("stop", help="stop everything, cleanly")
    _add_directory(stop)
    stop.set_defaults(run=run_stop)
    kill = commands.add_parser("kill", help="send a process of the cluster a signal, to see what happens")
    kill.add_argument("name", metavar="NAME", help="as in status: host,port,startcode, or regionserver-1")
    kill.add_argument("--signal", choices=list(SIGNALS), default="KILL", help="default: %(default)s")
    _add_directory(kill)
    kill.set_defaults(run=run_kill)
    cluster_demo.add_parser(commands)


def _add_directory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", default=DEFAULT_DIRECTORY, metavar="DIR", help="default: %(default)s")


def _layout(args: argparse.Namespace) -> Layout:
    from hyperbase.cluster.layout import Layout

    return Layout(os.path.realpath(args.dir))


def _known(layout: Layout) -> ClusterFile:
    from hyperbase.cluster.layout import read_cluster_file

    found = read_cluster_file(layout)
    if found is None:
        raise CommandError(f"there is no cluster in {layout.directory}", ExitCode.DAMAGE)
    return found


# -- start -----------------------------------------------------------------------------------------


def run_start(args: argparse.Namespace) -> int:
    """Start the cluster; its supervisor stays, here or in the background."""
    for name in ("regionservers", "masters"):
        if getattr(args, name) < 1:
            raise CommandError(f"--{name} must be 1 or more, not {getattr(args, name)}")
    layout, zookeeper = _layout(args), _location(args.zookeeper)
    config = os.path.abspath(args.config) if args.config else None
    try:
        layout.make()
    except OSError as error:
        raise CommandError(f"{layout.directory} cannot be made: {error.strerror}") from error
    if args.foreground:
        return _supervise(args, layout, zookeeper, config, say)
    from hyperbase.cli.daemon import fork

    daemon = fork(_LAST_LINE)
    if isinstance(daemon, ExitCode):
        return daemon

    def announce(line: str) -> None:
        say(line)
        if line == _LAST_LINE:
            daemon.release(layout.log("supervisor"))

    return _supervise(args, layout, zookeeper, config, announce)


def _location(text: str | None) -> ZooKeeperLocation | None:
    from hyperbase.common.zookeeper.location import SCHEME, ZooKeeperLocation

    if text is None:
        return None
    return ZooKeeperLocation.parse(text if text.startswith(SCHEME) else SCHEME + text)


def _supervise(
    args: argparse.Namespace,
    layout: Layout,
    zookeeper: ZooKeeperLocation | None,
    config: str | None,
    announce: Callable[[str], None],
) -> int:
    from hyperbase.cluster.supervisor import ClusterStartError, Supervisor
    from hyperbase.cluster.zookeeper_process import ZooKeeperMissingError, find_zookeeper
    from hyperbase.common.logs import set_up_logging

    try:
        if zookeeper is None:
            find_zookeeper()
        set_up_logging("INFO", "text", layout.log("supervisor"), 64 * 1024 * 1024, 5)
        supervisor = Supervisor(
            layout,
            args.masters,
            args.regionservers,
            lambda record: _command(layout, record, supervisor.url, config),
            zookeeper,
        )
        return supervisor.run(lambda view: _announce(view, announce), args.timeout)
    except (ClusterStartError, ZooKeeperMissingError) as error:
        raise CommandError(str(error), ExitCode.DAMAGE) from error


def _command(layout: Layout, record: ProcessRecord, url: str, config: str | None) -> list[str]:
    """What is run as a process of the cluster."""
    from hyperbase.cluster.layout import ZOOKEEPER
    from hyperbase.cluster.zookeeper_process import zookeeper_command

    if record.role == ZOOKEEPER:
        return zookeeper_command(layout, record.port)
    words = [
        sys.executable,
        "-P",
        "-m",
        "hyperbase.cli",
        record.role,
        "--data",
        layout.data,
        "--zookeeper",
        url,
    ]
    words += ["--port", str(record.port), "--info-port", str(record.info_port)]
    return [*words, "--config", config] if config else words


def _announce(view: ClusterView, announce: Callable[[str], None]) -> None:
    for line in _lines(view):
        announce(line)
    announce(_LAST_LINE)


# -- status ----------------------------------------------------------------------------------------


def run_status(args: argparse.Namespace) -> int:
    """What runs, and whether all is well."""
    from hyperbase.cluster.view import view_cluster

    layout = _layout(args)
    view = view_cluster(layout)
    if view is None:
        reason = f"there is no cluster in {layout.directory}"
        nothing: dict[str, Any] = {
            "url": None,
            "ready": False,
            "cluster_id": None,
            "supervisor": None,
            "processes": [],
        }
        say(json.dumps({**nothing, "problems": [reason]}) if args.json else f"not running: {reason}")
        return NOT_RUNNING
    if args.json:
        say(json.dumps(view.to_json()))
    else:
        say("\n".join(_lines(view)))
        for problem in view.problems if view.running else ():
            say(f"degraded     {problem}")
        if not view.problems:
            say(_LAST_LINE)
        elif not view.running:
            say("not running")
    if not view.running:
        return NOT_RUNNING
    return READY if view.ready else NOT_READY


def _lines(view: ClusterView) -> list[str]:
    """The cluster as a person reads it."""
    lines = [f"url          {view.url}", f"cluster id   {view.cluster_id}"]
    if view.supervisor:
        lines.append(f"supervisor   pid {view.supervisor}")
    rows = [("process", "name", "pid", "state", "restarts", "address", "info")]
    for process in view.processes:
        pid, restarts = str(process.pid or ""), str(process.restarts)
        row = (process.label, process.name, pid, process.state, restarts, process.address, process.info)
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return lines


# -- stop ------------------------------------------------------------------------------------------


def run_stop(args: argparse.Namespace) -> ExitCode:
    """Stop everything; without a supervisor, do its work."""
    layout = _layout(args)
    there = _known(layout)
    if not there.alive:
        warn(f"hyperbase: no process of the cluster in {layout.directory} runs")
        return ExitCode.DAMAGE
    count = sum(record.alive for record in there.processes)
    began = time.monotonic()
    if there.supervised:
        _stop_supervisor(layout, there)
    else:
        _stop_orphans(layout, there)
    killed = _known(layout).killed
    if killed:
        warn(
            f"hyperbase: {', '.join(killed)} did not end in time and got SIGKILL; no acknowledged write is "
            "lost, the next start replays them"
        )
        return ExitCode.DAMAGE
    say(f"stopped {count} processes, took {time.monotonic() - began:.1f} s")
    return ExitCode.CLEAN


def _stop_supervisor(layout: Layout, there: ClusterFile) -> None:
    from hyperbase.cluster.supervisor import STOP_S

    try:
        os.kill(there.supervisor, signal.SIGTERM)
    except ProcessLookupError:
        pass  # it ended just now
    except PermissionError as error:
        raise CommandError(
            f"the supervisor, pid {there.supervisor}, belongs to another user", ExitCode.DAMAGE
        ) from error
    until = time.monotonic() + STOP_S + STOP_SLACK_S
    while there.supervised:
        if time.monotonic() >= until:
            raise CommandError(
                f"the supervisor, pid {there.supervisor}, is still stopping: see {layout.log('supervisor')}",
                ExitCode.DAMAGE,
            )
        time.sleep(_POLL_S)


def _stop_orphans(layout: Layout, there: ClusterFile) -> None:
    from hyperbase.cluster.layout import MASTER, REGION_SERVER
    from hyperbase.cluster.supervisor import Supervisor
    from hyperbase.common.zookeeper.location import ZooKeeperLocation

    logging.getLogger().setLevel(logging.ERROR)
    counts = {role: sum(one.role == role for one in there.processes) for role in (MASTER, REGION_SERVER)}
    zookeeper = None if there.own_zookeeper else ZooKeeperLocation.parse(there.url)
    supervisor = Supervisor(layout, counts[MASTER], counts[REGION_SERVER], lambda record: [], zookeeper)
    try:
        supervisor.stop()
    finally:
        supervisor.close()


# -- kill ------------------------------------------------------------------------------------------


def run_kill(args: argparse.Namespace) -> ExitCode:
    """Send the signal to the process that has the name now."""
    layout = _layout(args)
    there = _known(layout)
    record = there.named(args.name)
    if record is None:
        names = ", ".join(one.label for one in there.processes)
        raise IllegalArgumentException(f"no process {args.name!r} in {layout.directory}: there are {names}")
    if not record.alive:
        raise CommandError(f"{record.label} is dead", ExitCode.DAMAGE)
    os.kill(record.pid, SIGNALS[args.signal])
    say(f"{args.signal} {record.label} pid {record.pid}")
    return ExitCode.CLEAN
