"""What an operation asks its driver for.

An operation is a generator: it yields a command and is sent the command's result, or has its error thrown in.
It knows nothing of sockets and event loops, so one set of operations serves every client.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Sequence
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Call(NamedTuple):
    """Ask a server; the result is the payload, or ``Parts`` of one. Raises HBaseIOException."""

    address: str  # host:port
    method: int
    arguments: tuple[Any, ...]
    deadline: float | None  # of time.monotonic()


class Calls(NamedTuple):
    """Ask several servers at the same time; the result is a list of results and exceptions."""

    calls: Sequence[Call]


class Sleep(NamedTuple):
    """Wait."""

    seconds: float


class Once(NamedTuple):
    """Carry out an operation once for all of the client's threads or tasks that want it at the same time.

    The result or HBaseIOException is theirs all. Raises CallTimeoutException to one whose ``deadline`` (of
    time.monotonic()) passes while another one carries it out.
    """

    key: Hashable
    steps: Callable[[], Generator[Any, Any, Any]]
    deadline: float | None


class Blocking(NamedTuple):
    """Call a function that waits for something else than a server."""

    function: Callable[[], Any]


class Parts(NamedTuple):
    """An answer that came in several messages: the payloads of its ITEMs and of its END."""

    items: list[Any]
    end: Any


Command = Call | Calls | Sleep | Once | Blocking
Steps = Generator["Command", Any, T]
