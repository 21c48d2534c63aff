"""A client that does exactly what a test says, good or bad: one blocking socket, no retries, no threads."""

from __future__ import annotations

import os
import socket
from typing import Any

from hyperbase.common.errors import ConnectionLostException, HBaseIOException
from hyperbase.common.region_info import RegionInfo
from hyperbase.common.wire.faults import decode_fault
from hyperbase.common.wire.frames import PREAMBLE, FrameDecoder, pack_frame
from hyperbase.common.wire.messages import END, ERROR, ITEM, OK, Method

Message = tuple[int, int, Any]  # call id, kind, payload


class WireClient:
    """A connection that said HELLO, unless ``hello`` is false."""

    def __init__(
        self,
        port: int,
        client_id: bytes = b"",
        *,
        host: str = "127.0.0.1",
        hello: bool = True,
        receive_bytes: int = 0,
        wait_s: float = 30.0,
    ) -> None:
        self.client_id = client_id or os.urandom(16)
        self.socket = socket.socket()
        self.socket.settimeout(wait_s)
        if receive_bytes:  # what the kernel takes while nobody reads
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._decoder = FrameDecoder()
        self._came: list[Message] = []
        self._last_id = 0
        try:
            self.socket.connect((host, port))
            if hello:
                self.raw(PREAMBLE)
                self.agreed = self.call(Method.HELLO, 1, {"client_id": self.client_id})
        except BaseException:
            self.socket.close()
            raise

    def raw(self, data: bytes) -> None:
        """Send these bytes."""
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise ConnectionLostException(str(error)) from error

    def send(self, method: int, *arguments: Any, timeout_ms: int | None = None) -> int:
        """Send a request; returns its call id."""
        self._last_id += 1
        self.raw(pack_frame((int(method), self._last_id, timeout_ms, None, arguments)))
        return self._last_id

    def receive(self) -> Message:
        """The next message.

        Raises:
            ConnectionLostException: the server ended the connection.
        """
        while not self._came:
            try:
                data = self.socket.recv(1 << 18)
            except TimeoutError:
                raise
            except OSError as error:
                raise ConnectionLostException(str(error)) from error
            if not data:
                raise ConnectionLostException("the server ended the connection")
            self._came += self._decoder.feed(data)
        return self._came.pop(0)

    def answer(self, call_id: int) -> Any:
        """The payload of a call's last answer; what comes for others is dropped.

        Raises:
            HBaseIOException: the server's error.
        """
        while True:
            got, kind, payload = self.receive()
            if got == call_id and kind != ITEM:
                if kind == ERROR:
                    raise decode_fault(payload)
                assert kind in (OK, END)
                return payload

    def call(self, method: int, *arguments: Any, timeout_ms: int | None = None) -> Any:
        """Send a request and wait for its answer."""
        return self.answer(self.send(method, *arguments, timeout_ms=timeout_ms))

    def admin(self, name: str, *arguments: Any) -> Any:
        """An ADMIN call, with a nonce of its own."""
        return self.call(Method.ADMIN, name, arguments, None)

    def regions(self, table: str) -> list[RegionInfo]:
        """The regions of a table, in key order."""
        return [RegionInfo.from_bytes(data) for data in self.admin("regions", table)]

    def end(self) -> HBaseIOException | None:
        """Read until the server ends the connection; the error it said last, if any."""
        last: HBaseIOException | None = None
        try:
            while True:
                _, kind, payload = self.receive()
                if kind == ERROR:
                    last = decode_fault(payload)
        except ConnectionLostException:
            return last

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def __enter__(self) -> WireClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
