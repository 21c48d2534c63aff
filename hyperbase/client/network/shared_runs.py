"""Operations that several threads want at the same time, carried out by the first of them for all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Hashable
from typing import Any

from hyperbase.client.network.commands import Once
from hyperbase.common.errors import CallTimeoutException, HBaseIOException


class _Run:
    """One of them under way."""

    __slots__ = ("done", "error", "finished", "result")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.finished = False  # else its thread was interrupted, and nobody has an answer
        self.result: Any = None
        self.error: HBaseIOException | None = None


class SharedRuns:
    """Threads: any number."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[Hashable, _Run] = {}

    def run(self, command: Once, carry_out: Callable[[Generator[Any, Any, Any]], Any]) -> Any:
        """The command's result: of its own operation, or of one with its key that is under way.

        Raises:
            HBaseIOException: the operation's. CallTimeoutException: another thread's takes too long.
        """
        while True:
            with self._lock:
                run = self._runs.get(command.key)
                mine = run is None
                if run is None:
                    run = self._runs[command.key] = _Run()
            if mine:
                return self._lead(run, command, carry_out)
            left = None if command.deadline is None else max(command.deadline - time.monotonic(), 0)
            if not run.done.wait(left):
                raise CallTimeoutException("what another thread looks up did not come in time")
            if run.error is not None:
                raise run.error
            if run.finished:
                return run.result

    def _lead(self, run: _Run, command: Once, carry_out: Callable[[Generator[Any, Any, Any]], Any]) -> Any:
        try:
            run.result = carry_out(command.steps())
            run.finished = True
            return run.result
        except HBaseIOException as error:
            run.error = error
            raise
        finally:
            with self._lock:
                del self._runs[command.key]
            run.done.set()
