"""A connection to the server: its frames become calls, its answers become frames.

State := preamble → HELLO → open. Anything unexpected before "open", and any frame that is not a message, is
answered with one error where that is possible, and ends the connection; others do not notice.

Back-pressure: answers that the client does not read pile up in the transport; above its high-water mark the
connection takes no further requests, those that wait for a thread go on waiting, and its streams pause. What
a connection holds in memory (an unfinished request, answers) counts against the server's budget.

The gate: where the server has one (``RpcServer.gate``) it is asked after the work and immediately before
bytes leave, for every answer of whatever kind. While it is shut the connection keeps its bytes and is not
writable, as if they were not read; when it opens, they leave.

Threads: the event loop's only.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from hyperbase.common.errors import (
    DoNotRetryIOException,
    HBaseIOException,
    IllegalArgumentException,
)
from hyperbase.common.rpc.call import PENDING, Call
from hyperbase.common.wire.faults import encode_fault
from hyperbase.common.wire.frames import (
    MAX_REQUEST_VALUES,
    PREAMBLE,
    BadFrameException,
    FrameDecoder,
    pack_compressed,
    pack_frame,
)
from hyperbase.common.wire.messages import ERROR, OK, PROTOCOL_VERSION, Method, Priority

if TYPE_CHECKING:
    from hyperbase.common.rpc.server import RpcServer

logger = logging.getLogger(__name__)

_HIGH_WATER_BYTES = 4 * 1024 * 1024  # of answers that the client has not taken
_WRITE_BYTES = 1024 * 1024  # of answers collected at most
_MAX_HELLO_BYTES = 64 * 1024  # a frame of somebody who has not introduced himself
_CLIENT_ID_BYTES = 16
_CANCEL, _CREDIT, _DATA, _PING = int(Method.CANCEL), int(Method.CREDIT), int(Method.DATA), int(Method.PING)


class RpcConnection(asyncio.Protocol):
    """See the module."""

    def __init__(self, server: RpcServer) -> None:
        self.server = server
        self.calls: dict[int, Call] = {}  # those that are not answered yet
        self.client_id = b""
        self.principal = ""
        self.peer = ""
        self.opened_at = server.now()
        self.ready = False  # said HELLO
        self.of_server = False  # the peer is a server: its calls must not wait behind those of users
        self.writable = True  # answers are read, and may leave
        self.kept = False  # answers wait for the gate
        self.closing = False
        self.closing_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._decoder = FrameDecoder(min(_MAX_HELLO_BYTES, server.limits.max_frame_bytes), MAX_REQUEST_VALUES)
        self._head: bytes | None = b""  # what came of the preamble; None: it is complete
        self._compress_from = 0  # bytes; 0: never
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._collecting = False
        self._unread = False  # answers pile up in the transport
        self._waiting: list[Callable[[], None]] = []  # calls that are not begun while answers are not read
        self.held_bytes = 0  # in memory, as the server counts them
        self.heard_at = self.opened_at

    # -- the transport's calls ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or refuse at once when there are too many connections."""
        self._transport = transport = cast(asyncio.Transport, transport)  # uvloop's has another base
        transport.set_write_buffer_limits(_HIGH_WATER_BYTES)
        peer = transport.get_extra_info("peername")
        self.peer = f"{peer[0]}:{peer[1]}" if peer else "unknown"
        _set_keep_alive(transport.get_extra_info("socket"))
        self.server.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody waits for anything any more."""
        self.closing = True
        self._waiting.clear()
        for call in list(self.calls.values()):
            call.cancel(tell=False)
        self.server.account(-self.held_bytes)
        self.held_bytes = 0
        self.server.remove(self)

    def pause_writing(self) -> None:
        """The client does not read its answers: take no more requests."""
        self._unread = True
        self._pause()

    def resume_writing(self) -> None:
        """It reads again."""
        self._unread = False
        self._resume()

    def _pause(self) -> None:
        if self.writable:
            self.writable = False
            if self._transport is not None and not self.closing:
                self._transport.pause_reading()

    def _resume(self) -> None:
        if self._unread or self.kept:
            return
        self.writable = True
        self.account()
        if self._transport is None or self.closing:
            return
        self._transport.resume_reading()
        waiting, self._waiting = self._waiting, []
        for begin in waiting:
            begin()
        for call in list(self.calls.values()):
            if call.on_credit is not None:
                call.on_credit()
        self.server.loop_soon(self._take_kept)

    def when_writable(self, begin: Callable[[], None]) -> None:
        """Begin a call once the client reads its answers; never, if it is gone before."""
        if self.writable:
            begin()
        elif not self.closing:
            self._waiting.append(begin)

    def data_received(self, data: bytes) -> None:
        """Cut frames, carry out calls, send what was answered meanwhile in one write."""
        self.heard_at = self.server.now()
        if self._head is not None:
            rest = self._take_preamble(data)
            if rest is None:
                return
            data = rest
        if self.writable:
            self._take_all(data)
        else:
            self._decoder.keep(data)
        self._account_input()

    def _take_kept(self) -> None:
        """What came while answers were not read."""
        if self.writable and not self.closing and self._decoder.pending_bytes:
            self._take_all(b"")
            self._account_input()

    def _take_all(self, data: bytes) -> None:
        self._collecting = True
        try:
            for message in self._decoder.feed(data):
                self._take(message)
                if self.closing or not self.writable:
                    break
        except BadFrameException as error:
            self.refuse(error)
        finally:
            self.flush()

    # -- the beginning -----------------------------------------------------------------------------------

    def _take_preamble(self, data: bytes) -> bytes | None:
        """What follows the preamble, once it is complete and right."""
        assert self._head is not None
        head = self._head + data
        if head[: len(PREAMBLE)] != PREAMBLE[: len(head)]:
            self.refuse(
                BadFrameException(
                    f"this is a Hyperbase server: expected {PREAMBLE!r}, got {head[: len(PREAMBLE)]!r}. "
                    "Connect with hyperbase.connect('hyperbase://host:port')"
                )
            )
            return None
        if len(head) < len(PREAMBLE):
            self._head = head
            return None
        self._head = None
        return head[len(PREAMBLE) :]

    def _hello(self, call_id: int, arguments: Any) -> None:
        version, options = arguments
        if version != PROTOCOL_VERSION:
            self.refuse(
                DoNotRetryIOException(
                    f"protocol version {version!r} was asked for; this server speaks {PROTOCOL_VERSION}"
                ),
                call_id,
            )
            return
        client_id = options.get("client_id")
        if type(client_id) is not bytes or len(client_id) != _CLIENT_ID_BYTES:
            raise IllegalArgumentException(f"client_id must be {_CLIENT_ID_BYTES} bytes")
        self.client_id = client_id
        self.principal = str(options.get("principal") or "")[:256]
        self.of_server = options.get("role") == "server"
        limits = self.server.limits
        compress = "zstd" in (options.get("compression") or ())
        self._compress_from = limits.compression_threshold_bytes if compress else 0
        self.ready = True
        self._decoder.max_frame_bytes = limits.max_frame_bytes
        self.send(
            (
                call_id,
                OK,
                {
                    "version": PROTOCOL_VERSION,
                    "server": self.server.name,
                    "software": self.server.software,
                    "compression": "zstd" if compress else None,
                    "compression_threshold_bytes": limits.compression_threshold_bytes,
                    "max_frame_bytes": limits.max_frame_bytes,
                },
            )
        )

    # -- requests ----------------------------------------------------------------------------------------

    def _take(self, message: Any) -> None:
        if type(message) is not tuple or len(message) != 5:
            raise BadFrameException("a request is [method, call id, timeout_ms, header, arguments]")
        method, call_id, timeout_ms, header, arguments = message
        if type(method) is not int or type(call_id) is not int or type(arguments) is not tuple:
            raise BadFrameException("a request's method and call id are integers, its arguments an array")
        try:
            if not self.ready:
                self._greet(method, call_id, arguments)
            elif method in _CONTROLS:
                self._control(method, call_id, arguments)
            else:
                self._start(method, call_id, timeout_ms, header, arguments)
        except HBaseIOException as error:
            if isinstance(error, BadFrameException):
                raise
            self.send((call_id, ERROR, encode_fault(error)))
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
            logger.debug("malformed request method=%r", method, exc_info=True)
            refusal = IllegalArgumentException(
                f"malformed request of method {method}: {type(error).__name__}: {error}"
            )
            self.send((call_id, ERROR, encode_fault(refusal)))
        except Exception as error:  # a bug of ours: the client hears of it, the others notice nothing
            logger.exception("call failed method=%r peer=%s", method, self.peer)
            self.send((call_id, ERROR, encode_fault(error)))

    def _greet(self, method: int, call_id: int, arguments: Any) -> None:
        if method != Method.HELLO:
            raise BadFrameException("the first message of a connection is HELLO")
        try:
            self._hello(call_id, arguments)
        except (TypeError, ValueError, AttributeError) as error:
            self.refuse(IllegalArgumentException(f"malformed HELLO: {error}"[:200]), call_id)

    def _start(self, method: int, call_id: int, timeout_ms: Any, header: Any, arguments: Any) -> None:
        server = self.server
        handler = server.handlers.get(method)
        if handler is None:
            raise DoNotRetryIOException(f"there is no method {method} here")
        if call_id in self.calls:
            raise BadFrameException(f"call id {call_id} is in use")
        priority = server.priority_of(method, arguments)
        if priority == _USER and self.of_server:
            priority = _SERVER
        server.admit(self, priority)
        server.calls_begun += 1
        principal = self.principal
        if header is not None:
            principal = str(header.get("principal") or principal)[:256]
        deadline = None if timeout_ms is None else server.now() + timeout_ms / 1000
        call = Call(self, call_id, principal, priority, deadline)
        try:
            payload = handler(call, arguments)
        except BaseException:
            call.done = True  # what it has begun must not answer later: the id may be in use again
            raise
        if payload is not PENDING:
            if not call.done:
                call.done = True
                self.send((call_id, OK, payload))
        elif not call.done:
            self.calls[call_id] = call
            server.in_flight[priority] += 1

    def _control(self, method: int, call_id: int, arguments: Any) -> None:
        if method == _PING:
            self.send((call_id, OK, None))
            return
        call = self.calls.get(arguments[0])
        if call is None:
            return  # answered meanwhile
        if method == _CANCEL:
            call.cancel(tell=True)
        elif method == _CREDIT:
            items = arguments[1]
            if type(items) is int and items > 0:
                call.add_credit(items)
        elif call.on_data is not None:
            call.on_data(arguments[1])

    def forget(self, call: Call) -> None:
        """The call was answered."""
        if self.calls.pop(call.id, None) is not None:
            self.server.in_flight[call.priority] -= 1

    # -- answers -----------------------------------------------------------------------------------------

    def pack(self, message: Any) -> bytes:
        """The frame of a message, as this connection wants it. Any thread."""
        if self._compress_from:
            return pack_compressed(message, self._compress_from)
        return pack_frame(message)

    def send(self, message: Any) -> None:
        """Pack and send a response."""
        self.send_frame(self.pack(message))

    def send_frame(self, frame: bytes) -> None:
        """Send a packed response, with others that come in the same moment."""
        self._out.append(frame)
        self._out_bytes += len(frame)
        if self._out_bytes >= _WRITE_BYTES:
            self._write()
        if not self._collecting:
            self._collecting = True
            self.server.flush_soon(self)

    def flush(self) -> None:
        """Hand what was collected to the transport."""
        self._collecting = False
        if self._out:
            self._write()

    def _write(self) -> None:
        gate = self.server.gate
        if gate is not None and not gate():
            self._keep()
            return
        out, transport = self._out, self._transport
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        self._out_bytes = 0
        if transport is not None and not transport.is_closing():
            transport.write(data)
            if not self.writable:
                self.account()
        if self.kept:
            self.kept = False
            self._resume()

    def _keep(self) -> None:
        """Nothing may leave now: what was collected waits, and no more is asked for."""
        self.kept = True
        self.server.kept.add(self)
        self._pause()
        self.account()

    def refuse(self, error: HBaseIOException, call_id: int = 0) -> None:
        """Tell why, and end the connection."""
        logger.info("connection refused peer=%s error=%s", self.peer, error)
        self.send((call_id, ERROR, encode_fault(error)))
        self.flush()
        self.close()

    def close(self) -> None:
        """End the connection after what was sent."""
        if not self.closing:
            self.closing_since = self.server.now()
        self.closing = True
        if self._transport is not None:
            self._transport.close()

    def drop(self, error: HBaseIOException) -> None:
        """End the connection for the others' sake: it is told why, unless it reads nothing anyway."""
        self.server.account(-self.held_bytes)
        self.held_bytes = 0
        if self.writable:
            self.refuse(error)
        else:
            self.abort()

    def abort(self) -> None:
        """End the connection now: what was not sent is dropped."""
        self.closing = True
        if self._transport is not None:
            self._transport.abort()

    @property
    def stalled(self) -> bool:
        """It waits for the rest of a request."""
        return self.writable and self._decoder.pending_bytes > 0

    def account(self) -> None:
        """Tell the server what is held in memory for this connection."""
        unsent = 0 if self._transport is None else self._transport.get_write_buffer_size()
        held = self._decoder.pending_bytes + unsent + (self._out_bytes if self.kept else 0)
        if held != self.held_bytes and not self.closing:
            delta = held - self.held_bytes
            self.held_bytes = held
            self.server.account(delta)

    def _account_input(self) -> None:
        pending = self._decoder.pending_bytes
        if pending or self.held_bytes:
            self.account()


_USER, _SERVER = int(Priority.USER), int(Priority.SERVER)
_CONTROLS = frozenset({_PING, _CANCEL, _CREDIT, _DATA})


def _set_keep_alive(sock: socket.socket | None) -> None:
    """Have the kernel find out that the peer's host is gone: an idle connection says nothing itself."""
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)
