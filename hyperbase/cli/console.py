"""What every command shares: exit codes, the error a user sees, progress on a terminal.

Progress and messages go to standard error, results to standard output. ``rich`` is imported only when
standard error is a terminal; elsewhere a progress bar is one plain line at its end.
"""

from __future__ import annotations

import enum
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress, TaskID


class ExitCode(enum.IntEnum):
    """What a command's exit status says. Scripts rely on the numbers: they never change."""

    CLEAN = 0
    DAMAGE = 1  # damage or a failure was found
    USAGE = 2  # wrong usage, or input that cannot be read at all
    REJECTED = 3  # some rows were rejected, the others are in
    LOST = 4  # a cluster's server ended since others take over what it served: start it again


class CommandError(Exception):
    """A command cannot go on; the message is the one line its user sees."""

    def __init__(self, message: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.code = code


def say(message: str = "") -> None:
    """One line of result."""
    print(message, flush=True)


def warn(message: str) -> None:
    """One line for a person, apart from the results."""
    print(message, file=sys.stderr, flush=True)


def human_bytes(count: float) -> str:
    """``1536`` → ``"1.5 KiB"``."""
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def human_seconds(seconds: float) -> str:
    """``0.00042`` → ``"420 µs"``; three significant digits."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds:.2f} s"


class ProgressBar:
    """Counts rows against a known amount of work; draws a bar on a terminal and nothing elsewhere.

    Args:
        label: what is being done.
        total: the amount of work in any unit (bytes of input, rows); 0 is unknown.
    """

    def __init__(self, label: str, total: int) -> None:
        self.rows = 0
        self._label = label
        self._total = total
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._started = time.perf_counter()

    def __enter__(self) -> ProgressBar:
        self._started = time.perf_counter()
        if sys.stderr.isatty():
            self._draw()
        return self

    def _draw(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rows]:,} rows, {task.fields[rate]:,.0f}/s"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task(self._label, total=self._total or None, rows=0, rate=0.0)

    def update(self, rows: int, done: int) -> None:
        """``rows`` more rows are finished; ``done`` of the total work is behind us."""
        self.rows += rows
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, rows=self.rows, rate=self.rate)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self._started

    @property
    def rate(self) -> float:
        """Rows a second since the start."""
        return self.rows / max(self.seconds, 1e-9)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
