"""One connection to a server with many calls in flight.

Requests made in one turn of the event loop leave in one write; answers come in any order. One timer per link,
and only while calls are in flight, looks at their deadlines and asks for signs of life: a timer for each call
would cost more than the call.

Invariant: whoever waits for a call is told exactly once, also when the connection ends.
Threads: the event loop's only.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, cast

import msgpack

from hyperbase.client.aio.parts import PartStream
from hyperbase.client.network.address import split_address
from hyperbase.client.network.commands import Parts
from hyperbase.client.network.hello import Agreement, hello_bytes, read_hello, unreachable
from hyperbase.common.config import ClientConfig
from hyperbase.common.errors import (
    CallTimeoutException,
    ConnectException,
    ConnectionLostException,
    HBaseIOException,
    IllegalArgumentException,
)
from hyperbase.common.wire.faults import decode_fault
from hyperbase.common.wire.frames import (
    HEADER,
    HEADER_BYTES,
    BadFrameException,
    FrameDecoder,
    pack_compressed,
    unpack_body,
)
from hyperbase.common.wire.messages import ERROR, ITEM, OK, Method

MAX_IN_FLIGHT = 900  # below the server's default max_requests_per_connection; the next call waits
HIGH_WATER_BYTES = 4 * 1024 * 1024  # of requests that the server has not taken; then calls wait
_MAX_CALL_ID = 2**31
_PING, _CANCEL, _CREDIT, _DATA = int(Method.PING), int(Method.CANCEL), int(Method.CREDIT), int(Method.DATA)

Waiting = tuple["asyncio.Future[Any]", "float | None"]  # and the deadline, of the loop's clock


class Link(asyncio.Protocol):
    """See the module. ``open_link`` makes one."""

    def __init__(self, address: str, client_id: bytes, config: ClientConfig) -> None:
        self.address = address
        self.lost: HBaseIOException | None = None  # why there will be no more answers
        self._config = config
        self.loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._hello: asyncio.Future[None] = self.loop.create_future()
        self._hello_bytes = hello_bytes(client_id, config, address)
        self._agreement = Agreement(config.max_frame_bytes, 0)
        self._decoder = FrameDecoder(config.max_frame_bytes)
        self._calls: dict[int, Waiting] = {}
        self._streams: dict[int, PartStream] = {}
        self._items: dict[int, list[Any]] = {}  # of calls whose answer comes in several messages
        self._pack = msgpack.Packer(use_bin_type=True).pack
        self._call_id = 0
        self._out: list[bytes] = []
        self._paused = False
        self._waiters: deque[asyncio.Future[None]] = deque()  # for room: calls in flight, or bytes
        self._timer: asyncio.TimerHandle | None = None
        self._heard_at = self.loop.time()
        self._tick_s = max(0.01, min(0.5, config.operation_timeout_s / 20, config.keepalive_interval_s / 4))

    # -- the transport's calls ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say HELLO."""
        self._transport = transport = cast(asyncio.Transport, transport)  # uvloop's has another base
        transport.set_write_buffer_limits(HIGH_WATER_BYTES)
        transport.write(self._hello_bytes)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody will be answered any more."""
        reason = f"{self.address} closed the connection before it answered"
        if exc is not None:
            reason = f"the connection to {self.address} was lost: {exc}"
        self._fail(ConnectionLostException(reason))

    def pause_writing(self) -> None:
        """The server takes no more for the moment."""
        self._paused = True

    def resume_writing(self) -> None:
        """It does again."""
        self._paused = False
        self._wake_waiters()

    def data_received(self, data: bytes) -> None:
        """Answers: each goes to who waits for it."""
        self._heard_at = self.loop.time()
        try:
            if self._decoder.pending_bytes or not self._hello.done():
                for message in self._decoder.feed(data):
                    self._take(message)
                return
            position, end = 0, len(data)
            view = memoryview(data)
            while end - position >= HEADER_BYTES:
                length, flags = HEADER.unpack_from(data, position)
                stop = position + 4 + length
                if stop > end or not length:
                    break
                message = unpack_body(
                    view[position + HEADER_BYTES : stop], flags, self._config.max_frame_bytes
                )
                position = stop
                self._take(message)
            if position < end:  # the rest of a frame is to come, or it is none
                for message in self._decoder.feed(data[position:]):
                    self._take(message)
        except (HBaseIOException, TypeError, ValueError) as error:
            self.close(error if isinstance(error, HBaseIOException) else _not_an_answer(error))

    def _take(self, message: Any) -> None:
        call_id, kind, payload = message
        if kind == OK:
            waiting = self._calls.pop(call_id, None)
            if waiting is not None:
                future = waiting[0]
                if not future.done():
                    items = self._items.pop(call_id, None) if self._items else None
                    future.set_result(payload if items is None else Parts(items, payload))
                if self._waiters:
                    self._wake_waiters()
                return
        if not self._hello.done():
            self._greeted(message)
        else:
            self._take_other(call_id, kind, payload)

    def _take_other(self, call_id: int, kind: int, payload: Any) -> None:
        """An ERROR, or a message of a stream."""
        stream = self._streams.get(call_id)
        if stream is not None:
            if kind != ITEM:
                del self._streams[call_id]
            stream.take(kind, payload)
        elif kind == ITEM:
            if call_id in self._calls:
                self._items.setdefault(call_id, []).append(payload)
        else:
            waiting = self._calls.pop(call_id, None)
            items = self._items.pop(call_id, [])
            if waiting is not None and not waiting[0].done():
                if kind == ERROR:
                    waiting[0].set_exception(decode_fault(payload))
                else:
                    waiting[0].set_result(Parts(items, payload))
            elif call_id == 0 and kind == ERROR:  # about the connection as a whole
                raise decode_fault(payload)
        self._wake_waiters()

    def _greeted(self, message: Any) -> None:
        self._agreement = read_hello(message, self._config)
        self._hello.set_result(None)

    async def wait_for_hello(self) -> None:
        """Until the server has introduced itself."""
        await self._hello

    # -- calls -------------------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether a call may be made now."""
        return len(self._calls) < MAX_IN_FLIGHT and not self._paused

    async def wait_for_room(self) -> None:
        """Until a call may be made."""
        while not self.has_room and self.lost is None:
            waiter = self.loop.create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done():
                    self._wake_waiters()  # its turn goes to the next
                raise

    def call(
        self, method: int, arguments: Any, timeout_ms: int | None, deadline: float | None
    ) -> tuple[int, asyncio.Future[Any]]:
        """Send a request; the future is given its payload, or ``Parts``. Cancel it with ``cancel``.

        Raises:
            ConnectionLostException; IllegalArgumentException: too large.
        """
        call_id = self._send(method, arguments, timeout_ms)
        future = self.loop.create_future()
        self._calls[call_id] = (future, deadline)
        if self._timer is None:
            self._start_timer()
        return call_id, future

    def open_stream(self, method: int, arguments: Any) -> PartStream:
        """Send a request that is answered in many parts."""
        call_id = self._send(method, arguments, None)
        stream = PartStream(self, call_id)
        self._streams[call_id] = stream
        if self._timer is None:
            self._start_timer()
        return stream

    def _send(self, method: int, arguments: Any, timeout_ms: int | None) -> int:
        if self.lost is not None:
            raise ConnectionLostException(str(self.lost))
        call_id = self._call_id = self._call_id % _MAX_CALL_ID + 1
        message = (method, call_id, timeout_ms, None, arguments)
        agreed = self._agreement
        if agreed.compress_from_bytes:
            frame = pack_compressed(message, agreed.compress_from_bytes)
        else:
            body = self._pack(message)
            frame = HEADER.pack(len(body) + 1, 0) + body
        if len(frame) > agreed.max_frame_bytes:
            raise IllegalArgumentException(
                f"the request is {len(frame)} bytes, the server takes {agreed.max_frame_bytes} at most "
                "(max_frame_bytes): write less at a time"
            )
        self._write(frame)
        return call_id

    def _write(self, frame: bytes) -> None:
        """Send with everything else of this turn of the loop."""
        out = self._out
        if not out:
            self.loop.call_soon(self._flush)
        out.append(frame)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def _control(self, method: int, arguments: tuple[Any, ...]) -> None:
        if self.lost is None:
            body = self._pack((method, 0, None, None, arguments))
            self._write(HEADER.pack(len(body) + 1, 0) + body)

    def cancel(self, call_id: int) -> None:
        """Nobody waits for this call or stream any more."""
        known = self._calls.pop(call_id, None) or self._streams.pop(call_id, None)
        self._items.pop(call_id, None)
        if known is not None:
            self._control(_CANCEL, (call_id,))
            self._wake_waiters()

    def grant(self, call_id: int, items: int) -> None:
        """A stream may send so many more ITEMs."""
        self._control(_CREDIT, (call_id, items))

    def send_data(self, call_id: int, data: bytes | None) -> None:
        """A part of an upload."""
        self._control(_DATA, (call_id, data))

    def _wake_waiters(self) -> None:
        waiters = self._waiters
        room = MAX_IN_FLIGHT - len(self._calls)
        while waiters and room > 0 and not self._paused:
            waiter = waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                room -= 1

    # -- time --------------------------------------------------------------------------------------------

    def _start_timer(self) -> None:
        self._heard_at = self.loop.time()
        self._timer = self.loop.call_later(self._tick_s, self._tick)

    def _tick(self) -> None:
        """Look at deadlines and at how long nothing was heard."""
        self._timer = None
        streams_wait = any(stream.waits for stream in self._streams.values())
        if not (self._calls or streams_wait) or self.lost is not None:
            if self._streams and self.lost is None:
                self._timer = self.loop.call_later(self._tick_s, self._tick)
                self._heard_at = self.loop.time()
            return
        now = self.loop.time()
        late = [
            call_id
            for call_id, (_, deadline) in self._calls.items()
            if deadline is not None and now >= deadline
        ]
        for call_id in late:
            future = self._calls[call_id][0]
            self.cancel(call_id)
            if not future.done():
                future.set_exception(CallTimeoutException(f"{self.address} did not answer in time"))
        for stream in list(self._streams.values()):
            stream.check_time(now)
        silent = now - self._heard_at
        if silent >= self._config.keepalive_timeout_s:
            self.close(
                ConnectionLostException(
                    f"no sign of life from {self.address} for {silent:.1f} s (keepalive_timeout_s)"
                )
            )
            return
        if silent >= self._config.keepalive_interval_s:
            body = self._pack((_PING, _MAX_CALL_ID + 1, None, None, ()))
            self._write(HEADER.pack(len(body) + 1, 0) + body)
        self._timer = self.loop.call_later(self._tick_s, self._tick)

    # -- the end -----------------------------------------------------------------------------------------

    def close(self, error: HBaseIOException | None = None) -> None:
        """End the connection; those who wait are told."""
        self._fail(error or ConnectionLostException(f"the connection to {self.address} was closed"))
        if self._transport is not None:
            if self._out:
                self._flush()
            self._transport.close()

    def _fail(self, error: HBaseIOException) -> None:
        if self.lost is not None:
            return
        self.lost = error
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._hello.done():
            self._hello.set_exception(error)
            self._hello.exception()  # it was looked at: whoever connects may have gone
        calls, self._calls = self._calls, {}
        for future, _ in calls.values():
            if not future.done():
                future.set_exception(_as_lost(error))
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.fail(_as_lost(error))
        self._items.clear()
        waiters, self._waiters = self._waiters, deque()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


def _as_lost(error: HBaseIOException) -> ConnectionLostException:
    """The error of a call whose connection ended with ``error``: each call its own, it gets a traceback."""
    return ConnectionLostException(str(error))


def _not_an_answer(error: Exception) -> BadFrameException:
    return BadFrameException(f"an answer is [call id, kind, payload]: {error}")


async def open_link(address: str, client_id: bytes, config: ClientConfig) -> Link:
    """Connect and say HELLO.

    Raises:
        ConnectException: nobody is there, or nobody answers in time.
    """
    loop = asyncio.get_running_loop()
    host, port = split_address(address)
    link: Link | None = None
    try:
        async with asyncio.timeout(config.connect_timeout_s):
            _, link = await loop.create_connection(lambda: Link(address, client_id, config), host, port)
            await link.wait_for_hello()
    except TimeoutError as error:
        _close(link)
        raise ConnectException(
            f"cannot connect to {address}: no answer within {config.connect_timeout_s:g} s "
            "(connect_timeout_s)"
        ) from error
    except ConnectionLostException as error:
        raise ConnectException(f"cannot connect to {address}: {error}") from error
    except HBaseIOException:
        _close(link)
        raise
    except OSError as error:
        raise unreachable(address, error) from error
    except BaseException:
        _close(link)
        raise
    return link


def _close(link: Link | None) -> None:
    if link is not None:
        link.close()
