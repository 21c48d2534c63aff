"""A pool of HappyBase connections.

Threads: any number take connections; within one thread, nested requests give the same connection.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hyperbase.common.errors import IllegalArgumentException, WrongTypeException, shown
from hyperbase.happybase.connection import Connection


class NoConnectionsAvailable(RuntimeError):
    """No connection of the pool became free in time."""


class ConnectionPool:
    """``size`` connections, opened as they are needed, the first at once.

    Args:
        size: most connections in use at a time.
        kwargs: passed on to ``Connection``, but for ``autoconnect``.

    Raises:
        TypeError, ValueError: ``size`` is not a positive integer. Else what ``Connection`` raises.
    """

    def __init__(self, size: int, **kwargs: Any) -> None:
        if not isinstance(size, int):
            raise WrongTypeException(f"the pool's 'size' must be an integer, not {shown(size)}")
        if size < 1:
            raise IllegalArgumentException(f"the pool's 'size' must be greater than zero, not {size}")
        # Last in, first out: the connection used last is the one most likely to be open.
        self._idle: queue.LifoQueue[Connection] = queue.LifoQueue(maxsize=size)
        self._of_thread = threading.local()
        kwargs["autoconnect"] = False
        for _ in range(size):
            self._idle.put(Connection(**kwargs))
        with self.connection():
            pass  # a wrong argument shows here, not at the first use

    @contextmanager
    def connection(self, timeout: float | None = None) -> Iterator[Connection]:
        """Lend a connection for a ``with`` block.

        Args:
            timeout: seconds to wait for one; for ever when ``None``.

        Raises:
            NoConnectionsAvailable: none became free in time.
        """
        current: Connection | None = getattr(self._of_thread, "current", None)
        if current is not None:
            with _kept_open(current):
                yield current
            return
        try:
            current = self._idle.get(timeout=timeout)
        except queue.Empty:
            raise NoConnectionsAvailable(
                f"no connection of the pool became free within {timeout} s"
            ) from None
        self._of_thread.current = current
        try:
            with _kept_open(current):
                yield current
        finally:
            del self._of_thread.current
            self._idle.put(current)


@contextmanager
def _kept_open(connection: Connection) -> Iterator[None]:
    """Open the connection; when the block fails and left it closed, open it again for the next user."""
    connection.open()
    try:
        yield
    except Exception:
        connection.open()
        raise
