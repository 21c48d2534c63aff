"""A cluster of real processes for tests: ZooKeeper, masters, region servers; with verbs to hurt them.

Processes are those of ``hyperbase cluster start``, started by the same code, and they die with the process
that runs the tests, however that ends. A thread looks after them: it notices deaths, ends the sessions of the
dead, and, unless a test wants to do that itself, starts them again.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import hyperbase
from hyperbase import Connection
from hyperbase.cluster.layout import (
    MASTER,
    REGION_SERVER,
    ClusterFile,
    Layout,
    ProcessRecord,
    write_cluster_file,
)
from hyperbase.cluster.supervised import Supervised
from hyperbase.cluster.view import ClusterView, view_cluster
from hyperbase.common.process.identity import process_identity
from tests.support.service import environment
from tests.support.waiting import wait_for
from tests.support.zookeeper_server import ZooKeeperServer

READY_S = 90.0
TICK_MS = 500
SESSION_S = 4.0
_LOOK_S = 0.05
T = TypeVar("T")


class Cluster:
    """See the module. ``start``, then ``stop`` or ``close``; or a ``with`` statement.

    Args:
        directory: for everything it keeps; ``data`` in it is the root.
        restart: whether a dead process is started again by itself, after a second.
        settings: environment variables of masters and region servers.
    """

    def __init__(
        self,
        directory: Path,
        *,
        masters: int = 2,
        region_servers: int = 3,
        restart: bool = True,
        settings: dict[str, str] | None = None,
    ) -> None:
        self.layout = Layout(str(directory))
        self.layout.make()
        self.zookeeper = ZooKeeperServer(directory / "zookeeper", tick_ms=TICK_MS)
        self.url = f"zk://{self.zookeeper.quorum}/hyperbase"
        self.restart = restart
        self._environment = environment(
            HYPERBASE_SERVER_ZOOKEEPER_TICK_S=str(TICK_MS / 1000),
            HYPERBASE_SERVER_ZOOKEEPER_SESSION_TIMEOUT_S=str(SESSION_S),
            **(settings or {}),
        )
        records = [ProcessRecord(MASTER, f"master-{n + 1}") for n in range(masters)]
        records += [ProcessRecord(REGION_SERVER, f"regionserver-{n + 1}") for n in range(region_servers)]
        self._processes = [Supervised(self.layout, one, self._command, self._write) for one in records]
        self._asked: list[tuple[Callable[[], Any], Future[Any]]] = []
        self._wakeup, self._wake_end = os.pipe()
        self._closed = False
        # The processes die with the thread that started them: this one, which lives as long as the tests.
        self._thread = threading.Thread(target=self._run, name="cluster", daemon=True)

    # -- its life

    def start(self) -> Cluster:
        """Start everything, and wait until it is ready."""
        self.zookeeper.start()
        self._thread.start()
        self._do(lambda: [process.start(self._environment) for process in self._processes])
        self.wait_until_ready()
        return self

    def stop(self) -> None:
        """End cleanly, as ``hyperbase cluster stop`` does; ZooKeeper stays."""
        from hyperbase.cluster.supervisor import take_cluster_down
        from hyperbase.common.zookeeper.location import ZooKeeperLocation

        self.restart = False
        take_cluster_down(ZooKeeperLocation.parse(self.url))
        wait_for(lambda: not any(process.running for process in self._processes), self.tell, READY_S)

    def close(self) -> None:
        """Kill what is left."""
        self.restart = False
        for process in self._processes:
            process.signal(signal.SIGKILL)
        if self._thread.is_alive():
            wait_for(lambda: not any(process.running for process in self._processes), self.tell)
            self._do(lambda: setattr(self, "_closed", True))
            self._thread.join(10)
        self.zookeeper.kill()

    def __enter__(self) -> Cluster:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def wait_until_ready(self) -> None:
        """Everything runs, and hbase:meta is served."""
        wait_for(lambda: not self._problems(), self.tell, READY_S)

    def connect(self, **settings: Any) -> Connection:
        """A client."""
        return hyperbase.connect(self.url, **settings)

    # -- what happens to processes

    def kill(self, label: str) -> None:
        """kill -9; returns when it is dead."""
        pid = self._send(label, signal.SIGKILL)
        wait_for(lambda: self.pid(label) != pid)

    def pause(self, label: str) -> None:
        """SIGSTOP: it does nothing, its connections stay."""
        self._send(label, signal.SIGSTOP)

    def resume(self, label: str) -> None:
        """SIGCONT."""
        self._send(label, signal.SIGCONT)

    def terminate(self, label: str) -> None:
        """SIGTERM: it ends cleanly; returns when it has."""
        pid = self._send(label, signal.SIGTERM)
        wait_for(lambda: self.pid(label) != pid, self.tell)

    def _send(self, label: str, number: int) -> int:
        """Send a signal, when a process is there; its pid."""
        wait_for(lambda: self.pid(label) > 0, self.tell)  # 0 would be this process and all around it
        pid = self.pid(label)
        os.kill(pid, number)
        return pid

    def start_again(self, label: str) -> None:
        """Start a dead process now, on the port it had."""
        process = self._of(label)
        self._do(lambda: None if process.running else process.start(self._environment))

    # -- what there is

    def labels(self, role: str = "") -> list[str]:
        """``master-1``, ``regionserver-1``, …"""
        return [process.label for process in self._processes if process.label.startswith(role)]

    def pid(self, label: str) -> int:
        """Its process; 0: none runs."""
        return self._of(label).record.pid

    def view(self) -> ClusterView:
        """What each process is doing."""
        found = view_cluster(self.layout, self._file())
        assert found is not None
        return found

    def active_master(self) -> str:
        """Its label; AssertionError when there is none within ``READY_S``."""
        found: list[str] = []

        def look() -> bool:
            found[:] = [process.label for process in self.view().processes if process.state == "active"]
            return bool(found)

        wait_for(look, self.tell, READY_S)
        return found[0]

    def server_of(self, connection: Connection, table: str, row: bytes) -> str:
        """The label of the region server that has a row, as hbase:meta says."""
        located = connection.admin.region_locations(table)
        name = next(name for info, name in reversed(located) if info.start_key <= row)
        port = int(name.split(",")[1])
        return next(process.label for process in self._processes if process.record.port == port)

    def log(self, label: str) -> str:
        """What it has logged so far."""
        with open(self.layout.log(label), encoding="utf-8", errors="replace") as file:
            return file.read()

    def tell(self) -> str:
        """How everything is, and the ends of the logs: for messages of failed tests."""
        view = self.view()
        states = {process.label: process.state for process in view.processes}
        ends = [f"--- {label}\n{self.log(label)[-1500:]}" for label in self.labels()]
        return f"{view.problems} {states}\n" + "\n".join(ends)

    # -- the thread

    def _run(self) -> None:
        while not self._closed:
            poll = select.poll()
            poll.register(self._wakeup, select.POLLIN)
            dying = {process.pidfd: process for process in self._processes if process.pidfd is not None}
            for pidfd in dying:
                poll.register(pidfd, select.POLLIN)
            for fd, _ in poll.poll(_LOOK_S * 1000):
                if fd == self._wakeup:
                    os.read(fd, 4096)
                else:
                    dying[fd].take_death(restart=self.restart)
            while self._asked:
                self._answer(*self._asked.pop(0))
            for process in self._processes:
                process.look()
                if process.due is not None and process.due <= time.monotonic() and self.restart:
                    process.start(self._environment)

    def _answer(self, call: Callable[[], Any], future: Future[Any]) -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    def _do(self, call: Callable[[], T]) -> T:
        """Have the thread call it."""
        future: Future[T] = Future()
        self._asked.append((call, future))
        os.write(self._wake_end, b"\0")
        return future.result(30)

    def _of(self, label: str) -> Supervised:
        return next(process for process in self._processes if process.label == label)

    def _command(self, record: ProcessRecord) -> Sequence[str]:
        setpriv = shutil.which("setpriv")
        assert setpriv, "setpriv is missing: it is in Debian's util-linux"
        words = [setpriv, "--pdeathsig", "KILL", sys.executable, "-m", "hyperbase.cli", record.role]
        words += ["--data", self.layout.data, "--zookeeper", self.url, "--port", str(record.port)]
        return [*words, "--info-port", str(record.info_port)]

    def _file(self) -> ClusterFile:
        records = tuple(process.record for process in self._processes)
        return ClusterFile(self.url, os.getpid(), process_identity(os.getpid()) or "", False, records)

    def _write(self) -> None:
        write_cluster_file(self.layout, self._file())

    def _problems(self) -> Sequence[str]:
        if not all(process.ready for process in self._processes):
            return ["a process is starting"]
        return self.view().problems
