"""Servers as real processes: ``hyperbase start`` and the other commands, as a person types them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 60.0
COMMAND = (sys.executable, "-m", "hyperbase.cli")


def environment(**more: str) -> dict[str, str]:
    """This process's, without settings of Hyperbase, and with the sources on the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HYPERBASE_")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **more}


def hyperbase_command(*words: object, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, words)],
        cwd=cwd,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


def _listen_to_signals() -> None:
    """In the child: who runs the tests may ignore signals (nohup, background jobs), a server does not."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Server:
    """``hyperbase start`` in the foreground; ``lines`` is what it said up to ``ready``."""

    def __init__(
        self, *words: object, cwd: Path, program: tuple[str, ...] = COMMAND, port: int = 0, **more: str
    ) -> None:
        command = [*program, "start", "--port", str(port), *map(str, words)]
        self.log_path = cwd / f"stderr-{os.urandom(4).hex()}"
        with open(self.log_path, "wb") as errors:
            self.process = subprocess.Popen(
                command,
                cwd=cwd,
                env=environment(**more),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
                preexec_fn=_listen_to_signals,
            )
        self.lines: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line == "ready\n":
                return
        raise AssertionError(f"no server: code {self.process.wait()}, {self.lines}, {self.log}")

    @property
    def log(self) -> str:
        """What it wrote to standard error so far."""
        return self.log_path.read_text(encoding="utf-8")

    @property
    def port(self) -> int:
        """Where it listens."""
        (line,) = (line for line in self.lines if line.startswith("rpc "))
        return int(line.split()[1].rpartition(":")[2])

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit code."""
        code = self.process.wait(TIMEOUT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def kill(self) -> None:
        """End it as a crash would, when it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.wait()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: Any) -> None:
        self.kill()
