"""A store behind a server in a thread of the test's process, and a connection to it over a socket.

The store is in reach of the test as an embedded one is (``store_of``), so tests that look inside run on both.
"""

from __future__ import annotations

import os
from typing import Any

from hyperbase import Connection
from hyperbase.client.network.address import parse_servers
from hyperbase.client.network.backend import NetworkBackend
from hyperbase.client.network.opening import client_config
from hyperbase.embedded.backend import EmbeddedBackend
from hyperbase.embedded.store import EmbeddedStore, make_config
from regionserver.storage.filesystem import FileSystem
from regionserver.storage.local_filesystem import LocalFileSystem
from regionserver.storage.memory_filesystem import MemoryFileSystem
from tests.support.engine import QUIET, Clock
from tests.support.standalone import ServerThread


class ServedBackend(NetworkBackend):
    """A client of a server of its own."""

    def __init__(self, store: EmbeddedStore, settings: dict[str, Any]) -> None:
        self.store = store
        self.server = ServerThread(open_store=lambda config: EmbeddedBackend(store, store.close)).start()
        super().__init__(parse_servers(self.server.url), client_config(settings))

    def close(self) -> None:
        if not self._closed:
            super().close()
            self.server.stop()

    def crash(self) -> None:
        """The server's process dies."""
        self.store.crash()
        self.close()


def served_directory(path: str | os.PathLike[str], **settings: Any) -> Connection:
    """As ``hyperbase.connect`` with a directory, through a server."""
    root = os.fspath(path)
    os.makedirs(root, exist_ok=True)

    def opener() -> ServedBackend:
        return ServedBackend(EmbeddedStore(LocalFileSystem(root), make_config(settings), root=root), {})

    return Connection(opener)


def served_connection(
    fs: FileSystem | None = None, clock: Any = None, client: dict[str, Any] | None = None, **settings: Any
) -> Connection:
    """As ``memory_connection``, through a server."""
    disk = fs or MemoryFileSystem()
    config = make_config({**QUIET, **settings})
    ticking = clock or Clock()
    return Connection(lambda: ServedBackend(EmbeddedStore(disk, config, clock=ticking), client or {}))
