"""SIGTERM under load, again and again: nothing is lost, and the next start replays nothing."""

from __future__ import annotations

import random
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import hyperbase
from hyperbase import ColumnFamilyDescriptor, Scan, TableDescriptor
from hyperbase.common.errors import ConnectionLostException, HBaseIOException, ServerStoppedException
from hyperbase.common.wire.messages import ITEM, Method
from hyperbase.common.wire.model_codec import encode_scan
from regionserver.region.check import check_store
from tests.support.kill_load import SPLITS, expected_rows, writers
from tests.support.server_arena import CLIENT, fixed_port, wait_until
from tests.support.service import Server
from tests.support.wire_client import WireClient

STOPS = 20
SEED = 20260719
DRAIN_S = 3.0


def _hold(port: int, stack: ExitStack) -> list[tuple[WireClient, int]]:
    """Clients in the middle of something: a scan that waits for credit, one that is not read, an upload."""
    held = []
    for way in ("idle", "unread", "upload"):
        client = stack.enter_context(WireClient(port, receive_bytes=65_536))
        if way == "upload":
            call_id = client.send(Method.ARROW_PUT, "fill", "row", None, None)
        else:
            (info,) = client.regions("fill")
            credit = 1 if way == "idle" else 10_000
            call_id = client.send(Method.SCAN, info.id16, encode_scan(Scan(max_result_bytes=10_000)), credit)
        got, kind, _ = client.receive()
        assert (got, kind) == (call_id, ITEM)
        held.append((client, call_id))
    return held


def _told(client: WireClient, call_id: int) -> HBaseIOException | None:
    """How a held call ended."""
    try:
        client.answer(call_id)
    except HBaseIOException as error:
        return error
    return None


def _replayed(server: Server) -> int:
    """What the start says in the log."""
    (line,) = (line for line in server.log.splitlines() if " started data=" in line)
    (word,) = (word for word in line.split() if word.startswith("replayed_rows="))
    return int(word.partition("=")[2])


def test_stops_under_load_lose_nothing_and_leave_nothing_to_replay(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    port = fixed_port(random.Random())
    settings = {"HYPERBASE_SERVER_DRAIN_TIMEOUT_S": str(DRAIN_S)}

    def start() -> Server:
        return Server("--data", tmp_path / "store", cwd=tmp_path, port=port, **settings)

    server = start()
    connection = hyperbase.connect(f"hyperbase://127.0.0.1:{port}", **CLIENT)
    families = [ColumnFamilyDescriptor("a"), ColumnFamilyDescriptor("b")]
    connection.admin.create_table(TableDescriptor("t", families), SPLITS)
    connection.admin.create_table(TableDescriptor("fill", [ColumnFamilyDescriptor("f")]))
    with connection.table("fill").batch(batch_size=100) as batch:
        for number in range(10_000):
            batch.put(b"fill%06d" % number, {b"f:q": b"x" * 1000})
    made = writers(connection.table("t"), port, SEED)
    longest = 0.0
    under_way = 0
    try:
        for writer in made:
            writer.start()
        for _ in range(STOPS):
            goal = sum(writer.acknowledged for writer in made) + chance.randrange(5, 100)
            wait_until(
                lambda goal=goal: (  # type: ignore[misc]
                    any(writer.error for writer in made)
                    or sum(writer.acknowledged for writer in made) >= goal
                ),
                "acknowledgements",
            )
            for writer in made:
                assert writer.error is None, writer.error
            with ExitStack() as stack:
                held = _hold(port, stack)
                under_way += sum(writer.busy for writer in made)
                began = time.monotonic()
                server.signal(signal.SIGTERM)
                assert server.wait() == 0, server.log  # though one of them reads nothing
                longest = max(longest, time.monotonic() - began)
                for client, call_id in held:
                    error = _told(client, call_id)
                    assert isinstance(error, (ServerStoppedException, ConnectionLostException)), error
            assert "Traceback" not in server.log, server.log
            server = start()
            assert _replayed(server) == 0, server.log
        for writer in made:
            writer.ending.set()
        for writer in made:
            writer.join(60)
            assert writer.error is None, writer.error
            assert not writer.is_alive()
        assert dict(connection.table("t").scan()) == expected_rows(made)
        connection.close()
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    finally:
        for writer in made:
            writer.ending.set()
        server.kill()
    with hyperbase.connect(tmp_path / "store", read_only=True) as embedded:
        assert dict(embedded.table("t").scan()) == expected_rows(made)
    assert check_store(str(tmp_path / "store")) == []
    assert longest < DRAIN_S + 5, f"a stop took {longest:.1f} s"
    assert under_way > STOPS
    print(
        f"{STOPS} stops, the longest {longest:.2f} s, {sum(writer.acknowledged for writer in made)} "
        f"operations acknowledged, {under_way} under way"
    )
