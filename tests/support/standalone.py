"""A standalone server in a thread of the test's own process, on a store that the test chooses."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType

from hyperbase.common.config import ServerConfig
from hyperbase.embedded.backend import EmbeddedBackend
from hyperbase.standalone.server import StandaloneServer


class ServerThread:
    """Serves from ``start`` to ``stop``; ``url`` is what clients connect to."""

    def __init__(
        self,
        config: ServerConfig | None = None,
        open_store: Callable[[ServerConfig], EmbeddedBackend] | None = None,
    ) -> None:
        self.config = replace(config or ServerConfig(), port=0, rest_port=0, thrift_port=0, console_port=0)
        self.server = StandaloneServer(self.config, open_store)
        self.url = ""
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="server", daemon=True)

    def start(self) -> ServerThread:
        """Start and wait until it serves."""
        self._thread.start()
        self._started.wait(30)
        if self._error is not None:
            raise self._error
        self.url = self.server.endpoints["rpc"]
        return self

    def stop(self) -> None:
        """Drain, flush, close."""
        assert self._loop is not None
        assert self._end is not None
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(30)
        assert not self._thread.is_alive()

    def __enter__(self) -> ServerThread:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        try:
            await self.server.start()
        except BaseException as error:
            self._error = error
            self._started.set()
            return
        self._started.set()
        await self._end.wait()
        await self.server.stop()
