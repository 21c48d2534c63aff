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
from hyperbase.common.wire.model_codec import decode_scan, encode_results


@dataclass
class Send:
    """These bytes, whatever they are."""

    data: bytes


@dataclass
class Stream:
    """ITEMs and an END, as there is credit for them."""

    items: list[Any]
    end: Any = None


@dataclass
class Item:
    """A part of the answer to a call that was made before; ``last``, or an exception: its end."""

    call_id: int
    payload: Any
    last: bool = False


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
    elsewhere: dict[bytes, str] = field(default_factory=dict)  # start key → address of another server
    hello: Any = None  # instead of the usual answer
    answers_pings: bool = True  # by itself
    registry: Any = None  # what REGISTRY answers, or the exception it raises, instead of the usual
    closed_regions: set[bytes] = field(
        default_factory=set
    )  # start keys of regions that hbase:meta has closed
    lost_regions: set[bytes] = field(default_factory=set)  # .. and of those that it does not list
    own_ids: dict[bytes, int] = field(default_factory=dict)  # start key → region id that is not ``region_id``

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
        ids = self.own_ids
        return [RegionInfo("t", low, high, ids.get(low, self.region_id)) for low, high in pairwise(keys)]

    def close(self) -> None:
        """Stop listening, end every connection."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
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
            found = self._found(request, connection)
        except HBaseIOException as error:
            connection.sendall(pack_frame((request.call_id, ERROR, encode_fault(error))))
            return
        if found is Silence:
            return
        if found is Close:
            connection.shutdown(socket.SHUT_RDWR)
        elif isinstance(found, Item):
            kind, payload = (OK if found.last else ITEM), found.payload
            if isinstance(payload, HBaseIOException):
                kind, payload = ERROR, encode_fault(payload)
            connection.sendall(pack_frame((found.call_id, kind, payload)))
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

    def _found(self, request: Request, connection: socket.socket) -> Any:
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
            if isinstance(self.registry, Exception):
                raise self.registry
            return self.registry or registry(self.address, self.address, [self.address])
        if request.method == Method.SCAN and request.arguments[0] == META_REGION.id16:
            scan = decode_scan(request.arguments[1])
            rows = [row for row in self._meta_rows() if scan.start <= row.row < (scan.stop or b"\xff")]
            return Stream([], (encode_results(rows), False))
        if request.method == Method.GET and request.arguments[0] == META_REGION.id16:
            return None if self.state is None else ((b"table:state",), (self.state,), 1)
        if request.method == Method.CREDIT:
            call_id, items = request.arguments
            self._go_on(connection, request.connection, call_id, items)
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
            if info.start_key in self.lost_regions:
                continue
            address = self.elsewhere.get(info.start_key, self.address).encode()
            state = b"CLOSED" if info.start_key in self.closed_regions else b"OPEN"
            cells = {b"info:regioninfo": info.to_bytes(), b"info:server": address, b"info:state": state}
            rows.append(Result(info.region_name, list(cells), list(cells.values()), 1))
        return sorted(rows, key=lambda row: row.row)


def registry(master: str, meta: str, servers: list[str], cluster_id: str = "c") -> dict[str, Any]:
    """What REGISTRY answers; of addresses."""
    name = "{},1".format
    return {
        "cluster_id": cluster_id,
        "master": name(master.replace(":", ",")) if master else "",
        "meta": name(meta.replace(":", ",")) if meta else "",
        "servers": [name(server.replace(":", ",")) for server in servers],
    }
