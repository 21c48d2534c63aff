"""Arrow uploads as several fake servers take them."""

from __future__ import annotations

import threading
from typing import Any

import pyarrow as pa

from hyperbase.common.errors import NotServingRegionException
from hyperbase.common.wire.messages import Method
from tests.support.fake_server import Close, FakeServer, Item, Request


class ArrowSink:
    """Has the servers of a ``World`` take ARROW_PUT; each takes rows of regions that it serves, or none."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self._lock = threading.Lock()
        self._uploads: dict[tuple[str, int, int], list[pa.RecordBatch]] = {}
        self._loads: dict[str, list[list[bytes]]] = {server.address: [] for server in world.servers}
        self._rows: dict[str, dict[bytes, bytes]] = {server.address: {} for server in world.servers}
        self._cut_off: dict[str, int] = {}
        self._refusal: Exception | None = None
        for server in world.servers:
            self._attach(server)

    def rows(self, server: FakeServer) -> dict[bytes, bytes]:
        """What a server has loaded."""
        return self._rows[server.address]

    def loads(self, server: FakeServer) -> list[list[bytes]]:
        """The row keys of each upload that a server has loaded, in their order."""
        return self._loads[server.address]

    def cut_off(self, server: FakeServer, uploads: int) -> None:
        """End the connection of its next uploads with rows, when they have come whole."""
        self._cut_off[server.address] = uploads

    def refuse(self, error: Exception) -> None:
        """Answer every upload so."""
        self._refusal = error

    def _attach(self, server: FakeServer) -> None:
        usual = server.answer

        def answer(request: Request) -> Any:
            if request.method == Method.ARROW_PUT:
                self._uploads[server.address, request.connection, request.call_id] = []
                return Item(request.call_id, 4)
            if request.method == Method.DATA:
                return self._data(server, request)
            return usual(request)

        server.answer = answer

    def _data(self, server: FakeServer, request: Request) -> Any:
        call_id, message = request.arguments
        batches = self._uploads[server.address, request.connection, call_id]
        if message is not None:
            with pa.ipc.open_stream(message) as stream:
                batches += list(stream)
            return Item(call_id, 1)
        if self._refusal is not None:
            return Item(call_id, self._refusal)
        rows = [row for batch in batches for row in batch.select([0, 1]).to_pylist()]
        with self._lock:
            if rows and self._cut_off.get(server.address):
                self._cut_off[server.address] -= 1
                return Close
            for row in rows:
                info = [i for i in self._world.meta.regions() if i.start_key <= row["key"]][-1]
                if not self._world.serves(server, info.id16):
                    return Item(call_id, NotServingRegionException("not here"))
            self._loads[server.address].append([row["key"] for row in rows])
            self._rows[server.address].update((row["key"], row["f:q"]) for row in rows)
        return Item(call_id, len(rows), last=True)
