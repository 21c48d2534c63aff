"""A server that does what a test tells it: answers, errors, silence, half frames, a connection that ends.

It knows one table, ``t``, and answers for hbase:meta itself. Every other request goes to ``answer``, which
returns a payload, raises the exception to be sent, or returns one of the actions below.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from hyperbase.common.errors import CallCancelledException, HBaseIOException
from hyperbase.common.model import Result
from hyperbase.common.region_info import META_REGION, RegionInfo
from hyperbase.common.wire.faults import encode_fault
from hyperbase.common.wire.frames import PREAMBLE, FrameDecoder, pack_frame
from hyperbase.common.wire.messages import END, ERROR, ITEM, OK, Method
from hyperbase.common.wire.model_codec import encode_results


@dataclass
class Send:
    """These bytes, whatever they are."""

    data: bytes


@dataclass
class Stream:
    """ITEMs and an END, as there is credit for them."""

    items: list[Any]
    end: Any = None


class Silence:
    """No answer."""


class Close:
    """The connection ends without an answer."""


@dataclass
class Request:
    """What a client asked."""

    method: Method
    call_id: int
    timeout_ms: int | None
    arguments: Any
    connection: int  # the number of its connection, from 0


Answer = Callable[[Request], Any]


@dataclass
class FakeServer:
    """Listens on a free port of this machine; ``splits`` are the split keys of ``t``."""

    answer: Answer = lambda request: None
    splits: list[bytes] = field(default_factory=list)
    state: bytes | None = b"\x08\x00"  # of the table; None: there is none
    region_id: int = 1
    hello: Any = None  # instead of the usual answer
    answers_pings: bool = True  # by itself

    def __post_init__(self) -> None:
        self.requests: list[Request] = []
        self.connections: list[socket.socket] = []
        self._streams: dict[tuple[int, int], Stream] = {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"hyperbase://{self.address}"
        threading.Thread(target=self._accept, daemon=True).start()

    def of(self, method: Method) -> list[Request]:
        """The requests of a method, in the order they came."""
        return [request for request in self.requests if request.method == method]

    def regions(self) -> list[RegionInfo]:
        """The table's regions now."""
        keys = [b"", *self.splits, b""]
        return [RegionInfo("t", low, high, self.region_id) for low, high in pairwise(keys)]

    def close(self) -> None:
        """Stop listening, end every connection."""
        self._listener.close()
        self.drop()

    def drop(self) -> None:
        """End every connection."""
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self.connections.clear()

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    # -- what it does ------------------------------------------------------------------------------------

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()
            number += 1

    def _serve(self, connection: socket.socket, number: int) -> None:
        decoder = FrameDecoder()
        head = b""
        try:
            while data := connection.recv(65536):
                if len(head) < len(PREAMBLE):
                    head += data
                    if len(head) < len(PREAMBLE):
                        continue
                    data = head[len(PREAMBLE) :]
                for message in decoder.feed(data):
                    method, call_id, timeout_ms, _, arguments = message
                    self._take(connection, Request(Method(method), call_id, timeout_ms, arguments, number))
        except OSError:
            pass

    def _take(self, connection: socket.socket, request: Request) -> None:
        self.requests.append(request)
        try:
            found = self._found(request)
        except HBaseIOException as error:
            connection.sendall(pack_frame((request.call_id, ERROR, encode_fault(error))))
            return
        if found is Silence:
            return
        if found is Close:
            connection.shutdown(socket.SHUT_RDWR)
        elif isinstance(found, Send):
            connection.sendall(found.data)
        elif isinstance(found, Stream):
            credit = request.arguments[2] if request.method == Method.SCAN else len(found.items) + 1
            self._streams[request.connection, request.call_id] = found
            self._go_on(connection, request.connection, request.call_id, credit)
        else:
            connection.sendall(pack_frame((request.call_id, OK, found)))

    def _go_on(self, connection: socket.socket, number: int, call_id: int, credit: int) -> None:
        """Send what a stream has credit for."""
        stream = self._streams.get((number, call_id))
        while stream is not None and credit > 0:
            credit -= 1
            if stream.items:
                connection.sendall(pack_frame((call_id, ITEM, stream.items.pop(0))))
            else:
                del self._streams[number, call_id]
                connection.sendall(pack_frame((call_id, END, stream.end)))
                stream = None

    def _found(self, request: Request) -> Any:
        if request.method == Method.HELLO:
            if self.hello is not None:
                return self.hello
            return {
                "version": 1,
                "server": f"{self.address.replace(':', ',')},1",
                "software": "fake",
                "compression": None,
                "compression_threshold_bytes": 65536,
                "max_frame_bytes": 2**26,
            }
        if request.method == Method.REGISTRY:
            me = self.address.replace(":", ",") + ",1"
            return {"cluster_id": "c", "master": me, "meta": me, "servers": [me]}
        if request.method == Method.SCAN and request.arguments[0] == META_REGION.id16:
            return Stream([], (encode_results(self._meta_rows()), False))
        if request.method == Method.CREDIT:
            call_id, items = request.arguments
            self._go_on(self.connections[request.connection], request.connection, call_id, items)
            return Silence
        if request.method == Method.CANCEL:
            (call_id,) = request.arguments
            if self._streams.pop((request.connection, call_id), None) is not None:
                error = encode_fault(CallCancelledException("the call was cancelled"))
                return Send(pack_frame((call_id, ERROR, error)))
            return Silence
        if request.method == Method.PING and self.answers_pings:
            return None
        return self.answer(request)

    def _meta_rows(self) -> list[Result]:
        rows = []
        if self.state is not None:
            rows.append(Result(b"t", [b"table:state"], [self.state], 1))
        for info in self.regions():
            rows.append(
                Result(
                    info.region_name,
                    [b"info:regioninfo", b"info:server"],
                    [info.to_bytes(), self.address.encode()],
                    1,
                )
            )
        return rows
