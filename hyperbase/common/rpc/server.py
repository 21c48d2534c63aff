"""The RPC server: listens, keeps connections within their limits, and hands calls to services.

Handlers are plain functions ``handler(call, arguments) -> payload | PENDING`` by method number; they run on
the event loop and must not wait. Each priority class has its own limit of calls in flight.

A server that may answer only at times has a ``gate``: True lets bytes leave, False keeps them back until the
gate is asked again (``reopen``, or some moments later).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hyperbase.common.config import ServerConfig
from hyperbase.common.errors import (
    CallQueueTooBigException,
    ServerStoppedException,
)
from hyperbase.common.rpc.call import Call
from hyperbase.common.rpc.connection import RpcConnection
from hyperbase.common.wire.messages import Priority

logger = logging.getLogger(__name__)

Handler = Callable[[Call, Any], Any]

_SWEEP_S = 0.25


@dataclass(frozen=True, slots=True)
class RpcLimits:
    """What clients may ask for at a time. Names and units are those of ``ServerConfig``."""

    max_frame_bytes: int
    max_connections: int
    max_requests_in_flight: int
    max_requests_per_connection: int
    max_meta_requests: int
    max_admin_requests: int
    max_server_requests: int
    max_inflight_bytes: int
    handshake_timeout_s: float
    stall_timeout_s: float  # of a request that does not come to its end
    compression_threshold_bytes: int

    @classmethod
    def of(cls, config: ServerConfig) -> RpcLimits:
        """Those of the settings."""
        return cls(
            max_frame_bytes=config.max_frame_bytes,
            max_connections=config.max_connections,
            max_requests_in_flight=config.max_requests_in_flight,
            max_requests_per_connection=config.max_requests_per_connection,
            max_meta_requests=config.max_meta_requests,
            max_admin_requests=config.max_admin_requests,
            max_server_requests=config.max_server_requests,
            max_inflight_bytes=config.max_inflight_bytes,
            handshake_timeout_s=config.handshake_timeout_s,
            stall_timeout_s=config.keepalive_timeout_s,
            compression_threshold_bytes=config.compression_threshold_bytes,
        )


class RpcServer:
    """See the module."""

    def __init__(
        self,
        limits: RpcLimits,
        software: str,
        priority_of: Callable[[int, Any], int] = lambda method, arguments: Priority.USER,
    ) -> None:
        self.limits = limits
        self.software = software
        self.name = ""  # host,port,startcode, once it listens
        self.priority_of = priority_of
        self.handlers: dict[int, Handler] = {}
        self.connections: set[RpcConnection] = set()
        self.in_flight = [0, 0, 0, 0]
        self.calls_begun = 0
        self.refused_calls = 0
        self.refused_connections = 0
        self.stopping = False
        self.now = time.monotonic
        self._limit_of = (
            limits.max_meta_requests,
            limits.max_admin_requests,
            limits.max_server_requests,
            limits.max_requests_in_flight,
        )
        self.gate: Callable[[], bool] | None = None
        self.kept: set[RpcConnection] = set()  # those with answers that wait for the gate
        self.held_bytes = 0  # of unfinished requests and unread answers, all connections together
        self._dirty: list[RpcConnection] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    def add_handlers(self, handlers: Mapping[int, Handler]) -> None:
        """Serve these methods."""
        for method, handler in handlers.items():
            self.handlers[int(method)] = handler

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        """Bind; returns the address. Connections are accepted, and wait for ``begin``.

        Raises:
            OSError: the address is in use, or not this host's.
        """
        self._loop = asyncio.get_running_loop()
        self._server = await self._loop.create_server(
            lambda: RpcConnection(self), host, port, backlog=1024, start_serving=False
        )
        address = self._server.sockets[0].getsockname()
        return address[0], address[1]

    async def begin(self, name: str) -> None:
        """Serve, under this server name."""
        assert self._server is not None
        self.name = name
        await self._server.start_serving()
        self._sweeper = asyncio.ensure_future(self._sweep())

    async def stop(self, drain_timeout_s: float) -> None:
        """Take no more connections and calls, let those in flight finish, close the connections."""
        self.stopping = True
        self.close_listener()
        deadline = self.now() + drain_timeout_s
        while any(self.in_flight) and self.now() < deadline:
            self._end_streams()
            await asyncio.sleep(0.005)
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self.connections):
            connection.flush()
            connection.close()
        for turn in range(100):
            if not self.connections:
                break
            if turn == 50:
                for connection in list(self.connections):
                    connection.abort()  # it does not read what was left to send
            await asyncio.sleep(0.005)

    def close_listener(self) -> None:
        """Accept nobody any more."""
        if self._server is not None:
            self._server.close()

    def _end_streams(self) -> None:
        """A stream may wait for a slow client for ever: end it, the client goes on elsewhere or later."""
        for connection in list(self.connections):
            for call in list(connection.calls.values()):
                if call.on_credit is not None or call.on_data is not None:
                    call.give_up(ServerStoppedException("the server is stopping: retry"))

    # -- what connections ask ----------------------------------------------------------------------------

    def add(self, connection: RpcConnection) -> None:
        """A connection was made; refused when there are too many."""
        self.connections.add(connection)
        if self.stopping:
            connection.refuse(ServerStoppedException("the server is stopping: retry"))
        elif len(self.connections) > self.limits.max_connections:
            self.refused_connections += 1
            connection.refuse(
                CallQueueTooBigException(
                    f"the server has {self.limits.max_connections} connections, as many as it may "
                    "(max_connections): close some, or wait and retry"
                )
            )

    def remove(self, connection: RpcConnection) -> None:
        """A connection ended."""
        self.connections.discard(connection)
        self.kept.discard(connection)

    def reopen(self) -> None:
        """The gate may be open again: send what was kept back."""
        kept, self.kept = self.kept, set()
        for connection in kept:
            connection.flush()  # it is kept again where the gate is still shut

    def admit(self, connection: RpcConnection, priority: int) -> None:
        """Refuse a call when there are too many in flight.

        Raises:
            CallQueueTooBigException, ServerStoppedException
        """
        if self.stopping:
            raise ServerStoppedException("the server is stopping: retry")
        if self.in_flight[priority] >= self._limit_of[priority]:
            self.refused_calls += 1
            raise CallQueueTooBigException(
                f"the server has {self._limit_of[priority]} calls of class {Priority(priority).name} in "
                "hand, as many as it may: wait and retry"
            )
        if len(connection.calls) >= self.limits.max_requests_per_connection:
            self.refused_calls += 1
            raise CallQueueTooBigException(
                f"this connection has {len(connection.calls)} calls in flight, as many as it may "
                "(max_requests_per_connection): wait for answers"
            )

    def account(self, delta_bytes: int) -> None:
        """Unfinished requests and unread answers grew or shrank; above the budget the largest holder goes."""
        self.held_bytes += delta_bytes
        if delta_bytes > 0 and self.held_bytes > self.limits.max_inflight_bytes:
            hog = max(self.connections, key=lambda connection: connection.held_bytes)
            self.refused_connections += 1
            logger.warning(
                "connection ended, memory for requests and answers is full peer=%s held_bytes=%d",
                hog.peer,
                hog.held_bytes,
            )
            hog.drop(
                CallQueueTooBigException(
                    "requests and answers under way hold more of the server's memory than they may "
                    "(max_inflight_bytes): read answers, wait and retry"
                )
            )

    def loop_soon(self, function: Callable[[], None]) -> None:
        """Call it in the next turn of the loop."""
        assert self._loop is not None
        self._loop.call_soon(function)

    def flush_soon(self, connection: RpcConnection) -> None:
        """Send what the connection collected at the end of this turn of the loop."""
        if not self._dirty:
            assert self._loop is not None
            self._loop.call_soon(self._flush_dirty)
        self._dirty.append(connection)

    def _flush_dirty(self) -> None:
        dirty, self._dirty = self._dirty, []
        for connection in dirty:
            connection.flush()

    # -- time --------------------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = self.now()
            if self.kept:
                self.reopen()
            for connection in list(self.connections):
                try:
                    self._look_after(connection, now)
                except Exception:  # a bug of ours at one connection: the others' deadlines go on counting
                    logger.exception("sweep failed peer=%s", connection.peer)

    def _look_after(self, connection: RpcConnection, now: float) -> None:
        """End what took too long: a connection that says nothing, or a call."""
        if connection.closing:
            pass
        elif not connection.ready and now - connection.opened_at > self.limits.handshake_timeout_s:
            logger.info("connection closed peer=%s reason=no_hello", connection.peer)
            connection.close()
        elif connection.stalled and now - connection.heard_at > self.limits.stall_timeout_s:
            logger.info("connection closed peer=%s reason=half_a_request", connection.peer)
            connection.close()
        if connection.closing and now - connection.closing_since > self.limits.handshake_timeout_s:
            connection.abort()  # it does not read what was left to send
        connection.account()
        for call in list(connection.calls.values()):
            if call.overdue(now):
                call.time_out()
