"""Clients that do harm, by malice or by accident, cost the others nothing; limits answer at once."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import hyperbase
from hyperbase import (
    CheckAndMutate,
    ColumnFamilyDescriptor,
    Connection,
    Get,
    Increment,
    Put,
    Scan,
    TableDescriptor,
    filters,
)
from hyperbase.common.config import ServerConfig
from hyperbase.common.errors import (
    CallCancelledException,
    CallQueueTooBigException,
    CallTimeoutException,
    ConnectionLostException,
    DoNotRetryIOException,
    HBaseIOException,
    IllegalArgumentException,
    UnknownScannerException,
)
from hyperbase.common.region_info import META_REGION
from hyperbase.common.wire.faults import decode_fault
from hyperbase.common.wire.frames import HEADER, PREAMBLE, pack_frame
from hyperbase.common.wire.messages import END, ERROR, ITEM, OK, Method
from hyperbase.common.wire.model_codec import encode_action, encode_get, encode_scan
from hyperbase.embedded.backend import EmbeddedBackend
from hyperbase.embedded.store import EmbeddedStore, make_config
from regionserver.region.region import HeldScanner
from regionserver.storage.memory_filesystem import MemoryFileSystem
from tests.support.service import ROOT, Server, environment
from tests.support.standalone import ServerThread
from tests.support.wire_client import WireClient

MIB = 2**20
WAIT_S = 30.0
ROWS = 6000
BIG_ROWS, BIG_BYTES = 64, MIB  # far more than the buffers of a connection, its sockets and a turn


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Look again and again, until a deadline."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"still waiting for {what}"
        time.sleep(0.005)


class Served:
    """A server process with two tables: ``t`` of many small rows, ``big`` of many of a MiB."""

    def __init__(self, directory: Path, **settings: object) -> None:
        values = {f"HYPERBASE_SERVER_{name.upper()}": str(value) for name, value in settings.items()}
        self.server = Server("--data", directory / "store", cwd=directory, **values)
        self.port = self.server.port
        try:
            self._fill()
        except BaseException:
            self.server.kill()
            raise

    def _fill(self) -> None:
        self.connection: Connection = hyperbase.connect(f"hyperbase://127.0.0.1:{self.port}")
        families = [ColumnFamilyDescriptor("f")]
        self.connection.admin.create_table(TableDescriptor("t", families))
        self.connection.admin.create_table(TableDescriptor("big", families))
        self.table = self.connection.table("t")
        with self.table.batch(batch_size=500) as batch:
            for number in range(ROWS):
                batch.put(b"row%06d" % number, {b"f:q": b"v%d" % number})
        big = self.connection.table("big")
        for number in range(BIG_ROWS):
            big.put(b"big%02d" % number, {b"f:q": bytes([number]) * BIG_BYTES})
        with self.client() as client:
            ((info,), (big_info,)) = client.regions("t"), client.regions("big")
        self.region, self.big_region = info.id16, big_info.id16

    def client(self, **options: Any) -> WireClient:
        """A connection that said HELLO."""
        return WireClient(self.port, **options)

    def metric(self, name: str) -> int:
        """A metric of now."""
        return int(self.connection.metrics()[name])

    def check_others(self, longest_s: float = 5.0) -> None:
        """Whoever does nothing wrong is served as ever."""
        began = time.monotonic()
        number = time.monotonic_ns()
        self.table.put(b"other", {b"f:q": b"%d" % number})
        assert self.table.row(b"other") == {b"f:q": b"%d" % number}
        assert len(list(self.table.scan(row_start=b"row", limit=50))) == 50
        took = time.monotonic() - began
        assert took < longest_s, f"another client's three calls took {took:.1f} s"

    def status(self, name: str) -> int:
        """A line of /proc/PID/status: bytes."""
        text = Path(f"/proc/{self.server.process.pid}/status").read_text(encoding="ascii")
        (line,) = (line for line in text.splitlines() if line.startswith(name + ":"))
        return int(line.split()[1]) * 1024

    def idle(self) -> None:
        """Wait until nothing of what the test did is left in the server."""
        for name in ("numOpenScanners", "numHeldReadPoints"):
            wait_until(lambda name=name: self.metric(name) == 0, name)  # type: ignore[misc]
        # The metrics call is one itself.
        wait_until(lambda: self.metric("numActiveHandler") <= 1, "calls in flight")

    def close(self) -> None:
        """Stop; it ends cleanly and had nothing to complain of."""
        self.connection.close()
        self.server.signal(signal.SIGTERM)
        assert self.server.wait() == 0, self.server.log
        assert "Traceback" not in self.server.log, self.server.log


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Usual limits, short patience with who says nothing."""
    server = Served(
        tmp_path_factory.mktemp("served"),
        handshake_timeout_s=1,
        keepalive_interval_s=1,
        keepalive_timeout_s=2,
        max_inflight_bytes=64 * MIB,
        max_frame_bytes=32 * MIB,
    )
    yield server
    server.close()


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Low limits, a short lease."""
    server = Served(
        tmp_path_factory.mktemp("strict"),
        max_connections=50,
        max_requests_in_flight=20,
        max_requests_per_connection=8,
        max_scanners=12,
        max_scanners_per_connection=7,
        scanner_lease_s=1,
    )
    yield server
    server.close()


# -- bytes that are no conversation ----------------------------------------------------------------------


def _ended(port: int, data: bytes) -> HBaseIOException | None:
    """Send the bytes without a HELLO; what the server says when it ends the connection."""
    with WireClient(port, hello=False) as client:
        client.raw(data)
        return client.end()


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 4096, b"\xff" * 70_000, b"HYPB\x02", b"HYPA", b"\x16\x03\x01\x02"],
    ids=["HTTP", "zeros", "ones", "another version", "almost", "TLS"],
)
def test_garbage_is_answered_once(served: Served, garbage: bytes) -> None:
    said = _ended(served.port, garbage)
    assert said is None or "Hyperbase server" in str(said)
    served.check_others()


@pytest.mark.parametrize("beginning", [b"", PREAMBLE[:3], PREAMBLE, PREAMBLE + b"\0\0\1\0\0\x95"], ids=str)
def test_who_does_not_introduce_himself_is_let_go(served: Served, beginning: bytes) -> None:
    began = time.monotonic()
    assert _ended(served.port, beginning) is None
    assert 0.5 < time.monotonic() - began < 10
    served.check_others()


def test_the_first_message_is_hello(served: Served) -> None:
    said = _ended(served.port, PREAMBLE + pack_frame((int(Method.PING), 1, None, None, ())))
    assert isinstance(said, DoNotRetryIOException)


def test_hello_without_a_client_id_ends_the_connection(served: Served) -> None:
    said = _ended(served.port, PREAMBLE + pack_frame((int(Method.HELLO), 1, None, None, (1, {}))))
    assert isinstance(said, IllegalArgumentException)


def test_a_stranger_sends_no_large_frame(served: Served) -> None:
    said = _ended(served.port, PREAMBLE + HEADER.pack(MIB, 0))
    assert isinstance(said, DoNotRetryIOException)


@pytest.mark.parametrize("length", [0, 2**31 - 1, 2**31, 2**32 - 1, 32 * MIB + 1])
def test_a_length_that_cannot_be(served: Served, length: int) -> None:
    before = served.status("VmRSS")
    with served.client() as client:
        client.raw(HEADER.pack(length, 0) + b"\x95")
        said = client.end()
    assert isinstance(said, DoNotRetryIOException)
    assert f"{length} bytes" in str(said)
    assert served.status("VmRSS") - before < 16 * MIB
    served.check_others()


def test_half_a_frame_that_stalls(served: Served) -> None:
    with served.client() as client, served.client() as other:
        client.raw(HEADER.pack(8 * MIB, 0) + b"\x95" * (4 * MIB))
        served.check_others()
        assert client.end() is None
        other.call(Method.PING)  # who is silent between two requests is not meant


def test_half_frames_of_many_share_one_budget(served: Served) -> None:
    """Memory for unfinished requests is limited over all connections; the largest holder goes, not others."""
    before = served.status("VmRSS")
    clients = [served.client() for _ in range(6)]
    small = served.client()
    half = pack_frame((int(Method.PING), 7, None, None, ()))
    small.raw(half[:8])
    with suppress(ConnectionLostException):
        for client in clients:
            client.raw(HEADER.pack(30 * MIB, 0) + b"\x95" + b"\0" * (20 * MIB))
    served.check_others()
    small.raw(half[8:])
    assert small.answer(7) is None
    said = [client.end() for client in clients]
    assert sum(isinstance(error, CallQueueTooBigException) for error in said) >= 3
    assert served.status("VmRSS") - before < 128 * MIB
    small.close()
    for client in clients:
        client.close()


def test_a_message_of_millions_of_nothings_is_refused(served: Served) -> None:
    """30 MB on the wire, 2 GB in memory if they were unpacked."""
    before = served.status("VmHWM")
    with served.client() as client:
        client.raw(PREAMBLE[:0] + HEADER.pack(30 * MIB + 5, 0) + b"\xdd" + (30 * MIB - 1).to_bytes(4, "big"))
        with suppress(ConnectionLostException):
            client.raw(b"\x80" * (30 * MIB - 1))
        assert isinstance(client.end(), DoNotRetryIOException)
    assert served.status("VmHWM") - before < 400 * MIB
    served.check_others()


def test_a_regular_expression_without_end_holds_up_nobody(served: Served) -> None:
    served.table.put(b"aaa", {b"f:q": b"a" * 40 + b"b"})
    evil = filters.ValueFilter("=", filters.RegexStringComparator(r"(a|a)*(a|aa)+$"))
    check = CheckAndMutate(b"aaa").if_filter(evil).then(Put(b"aaa").add(b"f:q", b"v"))
    with served.client() as client, served.client() as other:
        wanted = {
            client.send(Method.GET, served.region, encode_get(hyperbase.Get(b"aaa", filter=evil))),
            client.send(Method.SCAN, served.region, encode_scan(Scan(b"aaa", b"aab", filter=evil)), 1),
            client.send(Method.CHECK, served.region, encode_action(check), None),
        }
        longest = 0.0
        for _ in range(50):
            began = time.monotonic()
            other.call(Method.PING)
            longest = max(longest, time.monotonic() - began)
        while wanted:
            call_id, kind, _ = client.receive()
            assert kind == ERROR  # it took too long
            wanted.remove(call_id)
        assert longest < 1.0, f"a PING took {longest:.2f} s"
    served.table.delete(b"aaa")


# -- clients that do not read ----------------------------------------------------------------------------


def _gets(region: bytes, rows: list[bytes]) -> Any:
    """The arguments of a MULTI that gets rows."""
    return ((region, tuple((encode_get(hyperbase.Get(row)), None) for row in rows)),)


def test_answers_that_nobody_reads_stay_few(served: Served) -> None:
    """100 MB of answers, asked for in every way, by one who reads nothing."""
    served.check_others()
    before = served.status("VmRSS")
    client = served.client(receive_bytes=64 * 1024)
    rows = [b"big%02d" % number for number in range(BIG_ROWS)]
    for _ in range(4):
        for row in rows:
            client.send(Method.ROW, served.big_region, row)
        client.send(Method.GET_MANY, ((served.big_region, rows),))
        client.send(Method.GET_MANY, ((served.big_region, rows * 3),))
        client.send(Method.MULTI, _gets(served.big_region, rows * 3))
        client.send(Method.SCAN, served.big_region, encode_scan(Scan()), 1000)
        client.send(Method.ARROW_SCAN, served.big_region, encode_scan(Scan()), None, 1000)
    most = 0
    for _ in range(20):
        served.check_others()
        most = max(most, served.status("VmRSS") - before)
    assert most < 160 * MIB, f"{most / MIB:.0f} MiB"
    client.close()
    served.idle()


def test_it_gets_its_answers_once_it_reads(served: Served) -> None:
    """Held back is not lost: every answer comes, when there is room for it."""
    with served.client(receive_bytes=64 * 1024) as client:
        rows = [b"big%02d" % number for number in range(BIG_ROWS)]
        wanted = {client.send(Method.ROW, served.big_region, row) for row in rows * 2}
        wanted |= {client.send(Method.GET_MANY, ((served.big_region, rows * 3),)) for _ in range(2)}
        wanted.add(client.send(Method.MULTI, _gets(served.big_region, rows * 3)))
        wanted.add(client.send(Method.SCAN, served.big_region, encode_scan(Scan()), 1000))
        wanted.add(client.send(Method.PING))
        served.check_others()
        while wanted:
            call_id, kind, _ = client.receive()
            assert kind != ERROR
            if kind != ITEM:
                wanted.remove(call_id)
    served.idle()


# -- clients that stop, or die ---------------------------------------------------------------------------

_SCANNER = """
import sys
from hyperbase import Scan
from hyperbase.common.wire.messages import Method
from hyperbase.common.wire.model_codec import encode_scan
from tests.support.wire_client import WireClient
port, region, credit = int(sys.argv[1]), bytes.fromhex(sys.argv[2]), int(sys.argv[3])
client = WireClient(port, receive_bytes=65536)
call = client.send(Method.SCAN, region, encode_scan(Scan(max_result_bytes=20000)), credit)
client.receive()
print("reading", flush=True)
sys.stdin.readline()
try:
    client.answer(call)
except Exception as error:
    print(type(error).__name__, flush=True)
else:
    print("all", flush=True)
"""
_UPLOADER = """
import sys
import pyarrow as pa
from hyperbase.common.wire.messages import Method
from tests.support.wire_client import WireClient
client = WireClient(int(sys.argv[1]))
call = client.send(Method.ARROW_PUT, "t", "row", None, None)
batch = pa.record_batch({"row": [b"upload%d" % n for n in range(100)], "f:q": [b"v"] * 100})
sink = pa.BufferOutputStream()
with pa.ipc.new_stream(sink, batch.schema) as writer:
    writer.write_batch(batch)
client.receive()
client.send(Method.DATA, call, sink.getvalue().to_pybytes())
print("sending", flush=True)
sys.stdin.readline()
"""


def _upload(served: Served) -> int:
    """Load one row, as a client does that goes on sending."""
    batch = pa.record_batch({"row": [b"after"], "f:q": [b"v"]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    with served.client() as client:
        call_id = client.send(Method.ARROW_PUT, "t", "row", None, None)
        client.send(Method.DATA, call_id, sink.getvalue().to_pybytes())
        client.send(Method.DATA, call_id, None)
        rows: int = client.answer(call_id)
        return rows


class Peer:
    """A client in a process of its own, in the middle of something."""

    def __init__(self, program: str, *words: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *map(str, words)],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() in ("reading\n", "sending\n")

    def finish(self) -> str:
        """Let it go on; what it says then."""
        said, _ = self.process.communicate("\n", timeout=WAIT_S)
        return said.strip()

    def kill(self) -> None:
        """As a crash."""
        self.process.kill()
        self.process.communicate(timeout=WAIT_S)


def test_a_client_that_dies_in_a_scan_leaves_nothing(served: Served) -> None:
    served.idle()
    peers = [Peer(_SCANNER, served.port, served.region.hex(), credit) for credit in (1, 1, 10_000)]
    assert served.metric("numOpenScanners") >= 2
    assert served.metric("numHeldReadPoints") >= 2
    for peer in peers:
        peer.kill()
    served.idle()  # at once, not after the lease of a minute


def test_a_client_that_dies_in_an_upload_leaves_nothing(served: Served) -> None:
    served.idle()
    peers = [Peer(_UPLOADER, served.port) for _ in range(5)]  # more than there are threads
    assert served.metric("numActiveHandler") >= 5
    for peer in peers:
        peer.kill()
    served.idle()
    assert _upload(served) == 1


def test_uploads_that_stall_end(strict: Served) -> None:
    """Uploads hold threads: who sends nothing for the time of a lease gives them back."""
    strict.idle()
    peers = [Peer(_UPLOADER, strict.port) for _ in range(5)]
    assert _upload(strict) == 1
    for peer in peers:
        peer.kill()
    strict.idle()


def test_a_client_that_is_stopped_in_a_scan(strict: Served) -> None:
    """Its stream ends with its lease; what it was sent already it still reads."""
    strict.idle()
    peer = Peer(_SCANNER, strict.port, strict.region.hex(), 1)
    os.kill(peer.process.pid, signal.SIGSTOP)
    strict.check_others()
    strict.idle()
    os.kill(peer.process.pid, signal.SIGCONT)
    assert peer.finish() == "UnknownScannerException"
    strict.idle()


def test_a_client_that_is_stopped_with_answers_on_their_way(strict: Served) -> None:
    """It has credit and does not read: memory is bounded, its lease runs out all the same."""
    strict.idle()
    before = strict.status("VmRSS")
    peers = [Peer(_SCANNER, strict.port, strict.big_region.hex(), 10_000) for _ in range(3)]
    for peer in peers:
        os.kill(peer.process.pid, signal.SIGSTOP)
    strict.check_others()
    strict.idle()
    assert strict.status("VmRSS") - before < 100 * MIB
    for peer in peers:
        os.kill(peer.process.pid, signal.SIGCONT)
        assert peer.finish() == "UnknownScannerException"


# -- limits ----------------------------------------------------------------------------------------------


def test_connections_beyond_the_limit_are_refused(strict: Served) -> None:
    strict.idle()
    room = 50 - strict.metric("numOpenConnections")
    kept = [strict.client() for _ in range(room)]
    refused = [WireClient(strict.port, hello=False) for _ in range(200)]
    assert all(isinstance(client.end(), CallQueueTooBigException) for client in refused)
    strict.check_others()
    for client in kept:
        client.call(Method.PING)
        client.close()
    for client in refused:
        client.close()
    wait_until(lambda: strict.metric("numOpenConnections") < 50, "connections to be closed")
    with strict.client() as client:
        client.call(Method.PING)


def _open_scan(client: WireClient, region: bytes) -> int:
    """A stream that has sent its first part and waits for credit."""
    call_id = client.send(Method.SCAN, region, encode_scan(Scan(max_result_bytes=20_000)), 1)
    got, kind, payload = client.receive()
    assert got == call_id
    if kind == ERROR:
        raise decode_fault(payload)
    assert kind == ITEM
    return call_id


def test_scanners_beyond_the_limits_are_refused(strict: Served) -> None:
    strict.idle()
    with strict.client() as one, strict.client() as two:
        for _ in range(7):
            _open_scan(one, strict.region)
        with pytest.raises(CallQueueTooBigException, match="max_scanners_per_connection"):
            _open_scan(one, strict.region)
        for _ in range(5):
            _open_scan(two, strict.region)
        with pytest.raises(CallQueueTooBigException, match="max_scanners"):
            _open_scan(two, strict.region)
        assert two.call(Method.ROW, strict.region, b"row000001") is not None
    strict.idle()


def test_calls_beyond_the_limits_are_refused_and_important_ones_are_not(strict: Served) -> None:
    """Users' calls at their limit leave room for hbase:meta, administration and keep-alive."""
    strict.idle()
    refused = strict.metric("exceptions.callQueueTooBig")
    with strict.client() as one, strict.client() as two, strict.client() as three:
        for client in (one, two, three):
            for _ in range(8 if client is not three else 4):
                client.send(Method.ARROW_PUT, "t", "row", None, None)
                assert client.receive()[1] == ITEM
        with pytest.raises(CallQueueTooBigException, match="max_requests_per_connection"):
            one.call(Method.REGISTRY)
        with pytest.raises(CallQueueTooBigException, match="class USER"):
            three.call(Method.ROW, strict.region, b"row000001")
        three.call(Method.PING)
        one.call(Method.PING)
        assert three.call(Method.ROW, META_REGION.id16, b"t,,0") is None
        scan = encode_scan(Scan(b"t", limit=1))
        assert three.call(Method.SCAN, META_REGION.id16, scan, 1)[0] is not None
        assert three.call(Method.REGISTRY)["meta"]
        assert three.admin("table_exists", "t") is True
        three.admin("flush", "t")
    strict.idle()
    assert strict.metric("exceptions.callQueueTooBig") >= refused + 2
    strict.check_others()


# -- leases, cancellation, deadlines ---------------------------------------------------------------------


def test_a_scanner_that_nobody_asks_expires(strict: Served) -> None:
    strict.idle()
    with strict.client() as client:
        call_id = _open_scan(client, strict.region)
        with pytest.raises(UnknownScannerException, match="idle for more than 1 s"):
            client.answer(call_id)
        client.send(Method.CREDIT, call_id, 1)  # too late, and harmless
        client.call(Method.PING)
    strict.idle()


def test_a_stream_is_cancelled(served: Served) -> None:
    served.idle()
    with served.client() as client:
        call_id = _open_scan(client, served.region)
        client.send(Method.CANCEL, call_id)
        with pytest.raises(CallCancelledException):
            client.answer(call_id)
        upload = client.send(Method.ARROW_PUT, "t", "row", None, None)
        client.send(Method.CANCEL, upload)
        with pytest.raises(CallCancelledException):
            client.answer(upload)
        served.idle()


class Gate:
    """Syncs of the log wait while it is shut."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()
        self.waiting = threading.Event()

    def __call__(self) -> None:
        if not self._open.is_set():
            self.waiting.set()
            assert self._open.wait(WAIT_S)

    def shut(self) -> None:
        self.waiting.clear()
        self._open.clear()

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def inside(gate: Gate) -> Iterator[tuple[ServerThread, WireClient, bytes]]:
    """A server of this process with two handler threads, a client, and a region."""

    def open_store(config: ServerConfig) -> EmbeddedBackend:
        store = EmbeddedStore(MemoryFileSystem(), make_config({}), sync_hook=gate)
        return EmbeddedBackend(store, store.close)

    with ServerThread(ServerConfig(handler_threads=2, admin_threads=1), open_store) as thread:
        client = WireClient(thread.server.address[1])
        client.admin("create_table", TableDescriptor("t", [ColumnFamilyDescriptor("f")]).to_dict(), None)
        (info,) = client.regions("t")
        yield thread, client, info.id16
        gate.open()
        client.close()


def _multi(region: bytes, row: bytes) -> Any:
    put = encode_action(Put(row).add(b"f:q", b"v"))
    step = encode_action(Increment(row + b"-count", {b"f:n": 1}))
    return ((region, ((put, None), (step, None))),)


def test_what_nobody_waits_for_is_not_carried_out(
    gate: Gate, inside: tuple[ServerThread, WireClient, bytes]
) -> None:
    _, client, region = inside
    gate.shut()
    busy = [client.send(Method.MULTI, _multi(region, b"busy%d" % number)) for number in range(2)]
    assert gate.waiting.wait(WAIT_S)
    late = client.send(Method.MULTI, _multi(region, b"late"), timeout_ms=50)
    with pytest.raises(CallTimeoutException):
        client.answer(late)
    gate.open()
    last = client.send(Method.MULTI, _multi(region, b"last"))
    answers = {client.receive()[:2] for _ in (*busy, last)}
    assert answers == {(call_id, OK) for call_id in (*busy, last)}
    assert client.call(Method.ROW, region, b"last") is not None
    assert client.call(Method.ROW, region, b"busy0") is not None
    assert client.call(Method.ROW, region, b"late") is None
    assert client.call(Method.ROW, region, b"late-count") is None


def test_administration_that_nobody_waits_for_is_not_carried_out(
    gate: Gate, inside: tuple[ServerThread, WireClient, bytes]
) -> None:
    _, client, _ = inside
    gate.shut()
    families = [ColumnFamilyDescriptor("f")]
    tables = [TableDescriptor(name, families).to_dict() for name in ("one", "two", "three")]
    first = client.send(Method.ADMIN, "create_table", (tables[0], None), 901)
    assert gate.waiting.wait(WAIT_S)
    late = client.send(Method.ADMIN, "create_table", (tables[1], None), 902, timeout_ms=50)
    with pytest.raises(CallTimeoutException):
        client.answer(late)
    again = client.send(Method.ADMIN, "create_table", (tables[2], None), 903)
    gate.open()
    for _ in (first, again):
        assert client.receive()[1] != ERROR
    assert client.admin("list_tables") == ("one", "t", "three")
    # Asked for again, with the same nonce, it is carried out: the first time it was not.
    client.call(Method.ADMIN, "create_table", (tables[1], None), 902)
    assert client.admin("table_exists", "two") is True


def test_keep_alive_is_answered_while_every_thread_is_busy(
    gate: Gate, inside: tuple[ServerThread, WireClient, bytes]
) -> None:
    thread, client, region = inside
    client.call(Method.MULTI, _multi(region, b"there"))
    gate.shut()
    for number in range(6):  # more than there are threads
        client.send(Method.MULTI, _multi(region, b"busy%d" % number))
    assert gate.waiting.wait(WAIT_S)
    with WireClient(thread.server.address[1]) as other:
        for _ in range(20):
            other.call(Method.PING)
        assert other.call(Method.ROW, region, b"there") is not None
        assert other.call(Method.SCAN, region, encode_scan(Scan(b"t", limit=1)), 1)[0] is not None
        assert other.admin("list_tables") == ("t",)


def test_hbase_meta_is_read_while_every_reading_thread_is_busy(
    monkeypatch: pytest.MonkeyPatch, inside: tuple[ServerThread, WireClient, bytes]
) -> None:
    thread, client, region = inside
    real, leave = HeldScanner.next_chunk, threading.Event()

    def next_chunk(scanner: HeldScanner, *limits: int) -> Any:
        if scanner._region.id16 == region:
            assert leave.wait(WAIT_S)
        return real(scanner, *limits)

    monkeypatch.setattr(HeldScanner, "next_chunk", next_chunk)
    waiting = {client.send(Method.SCAN, region, encode_scan(Scan()), 1) for _ in range(5)}
    with WireClient(thread.server.address[1]) as other:
        found = other.call(Method.SCAN, META_REGION.id16, encode_scan(Scan()), 9)
        assert found[1] is False
        assert other.regions("t")[0].id16 == region
    leave.set()
    assert {client.receive()[0] for _ in range(5)} == waiting


def test_a_row_of_long_names_comes_in_messages_of_their_size(
    inside: tuple[ServerThread, WireClient, bytes],
) -> None:
    """Names count as values do: an answer of tiny values is no small one, and a frame has its limit."""
    _, client, region = inside
    for number in range(0, 200, 50):
        put = Put(b"r")
        for name in range(number, number + 50):
            put.add(b"f:" + b"%06d" % name * 10_000, b"")
        client.call(Method.MUTATE, region, encode_action(put), None)
    get = encode_get(Get(b"r"))
    calls: list[tuple[Any, ...]] = [
        (Method.ROW, region, b"r"),
        (Method.GET, region, get),
        (Method.GET_MANY, ((region, (b"r", get)),)),
        (Method.MULTI, ((region, ((get, None), (get, None))),)),
        (Method.SCAN, region, encode_scan(Scan()), 100),
        (Method.SCAN, region, encode_scan(Scan(limit=1)), 100),
    ]
    for call in calls:
        call_id, kind, found = client.send(*call), ITEM, 0
        while kind == ITEM:
            got, kind, payload = client.receive()
            assert (got, kind) in ((call_id, ITEM), (call_id, END), (call_id, OK)), call
            frame = pack_frame(payload)
            found += len(frame)
            assert len(frame) < 9 * MIB, call
        assert found > 11 * MIB, call


def test_a_scan_that_finds_nothing_stops_when_it_is_cancelled(
    monkeypatch: pytest.MonkeyPatch, inside: tuple[ServerThread, WireClient, bytes]
) -> None:
    """A filter may let nothing through for hours; two such scans leave their threads to others, too."""
    thread, client, region = inside
    turns = [0]
    real = HeldScanner.next_chunk

    def next_chunk(scanner: HeldScanner, *limits: int) -> Any:
        if scanner._scan.filter is None:
            return real(scanner, *limits)
        turns[0] += 1
        return []

    monkeypatch.setattr(HeldScanner, "next_chunk", next_chunk)
    scan = encode_scan(Scan(filter="KeyOnlyFilter()"))
    endless = [client.send(Method.SCAN, region, scan, 1) for _ in range(3)]
    wait_until(lambda: turns[0] > 3, "the scans")
    with WireClient(thread.server.address[1]) as other:  # no scan on the loop: it has to wait for a thread
        assert other.call(Method.SCAN, region, encode_scan(Scan()), 1)[1] is False
    for call_id in endless:
        client.send(Method.CANCEL, call_id)
        with pytest.raises(CallCancelledException):
            client.answer(call_id)
    backend = thread.server._backend
    assert backend is not None
    points = backend.store.engine.regions[region].read_points
    wait_until(lambda: points.held == 0, "read points")
    stood = turns[0]
    client.call(Method.PING)
    assert turns[0] == stood


def test_a_port_scan_is_no_event(served: Served) -> None:
    for _ in range(50):
        socket.create_connection(("127.0.0.1", served.port)).close()
    served.check_others()
