"""A store, its server as a real process that is killed again and again, and its writers."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import hyperbase
from hyperbase import ColumnFamilyDescriptor, TableDescriptor
from regionserver.region.check import check_store
from tests.support.kill_load import SPLITS, Rows, WireIncrementer, Writer, expected_rows, writers
from tests.support.service import COMMAND, environment

WAIT_S = 60.0
CLIENT = {"operation_timeout_s": 60.0, "retry_delay_max_ms": 100, "max_retries": 1000}


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Look again and again, until a deadline."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"still waiting for {what}"
        time.sleep(0.002)


def fixed_port(chance: random.Random) -> int:
    """A free port that no client gets as its own: a restarted server must find it free again."""
    while True:
        port = chance.randrange(17_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


class Arena:
    """One store, its server process, and its writers."""

    def __init__(self, directory: Path, seed: int, **settings: str) -> None:
        self.chance = random.Random(seed)
        self.seed = seed
        self.store = directory / "store"
        self.port = fixed_port(random.Random())
        self.kills = self.kills_of_starts = self.under_way = 0
        self.seen: Counter[str] = Counter()
        self.writers: list[Writer] = []
        self._directory = directory
        self._environment = environment(**settings)
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir()

    @property
    def log(self) -> str:
        """What the servers wrote."""
        return (self._directory / "log").read_text(encoding="utf-8")

    def launch(self) -> None:
        """Start the process; ``wait_ready`` waits for it."""
        command = [*COMMAND, "start", "--port", str(self.port), "--data", str(self.store)]
        with open(self._directory / "log", "ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._directory, env=self._environment, stdout=subprocess.PIPE, stderr=log
            )

    def wait_ready(self) -> None:
        """It serves."""
        assert self._process is not None
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            said.append(line)
            if line == b"ready\n":
                return
        raise AssertionError(f"no server: {self._process.wait()}, {said}, {self.log}")

    def kill(self) -> None:
        """As a crash."""
        process = self._process
        assert process is not None
        assert process.poll() is None, f"it ended by itself: {process.poll()}, {self.log}"
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        self.kills += 1

    def run(self, kills: int, most_between: int = 120) -> None:
        """Kill the server so often, each time after some acknowledgements; then compare everything."""
        try:
            self._run(kills, most_between)
        finally:
            for writer in self.writers:
                writer.ending.set()
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
                self._process.wait()

    def _run(self, kills: int, most_between: int) -> None:
        self.launch()
        self.wait_ready()
        connection = hyperbase.connect(f"hyperbase://127.0.0.1:{self.port}", **CLIENT)
        families = [ColumnFamilyDescriptor("a"), ColumnFamilyDescriptor("b")]
        connection.admin.create_table(TableDescriptor("t", families), SPLITS)
        self.writers = writers(connection.table("t"), self.port, self.seed)
        for writer in self.writers:
            writer.start()
        while self.kills < kills:
            goal = self.acknowledged() + self.chance.randrange(5, most_between)
            wait_until(lambda goal=goal: self._failed() or self.acknowledged() >= goal, "acknowledgements")  # type: ignore[misc]
            self._check()
            if self.chance.random() < 0.5 or self.kills == kills - 1:
                self._look(connection)
            self.under_way += sum(writer.busy for writer in self.writers)
            self.kill()
            if self.kills < kills and self.chance.random() < 0.2:  # again, while it recovers
                logs = self._logs()
                self.launch()
                wait_until(lambda logs=logs: self._logs() != logs, "the next segment of the log")  # type: ignore[misc]
                self.kill()
                self.kills_of_starts += 1
            self.launch()
            self.wait_ready()
        self._end()
        shown: Rows = dict(connection.table("t").scan())
        self._compare(shown)
        connection.close()
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(WAIT_S) == 0, self.log
        with hyperbase.connect(self.store, read_only=True) as embedded:
            self._compare(dict(embedded.table("t").scan()))
        assert check_store(str(self.store)) == []
        assert "Traceback" not in self.log, self.log

    def _logs(self) -> set[str]:
        return set(os.listdir(self.store / "WALs"))

    def _look(self, connection: hyperbase.Connection) -> None:
        """Note what the server did since its start."""
        metrics = connection.metrics()
        for name in ("FlushTime_num_ops", "CompactionTime_num_ops", "rollRequest"):
            self.seen[name] += int(metrics[name])

    def acknowledged(self) -> int:
        """Operations of all writers."""
        return sum(writer.acknowledged for writer in self.writers)

    def _failed(self) -> bool:
        return any(writer.error is not None for writer in self.writers)

    def _check(self) -> None:
        for writer in self.writers:
            if writer.error is not None:
                raise AssertionError(f"{writer.name} failed after {self.kills} kills") from writer.error

    def _end(self) -> None:
        for writer in self.writers:
            writer.ending.set()
        deadline = time.monotonic() + WAIT_S
        for writer in self.writers:
            writer.join(max(0.0, deadline - time.monotonic()))
            assert not writer.is_alive(), f"{writer.name} hangs"
        self._check()

    def _compare(self, shown: Rows) -> None:
        expected = expected_rows(self.writers)
        lost = sorted(row for row in expected if expected[row] != shown.get(row))
        extra = sorted(shown.keys() - expected.keys())
        assert not lost, f"{len(lost)} rows lost or wrong, such as {lost[0]!r}: {shown.get(lost[0])}"
        assert not extra, f"{len(extra)} rows too many, such as {extra[0]!r}"

    def report(self) -> str:
        """One line of figures."""
        wire = [writer for writer in self.writers if isinstance(writer, WireIncrementer)]
        return (
            f"{self.kills} kills ({self.kills_of_starts} while starting), {self.acknowledged()} operations "
            f"acknowledged, {self.under_way} under way at kills, {len(expected_rows(self.writers))} rows, "
            f"{wire[0].unanswered} increments unanswered, {wire[0].applied_unanswered} of them applied, "
            f"{dict(self.seen)}"
        )
