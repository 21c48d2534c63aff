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
from hyperbase.client.aio.scans import scan_chunks
from hyperbase.client.network.arrow_reads import ArrowRequest
from hyperbase.common.wire.messages import Method
from hyperbase.common.wire.model_codec import decode_result
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


class AioClient:
    """An asyncio client of a server."""

    def __init__(self, url: str, settings: dict[str, Any]) -> None:
        self.thread = LoopThread()
        try:
            self.connection = self.thread.run(self._connect(url, settings))
        except BaseException:
            self.thread.stop()
            raise
        self._closed = False

    async def _connect(self, url: str, settings: dict[str, Any]) -> aio.Connection:
        return await aio.connect(url, **settings)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.thread.run(self.connection.close())
            self.thread.stop()

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


class AioBackend(AioClient):
    """An asyncio client of a server of its own."""

    def __init__(self, store: EmbeddedStore) -> None:
        self.store = store
        self.server = ServerThread(open_store=lambda config: EmbeddedBackend(store, store.close)).start()
        super().__init__(self.server.url, {})

    def close(self) -> None:
        if not self._closed:
            super().close()
            self.server.stop()

    def crash(self) -> None:
        self.store.crash()
        self.close()


class AioTable:
    """An asyncio Table behind ``TableBackend``."""

    def __init__(self, backend: AioClient, table: aio.Table) -> None:
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
        answer = self._run(self._table._mutate(Method.MUTATE, increment))
        return decode_result(increment.row, answer)

    append = increment

    def mutate_row(self, mutations: Any) -> Any:
        return self._run(self._table.mutate_row(mutations))

    def check_and_mutate(self, check: Any) -> Any:
        return self._run(self._table.check_and_mutate(check))

    def run_batch(self, actions: Any) -> Any:
        return self._run(self._table.run_batch(actions))

    def scan(self, scan: Any) -> Iterator[list[Any]]:
        connection = self._table.connection
        chunks = scan_chunks(connection.driver, connection.locator, self._table._full_name, scan)
        try:
            while (chunk := self._run(_next_or_none(chunks))) is not None:
                yield chunk
        finally:
            self._run(chunks.aclose())

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
                while (batch := self._run(_next_or_none(batches))) is not None:
                    yield batch
            finally:
                self._run(batches.aclose())

        return pa.RecordBatchReader.from_batches(request.schema, read())

    def put_arrow(self, data: Any, row_key: str, timestamp: Any, family: bytes | None) -> int:
        written: int = self._run(self._table.put_arrow(data, row_key, timestamp, family))
        return written


async def _next_or_none(iterator: Any) -> Any:
    return await anext(iterator, None)


def connect_aio(url: str, **settings: Any) -> Connection:
    """As ``hyperbase.connect`` with a URL, by the asyncio client."""
    return Connection(lambda: AioClient(url, settings))  # type: ignore[arg-type, return-value]


def aio_directory(path: str | os.PathLike[str], **settings: Any) -> Connection:
    """As ``hyperbase.connect`` with a directory, through a server and the asyncio client."""
    root = os.fspath(path)
    os.makedirs(root, exist_ok=True)

    def opener() -> Any:
        return AioBackend(EmbeddedStore(LocalFileSystem(root), make_config(settings), root=root))

    return Connection(opener)


def aio_connection(fs: FileSystem | None = None, clock: Any = None, **settings: Any) -> Connection:
    """As ``memory_connection``, through a server and the asyncio client."""
    disk = fs or MemoryFileSystem()
    config = make_config({**QUIET, **settings})
    ticking = clock or Clock()
    return Connection(lambda: AioBackend(EmbeddedStore(disk, config, clock=ticking)))  # type: ignore[arg-type, return-value]
