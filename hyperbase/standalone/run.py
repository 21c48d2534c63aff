"""The life of a server process: start, announce, wait for a signal, stop.

SIGTERM, SIGINT, and SIGHUP of a closed terminal stop it: running requests finish, MemStores are flushed, the
store is closed, and the next start replays nothing. Another SIGTERM changes nothing; another SIGINT ends the
process at once, as a crash would: the next start replays the log, and no acknowledged write is lost.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING

import hyperbase
from hyperbase.common.config import ServerConfig, Settings
from hyperbase.common.errors import HBaseIOException, StoreFormatException, StoreLockedException
from hyperbase.common.logs import set_up_logging
from hyperbase.common.process.identity import process_identity
from hyperbase.standalone.process import tune_process
from hyperbase.standalone.server_file import ServerFile, read_server_file

if TYPE_CHECKING:
    from hyperbase.standalone.server import StandaloneServer

logger = logging.getLogger(__name__)

READY = "ready"  # the last line that is announced
DOORS = ("rest", "thrift", "console")  # they come with the gateways; nothing listens yet
LOG_SUFFIX = ".log"

_FAILED, _CLEAN = 1, 0
_BIND_HINTS = {
    errno.EADDRINUSE: "another program listens there; choose another port with --port, or 0 for any free one",
    errno.EACCES: "ports below 1024 are the system's; choose another with --port",
    errno.EADDRNOTAVAIL: "this machine has no such address; choose one of its own with --bind",
}


class ServerStartError(Exception):
    """The server cannot start with these settings; the message is the one line its user sees."""


def run(settings: Settings, announce: Callable[[str], None]) -> int:
    """Serve until a signal comes; returns the process's exit code.

    Args:
        announce: is handed one line for each endpoint, then ``READY``.

    Raises:
        ServerStartError: the directory, the log file or the port cannot be used.
        StoreLockedException: another process has the directory open.
        HBaseIOException: the store does not open.
    """
    config = _resolved(settings.server)
    _prepare_directory(config)
    try:
        set_up_logging(
            config.log_level, config.log_format, config.log_file, config.log_max_bytes, config.log_backups
        )
    except OSError as error:
        raise ServerStartError(
            f"the log file {config.log_file} cannot be opened: {error.strerror}"
        ) from error
    tune_process()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(config, announce))


def _resolved(config: ServerConfig) -> ServerConfig:
    """Absolute paths: a later ``chdir`` must not move them."""
    log_file = os.path.abspath(config.log_file) if config.log_file else ""
    return replace(config, data_dir=os.path.realpath(config.data_dir), log_file=log_file)


def _prepare_directory(config: ServerConfig) -> None:
    """Make the data directory, and refuse one that cannot be served, before anything is opened."""
    directory = config.data_dir
    try:
        os.makedirs(directory, exist_ok=True)
    except FileExistsError:
        raise ServerStartError(f"{directory} is a file: the data directory must be a directory") from None
    except OSError as error:
        raise ServerStartError(f"the data directory {directory} cannot be made: {error.strerror}") from error
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise ServerStartError(f"the data directory {directory} cannot be read and written by this user")
    try:
        there = read_server_file(directory)
    except StoreFormatException:
        there = None  # the store's lock decides, and the file is replaced
    if there is not None and there.alive:
        raise StoreLockedException(
            f"a server is running on {directory} already: pid {there.pid}, "
            f"{', '.join(there.endpoints.values())}; connect to it, or stop it with hyperbase stop"
        )
    folder, name = os.path.split(os.path.realpath(config.log_file)) if config.log_file else ("", "")
    inside = folder == directory or folder.startswith(directory.rstrip("/") + "/")
    if inside and (folder != directory or not name.endswith(LOG_SUFFIX)):
        raise ServerStartError(
            f"the log file {config.log_file} stands in the data directory, where only names that end in "
            f"{LOG_SUFFIX} are left alone"
        )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        logger.warning("uvloop is missing, asyncio's own loop serves: slower")
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


class _Stop:
    """Turns signals into the end of ``wait``; see the module for what a second one does."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._event = asyncio.Event()
        self._loop = loop
        self.name = ""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # nohup, and the shell for background jobs, ignore signals for us: that stays.
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._signalled, number)

    async def wait(self) -> None:
        await self._event.wait()

    @property
    def wanted(self) -> bool:
        return self._event.is_set()

    def _signalled(self, number: int) -> None:
        name = signal.Signals(number).name
        if self._event.is_set():
            logger.info("already stopping signal=%s", name)
            return
        self.name = name
        logger.info("stopping signal=%s", name)
        self._event.set()
        # From now on a handler of Python's own: it runs also while the loop is busy with a flush.
        self._loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, _end_at_once)


def _end_at_once(_signal: int, _frame: FrameType | None) -> None:
    text = (
        "hyperbase: interrupted again, ended without closing: no acknowledged write is lost, "
        "the next start replays the log\n"
    )
    os.write(sys.stderr.fileno(), text.encode())
    os._exit(_FAILED)


async def _serve(config: ServerConfig, announce: Callable[[str], None]) -> int:
    from hyperbase.standalone.server import StandaloneServer

    began = time.monotonic()
    stop = _Stop(asyncio.get_running_loop())
    server = StandaloneServer(config)
    try:
        await server.start()
    except HBaseIOException:
        raise
    except (OSError, UnicodeError) as error:  # UnicodeError: a host name that cannot be one
        raise ServerStartError(_bind_problem(config, error)) from error
    entry = _entry(config, server)
    try:
        if not stop.wanted:
            entry.write()
            logger.info(
                "started data=%s rpc=%s pid=%d version=%s replayed_rows=%d took_ms=%d",
                config.data_dir,
                entry.endpoints.get("rpc", ""),
                entry.pid,
                entry.version,
                server.replayed_rows,
                (time.monotonic() - began) * 1000,
            )
            for line in _endpoint_lines(config, server):
                announce(line)
            announce(READY)
            await stop.wait()
    finally:
        code = await _stop_cleanly(server, entry)
    return code


async def _stop_cleanly(server: StandaloneServer, entry: ServerFile) -> int:
    """Stop the server; its file stays when it did not close, so that ``stop`` can tell."""
    began = time.monotonic()
    try:
        await server.stop()
    except OSError as error:
        logger.error("stopped without closing cleanly, the next start replays the log error=%s", error)
        return _FAILED
    entry.remove()
    logger.info("stopped took_ms=%d", (time.monotonic() - began) * 1000)
    return _CLEAN


def _entry(config: ServerConfig, server: StandaloneServer) -> ServerFile:
    pid = os.getpid()
    identity = process_identity(pid) or ""
    return ServerFile(
        pid, server.startcode, hyperbase.__version__, dict(server.endpoints), config.data_dir, identity
    )


def _endpoint_lines(config: ServerConfig, server: StandaloneServer) -> list[str]:
    reach = "loopback: this machine only"
    if not is_loopback(server.address[0]):
        reach = "warning: other machines reach it, and there is no authentication yet"
        logger.warning("other machines reach this server bind=%s", server.address[0])
    lines = [f"{name:<8} {url}  ({reach})" for name, url in server.endpoints.items()]
    for door in DOORS:
        port = getattr(config, f"{door}_port")
        if door not in server.endpoints and port:
            lines.append(f"{door:<8} not there yet: port {port} is kept for it")
    return lines


def _bind_problem(config: ServerConfig, error: OSError | UnicodeError) -> str:
    code = (isinstance(error, OSError) and error.errno) or 0
    if isinstance(error, (socket.gaierror, UnicodeError)):
        reason = _BIND_HINTS[errno.EADDRNOTAVAIL]
    else:
        reason = _BIND_HINTS.get(code) or (os.strerror(code) if code > 0 else str(error))
    return f"cannot listen on {config.bind} port {config.port}: {reason}"


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach an address."""
    import ipaddress

    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"
