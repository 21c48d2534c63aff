"""A call that is answered in parts, as its reader sees it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from hyperbase.common.errors import CallTimeoutException, HBaseIOException
from hyperbase.common.wire.faults import decode_fault
from hyperbase.common.wire.messages import END, ERROR, ITEM

if TYPE_CHECKING:
    from hyperbase.client.aio.link import Link


class PartStream:
    """The parts that came and were not read: never more than there was credit for. One reader."""

    __slots__ = ("_call_id", "_deadline", "_ended", "_error", "_link", "_parts", "_waiter")

    def __init__(self, link: Link, call_id: int) -> None:
        self._link = link
        self._call_id = call_id
        self._parts: deque[tuple[int, Any]] = deque()
        self._error: HBaseIOException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._deadline: float | None = None
        self._ended = False

    @property
    def waits(self) -> bool:
        """Whether its reader waits for the server."""
        return self._waiter is not None

    async def next_part(self, timeout_s: float | None) -> tuple[int, Any]:
        """``(ITEM, payload)`` or ``(END, payload)``.

        Raises:
            HBaseIOException: the stream's error. CallTimeoutException: nothing came in time.
        """
        while not self._parts:
            if self._error is not None:
                raise self._error
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            self._deadline = None if timeout_s is None else loop.time() + timeout_s
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._parts.popleft()

    def grant(self, items: int) -> None:
        """Take so many more ITEMs."""
        if not self._ended:
            self._link.grant(self._call_id, items)

    def send_data(self, data: bytes | None) -> None:
        """Upload a part."""
        self._link.send_data(self._call_id, data)

    def close(self) -> None:
        """Nobody reads on; nothing happens when it has ended."""
        if not self._ended:
            self._ended = True
            self._link.cancel(self._call_id)

    # -- the link's calls --------------------------------------------------------------------------------

    def take(self, kind: int, payload: Any) -> None:
        """A message of the call."""
        if kind == ERROR:
            self.fail(decode_fault(payload))
            return
        if kind != ITEM:
            self._ended = True
            kind = END
        self._parts.append((kind, payload))
        self._wake()

    def fail(self, error: HBaseIOException) -> None:
        """There are no more parts."""
        self._ended = True
        self._error = error
        self._wake()

    def check_time(self, now: float) -> None:
        """Give up when the reader has waited too long."""
        if self._waiter is not None and self._deadline is not None and now >= self._deadline:
            self.close()
            self.fail(CallTimeoutException("the server did not go on with the stream in time"))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
