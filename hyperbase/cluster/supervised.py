"""One supervised process: started, watched, started again when it dies, stopped.

A process is a session of its own, so signals of a terminal do not reach it, and it outlives its supervisor:
one that was started by an earlier supervisor is adopted. Its death is seen through a pidfd, child or not.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from hyperbase.cluster.layout import ZOOKEEPER, Layout, ProcessRecord
from hyperbase.cluster.zookeeper_process import ZooKeeperMissingError, is_free, zookeeper_answers
from hyperbase.common.errors import HBaseIOException
from hyperbase.common.process.identity import is_stopped, process_identity
from hyperbase.common.zookeeper.session import SESSION_FILE_VARIABLE, end_noted_session

logger = logging.getLogger(__name__)

FIRST_DELAY_S, LONGEST_DELAY_S = 1.0, 30.0  # before a dead process is started again
STEADY_S = 1.0  # that it has to serve for its next death to count as the first
SESSION_END_S = 5.0
LOG_FILE_VARIABLE = "HYPERBASE_SERVER_LOG_FILE"
_READY = "ready"
_ENDPOINT = re.compile(r"(\w+) +([a-z]+://\S*?:(\d+)\S*)")  # rpc      hyperbase://127.0.0.1:16020  (…)

# The command of a process, from its record: with the ports it is to have, 0 for any.
Commands = Callable[[ProcessRecord], Sequence[str]]


class Supervised:
    """See the module. Belongs to the supervisor's thread.

    Args:
        record: what is known of it; one that runs is adopted.
        changed: told whenever the record has changed.
    """

    def __init__(
        self, layout: Layout, record: ProcessRecord, commands: Commands, changed: Callable[[], None]
    ) -> None:
        self.record = record
        self.pidfd: int | None = None
        self.ready = False
        self.due: float | None = None  # when it is started (again); of time.monotonic()
        self.exit_code: int | None = None  # of the last one that was a child
        self._layout = layout
        self._commands = commands
        self._changed = changed
        self._child: subprocess.Popen[bytes] | None = None
        self._delay_s = FIRST_DELAY_S
        self._ready_at: float | None = None
        if record.alive:
            self._watch(record.pid)
            logger.info("adopted process=%s pid=%d", record.label, record.pid)
        else:
            self.due = 0.0

    @property
    def label(self) -> str:
        """Its role with a number."""
        return self.record.label

    @property
    def running(self) -> bool:
        """Whether a process is there."""
        return self.pidfd is not None

    # -- start

    def start(self, environment: Mapping[str, str]) -> None:
        """Start it; when that fails, try again after a while."""
        try:
            self._start(environment)
        except (OSError, ZooKeeperMissingError) as error:
            logger.error("not started process=%s error=%s", self.label, error)
            self._be_due()

    def _be_due(self) -> None:
        self.due = time.monotonic() + self._delay_s
        self._delay_s = min(self._delay_s * 2, LONGEST_DELAY_S)

    def _start(self, environment: Mapping[str, str]) -> None:
        self.due = None
        record = self.record
        if record.port and not is_free(record.port) and record.role != ZOOKEEPER:
            logger.warning("port taken by another, any is used process=%s port=%d", record.label, record.port)
            record = replace(record, port=0)
        if record.info_port and not is_free(record.info_port):
            record = replace(record, info_port=0)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._layout.session(record.label))
        started_ms = int(time.time() * 1000)
        own = {
            SESSION_FILE_VARIABLE: self._layout.session(record.label),
            LOG_FILE_VARIABLE: self._layout.log(record.label),
        }
        with (
            open(self._layout.output(record.label), "wb") as output,
            open(self._layout.log(record.label), "ab") as log,
        ):
            child = subprocess.Popen(
                self._commands(record),
                cwd=self._layout.directory,
                env={**environment, **own},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                start_new_session=True,
            )
        self._child, self.ready, self._ready_at = child, False, None
        self._watch(child.pid)
        identity = process_identity(child.pid) or ""
        self.record = replace(record, pid=child.pid, process=identity, started_ms=started_ms)
        logger.info("started process=%s pid=%d restarts=%d", record.label, child.pid, record.restarts)
        self._changed()

    def _watch(self, pid: int) -> None:
        try:
            self.pidfd = os.pidfd_open(pid)
        except ProcessLookupError:  # it ended just now: its death is noticed at the next look
            self.pidfd = None
            self.due = time.monotonic()

    def look(self) -> None:
        """See whether it is ready, and where it listens."""
        if self.ready or not self.running:
            return
        record = self.record
        if record.role == ZOOKEEPER:
            if not zookeeper_answers(record.port):
                return
            record = replace(record, name=f"127.0.0.1,{record.port},{record.started_ms}")
        else:
            lines = self._said()
            if _READY not in lines:
                return
            record = _with_endpoints(record, lines)
        self.ready, self._ready_at = True, time.monotonic()
        self.record = record
        logger.info("ready process=%s pid=%d port=%d", record.label, record.pid, record.port)
        self._changed()

    def _said(self) -> list[str]:
        try:
            with open(self._layout.output(self.label), encoding="utf-8", errors="replace") as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return []

    # -- death

    def take_death(self, *, restart: bool) -> None:
        """It has ended: what it held in ZooKeeper goes now, and it is started again after a while."""
        assert self.pidfd is not None
        os.close(self.pidfd)
        self.pidfd = None
        pid, self.ready = self.record.pid, False
        self.exit_code = None
        if self._child is not None:
            self.exit_code = self._child.wait()
            self._child = None
        if self.record.role != ZOOKEEPER and self.exit_code != 0:  # else it has ended its session itself
            threading.Thread(
                target=_end_session, args=(self._layout, self.label, pid), name="end-session", daemon=True
            ).start()
        if not restart:
            logger.info("ended process=%s pid=%d code=%s", self.label, pid, self.exit_code)
            self.record = replace(self.record, pid=0, process="")
            self._changed()
            return
        if self._ready_at is not None and time.monotonic() - self._ready_at >= STEADY_S:
            self._delay_s = FIRST_DELAY_S
        logger.warning(
            "died process=%s pid=%d code=%s restart_in_s=%.1f", self.label, pid, self.exit_code, self._delay_s
        )
        self._be_due()
        self.record = replace(self.record, pid=0, process="", restarts=self.record.restarts + 1)
        self._changed()

    def signal(self, number: int) -> None:
        """Send it a signal; one that was stopped goes on first, so that it can end."""
        if self.pidfd is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGTERM and is_stopped(self.record.pid):
                signal.pidfd_send_signal(self.pidfd, signal.SIGCONT)
            signal.pidfd_send_signal(self.pidfd, number)


def _with_endpoints(record: ProcessRecord, lines: Sequence[str]) -> ProcessRecord:
    """The record with where the process says that it listens."""
    for line in lines:
        found = _ENDPOINT.match(line)
        if found is None:
            continue
        protocol, url, port = found.groups()
        if protocol == "rpc":
            record = replace(record, port=int(port))
        elif protocol == "info":
            record = replace(record, info=url, info_port=int(port))
    return record


def _end_session(layout: Layout, label: str, pid: int) -> None:
    began = time.monotonic()
    try:
        if end_noted_session(layout.session(label), pid, wait_s=SESSION_END_S):
            took_ms = (time.monotonic() - began) * 1000
            logger.info("session ended process=%s pid=%d took_ms=%d", label, pid, took_ms)
    except (OSError, HBaseIOException) as error:  # it expires by itself
        logger.warning("session not ended process=%s pid=%d error=%s", label, pid, error)
