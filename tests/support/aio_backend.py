"""The asyncio client behind the client's ``Backend`` protocol, so that tests of the contract run on it too.

Its event loop runs in a thread of its own; every call is handed over and waited for.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from hyperbase import Connection, aio
from hyperbase.client.network.arrow_reads import ArrowRequest
from hyperbase.embedded.backend import EmbeddedBackend
from hyperbase.embedded.store import EmbeddedStore, make_config
from regionserver.storage.filesystem import FileSystem
from regionserver.storage.local_filesystem import LocalFileSystem
from regionserver.storage.memory_filesystem import MemoryFileSystem
from tests.support.engine import QUIET, Clock
from tests.support.standalone import ServerThread

TIMEOUT_S = 120.0


class LoopThread:
    """An event loop that runs until ``stop``."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="test loop", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(TIMEOUT_S)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(TIMEOUT_S)
        self.loop.close()


class AioBackend:
    """A server of its own, and an asyncio client of it."""

    def __init__(self, store: EmbeddedStore, settings: dict[str, Any]) -> None:
        self.store = store
        self.server = ServerThread(open_store=lambda config: EmbeddedBackend(store, store.close)).start()
        self.thread = LoopThread()
        self.connection = self.thread.run(self._connect(settings))
        self._closed = False

    async def _connect(self, settings: dict[str, Any]) -> aio.Connection:
        return await aio.connect(self.server.url, **settings)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.thread.run(self.connection.close())
            self.thread.stop()
            self.server.stop()

    def crash(self) -> None:
        self.store.crash()
        self.close()

    def table(self, name: str) -> AioTable:
        return AioTable(self, self.connection.table(name))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *arguments: self.thread.run(self.connection.admin._ask(name, *arguments))

    def compact(self, name: str, major: bool = False) -> None:
        self.thread.run(self.connection.admin._ask("compact", name, major))

    def create_table(self, descriptor: Any, splits: Any = None) -> None:
        self.thread.run(self.connection.admin._ask("create_table", descriptor, splits))

    def split(self, name: str, key: bytes | None = None) -> None:
        self.thread.run(self.connection.admin._ask("split", name, key))


class AioTable:
    """An asyncio Table behind ``TableBackend``."""

    def __init__(self, backend: AioBackend, table: aio.Table) -> None:
        self._run = backend.thread.run
        self._table = table

    def row(self, row: bytes) -> Any:
        return self._run(self._table._latest(row))

    def get(self, get: Any) -> Any:
        return self._run(self._table.get(get))

    def get_many(self, gets: Any) -> Any:
        return self._run(self._table.get_many(gets))

    def put_rows(self, rows: Any, timestamp: int | None, durability: Any) -> None:
        self._run(self._table._put_rows(rows, timestamp, durability))

    def put(self, put: Any) -> None:
        self._run(self._table.put(put))

    def delete(self, delete: Any) -> None:
        self._run(self._table.delete(delete))

    def increment(self, increment: Any) -> Any:
        return self._run(self._answer(increment))

    append = increment

    async def _answer(self, mutation: Any) -> Any:
        (outcome,) = await self._table.run_batch([mutation])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def mutate_row(self, mutations: Any) -> Any:
        return self._run(self._table.mutate_row(mutations))

    def check_and_mutate(self, check: Any) -> Any:
        return self._run(self._table.check_and_mutate(check))

    def run_batch(self, actions: Any) -> Any:
        return self._run(self._table.run_batch(actions))

    def scan(self, scan: Any) -> Iterator[list[Any]]:
        results = self._table.scan_results(scan)
        try:
            while True:
                chunk = self._run(_some(results))
                if chunk:
                    yield chunk
                if len(chunk) < CHUNK_ROWS:
                    return
        finally:
            self._run(results.aclose())

    def scan_arrow(
        self, scan: Any, layout: str, types: Mapping[bytes, str] | None, columns: Sequence[bytes] | None
    ) -> pa.RecordBatchReader:
        from hyperbase.client.aio.arrow import prepare, scan_arrow

        connection = self._table.connection
        request = ArrowRequest(scan, layout, types or {}, columns)
        place = (connection.driver, connection.locator, self._table._full_name, request)
        self._run(prepare(*place))
        batches = scan_arrow(*place)

        def read() -> Iterator[pa.RecordBatch]:
            try:
                while (batch := self._run(anext_or_none(batches))) is not None:
                    yield batch
            finally:
                self._run(batches.aclose())

        return pa.RecordBatchReader.from_batches(request.schema, read())

    def put_arrow(self, data: Any, row_key: str, timestamp: Any, family: bytes | None) -> int:
        written: int = self._run(self._table.put_arrow(data, row_key, timestamp, family))
        return written


CHUNK_ROWS = 2048


async def _some(results: Any) -> list[Any]:
    out: list[Any] = []
    async for result in results:
        out.append(result)
        if len(out) == CHUNK_ROWS:
            break
    return out


async def anext_or_none(batches: Any) -> Any:
    return await anext(batches, None)


def aio_directory(path: str | os.PathLike[str], **settings: Any) -> Connection:
    """As ``hyperbase.connect`` with a directory, through a server and the asyncio client."""
    root = os.fspath(path)
    os.makedirs(root, exist_ok=True)

    def opener() -> Any:
        return AioBackend(EmbeddedStore(LocalFileSystem(root), make_config(settings), root=root), {})

    return Connection(opener)


def aio_connection(fs: FileSystem | None = None, clock: Any = None, **settings: Any) -> Connection:
    """As ``memory_connection``, through a server and the asyncio client."""
    disk = fs or MemoryFileSystem()
    config = make_config({**QUIET, **settings})
    ticking = clock or Clock()
    return Connection(lambda: AioBackend(EmbeddedStore(disk, config, clock=ticking), {}))  # type: ignore[arg-type, return-value]
