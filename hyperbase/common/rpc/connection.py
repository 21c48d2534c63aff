"""A connection to the server: its frames become calls, its answers become frames.

State := preamble → HELLO → open. Anything unexpected before "open", and any frame that is not a message, is
answered with one error where that is possible, and ends the connection; others do not notice.

Back-pressure: answers that the client does not read pile up in the transport; above its high-water mark the
connection reads no further requests and its streams pause.

Threads: the event loop's only.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Any, cast

from hyperbase.common.errors import (
    CallQueueTooBigException,
    DoNotRetryIOException,
    HBaseIOException,
    IllegalArgumentException,
)
from hyperbase.common.rpc.call import PENDING, Call
from hyperbase.common.wire.faults import encode_fault
from hyperbase.common.wire.frames import (
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
        self.writable = True
        self.closing = False
        self._transport: asyncio.Transport | None = None
        self._decoder = FrameDecoder(server.limits.max_frame_bytes)
        self._head: bytes | None = b""  # what came of the preamble; None: it is complete
        self._compress_from = 0  # bytes; 0: never
        self._out: list[bytes] = []
        self._collecting = False
        self._accounted = 0  # what the server counts for this connection's incomplete frame

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
        self.server.account(-self._accounted)
        self._accounted = 0
        for call in list(self.calls.values()):
            call.cancel(tell=False)
        self.server.remove(self)

    def pause_writing(self) -> None:
        """The client does not read its answers: take no more requests."""
        self.writable = False
        if self._transport is not None and not self.closing:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        self.writable = True
        if self._transport is not None and not self.closing:
            self._transport.resume_reading()
        for call in list(self.calls.values()):
            if call.on_credit is not None:
                call.on_credit()

    def data_received(self, data: bytes) -> None:
        """Cut frames, carry out calls, send what was answered meanwhile in one write."""
        if self._head is not None:
            rest = self._take_preamble(data)
            if rest is None:
                return
            data = rest
        self._collecting = True
        try:
            for message in self._decoder.feed(data):
                self._take(message)
                if self.closing:
                    break
        except BadFrameException as error:
            self.refuse(error)
        finally:
            self.flush()
        pending = self._decoder.pending_bytes
        if pending != self._accounted:
            self._account(pending)

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
        self._hello(call_id, arguments)

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
        principal = self.principal
        if header is not None:
            principal = str(header.get("principal") or principal)
        deadline = None if timeout_ms is None else server.now() + timeout_ms / 1000
        call = Call(self, call_id, principal, priority, deadline)
        payload = handler(call, arguments)
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
        out = self._out
        out.append(frame)
        if not self._collecting:
            self._collecting = True
            self.server.flush_soon(self)

    def flush(self) -> None:
        """Hand what was collected to the transport."""
        self._collecting = False
        out = self._out
        if out:
            transport = self._transport
            if transport is not None and not transport.is_closing():
                transport.write(out[0] if len(out) == 1 else b"".join(out))
            out.clear()

    def refuse(self, error: HBaseIOException, call_id: int = 0) -> None:
        """Tell why, and end the connection."""
        logger.info("connection refused peer=%s error=%s", self.peer, error)
        self.send((call_id, ERROR, encode_fault(error)))
        self.flush()
        self.close()

    def close(self) -> None:
        """End the connection after what was sent."""
        self.closing = True
        if self._transport is not None:
            self._transport.close()

    def _account(self, pending: int) -> None:
        self.server.account(pending - self._accounted)
        self._accounted = pending
        if pending > self.server.limits.max_frame_bytes + 5 or self.server.over_budget:
            self.refuse(
                CallQueueTooBigException(
                    "the server has too many bytes of unfinished requests in hand: wait and retry"
                )
            )


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
