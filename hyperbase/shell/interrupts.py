"""Ctrl-C while a command runs: a command that reads stops at once, one that writes finishes first.

Inside the embedded store a write passes through its log and its memory; to cut it off in between would
leave the process's copy of the store in doubt. A second Ctrl-C ends any command, a hanging one too.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """Whether somebody pressed Ctrl-C during the current command."""

    def __init__(self) -> None:
        self.pressed = 0
        self._stoppable = True

    @contextmanager
    def command(self, stoppable: bool) -> Iterator[None]:
        """Run a command.

        Raises:
            KeyboardInterrupt: in a stoppable command at once, else when it is done.
        """
        self.pressed, self._stoppable = 0, stoppable
        if threading.current_thread() is not threading.main_thread():
            yield  # signals go to the main thread
            return
        before = signal.signal(signal.SIGINT, self._handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
        if self.pressed:
            raise KeyboardInterrupt

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Within a command: it only waits for an answer here, and may be ended."""
        before, self._stoppable = self._stoppable, True
        try:
            yield
        finally:
            self._stoppable = before

    def check(self) -> None:
        """Within a command that writes: it may be ended here. Raises KeyboardInterrupt."""
        if self.pressed:
            raise KeyboardInterrupt

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self.pressed += 1
        if self._stoppable or self.pressed > 1:
            raise KeyboardInterrupt
