"""Carries commands out on an event loop: one link to each server, many calls on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable
from typing import Any, TypeVar

from hyperbase.client.aio.link import Link, open_link
from hyperbase.client.aio.parts import PartStream
from hyperbase.client.network.commands import Blocking, Call, Calls, Command, Once, Sleep, Steps
from hyperbase.common.config import ClientConfig
from hyperbase.common.errors import CallTimeoutException, HBaseIOException, StoreClosedException

T = TypeVar("T")


class AsyncDriver:
    """Runs operations; owns the links. Belongs to one event loop."""

    def __init__(self, client_id: bytes, config: ClientConfig) -> None:
        self.config = config
        self._client_id = client_id
        self._links: dict[str, Link] = {}
        self._opening: dict[str, asyncio.Task[Link]] = {}
        self._timeout_ms = max(1, int(config.operation_timeout_s * 1000))
        self._shared: dict[Hashable, asyncio.Task[Any]] = {}
        self.closed = False

    async def run(self, steps: Steps[T]) -> T:
        """Run an operation to its end."""
        send: Any = None
        error: BaseException | None = None
        try:
            while True:
                command = steps.send(send) if error is None else steps.throw(error)
                try:
                    send, error = await self._execute(command), None
                except Exception as failed:
                    error = failed
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            steps.close()

    async def _execute(self, command: Command) -> Any:
        if type(command) is Call:
            return await self.call(command)
        if type(command) is Calls:
            return await self._parallel(command.calls)
        if type(command) is Once:
            return await self._once(command)
        if type(command) is Blocking:
            return await asyncio.to_thread(command.function)
        assert type(command) is Sleep
        await asyncio.sleep(command.seconds)
        return None

    async def _once(self, command: Once) -> Any:
        """The result of the operation, which goes on for others when the task that began it is cancelled."""
        task = self._shared.get(command.key)
        if task is None:
            task = asyncio.ensure_future(self.run(command.steps()))
            self._shared[command.key] = task
            task.add_done_callback(lambda done: self._once_done(command, done))
        left = None if command.deadline is None else max(command.deadline - time.monotonic(), 0)
        await asyncio.wait([task], timeout=left)
        if not task.done():
            raise CallTimeoutException("what another task looks up did not come in time")
        if task.cancelled():
            raise StoreClosedException("this connection was closed meanwhile")
        return task.result()

    def _once_done(self, command: Once, task: asyncio.Task[Any]) -> None:
        del self._shared[command.key]
        if not task.cancelled():
            task.exception()  # perhaps nobody waits for it any more

    def ready_link(self, address: str) -> Link | None:
        """The link to a server when a call can be made on it at once."""
        link = self._links.get(address)
        return link if link is not None and link.lost is None and link.has_room else None

    async def link(self, address: str) -> Link:
        """The link to a server, with room for a call; made when there is none."""
        while True:
            link = self._links.get(address)
            if link is None or link.lost is not None:
                link = await self._open(address)
            if link.has_room:
                return link
            await link.wait_for_room()

    async def _open(self, address: str) -> Link:
        """Open a link; all who want it wait for the same one."""
        if self.closed:
            raise StoreClosedException("this connection is closed: make a new one")
        task = self._opening.get(address)
        if task is None:
            task = asyncio.ensure_future(open_link(address, self._client_id, self.config))
            self._opening[address] = task
            task.add_done_callback(lambda done: self._opened(address, done))
        return await asyncio.shield(task)

    def _opened(self, address: str, task: asyncio.Task[Link]) -> None:
        self._opening.pop(address, None)
        if task.cancelled() or task.exception() is not None:
            return
        if self.closed:
            task.result().close()
        else:
            self._links[address] = task.result()

    async def quick(self, address: str, method: int, arguments: Any) -> Any:
        """The first attempt of an operation, which has all its time."""
        link = self.ready_link(address) or await self.link(address)
        deadline = link.loop.time() + self.config.operation_timeout_s
        call_id, future = link.call(method, arguments, self._timeout_ms, deadline)
        try:
            return await future
        except asyncio.CancelledError:
            link.cancel(call_id)
            raise

    async def call(self, command: Call) -> Any:
        """Ask one server."""
        link, call_id, future = await self._started(command)
        try:
            return await future
        except asyncio.CancelledError:
            link.cancel(call_id)
            raise

    async def _started(self, command: Call) -> tuple[Link, int, asyncio.Future[Any]]:
        link = await self.link(command.address)
        timeout_ms = deadline = None
        if command.deadline is not None:
            left = command.deadline - time.monotonic()
            timeout_ms = max(1, int(left * 1000))
            deadline = link.loop.time() + left
        return link, *link.call(command.method, command.arguments, timeout_ms, deadline)

    async def _parallel(self, commands: Any) -> list[Any]:
        """Ask several servers: all requests are sent before the first answer is awaited."""
        started: list[tuple[Link, int, asyncio.Future[Any]] | HBaseIOException] = []
        outcomes: list[Any] = []
        try:
            for command in commands:
                try:
                    started.append(await self._started(command))
                except HBaseIOException as error:
                    started.append(error)
            for call in started:
                if isinstance(call, HBaseIOException):
                    outcomes.append(call)
                    continue
                try:
                    outcomes.append(await call[2])
                except HBaseIOException as error:
                    outcomes.append(error)
        except asyncio.CancelledError:
            for call in started:
                if not isinstance(call, HBaseIOException):
                    call[0].cancel(call[1])
            raise
        return outcomes

    async def open_stream(self, command: Call) -> PartStream:
        """Begin a call that is answered in many parts."""
        link = await self.link(command.address)
        return link.open_stream(command.method, command.arguments)

    def close(self) -> None:
        """Close every link."""
        self.closed = True
        for task in (*self._opening.values(), *self._shared.values()):
            task.cancel()
        for link in self._links.values():
            link.close()
        self._links.clear()
