"""``hyperbase start``, ``status`` and ``stop``: one server on one data directory.

``status`` and ``stop`` read ``server.json`` in the directory and import nothing of the engine.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from hyperbase.cli.console import CommandError, ExitCode, say, warn
from hyperbase.common.errors import StoreFormatException
from hyperbase.standalone.server_file import ServerFile, read_server_file

if TYPE_CHECKING:
    from hyperbase.common.config import Settings

DEFAULT_LOG_FILE = "server.log"  # of a daemon, in its data directory
DEFAULT_STOP_TIMEOUT_S = 60.0
_POLL_S = 0.02
_NOT_THERE_YET = ("rest", "thrift", "console")


def add_parsers(subparsers: Any) -> None:
    """Describe the commands to argparse."""
    parser = subparsers.add_parser(
        "start",
        help="start a server on a data directory",
        description="Start a server with all roles in this process. Settings: hyperbase.toml, environment "
        "HYPERBASE_*, then these flags; hyperbase config shows them all.",
    )
    add_settings_flags(parser)
    parser.add_argument("--daemon", action="store_true", help="go on in the background, once it is ready")
    parser.set_defaults(run=run_start)
    parser = subparsers.add_parser("status", help="whether a server runs on a data directory, and where")
    add_location_flags(parser)
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    parser.set_defaults(run=run_status)
    parser = subparsers.add_parser("stop", help="stop the server of a data directory, cleanly")
    add_location_flags(parser)
    parser.add_argument(
        "--timeout",
        type=float,
        default=DEFAULT_STOP_TIMEOUT_S,
        metavar="S",
        help="seconds to wait for it (default: %(default)g)",
    )
    parser.set_defaults(run=run_stop)


def add_location_flags(parser: argparse.ArgumentParser) -> None:
    """Which server is meant."""
    parser.add_argument("--data", metavar="DIR", help="the data directory (default: ./hyperbase-data)")
    parser.add_argument("--config", metavar="FILE", help="settings, instead of hyperbase.toml")


def add_settings_flags(parser: argparse.ArgumentParser) -> None:
    """Every setting that has a flag."""
    add_location_flags(parser)
    parser.add_argument("--bind", metavar="ADDRESS", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", metavar="N", help="port of the server, 0 for any free one (default: 16000)")
    for door, port in (("rest", 8080), ("thrift", 9090), ("console", 16010)):
        parser.add_argument(
            f"--{door}-port",
            metavar="N",
            help=f"port kept for the {door} gateway, 0 for none (default: {port})",
        )
    parser.add_argument("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR (default: INFO)")
    parser.add_argument("--log-format", metavar="FORMAT", help="text or json (default: text)")
    parser.add_argument("--log-file", metavar="FILE", help="default: standard error")


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings with the flags that the command has."""
    from hyperbase.common.config import load_settings
    from hyperbase.common.config.settings import FLAGS

    flags = {key: getattr(args, flag[2:].replace("-", "_"), None) for key, flag in FLAGS.items()}
    return load_settings(flags, config_file=args.config)


def data_dir_of(args: argparse.Namespace) -> str:
    """The absolute data directory that is meant; settings are not read when a flag names it."""
    directory: str = args.data or settings_of(args).server.data_dir
    return os.path.realpath(directory)


# -- start -----------------------------------------------------------------------------------------


def add_member_flags(parser: argparse.ArgumentParser, port: int, info_port: int) -> None:
    """The settings that a process of a cluster takes as flags; the ports are its defaults."""
    add_location_flags(parser)
    parser.add_argument("--zookeeper", metavar="URL", help="the cluster's: zk://host:2181,host:2181/root")
    parser.add_argument("--bind", metavar="ADDRESS", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", metavar="N", help=f"port, 0 for any free one (default: {port})")
    parser.add_argument(
        "--info-port", metavar="N", help=f"port of /health, 0 for any free one (default: {info_port})"
    )
    parser.add_argument("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR (default: INFO)")
    parser.add_argument("--log-format", metavar="FORMAT", help="text or json (default: text)")
    parser.add_argument("--log-file", metavar="FILE", help="default: standard error")


def run_start(args: argparse.Namespace) -> ExitCode:
    """Serve until a signal comes, or leave that to a daemon."""
    settings = settings_of(args)
    if not args.daemon:
        return _serve(settings, say)
    from hyperbase.cli.daemon import fork
    from hyperbase.common.process.life import READY

    if not settings.server.log_file:
        log_file = os.path.join(os.path.realpath(settings.server.data_dir), DEFAULT_LOG_FILE)
        settings = replace(settings, server=replace(settings.server, log_file=log_file))
    log_file = os.path.abspath(settings.server.log_file)
    daemon = fork(READY)
    if isinstance(daemon, ExitCode):
        return daemon

    def announce(line: str) -> None:
        say(line)
        if line == READY:
            daemon.release(log_file)

    return _serve(settings, announce)


def _serve(settings: Settings, announce: Any) -> ExitCode:
    from hyperbase.common.process.life import ServerStartError
    from hyperbase.standalone.run import run

    try:
        return ExitCode(run(settings, announce))
    except ServerStartError as error:
        raise CommandError(str(error)) from error


# -- status ----------------------------------------------------------------------------------------


def run_status(args: argparse.Namespace) -> ExitCode:
    """0 and where it is: a server runs; 1: none does."""
    directory = data_dir_of(args)
    there = read_server_file(directory)
    if there is None or not there.alive:
        text = _why_not_running(directory, there)
        say(json.dumps({"running": False, "data": directory, "reason": text}) if args.json else text)
        return ExitCode.DAMAGE
    uptime_s = max(0.0, time.time() - there.startcode / 1000)
    if args.json:
        say(json.dumps({"running": True, "uptime_s": round(uptime_s, 3), **asdict(there)}))
        return ExitCode.CLEAN
    lines = {
        "running": f"pid {there.pid}, for {_duration(uptime_s)}",
        "version": there.version,
        "data": there.data,
        **there.endpoints,
        **{door: "not there yet" for door in _NOT_THERE_YET if door not in there.endpoints},
    }
    for label, text in lines.items():
        say(f"{label:<8} {text}")
    return ExitCode.CLEAN


def _why_not_running(directory: str, there: ServerFile | None) -> str:
    if there is not None:
        return (
            f"not running: the server of {directory} (pid {there.pid}) ended without closing; "
            "the next start replays its log"
        )
    if not os.path.isdir(directory):
        return f"not running: there is no directory {directory}"
    return f"not running: no server has {directory} open"


def _duration(seconds: float) -> str:
    """``93784`` → ``"1 d 2 h 3 min"``."""
    whole = int(seconds)
    parts = ((whole // 86_400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s"))
    shown = [f"{count} {unit}" for count, unit in parts if count]
    return " ".join(shown[:3]) or "0 s"


# -- stop ------------------------------------------------------------------------------------------


def run_stop(args: argparse.Namespace) -> ExitCode:
    """Have the server drain, flush and close, and wait until it has."""
    if not args.timeout >= 0:
        raise CommandError(f"--timeout must be 0 or more seconds, not {args.timeout}")
    directory = data_dir_of(args)
    there = read_server_file(directory)
    if there is None or not there.alive:
        warn(f"hyperbase: {_why_not_running(directory, there)}")
        return ExitCode.DAMAGE
    try:
        os.kill(there.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # it ended by itself just now
    except PermissionError as error:
        raise CommandError(
            f"the server, pid {there.pid}, belongs to another user", ExitCode.DAMAGE
        ) from error
    began = time.monotonic()
    while there.alive:
        if time.monotonic() - began > args.timeout:
            warn(
                f"hyperbase: pid {there.pid} is still stopping after {args.timeout:g} s; wait on with "
                f"hyperbase stop, or kill -9 {there.pid}: no acknowledged write is lost by that"
            )
            return ExitCode.DAMAGE
        time.sleep(_POLL_S)
    if _left_behind(directory, there):
        warn(
            f"hyperbase: pid {there.pid} ended without closing cleanly, its log says why; "
            "no acknowledged write is lost, the next start replays them"
        )
        return ExitCode.DAMAGE
    say(f"stopped pid {there.pid}, took {time.monotonic() - began:.1f} s")
    return ExitCode.CLEAN


def _left_behind(directory: str, there: ServerFile) -> bool:
    try:
        return read_server_file(directory) == there
    except StoreFormatException:
        return False
