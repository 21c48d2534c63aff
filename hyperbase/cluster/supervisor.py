"""The supervisor of ``hyperbase cluster start``: a cluster's processes on one machine.

start      ZooKeeper → masters and region servers, all at the same time → ready, when everything is
death      the dead process's ZooKeeper session is ended; it is started again after 1 s, on the port it had.
           The pause doubles up to 30 s while a process dies within 1 s of being ready
stop       the flag ``running`` goes → region servers → standby masters → the active one → ZooKeeper, by
           SIGTERM; what has not ended after ``STOP_S`` gets SIGKILL

Its own death ends nothing: the processes go on, unsupervised, and the next supervisor adopts them.
Threads: one, but for the ends of sessions.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import FrameType

import hyperbase
from hyperbase.client.network.zookeeper import short_session
from hyperbase.cluster.layout import (
    MASTER,
    REGION_SERVER,
    ROLES,
    ZOOKEEPER,
    ClusterFile,
    DirectoryLock,
    Layout,
    ProcessRecord,
    read_cluster_file,
    write_cluster_file,
)
from hyperbase.cluster.supervised import Commands, Supervised
from hyperbase.cluster.view import ACTIVE, ClusterView, read_znodes, view_cluster
from hyperbase.cluster.zookeeper_process import free_port, is_free
from hyperbase.common.errors import HBaseIOException
from hyperbase.common.process.identity import process_identity
from hyperbase.common.zookeeper.location import DEFAULT_ROOT, ZooKeeperLocation
from hyperbase.common.zookeeper.znodes import ZnodePaths

logger = logging.getLogger(__name__)

STOP_S = 60.0  # for all of them together
_LEAST_STOP_S = 5.0  # for those of one role
_LOOK_S = 0.1  # between looks at processes that start
_VIEW_S = 0.5  # between looks at the whole cluster while it starts
_ZOOKEEPER_S = 5.0
_NAMES_S = 1.0  # that ZooKeeper has to tell the names of processes
_NAMES_AGAIN_S = 0.5


class ClusterStartError(Exception):
    """The cluster does not start; the message is the line its user sees."""


class Supervisor:
    """See the module.

    Args:
        layout: of the directory, which is made.
        masters, region_servers: how many there are to be; an adopted one that is too many is stopped.
        zookeeper: one that runs; None: one of its own.
        commands: what is run as each process.

    Raises:
        StoreLockedException: another supervisor has the directory. StoreFormatException: its file is damaged.
        ClusterStartError: processes of it run with another ZooKeeper.
    """

    def __init__(
        self,
        layout: Layout,
        masters: int,
        region_servers: int,
        commands: Commands,
        zookeeper: ZooKeeperLocation | None = None,
    ) -> None:
        layout.make()
        self._layout = layout
        self._lock = DirectoryLock(layout)
        before = read_cluster_file(layout) or ClusterFile()
        self.location = zookeeper or _own_location(before)
        self._refuse_another_zookeeper(before)
        self._wakeup, self._wake_end = os.pipe()
        os.set_blocking(self._wake_end, False)
        self._stop_wanted = self._stopped = False
        self._processes: list[Supervised] = []
        self._killed: tuple[str, ...] = ()
        self._own_zookeeper = zookeeper is None
        self._names_due = 0.0
        self._environment = _environment()
        wanted = _wanted(before, self.location, masters, region_servers, own_zookeeper=zookeeper is None)
        self._processes = [Supervised(layout, record, commands, self._write) for record in wanted]
        labels = {record.label for record in wanted}
        self._surplus = [
            Supervised(layout, record, commands, self._write)
            for record in before.processes
            if record.label not in labels and record.alive
        ]
        self._write()

    def _refuse_another_zookeeper(self, before: ClusterFile) -> None:
        alive = [record.label for record in before.processes if record.alive]
        if alive and before.url != self.url:
            self._lock.release()
            raise ClusterStartError(
                f"{', '.join(alive)} of the cluster at {before.url} still run: stop them first, with "
                f"hyperbase cluster stop --dir {self._layout.directory}"
            )

    @property
    def url(self) -> str:
        """What clients connect to."""
        return str(self.location)

    # -- its life

    def run(self, on_ready: Callable[[ClusterView], None], start_timeout_s: float) -> int:
        """Start everything, supervise until a signal comes, stop everything; the exit code.

        Raises:
            ClusterStartError: it was not ready in time; everything is stopped. OSError: a program is missing.
        """
        signals = (signal.SIGTERM, signal.SIGINT)
        before = [signal.signal(number, self._signalled) for number in signals]
        signal.set_wakeup_fd(self._wake_end)
        try:
            self._start(start_timeout_s, on_ready)
            while not self._stop_wanted:
                self._step(None)
        finally:
            try:
                self.stop()
            finally:
                signal.set_wakeup_fd(-1)
                for number, handler in zip(signals, before, strict=True):
                    signal.signal(number, handler)
                self.close()
        return 1 if self._killed else 0

    def close(self) -> None:
        """Let the directory go; processes that run go on."""
        os.close(self._wakeup)
        os.close(self._wake_end)
        self._lock.release()

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._stop_wanted = True

    def _start(self, timeout_s: float, on_ready: Callable[[ClusterView], None]) -> None:
        until = time.monotonic() + timeout_s
        for process in self._surplus:
            process.signal(signal.SIGTERM)
        seen: ClusterView | None = None
        looked = float("-inf")
        while not self._stop_wanted:
            self._step(_LOOK_S)
            if time.monotonic() - looked >= _VIEW_S and all(process.ready for process in self._processes):
                seen = view_cluster(self._layout)
                looked = time.monotonic()
                assert seen is not None
                if seen.ready and not self._unnamed():
                    on_ready(seen)
                    return
            if time.monotonic() >= until:
                raise ClusterStartError(self._why_not_ready(seen, timeout_s))

    def _why_not_ready(self, seen: ClusterView | None, timeout_s: float) -> str:
        waiting = [process for process in self._processes if not process.ready]
        if waiting:
            first = waiting[0]
            why = f"{', '.join(process.label for process in waiting)} did not start"
            last = _last_line(self._layout.log(first.label))
            why += f"; {self._layout.log(first.label)} ends with: {last}" if last else ""
        else:
            why = "; ".join(seen.problems) if seen is not None else "nothing is known of it"
        return f"the cluster was not ready within {timeout_s:g} s: {why}. It was stopped"

    # -- supervision

    def _step(self, wait_s: float | None) -> None:
        """Wait until something happens, and deal with it."""
        processes = [*self._processes, *self._surplus]
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        by_fd = {process.pidfd: process for process in processes if process.pidfd is not None}
        for pidfd in by_fd:
            poll.register(pidfd, select.POLLIN)
        events = poll.poll(self._timeout_ms(wait_s))
        for fd, _ in events:
            if fd == self._wakeup:
                os.read(self._wakeup, 4096)
            else:
                process = by_fd[fd]
                process.take_death(restart=process in self._processes and not self._stop_wanted)
        self._surplus = [process for process in self._surplus if process.running]
        if not self._stop_wanted:
            self._start_due()
        for process in self._processes:
            process.look()
        if self._unnamed() and time.monotonic() >= self._names_due:
            self._learn_names()
            self._names_due = time.monotonic() + _NAMES_AGAIN_S

    def _timeout_ms(self, wait_s: float | None) -> int | None:
        waits = [] if wait_s is None else [wait_s]
        if any(process.running and not process.ready for process in self._processes):
            waits.append(_LOOK_S)
        if self._unnamed():
            waits.append(max(self._names_due - time.monotonic(), 0))
        now = time.monotonic()
        waits += [max(process.due - now, 0) for process in self._processes if process.due is not None]
        return int(min(waits) * 1000) + 1 if waits else None

    def _start_due(self) -> None:
        """Start what is to be started by now; servers of a first start not before their ZooKeeper answers."""
        now = time.monotonic()
        zookeeper_answers = all(
            process.ready for process in self._processes if process.record.role == ZOOKEEPER
        )
        for process in self._processes:
            if process.due is None or process.due > now:
                continue
            if process.record.role == ZOOKEEPER or zookeeper_answers or process.record.restarts:
                process.start(self._environment)

    def _unnamed(self) -> bool:
        """Whether a process has registered, or will soon, under a name that is not known."""
        return any(process.ready and not process.record.named for process in self._processes)

    def _learn_names(self) -> None:
        """Note the names under which processes have registered."""
        try:
            znodes = read_znodes(self.location, _NAMES_S)
        except HBaseIOException as error:
            logger.warning("names of processes not learned error=%s", error)
            return
        for process in self._processes:
            name = znodes.of(process.record)
            if name is not None and process.running:
                process.record = replace(process.record, name=str(name))
        self._write()

    def _write(self) -> None:
        """Have ``cluster.json`` say how it is."""
        pid = 0 if self._stopped else os.getpid()
        found = ClusterFile(
            self.url,
            pid,
            process_identity(pid) or "" if pid else "",
            self._own_zookeeper,
            tuple(process.record for process in self._processes),
            self._killed,
        )
        try:
            write_cluster_file(self._layout, found)
        except OSError as error:  # a full disk ends no cluster
            logger.warning("cluster.json not written error=%s", error)

    # -- the end

    def stop(self, timeout_s: float = STOP_S) -> None:
        """Stop everything in order: servers flush what they have, so nothing is left to replay."""
        self._stop_wanted = True
        began = time.monotonic()
        until = began + timeout_s
        everything = [*self._processes, *self._surplus]
        for process in everything:
            process.due = None
        if any(process.running for process in everything):
            take_cluster_down(self.location)
        masters = [process for process in everything if process.record.role == MASTER]
        active = self._active_master()
        groups = [
            [process for process in everything if process.record.role == REGION_SERVER],
            [process for process in masters if process.label != active],
            [process for process in masters if process.label == active],
            [process for process in everything if process.record.role == ZOOKEEPER],
        ]
        for group in groups:  # who comes later need not pay for who took too long
            self._stop_group(group, max(until, time.monotonic() + _LEAST_STOP_S))
        self._stopped = True
        self._write()
        logger.info("stopped took_ms=%d killed=%s", (time.monotonic() - began) * 1000, ",".join(self._killed))

    def _active_master(self) -> str:
        """The label of the active master, as far as ZooKeeper tells."""
        try:
            znodes = read_znodes(self.location, _ZOOKEEPER_S)
        except HBaseIOException:
            return ""
        for process in self._processes:
            name = znodes.of(process.record)
            if name is not None and znodes.states[name] == ACTIVE:
                return process.label
        return ""

    def _stop_group(self, group: Sequence[Supervised], until: float) -> None:
        for process in group:
            process.signal(signal.SIGTERM)
        while any(process.running for process in group) and time.monotonic() < until:
            self._step(min(_LOOK_S, max(until - time.monotonic(), 0)))
        left = [process for process in group if process.running]
        for process in left:
            logger.error("not ended in time, killed process=%s pid=%d", process.label, process.record.pid)
            process.signal(signal.SIGKILL)
        self._killed += tuple(process.label for process in left)
        while any(process.running for process in group):
            self._step(_LOOK_S)


def _environment() -> dict[str, str]:
    """This process's, with this very program first on Python's path."""
    program = os.path.dirname(os.path.dirname(os.path.abspath(hyperbase.__file__)))
    paths = [program, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def _own_location(before: ClusterFile) -> ZooKeeperLocation:
    """Where its own ZooKeeper is: where it was, if that port can be had."""
    if before.own_zookeeper and before.url:
        location = ZooKeeperLocation.parse(before.url)
        record = before.of(ZOOKEEPER)
        if (record is not None and record.alive) or is_free(location.hosts[0][1]):
            return location
    return ZooKeeperLocation((("127.0.0.1", free_port()),), DEFAULT_ROOT)


def _wanted(
    before: ClusterFile,
    location: ZooKeeperLocation,
    masters: int,
    region_servers: int,
    *,
    own_zookeeper: bool,
) -> list[ProcessRecord]:
    """What is to run, with what is known of it from before: pids, names and ports."""
    counts = {ZOOKEEPER: int(own_zookeeper), MASTER: masters, REGION_SERVER: region_servers}
    wanted = []
    for role in ROLES:
        for number in range(1, counts[role] + 1):
            label = role if role == ZOOKEEPER else f"{role}-{number}"
            record = replace(before.of(label) or ProcessRecord(role, label), restarts=0)
            if role == ZOOKEEPER:
                record = replace(record, port=location.hosts[0][1])
            wanted.append(record if record.alive else replace(record, pid=0, process=""))
    return wanted


def take_cluster_down(location: ZooKeeperLocation) -> None:
    """Remove the flag ``running``: the cluster is to end cleanly, and nobody recovers what ends."""
    from kazoo.exceptions import NoNodeError

    try:
        with short_session(location, _ZOOKEEPER_S) as client:
            with contextlib.suppress(NoNodeError):
                client.delete(ZnodePaths(location.root).running)
    except HBaseIOException as error:
        logger.warning("the flag of a running cluster stays error=%s", error)


def _last_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file if line.strip()]
    except OSError:
        return ""
    return lines[-1] if lines else ""
