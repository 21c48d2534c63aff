"""The life of a standalone server: start, announce, wait for a signal, stop.

A clean stop: running requests finish, MemStores are flushed, the store is closed, and the next start replays
nothing. Which signals mean what: ``common/process/life.py``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import hyperbase
from hyperbase.common.config import ServerConfig, Settings
from hyperbase.common.errors import HBaseIOException, StoreFormatException, StoreLockedException
from hyperbase.common.process.identity import process_identity
from hyperbase.common.process.life import (
    CLEAN,
    FAILED,
    READY,
    ServerStartError,
    Stop,
    bind_problem,
    loop_factory,
    reach,
    resolved,
    set_up_log,
)
from hyperbase.common.process.tuning import tune_process
from hyperbase.standalone.server_file import ServerFile, read_server_file

if TYPE_CHECKING:
    from hyperbase.standalone.server import StandaloneServer

logger = logging.getLogger(__name__)

DOORS = ("rest", "thrift", "console")  # they come with the gateways; nothing listens yet
LOG_SUFFIX = ".log"


def run(settings: Settings, announce: Callable[[str], None]) -> int:
    """Serve until a signal comes; returns the process's exit code.

    Args:
        announce: is handed one line for each endpoint, then ``READY``.

    Raises:
        ServerStartError: the directory, the log file or the port cannot be used.
        StoreLockedException: another process has the directory open.
        HBaseIOException: the store does not open.
    """
    config = resolved(settings.server)
    _prepare_directory(config)
    set_up_log(config)
    tune_process()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_serve(config, announce))


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


async def _serve(config: ServerConfig, announce: Callable[[str], None]) -> int:
    from hyperbase.standalone.server import StandaloneServer

    began = time.monotonic()
    stop = Stop(asyncio.get_running_loop())
    server = StandaloneServer(config)
    try:
        await server.start()
    except HBaseIOException:
        raise
    except (OSError, UnicodeError) as error:  # UnicodeError: a host name that cannot be one
        raise ServerStartError(bind_problem(config.bind, config.port, error)) from error
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
        return FAILED
    entry.remove()
    logger.info("stopped took_ms=%d", (time.monotonic() - began) * 1000)
    return CLEAN


def _entry(config: ServerConfig, server: StandaloneServer) -> ServerFile:
    pid = os.getpid()
    identity = process_identity(pid) or ""
    return ServerFile(
        pid, server.startcode, hyperbase.__version__, dict(server.endpoints), config.data_dir, identity
    )


def _endpoint_lines(config: ServerConfig, server: StandaloneServer) -> list[str]:
    who = reach(server.address[0])
    lines = [f"{name:<8} {url}  ({who})" for name, url in server.endpoints.items()]
    for door in DOORS:
        port = getattr(config, f"{door}_port")
        if door not in server.endpoints and port:
            lines.append(f"{door:<8} not there yet: port {port} is kept for it")
    return lines
