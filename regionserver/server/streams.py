"""Streams: answers in many parts, sent no faster than the client takes them.

A client gives credit for so many ITEMs; a thread produces that many and stops. More credit starts it again. A
stream that waits for credit longer than the lease is ended with UnknownScannerException, and what it held
(a read point, files) is let go; so it is at once when the client cancels, or is gone.

Threads: a stream's parts are made by one thread at a time; everything else happens on the event loop.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from hyperbase.common.errors import CallQueueTooBigException, HBaseIOException, UnknownScannerException
from hyperbase.common.rpc.call import Call
from hyperbase.common.rpc.connection import RpcConnection
from hyperbase.common.wire.messages import END, ITEM, Priority
from regionserver.server.work import Completions, WorkPool

# A stream makes parts so long, or so many bytes; then the next one that waits for a thread has its turn.
TURN_S = 0.1
TURN_BYTES = 2 * 1024 * 1024
ANY_CREDIT = 2**62

logger = logging.getLogger(__name__)


class Source(Protocol):
    """Where the parts of a stream come from. One thread at a time."""

    def next_part(self) -> tuple[Any, bool]:
        """The next payload, and whether it was the last: then it is END's.

        ``None`` and not the last: nothing yet, ask again.
        """

    def close(self) -> None:
        """Let go of everything; called once, by any thread, not while a part is made."""


class StreamTable:
    """The streams that are open, their limits and leases. The event loop's thread only."""

    def __init__(
        self,
        pool: WorkPool,
        meta_pool: WorkPool,
        completions: Completions,
        *,
        lease_s: float,
        max_streams: int,
        max_streams_per_connection: int,
    ) -> None:
        self._pool = pool
        self._meta_pool = meta_pool
        self.completions = completions
        self._lease_s = lease_s
        self._max_streams = max_streams
        self._max_per_connection = max_streams_per_connection
        self._open: set[Stream] = set()
        self._of: dict[RpcConnection, int] = {}

    def pool_of(self, call: Call) -> WorkPool:
        """Whose threads make a stream's parts: who looks for a region does not wait behind those who read."""
        return self._meta_pool if call.priority == Priority.META else self._pool

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, call: Call) -> None:
        """Refuse one more stream when there are too many.

        Raises:
            CallQueueTooBigException
        """
        if len(self._open) >= self._max_streams:
            raise CallQueueTooBigException(
                f"the server has {len(self._open)} scanners open, as many as it may (max_scanners): "
                "close some, or wait and retry"
            )
        if self._of.get(call.connection, 0) >= self._max_per_connection:
            raise CallQueueTooBigException(
                f"this connection has {self._of[call.connection]} scanners open, as many as it may "
                "(max_scanners_per_connection): close some"
            )

    def start(self, call: Call, credit: Any, source: Source, *, inline: bool = False) -> None:
        """Stream the source's parts; ``inline`` makes the first one at once, on the loop."""
        if type(credit) is not int or credit < 1:
            source.close()
            raise UnknownScannerException(
                f"a stream begins with credit for at least one item, not {credit!r}"
            )
        stream = Stream(self, call, source)
        self._open.add(stream)
        self._of[call.connection] = self._of.get(call.connection, 0) + 1
        call.granted = credit
        call.deadline = None  # from here on the lease counts
        stream.begin(inline)

    def answer(self, call: Call, source: Source) -> None:
        """An answer in parts, no faster than the client reads. It is no scanner: no limit, no lease."""
        call.granted = ANY_CREDIT
        Stream(self, call, source).begin(inline=False)

    def remove(self, stream: Stream) -> None:
        """The stream ended."""
        if stream not in self._open:
            return
        self._open.discard(stream)
        connection = stream.call.connection
        left = self._of.get(connection, 1) - 1
        if left:
            self._of[connection] = left
        else:
            self._of.pop(connection, None)

    def end_idle(self, now: float) -> None:
        """End the streams whose lease ran out."""
        for stream in list(self._open):
            if stream.idle_since is not None and now - stream.idle_since > self._lease_s:
                stream.expire(self._lease_s)


class Stream:
    """One call's stream."""

    def __init__(self, table: StreamTable, call: Call, source: Source) -> None:
        self.call = call
        self.idle_since: float | None = None  # waits for credit, or for the client to read
        self._table = table
        self._source = source
        self._busy = False
        self._closed = False
        call.on_credit = self._advance
        call.on_cancel = self._stop

    def begin(self, inline: bool) -> None:
        """Make the first part."""
        if inline:
            try:
                payload, last = self._source.next_part()
            except BaseException:
                self._stop()
                raise
            if last:
                self.call.end(payload)
                self._stop()
                return
            if payload is not None:
                self.call.sent += 1
                self.call.item(payload)
        self._advance()

    def _advance(self) -> None:
        """Have more parts made, if that may be."""
        call = self.call
        if self._busy or self._closed:
            return
        if call.credit <= 0 or not call.connection.writable:
            self.idle_since = call.connection.server.now()
            return
        self.idle_since = None
        self._busy = True
        try:
            self._table.pool_of(self.call).run_part(self._produce, self._produced)
        except CallQueueTooBigException as error:
            self._busy = False
            call.fail(error)
            self._stop()

    def _produce(self) -> Callable[[], None]:
        """In a thread: make parts while there is credit; returns what the loop has to do then."""
        call, connection, post = self.call, self.call.connection, self._table.completions.post
        until = time.monotonic() + TURN_S
        try:
            made = 0  # bytes that the loop has not seen: it says when the client reads too slowly
            while call.credit > 0 and connection.writable and not call.done:
                payload, last = self._source.next_part()
                if payload is not None or last:
                    call.sent += 1
                    frame = connection.pack((call.id, END if last else ITEM, payload))
                    made += len(frame)
                    post(self._send, frame, last)
                if last or made >= TURN_BYTES or time.monotonic() >= until:
                    break
        except HBaseIOException as failed:
            return lambda error=failed: call.fail(error)  # type: ignore[misc]
        except BaseException as failed:
            logger.exception("stream failed")
            return lambda error=failed: call.fail(error)  # type: ignore[misc]
        return lambda: None

    def _send(self, frame: bytes, last: bool) -> None:
        if self.call.done:
            return
        self.call.connection.send_frame(frame)
        if last:
            self.call.finish()

    def _produced(self, then: Callable[[], None]) -> None:
        self._busy = False
        then()
        if self._closed:  # while the part was being made
            self._source.close()
        elif self.call.done:
            self._stop()
        else:
            self._advance()

    def _stop(self) -> None:
        """Let go; while a part is being made, after it."""
        if self._closed:
            return
        self._closed = True
        self.idle_since = None
        self._table.remove(self)
        if not self._busy:
            self._source.close()

    def expire(self, lease_s: float) -> None:
        """Nobody asked for more in time."""
        self.call.give_up(
            UnknownScannerException(
                f"the scanner was idle for more than {lease_s:g} s and was closed: open it again behind the "
                "last row"
            )
        )
