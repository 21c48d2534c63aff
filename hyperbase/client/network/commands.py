"""What an operation asks its driver for.

An operation is a generator: it yields a command and is sent the command's result, or has its error thrown in.
It knows nothing of sockets and event loops, so one set of operations serves every client.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
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


class Parts(NamedTuple):
    """An answer that came in several messages: the payloads of its ITEMs and of its END."""

    items: list[Any]
    end: Any


Steps = Generator["Call | Calls | Sleep", Any, T]
