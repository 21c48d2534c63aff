"""One blocking socket to a server: one call, or one stream, at a time.

The kernel's receive timeout (SO_RCVTIMEO) wakes a waiting call, which then looks at its deadline and asks the
server for a sign of life (PING); a poll() before each read would cost a system call per answer.

Invariant: a channel that was left in the middle of an answer is ``busy`` and is never used again.
Threads: whoever took it from its pool.
"""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress
from typing import Any

import msgpack

from hyperbase.client.network.address import split_address
from hyperbase.client.network.commands import Parts
from hyperbase.client.network.framing import check_data, request_frame, set_options
from hyperbase.client.network.hello import Agreement, hello_bytes, read_hello, unreachable
from hyperbase.common.config import ClientConfig
from hyperbase.common.errors import (
    CallTimeoutException,
    ConnectException,
    ConnectionLostException,
    HBaseIOException,
)
from hyperbase.common.wire.faults import decode_fault
from hyperbase.common.wire.frames import HEADER, HEADER_BYTES, BadFrameException, unpack_body
from hyperbase.common.wire.messages import END, ERROR, ITEM, OK, Method

RECEIVE_BYTES = 64 * 1024
_TIMEVAL = struct.Struct("@ll")
_PING, _CANCEL, _CREDIT = int(Method.PING), int(Method.CANCEL), int(Method.CREDIT)
_MAX_CALL_ID = 2**31


class Channel:
    """See the module. ``connect`` makes one."""

    __slots__ = (
        "__weakref__",
        "_agreement",
        "_begin",
        "_buffer",
        "_call_id",
        "_config",
        "_end",
        "_pack",
        "_recv_into",
        "_sendall",
        "_sock",
        "_usual_wait_s",
        "_view",
        "_wait_s",
        "address",
        "busy",
    )

    def __init__(self, address: str, sock: socket.socket, config: ClientConfig) -> None:
        self.address = address
        self.busy = False
        self._config = config
        self._sock = sock
        self._sendall = sock.sendall
        self._recv_into = sock.recv_into
        self._pack = msgpack.Packer(use_bin_type=True).pack
        self._buffer = bytearray(RECEIVE_BYTES)
        self._view = memoryview(self._buffer)
        self._begin = self._end = 0  # of what came and was not looked at
        self._call_id = 0
        self._wait_s = 0.0
        self._usual_wait_s = min(config.keepalive_interval_s, config.operation_timeout_s)
        self._agreement = Agreement(config.max_frame_bytes, 0)

    @classmethod
    def connect(cls, address: str, client_id: bytes, config: ClientConfig, timeout_s: float) -> Channel:
        """Connect and say HELLO.

        Raises:
            ConnectException: nobody is there, or nobody answers in time.
        """
        timeout_s = max(0.001, min(timeout_s, config.connect_timeout_s))
        try:
            sock = socket.create_connection(split_address(address), timeout=timeout_s)
        except OSError as error:
            raise unreachable(address, error) from error
        try:
            sock.settimeout(None)  # from here on the kernel's timeouts count
            set_options(sock)
            keepalive_s = config.keepalive_timeout_s
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(keepalive_s))
            channel = cls(address, sock, config)
            channel._greet(client_id, timeout_s)
        except ConnectionLostException as error:
            sock.close()
            raise ConnectException(f"cannot connect to {address}: {error}") from error
        except CallTimeoutException as error:
            sock.close()
            raise ConnectException(
                f"cannot connect to {address}: no answer within {timeout_s:g} s (connect_timeout_s)"
            ) from error
        except BaseException:
            sock.close()
            raise
        return channel

    def _greet(self, client_id: bytes, timeout_s: float) -> None:
        self._set_wait(timeout_s)
        try:
            self._sendall(hello_bytes(client_id, self._config, self.address))
        except OSError as error:  # it died after it accepted
            raise self._lost(error) from error
        deadline = time.monotonic() + timeout_s
        self._agreement = read_hello(self._receive(deadline), self._config)

    @property
    def server(self) -> str:
        """The name of the process that answers: ``host,port,startcode``."""
        return self._agreement.server

    def close(self) -> None:
        """Give the socket up."""
        self.busy = True
        self._sock.close()

    def shut_down(self) -> None:
        """End the connection under a thread that may be waiting for an answer: its call fails."""
        self.busy = True
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    # -- calls -------------------------------------------------------------------------------------------

    def call(self, method: int, arguments: Any, timeout_ms: int | None, deadline: float | None) -> Any:
        """Ask, and wait for the answer: its payload, or ``Parts`` of it. ``deadline`` is a whole operation's
        time away: ``send`` and ``receive_answer`` are for less.

        Raises:
            HBaseIOException: the server's error. ConnectionLostException, CallTimeoutException: ``busy`` is
                set then, and the outcome unknown.
        """
        self.send(method, arguments, timeout_ms)
        call_id, kind, payload = self._receive(deadline)
        if call_id == self._call_id and kind == OK:
            self.busy = False
            return payload
        return self._answer(call_id, kind, payload, deadline)

    def send(self, method: int, arguments: Any, timeout_ms: int | None) -> None:
        """Send a request; ``receive_answer`` or ``next_part`` take what comes back."""
        call_id = self._call_id = self._call_id % _MAX_CALL_ID + 1
        message = (method, call_id, timeout_ms, None, arguments)
        frame = request_frame(self._pack, message, self._agreement)
        if self._wait_s != self._usual_wait_s:
            self._set_wait(self._usual_wait_s)
        self.busy = True
        try:
            self._sendall(frame)
        except OSError as error:
            raise self._lost(error) from error

    def receive_answer(self, deadline: float | None) -> Any:
        """As ``call``, for a request that was sent."""
        if deadline is not None:
            left = deadline - time.monotonic()
            if left < self._wait_s:
                self._set_wait(max(left, 0.001))
        call_id, kind, payload = self._receive(deadline)
        return self._answer(call_id, kind, payload, deadline)

    def _answer(self, call_id: int, kind: int, payload: Any, deadline: float | None) -> Any:
        items: list[Any] = []
        while True:
            if call_id == self._call_id:
                if kind == ITEM:
                    items.append(payload)
                else:
                    self.busy = False
                    if kind == ERROR:
                        raise decode_fault(payload)
                    return Parts(items, payload) if items or kind == END else payload
            call_id, kind, payload = self._receive(deadline)

    # -- streams -----------------------------------------------------------------------------------------

    def next_part(self, deadline: float | None) -> tuple[int, Any]:
        """The next ITEM or END of the call that was sent, as ``(kind, payload)``; an OK is an END."""
        while True:
            call_id, kind, payload = self._receive(deadline)
            if call_id == self._call_id:
                if kind == ITEM:
                    return ITEM, payload
                self.busy = False
                if kind == ERROR:
                    raise decode_fault(payload)
                return END, payload

    def grant(self, items: int) -> None:
        """Take so many more ITEMs. Raises nothing: a lost connection shows when the next one is awaited, and
        what was taken already must not be lost with it."""
        with suppress(ConnectionLostException):
            self._control(_CREDIT, (self._call_id, items))

    def send_data(self, data: bytes | None) -> None:
        """A part of what the call uploads."""
        check_data(data, self._agreement)
        self._control(int(Method.DATA), (self._call_id, data))

    def cancel(self, drain_s: float) -> None:
        """Take the call back; when its end does not come soon, the channel stays ``busy``."""
        try:
            self._control(_CANCEL, (self._call_id,))
            deadline = time.monotonic() + drain_s
            self._set_wait(drain_s)
            while self.busy:
                self.next_part(deadline)
        except HBaseIOException:
            pass  # the call's own end (CallCancelledException), or the connection's

    def _control(self, method: int, arguments: tuple[Any, ...]) -> None:
        body = self._pack((method, 0, None, None, arguments))
        try:
            self._sendall(HEADER.pack(len(body) + 1, 0) + body)
        except OSError as error:
            self.busy = True
            raise self._lost(error) from error

    # -- receiving ---------------------------------------------------------------------------------------

    def _receive(self, deadline: float | None) -> Any:
        """The next message: ``(call id, kind, payload)``."""
        begin = self._begin
        if begin == self._end:
            try:
                end = self._recv_into(self._buffer)
            except OSError as error:
                end = self._wait(self._view, deadline, error)
            if not end:
                raise self._lost(None)
            begin, self._end = 0, end
        end = self._end
        buffer = self._buffer
        while end - begin < HEADER_BYTES:  # a header in two pieces
            buffer[: end - begin] = buffer[begin:end]
            end, begin = end - begin, 0
            self._end = end = end + self._read_some(self._view[end:], deadline)
        length, flags = HEADER.unpack_from(buffer, begin)
        stop = begin + 4 + length
        if stop <= end and length:
            body = self._view[begin + HEADER_BYTES : stop]
            self._begin, self._end = (stop, end) if stop < end else (0, 0)
        else:
            body = self._rest_of(length, begin, end, deadline)
        try:
            message = unpack_body(body, flags, self._config.max_frame_bytes)
        except BadFrameException:
            self.busy = True
            raise
        if type(message) is not tuple or len(message) != 3:
            raise BadFrameException("an answer is [call id, kind, payload]")
        return message

    def _rest_of(self, length: int, begin: int, end: int, deadline: float | None) -> memoryview:
        """The body of a frame that has not come whole."""
        if not 0 < length <= self._config.max_frame_bytes:
            raise BadFrameException(
                f"a frame of {length} bytes was announced; at most {self._config.max_frame_bytes} are taken "
                "(max_frame_bytes)"
            )
        frame = memoryview(bytearray(length - 1))
        have = end - begin - HEADER_BYTES
        frame[:have] = self._view[begin + HEADER_BYTES : end]
        self._begin = self._end = 0
        while have < length - 1:
            have += self._read_some(frame[have:], deadline)
        return frame

    def _read_some(self, view: memoryview, deadline: float | None) -> int:
        try:
            count = self._recv_into(view)
        except OSError as error:
            count = self._wait(view, deadline, error)
        if not count:
            raise self._lost(None)
        return count

    def _wait(self, view: memoryview, deadline: float | None, error: OSError) -> int:
        """Nothing came for a while: go on waiting while there is time and the server is alive."""
        config = self._config
        silent_since = time.monotonic() - self._wait_s
        while True:
            if not isinstance(error, (BlockingIOError, InterruptedError)):
                raise self._lost(error) from error
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                raise CallTimeoutException(f"{self.address} did not answer in time")
            if now - silent_since >= config.keepalive_timeout_s:
                raise ConnectionLostException(
                    f"no sign of life from {self.address} for {now - silent_since:.1f} s "
                    "(keepalive_timeout_s)"
                )
            if now - silent_since >= config.keepalive_interval_s:
                self._ping()
            left = config.keepalive_interval_s if deadline is None else deadline - now
            self._set_wait(min(left, config.keepalive_interval_s))
            try:
                return self._recv_into(view)
            except OSError as again:
                error = again

    def _ping(self) -> None:
        body = self._pack((_PING, _MAX_CALL_ID + 1, None, None, ()))
        try:
            self._sendall(HEADER.pack(len(body) + 1, 0) + body)
        except OSError as error:
            raise self._lost(error) from error

    def _set_wait(self, seconds: float) -> None:
        """How long the kernel waits for something to come."""
        if seconds != self._wait_s:
            self._wait_s = seconds
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(seconds))

    def _lost(self, error: OSError | None) -> ConnectionLostException:
        self.busy = True
        if error is None:
            return ConnectionLostException(f"{self.address} closed the connection before it answered")
        if isinstance(error, BlockingIOError):
            return ConnectionLostException(
                f"{self.address} took no data for {self._config.keepalive_timeout_s:g} s "
                "(keepalive_timeout_s)"
            )
        reason = error.strerror or str(error)
        return ConnectionLostException(f"the connection to {self.address} was lost: {reason}")


def _timeval(seconds: float) -> bytes:
    whole = int(seconds)
    return _TIMEVAL.pack(whole, max(int((seconds - whole) * 1e6), 0 if whole else 1000))
