"""The life of a server process: its log, its event loop, the signals that stop it, the address it listens on.

SIGTERM, SIGINT, and SIGHUP of a closed terminal stop a server cleanly. Another SIGTERM changes nothing;
another SIGINT ends the process at once, as a crash would: no acknowledged write is lost, logs are replayed.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import FrameType
from typing import TypeVar

from hyperbase.common.config import ServerConfig
from hyperbase.common.logs import set_up_logging

logger = logging.getLogger(__name__)
T = TypeVar("T")

READY = "ready"  # the last line that a server announces
CLEAN, FAILED, LOST = 0, 1, 4  # exit codes; the last: a cluster's server lost its lease or its log
EVERY_ADDRESS = frozenset({"0.0.0.0", "::", ""})

_BIND_HINTS = {
    errno.EADDRINUSE: "another program listens there; choose another port with {flag}, or 0 for any free one",
    errno.EACCES: "ports below 1024 are the system's; choose another with {flag}",
    errno.EADDRNOTAVAIL: "this machine has no such address; choose one of its own with --bind",
}


class ServerStartError(Exception):
    """The server cannot start with these settings; the message is the one line its user sees."""


def resolved(config: ServerConfig) -> ServerConfig:
    """Absolute paths: a later ``chdir`` must not move them."""
    log_file = os.path.abspath(config.log_file) if config.log_file else ""
    return replace(config, data_dir=os.path.realpath(config.data_dir), log_file=log_file)


def set_up_log(config: ServerConfig) -> None:
    """Log as the settings say.

    Raises:
        ServerStartError: the log file cannot be opened.
    """
    try:
        set_up_logging(
            config.log_level, config.log_format, config.log_file, config.log_max_bytes, config.log_backups
        )
    except OSError as error:
        raise ServerStartError(
            f"the log file {config.log_file} cannot be opened: {error.strerror}"
        ) from error


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the event loop: uvloop's where it is installed."""
    try:
        import uvloop
    except ImportError:
        logger.warning("uvloop is missing, asyncio's own loop serves: slower")
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def in_thread(work: Callable[[], T]) -> T:
    """Wait for ``work`` in a thread: signals are handled meanwhile."""
    with ThreadPoolExecutor(1, thread_name_prefix="hyperbase-life") as executor:
        return await asyncio.get_running_loop().run_in_executor(executor, work)


class Stop:
    """Turns signals, and reasons of the server's own, into the end of ``wait``. See the module."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._event = asyncio.Event()
        self._loop = loop
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # nohup, and the shell for background jobs, ignore signals for us: that stays.
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._signalled, number)

    async def wait(self) -> None:
        """Until the server is to stop."""
        await self._event.wait()

    @property
    def wanted(self) -> bool:
        """The server is to stop."""
        return self._event.is_set()

    def request(self, reason: str) -> None:
        """Stop without a signal; on the loop's thread."""
        if not self._event.is_set():
            logger.info("stopping reason=%s", reason)
            self._begin()

    def _signalled(self, number: int) -> None:
        name = signal.Signals(number).name
        if self._event.is_set():
            logger.info("already stopping signal=%s", name)
            return
        logger.info("stopping signal=%s", name)
        self._begin()

    def _begin(self) -> None:
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
    os._exit(FAILED)


def advertised_host(config: ServerConfig, listening_on: str) -> str:
    """The name or address that others are told to connect to."""
    if config.advertised_host:
        return config.advertised_host
    return socket.gethostname() if listening_on in EVERY_ADDRESS else listening_on


def bind_problem(bind: str, port: int, error: OSError | UnicodeError, *, flag: str = "--port") -> str:
    """Why a server cannot listen, and what to do; ``flag`` chooses the port."""
    code = (isinstance(error, OSError) and error.errno) or 0
    if isinstance(error, (socket.gaierror, UnicodeError)):  # UnicodeError: a host name that cannot be one
        reason = _BIND_HINTS[errno.EADDRNOTAVAIL]
    else:
        reason = _BIND_HINTS.get(code) or (os.strerror(code) if code > 0 else str(error))
    return f"cannot listen on {bind} port {port}: {reason.replace('{flag}', flag)}"


def reach(host: str) -> str:
    """Who reaches a server that listens there; a warning is logged where others do."""
    if is_loopback(host):
        return "loopback: this machine only"
    logger.warning("other machines reach this server bind=%s", host)
    return "warning: other machines reach it, and there is no authentication yet"


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach an address."""
    import ipaddress

    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"
