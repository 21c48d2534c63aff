"""A server that opens its store and closes every connection."""

from __future__ import annotations

import asyncio
import time

from hyperbase.common.config import ServerConfig
from hyperbase.embedded import open_backend
from hyperbase.embedded.backend import EmbeddedBackend


class StandaloneServer:
    """Owns the store in ``config.data_dir`` between ``start`` and ``stop``."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.address: tuple[str, int] = (config.bind, config.port)
        self.startcode = int(time.time() * 1000)
        self._backend: EmbeddedBackend | None = None
        self._listener: asyncio.Server | None = None

    @property
    def endpoints(self) -> dict[str, str]:
        """What clients connect to, by the name of the protocol."""
        host, port = self.address
        return {"rpc": f"hyperbase://{f'[{host}]' if ':' in host else host}:{port}"}

    async def start(self) -> None:
        """Open the store, then listen."""
        self._backend = open_backend(self.config.data_dir, settings=self.config.store.as_settings())
        try:
            self._listener = await asyncio.start_server(
                lambda _reader, writer: writer.close(), self.config.bind, self.config.port
            )
        except BaseException:
            self._backend.close()
            raise
        self.address = self._listener.sockets[0].getsockname()[:2]

    async def stop(self) -> None:
        """Stop listening, flush and close the store."""
        if self._listener is not None:
            self._listener.close()
        if self._backend is not None:
            self._backend.close()
