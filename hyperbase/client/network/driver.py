"""Carries commands out with blocking sockets."""

from __future__ import annotations

import time
from typing import Any, TypeVar

from hyperbase.client.network.channel import Channel
from hyperbase.client.network.commands import Blocking, Call, Calls, Command, Once, Sleep, Steps
from hyperbase.client.network.pool import ServerPool
from hyperbase.client.network.shared_runs import SharedRuns
from hyperbase.common.config import ClientConfig
from hyperbase.common.errors import ConnectionLostException, HBaseIOException, StoreClosedException

T = TypeVar("T")


class BlockingDriver:
    """Runs operations; owns the pools of sockets. Threads: any number."""

    def __init__(self, client_id: bytes, config: ClientConfig) -> None:
        self.config = config
        self._client_id = client_id
        self._pools: dict[str, ServerPool] = {}
        self._closed = False
        self._shared = SharedRuns()
        self._timeout_ms = max(1, int(config.operation_timeout_s * 1000))

    def run(self, steps: Steps[T]) -> T:
        """Run an operation to its end."""
        send: Any = None
        error: BaseException | None = None
        try:
            while True:
                command = steps.send(send) if error is None else steps.throw(error)
                try:
                    send, error = self._execute(command), None
                except Exception as failed:
                    error = failed
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            steps.close()

    def _execute(self, command: Command) -> Any:
        if type(command) is Call:
            return self.call(command)
        if type(command) is Calls:
            return self._parallel(command.calls)
        if type(command) is Once:
            return self._shared.run(command, self.run)
        if type(command) is Blocking:
            return command.function()
        assert type(command) is Sleep
        time.sleep(command.seconds)
        return None

    def pool(self, address: str) -> ServerPool:
        """The sockets to a server."""
        found = self._pools.get(address)
        if found is None:
            if self._closed:
                raise StoreClosedException("this connection is closed: call open(), or make a new one")
            made = ServerPool(address, self._client_id, self.config)
            found = self._pools.setdefault(address, made)
        return found

    def quick(self, address: str, method: int, arguments: Any, started: float) -> Any:
        """The first attempt of an operation, which has all its time."""
        pool = self._pools.get(address) or self.pool(address)
        deadline = started + self.config.operation_timeout_s
        channel = pool.take_idle()
        if channel is None:  # to connect, or to wait for a socket, takes some of the time
            return self.call(Call(address, method, arguments, deadline))
        try:
            return channel.call(method, arguments, self._timeout_ms, deadline)
        except ConnectionLostException:
            pool.drop_idle()
            raise
        finally:
            pool.give(channel)

    def call(self, command: Call) -> Any:
        """Ask one server."""
        pool = self.pool(command.address)
        channel = self._started(pool, command, timeout_ms_of(command.deadline))
        try:
            return channel.receive_answer(command.deadline)
        except ConnectionLostException:
            pool.drop_idle()
            raise
        finally:
            pool.give(channel)

    def _started(self, pool: ServerPool, command: Call, timeout_ms: int | None) -> Channel:
        """A channel over which the request was sent."""
        channel = pool.take(command.deadline)
        try:
            channel.send(command.method, command.arguments, timeout_ms)
        except BaseException as error:
            if isinstance(error, ConnectionLostException):
                pool.drop_idle()
            pool.give(channel)
            raise
        return channel

    def _parallel(self, commands: Any) -> list[Any]:
        """Ask several servers: all requests are sent before the first answer is read.

        Sockets are taken in the order of the servers' addresses: threads that wait for each other's would
        wait until their deadlines.
        """
        outcomes: list[Any] = [None] * len(commands)
        waiting: list[tuple[int, ServerPool, Channel]] = []
        try:
            for index in sorted(range(len(commands)), key=lambda index: commands[index].address):
                command = commands[index]
                pool = self.pool(command.address)
                try:
                    timeout_ms = timeout_ms_of(command.deadline)
                    waiting.append((index, pool, self._started(pool, command, timeout_ms)))
                except HBaseIOException as error:
                    outcomes[index] = error
            for index, pool, channel in waiting:
                try:
                    outcomes[index] = channel.receive_answer(commands[index].deadline)
                except HBaseIOException as error:
                    if isinstance(error, ConnectionLostException):
                        pool.drop_idle()
                    outcomes[index] = error
        finally:
            for _, pool, channel in waiting:
                pool.give(channel)
        return outcomes

    def open_stream(self, command: Call) -> Stream:
        """Begin a call that is answered in many parts; its channel is the stream's until it ends.

        The server is told no deadline: a scanner lives as long as its lease.
        """
        pool = self.pool(command.address)
        return Stream(pool, self._started(pool, command, None))

    def close(self) -> None:
        """Close every socket."""
        self._closed = True
        for pool in list(self._pools.values()):
            pool.close()

    def disown(self) -> None:
        """In a forked child: forget the parent's sockets."""
        for pool in self._pools.values():
            pool.disown()


DRAIN_S = 0.5  # for the end of a cancelled stream; else its socket is closed


class Stream:
    """A call that is answered in parts, and the socket it holds."""

    __slots__ = ("_channel", "_pool")

    def __init__(self, pool: ServerPool, channel: Channel) -> None:
        self._pool = pool
        self._channel: Channel | None = channel

    def next_part(self, deadline: float | None) -> tuple[int, Any]:
        """``(ITEM, payload)`` or ``(END, payload)``; after END or an error the socket is free."""
        channel = self._channel
        assert channel is not None
        try:
            part = channel.next_part(deadline)
        except BaseException:
            self._release()
            raise
        if not channel.busy:
            self._release()
        return part

    def grant(self, items: int) -> None:
        """Take so many more ITEMs."""
        if self._channel is not None:
            self._channel.grant(items)

    def send_data(self, data: bytes | None) -> None:
        """Upload a part."""
        assert self._channel is not None
        self._channel.send_data(data)

    def close(self) -> None:
        """End it; nothing happens when it has ended."""
        channel = self._channel
        if channel is not None:
            if channel.busy:
                channel.cancel(DRAIN_S)
            self._release()

    def _release(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            self._pool.give(channel)


def timeout_ms_of(deadline: float | None) -> int | None:
    """What a request says of the time it has."""
    return None if deadline is None else max(1, int((deadline - time.monotonic()) * 1000))
