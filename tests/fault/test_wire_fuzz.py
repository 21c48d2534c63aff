"""Frames that are wrong in every way, by the hundred thousand: nothing escapes or stays, others go on."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hyperbase import ColumnFamilyDescriptor, Put, Scan, TableDescriptor
from hyperbase.common.config import ServerConfig
from hyperbase.common.rpc.connection import RpcConnection
from hyperbase.common.wire.frames import PREAMBLE, BadFrameException, FrameDecoder, pack_frame
from hyperbase.common.wire.messages import END, ERROR, ITEM, OK, Method
from hyperbase.embedded.backend import EmbeddedBackend
from hyperbase.embedded.store import EmbeddedStore, make_config
from hyperbase.standalone.server import StandaloneServer
from regionserver.region.region import Region
from regionserver.storage.edits import GENERAL
from regionserver.storage.memory_filesystem import MemoryFileSystem
from tests.support.engine import Clock
from tests.support.wire_frames import Mutator, ValidFrames, row_key

SEED = int(os.environ.get("HYPERBASE_FUZZ_SEED", "20260717"))
FRAMES = int(os.environ.get("HYPERBASE_FUZZ_FRAMES", "100000"))
BURST = 50  # frames that one connection sends before its answers are looked at
WARM_FRAMES = 40_000  # threads, pools and caches are there: from now on memory is measured
MAX_GROWTH_BYTES = 16 * 2**20
WAIT_S = 15.0
_CONTROLS = {int(Method.CANCEL), int(Method.CREDIT), int(Method.DATA)}


@contextmanager
def _seed_is_told(seed: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        print(f"repeat with HYPERBASE_FUZZ_SEED={seed} HYPERBASE_FUZZ_FRAMES={FRAMES}")
        raise


def _resident_bytes() -> int:
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_decoder() -> None:
    """Whatever comes: messages, or BadFrameException; and never more kept than one frame."""
    with _seed_is_told(SEED):
        chance = random.Random(SEED)
        frames, mutator = ValidFrames(chance, b"r" * 16, "t"), Mutator(chance)
        decoder = FrameDecoder(max_frame_bytes=2**20)
        messages = refused = 0
        before = 0
        for number in range(FRAMES):
            if number == WARM_FRAMES:
                before = _resident_bytes()
            data = mutator.bytes_of(frames.message())
            cut = chance.randrange(len(data) + 1) if chance.random() < 0.3 else len(data)
            try:
                for part in (data[:cut], data[cut:]):
                    messages += sum(1 for _ in decoder.feed(part))
            except BadFrameException:
                refused += 1
                decoder = FrameDecoder(max_frame_bytes=2**20)
            assert decoder.pending_bytes <= 2**20 + 5
        grown = _resident_bytes() - before
    assert messages > FRAMES // 4
    assert refused > FRAMES // 10
    assert grown <= MAX_GROWTH_BYTES or FRAMES <= WARM_FRAMES, f"{grown} bytes"


class _Wire(asyncio.Transport):
    """The client's end of a connection that has no sockets: keeps the kinds of the answers by call id."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.answers: Counter[int] = Counter()
        self.last: dict[int, Any] = {}
        self.ended = False
        self._loop = loop
        self._decoder = FrameDecoder()
        self._protocol: RpcConnection | None = None

    def attach(self, connection: RpcConnection) -> None:
        self._protocol = connection
        connection.connection_made(self)

    def write(self, data: Any) -> None:
        assert not self.ended
        for call_id, kind, payload in self._decoder.feed(bytes(data)):
            assert kind in (OK, ERROR, ITEM, END)
            if kind != ITEM:
                self.answers[call_id] += 1
            self.last[call_id] = (kind, payload)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.ended

    def close(self) -> None:
        if not self.ended:
            self.ended = True
            assert self._protocol is not None
            self._loop.call_soon(self._protocol.connection_lost, None)

    abort = close


class _Client:
    """One connection: what it sent by call id, as another decoder understands it."""

    def __init__(self, server: StandaloneServer, chance: random.Random) -> None:
        self._chance = chance
        self.wire = _Wire(asyncio.get_running_loop())
        self.connection = RpcConnection(server.rpc)
        self.wire.attach(self.connection)
        self.wanted: Counter[int] = Counter()
        self._oracle = FrameDecoder(server.config.max_frame_bytes)
        hello = (
            1,
            {"client_id": b"%016d" % chance.randrange(4), "compression": chance.choice([(), ("zstd",)])},
        )
        self.feed(PREAMBLE + pack_frame((int(Method.HELLO), 0, None, None, hello)))
        assert self.wire.answers[0] == 1

    def feed(self, data: bytes) -> None:
        """As the event loop does: nothing is read from a connection that was closed."""
        if not self.wire.ended:
            self.connection.data_received(data)

    def send(self, data: bytes) -> None:
        """Send, in one piece or two, and note which answers have to come."""
        try:
            for message in self._oracle.feed(data):
                if isinstance(message, tuple) and len(message) == 5 and type(message[0]) is int:
                    if message[0] not in _CONTROLS and type(message[1]) is int:
                        self.wanted[message[1]] += 1
        except BadFrameException:
            pass
        cut = self._chance.randrange(len(data) + 1) if self._chance.random() < 0.2 else len(data)
        self.feed(data[:cut])
        if cut < len(data):
            self.feed(data[cut:])

    async def settle(self) -> None:
        """Wait until nothing is in flight: streams and uploads that wait for us are taken back."""
        deadline = time.monotonic() + WAIT_S
        while not self.wire.ended and (self.connection.calls or self._missing()):
            waiting = f"in flight: {list(self.connection.calls)}, unanswered: {self._missing()}"
            assert time.monotonic() < deadline, waiting
            for call in list(self.connection.calls.values()):
                if call.on_data is not None or call.on_credit is not None:
                    self.feed(pack_frame((int(Method.CANCEL), 0, None, None, (call.id,))))
            await asyncio.sleep(0.0005)
        self.wanted.clear()
        self.wire.answers.clear()
        self.wire.last.clear()

    def _missing(self) -> list[int]:
        answers = self.wire.answers
        return [call_id for call_id, count in self.wanted.items() if answers[call_id] < count]

    def vanish(self) -> None:
        """As a client that dies."""
        self.wire.close()


def _store(clock: Clock) -> EmbeddedStore:
    settings = {
        "memstore_flush_size_bytes": 2**20,
        "wal_segment_bytes": 2**19,
        "wal_archive_ttl_s": 0,
        "block_cache_bytes": 2**20,
    }
    return EmbeddedStore(MemoryFileSystem(), make_config(settings), clock=clock)


def test_server(caplog: pytest.LogCaptureFixture) -> None:
    """What is malformed is the client's fault: the server answers, and finds no fault in itself."""
    with _seed_is_told(SEED), caplog.at_level(logging.ERROR), asyncio.Runner() as runner:
        runner.run(_fuzz_server(random.Random(SEED)))
        assert not caplog.records


async def _fuzz_server(chance: random.Random) -> None:
    clock = Clock()
    store = _store(clock)
    backend = EmbeddedBackend(store, store.close)
    backend.create_table(TableDescriptor("t", [ColumnFamilyDescriptor("f")]))
    table = backend.table("t")
    for number in range(40):
        table.put(Put(row_key(number)).add(b"f:q", b"v%d" % (number % 10)))
    (info,) = backend.regions("t")
    config = ServerConfig(port=0, max_frame_bytes=2**20)
    server = StandaloneServer(config, lambda _: backend)
    await server.start()
    try:
        good = _Client(server, chance)
        frames, mutator = ValidFrames(chance, info.id16, "t"), Mutator(chance)
        client = _Client(server, chance)
        ended = vanished = let_in = 0
        before = 0
        for burst in range(FRAMES // BURST):
            if burst == WARM_FRAMES // BURST:
                before = _resident_bytes()
            for _ in range(BURST):
                if client.wire.ended:
                    ended += 1
                    await asyncio.sleep(0)
                    client = _Client(server, chance)
                client.send(mutator.bytes_of(frames.message()))
            let_in += _fuzz_hello(server, chance, mutator)
            if chance.random() < 0.2:
                client.vanish()
                vanished += 1
                await asyncio.sleep(0)
                assert not client.connection.calls
                client = _Client(server, chance)
            else:
                await client.settle()
            await _check_good(good, info.id16, burst)
            if burst % 50 == 0:
                for region in list(store.engine.regions.values()):
                    _check_memory(region)
        client.vanish()
        await asyncio.sleep(0)
        await _wait_until(lambda: not any(server.rpc.in_flight), "calls in flight")
        await _wait_until(lambda: server._serving is not None and not server._serving._streams, "streams")
        for region in list(store.engine.regions.values()):
            _check_memory(region)
            await _wait_until(lambda r=region: not r.read_points._held, "read points")  # type: ignore[misc]
        grown = _resident_bytes() - before
        assert grown <= MAX_GROWTH_BYTES or FRAMES <= WARM_FRAMES, f"{grown} bytes"
        assert server.rpc.held_bytes == 0
        assert ended > FRAMES // 100, "the fuzz ended no connection"
        assert 0 < let_in < FRAMES // BURST
        assert vanished > 10 or FRAMES < 10_000
        clock.advance(60_000)  # what lives for a moment only is gone in both readings
        shown = _read_all(backend)
    finally:
        await server.stop()
    again = EmbeddedStore(store.fs, store.config, clock=clock)  # every MemStore became files
    assert _read_all(EmbeddedBackend(again, again.close)) == shown
    again.close()


def _fuzz_hello(server: StandaloneServer, chance: random.Random, mutator: Mutator) -> bool:
    """A connection that begins badly; whether it was let in all the same."""
    wire = _Wire(asyncio.get_running_loop())
    connection = RpcConnection(server.rpc)
    wire.attach(connection)
    options = {
        "client_id": b"c" * 16,
        "client": "x",
        "principal": "p",
        "role": "user",
        "compression": ("zstd",),
    }
    data = PREAMBLE + mutator.bytes_of((int(Method.HELLO), 0, None, None, (1, options)))
    if chance.random() < 0.2:
        data = data[: chance.randrange(len(data))]
    connection.data_received(data)
    wire.close()
    return connection.ready


async def _check_good(good: _Client, region: bytes, number: int) -> None:
    """A connection that does nothing wrong is answered, and rightly."""
    value = b"%d" % number
    put = pack_frame(
        (
            int(Method.PUT_ROWS),
            1,
            None,
            None,
            (((region, ((b"f:q",),), ((b"good", 0, (value,)),), None),), None, 0),
        )
    )
    get = pack_frame((int(Method.ROW), 2, None, None, (region, b"good")))
    good.feed(put)
    await _wait_until(lambda: 1 in good.wire.last, "the good connection's put")
    assert good.wire.last.pop(1) == (OK, ((0, OK, None),))
    good.feed(get)
    await _wait_until(lambda: 2 in good.wire.last, "the good connection's get")
    assert good.wire.last.pop(2)[1][:2] == ((b"f:q",), (value,))


async def _wait_until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"still waiting for {what}"
        await asyncio.sleep(0.0005)


def _check_memory(region: Region) -> None:
    """Bytes where bytes belong, numbers where numbers do."""
    view = region.view
    for shape in view.shapes.shapes:
        assert all(type(name) is bytes for name in shape.names)
    for store in view.memstores:
        for row, edits in list(store.rows.items()):
            assert type(row) is bytes
            for sequence_id, stamp, shape_id, values in edits:
                assert {type(sequence_id), type(stamp), type(shape_id)} == {int}
                if shape_id != GENERAL:
                    assert all(type(value) is bytes for value in values)
                    continue
                for family, qualifier, key, kind, order, value, ttl in values:
                    assert {type(family), type(qualifier), type(value)} == {bytes}, values
                    assert all(isinstance(number, int) for number in (key, kind, order, ttl)), values


def _read_all(backend: EmbeddedBackend) -> dict[str, list[Any]]:
    """What every table that is served shows."""
    out: dict[str, list[Any]] = {}
    for name in backend.list_tables():
        if backend.is_table_enabled(name):
            chunks = backend.table(name).scan(Scan())
            out[name] = [cell for chunk in chunks for result in chunk for cell in result.cells]
    return out
