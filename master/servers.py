"""The region servers that are alive, and what the master tells them.

Alive is who has a znode. Threads: any number.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hyperbase.common.errors import (
    ConnectionLostException,
    HBaseIOException,
    MasterNotRunningException,
    StaleMasterException,
)
from hyperbase.common.server_name import ServerName
from hyperbase.common.wire.command_codec import Order, ServerReport
from master.links import Link
from master.rates import RequestRates

logger = logging.getLogger(__name__)

CLOCK_SKEW_MS = 30_000  # HBase hbase.master.maxclockskew
PARALLEL_COMMANDS = 32
REPORT_TIMEOUT_S = 3.0  # a server that is stopped must not keep a master from starting


class Servers:
    """See the module.

    Args:
        epoch: this master's; every command carries it.
        check: raises when this master must not act any more.
        on_death: told, once for each, of servers whose znode is gone. Must not wait.
        on_stale: told when a server obeys a newer master than this one.
    """

    def __init__(
        self,
        epoch: int,
        check: Callable[[], None],
        on_death: Callable[[ServerName], None],
        on_stale: Callable[[StaleMasterException], None],
    ) -> None:
        self._epoch = epoch
        self._check = check
        self._on_death = on_death
        self._on_stale = on_stale
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._links: dict[ServerName, Link] = {}
        self._gone: set[ServerName] = set()  # nobody comes back: a name is of one process
        self._refused: set[ServerName] = set()  # its clock is off
        self._draining: set[str] = set()  # addresses that get no regions
        self.reports: dict[ServerName, ServerReport] = {}
        self.rates = RequestRates()
        self._pool = ThreadPoolExecutor(PARALLEL_COMMANDS, thread_name_prefix="master-command")

    # -- who is alive ------------------------------------------------------------------------------------

    def set_alive(self, names: Sequence[ServerName]) -> None:
        """The znodes that there are."""
        with self._changed:
            gone = [name for name in self._links if name not in names]
            come = [name for name in names if name not in self._links and name not in self._gone]
            self._gone.update(gone)
            for name in gone:
                self._links.pop(name).close()
                self.reports.pop(name, None)
            for name in come:
                self._links[name] = Link(name)
            self._changed.notify_all()
        for name in come:
            logger.info("region server came server=%s", name)
        for name in gone:
            logger.info("region server is gone server=%s", name)
            self._on_death(name)

    def declare_dead(self, server: ServerName) -> None:
        """It has no znode any more."""
        with self._changed:
            left = [name for name in self._links if name != server]
        self.set_alive(left)

    def alive(self, server: ServerName | None) -> bool:
        """Whether it has a znode."""
        with self._changed:
            return server in self._links

    def all(self) -> list[ServerName]:
        """Every living server, sorted."""
        with self._changed:
            return sorted(self._links)

    def usable(self) -> list[ServerName]:
        """Those that may be given regions."""
        with self._changed:
            return sorted(
                name
                for name in self._links
                if name not in self._refused and name.address not in self._draining
            )

    def wait_for_change(self, seconds: float) -> None:
        """Until a server comes or goes, or the time is over."""
        with self._changed:
            self._changed.wait(seconds)

    def wait_for_one(self) -> list[ServerName]:
        """The usable servers, once there is one. Raises what ``check`` raises."""
        told = False
        while not (found := self.usable()):
            self._check()
            if not told and (alive := self.all()):
                logger.warning("no server may be given regions: those alive are decommissioned: %s", alive)
                told = True
            self.wait_for_change(0.5)
        return found

    def drain(self, address: str, on: bool) -> None:
        """Give a server (``host:port``) no more regions, or again."""
        with self._changed:
            (self._draining.add if on else self._draining.discard)(address)

    @property
    def draining(self) -> list[str]:
        """Addresses that get no regions."""
        with self._changed:
            return sorted(self._draining)

    # -- commands ----------------------------------------------------------------------------------------

    def order(self) -> Order:
        """The next order of this master."""
        return Order(self._epoch, next(self._numbers))

    def command(self, server: ServerName, name: str, *arguments: Any, timeout_s: float | None = None) -> Any:
        """Have a server carry out a command; ``timeout_s``: how long it may take.

        Raises:
            ConnectionLostException, ConnectException: what became of it is not known.
            HBaseIOException: its error.
        """
        self._check()
        with self._changed:
            link = self._links.get(server)
        if link is None:
            raise ConnectionLostException(f"{server} is dead")
        try:
            return link.command(self.order(), name, arguments, timeout_s)
        except StaleMasterException as error:
            self._on_stale(error)
            raise MasterNotRunningException(f"another master is active: {error}") from error

    def command_all(
        self, calls: Sequence[tuple[ServerName, str, Sequence[Any]]], *, timeout_s: float | None = None
    ) -> list[Any]:
        """Several commands at the same time; a result or an HBaseIOException for each."""

        def one(call: tuple[ServerName, str, Sequence[Any]]) -> Any:
            server, name, arguments = call
            try:
                return self.command(server, name, *arguments, timeout_s=timeout_s)
            except HBaseIOException as error:
                return error

        if len(calls) == 1:
            return [one(calls[0])]
        return list(self._pool.map(one, calls))

    def scan_meta(self, server: ServerName) -> Any:
        """Every row of hbase:meta, from the server that has it."""
        self._check()
        with self._changed:
            link = self._links.get(server)
        if link is None:
            raise ConnectionLostException(f"{server} is dead")
        return link.scan_meta()

    def ask_all(self) -> dict[ServerName, ServerReport]:
        """A fresh report of every server that answers. They obey no older master from then on."""
        servers = self.all()
        answers = self.command_all([(server, "report", ()) for server in servers], timeout_s=REPORT_TIMEOUT_S)
        for server, answer in zip(servers, answers, strict=True):
            if isinstance(answer, ServerReport):
                if server not in self.reports:
                    self._check_clock(server, answer)
                self.reports[server] = answer
            else:
                logger.warning("no report server=%s error=%s", server, answer)
        reports = {
            server: answer
            for server, answer in zip(servers, answers, strict=True)
            if isinstance(answer, ServerReport)
        }
        self.rates.note(reports)
        return reports

    def _check_clock(self, server: ServerName, report: ServerReport) -> None:
        off_ms = report.clock_ms - time.time() * 1000
        if abs(off_ms) <= CLOCK_SKEW_MS:
            return
        logger.error(
            "region server refused server=%s clock_off_ms=%d: set its clock, at most %d ms are tolerated",
            server,
            off_ms,
            CLOCK_SKEW_MS,
        )
        with self._changed:
            self._refused.add(server)
        self.command_all([(server, "shut_down", ())])

    def close(self) -> None:
        """No more commands."""
        with self._changed:
            links, self._links = list(self._links.values()), {}
            self._changed.notify_all()
        for link in links:
            link.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
