"""Client processes: started, warmed up, and told when to measure."""

from __future__ import annotations

import json
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

READY_TIMEOUT_S = 180.0
ANSWER_GRACE_S = 60.0
_TAIL = 600  # characters of a failed worker's stderr that are shown


class WorkerFailed(RuntimeError):
    """A client process ended, or did not answer."""


class Worker:
    """One process that speaks the protocol of worker.py."""

    def __init__(self, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self._log = log
        self._pending = b""
        with open(log, "wb") as stderr:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                bufsize=0,
                env=env,
            )

    def wait_ready(self) -> dict[str, int]:
        """The bytes a call sends and receives; empty for clients that do not know."""
        line = self.read_line(READY_TIMEOUT_S)
        word, _, rest = line.partition(" ")
        if word != "ready":
            raise WorkerFailed(f"expected 'ready', got {line!r}; see {self._log}")
        sizes: dict[str, int] = json.loads(rest) if rest else {}
        return sizes

    def go(self, seconds: float, samples: Path | None = None) -> None:
        command = f"go {seconds}" + ("" if samples is None else f" {samples}")
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(command.encode() + b"\n")
        except BrokenPipeError as error:
            raise self._failure("ended") from error

    def figures(self, seconds: float) -> dict[str, Any]:
        """What the last ``go`` measured."""
        found: dict[str, Any] = json.loads(self.read_line(seconds + ANSWER_GRACE_S))
        return found

    def read_line(self, timeout_s: float) -> str:
        stdout = self._process.stdout
        assert stdout is not None
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._pending:
            if not select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise self._failure(f"did not answer within {timeout_s:.0f} s")
            data = stdout.read(65536)
            if not data:
                raise self._failure("ended")
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode()

    def _failure(self, what: str) -> WorkerFailed:
        command = " ".join(map(str, self._process.args))  # type: ignore[arg-type]
        return WorkerFailed(f"{command[-200:]} {what}: {self._log.read_text(errors='replace')[-_TAIL:]}")

    def stop(self) -> None:
        """SIGTERM, for a process that does not end with its input."""
        self._process.terminate()
        self.close()

    def close(self) -> None:
        """End of input, and ten seconds to leave."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


@dataclass(frozen=True)
class Sample:
    """One round of one team."""

    rate: float  # operations a second, all clients together
    p50_us: float  # median of the clients'
    p99_us: float  # the worst client's


class Team:
    """The clients of one side in one work: they measure at the same time."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self.workers = workers
        self.sizes: dict[str, int] = {}

    def wait_ready(self) -> None:
        for worker in self.workers:
            self.sizes = worker.wait_ready()

    def measure(self, seconds: float) -> Sample:
        for worker in self.workers:
            worker.go(seconds)
        return combine([worker.figures(seconds) for worker in self.workers])

    def close(self) -> None:
        for worker in self.workers:
            worker.close()


def combine(figures: Sequence[Mapping[str, Any]]) -> Sample:
    """Rates add up; the times are those a client saw."""
    return Sample(
        sum(one["ops"] / one["seconds"] for one in figures),
        median(one["p50_us"] for one in figures),
        max(one["p99_us"] for one in figures),
    )
