"""A full disk: writes are refused and say so, reads go on, writing resumes when there is space."""

from __future__ import annotations

import errno
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import hyperbase
from hyperbase import ColumnFamilyDescriptor, Connection, Table, TableDescriptor
from hyperbase.common.errors import HBaseIOException, RegionTooBusyException, RetriesExhaustedException
from regionserver.region.check import check_store
from tests.support.server_arena import wait_until
from tests.support.service import Server

DISK_BYTES = 12 << 20
VALUE = b"x" * 2000
SETTINGS = {
    "HYPERBASE_STORE_WAL_SEGMENT_BYTES": str(512 << 10),
    "HYPERBASE_STORE_MEMSTORE_FLUSH_SIZE_BYTES": str(512 << 10),
    "HYPERBASE_STORE_MEMSTORE_LIMIT_BYTES": str(2 << 20),
    "HYPERBASE_STORE_WAL_ARCHIVE_TTL_S": "0",
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few MiB. Mounting needs root: without, the test fails and says so."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


class Ballast:
    """A file that takes all the space there is."""

    def __init__(self, place: Path) -> None:
        self._path = place / "ballast.log"

    def fill(self) -> None:
        """Leave not one page."""
        with open(self._path, "ab", buffering=0) as file:
            while True:
                try:
                    file.write(b"\0" * 65_536)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    return

    def remove(self) -> None:
        """Make space."""
        self._path.unlink()


class Client:
    """Writes unique rows and knows which were acknowledged."""

    def __init__(self, port: int) -> None:
        self.connection: Connection = hyperbase.connect(
            f"hyperbase://127.0.0.1:{port}", operation_timeout_s=1.0, retry_delay_max_ms=50
        )
        self.acknowledged: dict[bytes, dict[bytes, bytes]] = {}
        self.unknown: set[bytes] = set()
        self.refusals: list[HBaseIOException] = []
        self._number = 0

    @property
    def table(self) -> Table:
        return self.connection.table("t")

    def put(self) -> bool:
        """One row; whether it was acknowledged."""
        self._number += 1
        row, data = b"row%06d" % self._number, {b"f:q": b"%d " % self._number + VALUE}
        try:
            self.table.put(row, data)
        except HBaseIOException as error:
            self.refusals.append(error)
            self.unknown.add(row)
            return False
        self.acknowledged[row] = data
        return True

    def check(self) -> None:
        """Every acknowledged row is there, and nothing that was never sent."""
        shown = dict(self.table.scan())
        assert self.acknowledged.items() <= shown.items()
        assert shown.keys() <= self.acknowledged.keys() | self.unknown

    def check_points(self) -> None:
        """As ``check``, by gets."""
        for row in list(self.acknowledged)[::37]:
            assert self.table.row(row) == self.acknowledged[row]


def _says_full(error: BaseException | None) -> bool:
    while error is not None:
        if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):
            return True
        error = error.__cause__
    return False


def _until_refused(client: Client) -> None:
    wait_until(lambda: not client.put(), "a refusal")


def test_a_full_disk_refuses_writes_and_heals(disk: Path, tmp_path: Path) -> None:
    store, ballast = disk / "store", Ballast(disk)
    with Server("--data", store, cwd=tmp_path, **SETTINGS) as server:
        client = Client(server.port)
        client.connection.admin.create_table(TableDescriptor("t", [ColumnFamilyDescriptor("f")]))
        for _ in range(400):
            assert client.put()
        for _ in range(3):  # it may happen more than once
            ballast.fill()
            _until_refused(client)
            for _ in range(5):
                began = time.monotonic()
                client.put()
                assert time.monotonic() - began < 10, "a refused write hung"
            assert client.refusals
            assert any(map(_says_full, client.refusals)), client.refusals
            for error in client.refusals:
                kinds = (RegionTooBusyException, RetriesExhaustedException)
                assert _says_full(error) or isinstance(error, kinds), error
            client.refusals.clear()
            client.check_points()
            client.check()
            ballast.remove()
            wait_until(client.put, "an acknowledgement, now that there is space")
            for _ in range(100):
                assert client.put(), client.refusals
            client.connection.admin.flush("t")
            client.check()
        assert "Traceback" not in server.log, server.log
        server.kill()
    with Server("--data", store, cwd=tmp_path, **SETTINGS) as server:
        again = Client(server.port)
        again.acknowledged, again.unknown = client.acknowledged, client.unknown
        again.check()
        server.signal(signal.SIGTERM)
        assert server.wait() == 0, server.log
    assert check_store(str(store)) == []


def test_a_server_killed_or_stopped_on_a_full_disk_lost_nothing(disk: Path, tmp_path: Path) -> None:
    store, ballast = disk / "store", Ballast(disk)
    client: Client | None = None
    for end in (signal.SIGKILL, signal.SIGTERM):
        with Server("--data", store, cwd=tmp_path, **SETTINGS) as server:
            before, client = client, Client(server.port)
            if before is None:
                client.connection.admin.create_table(TableDescriptor("t", [ColumnFamilyDescriptor("f")]))
            else:
                client.acknowledged, client.unknown = before.acknowledged, before.unknown
                client._number = before._number
                client.check()
            for _ in range(100):
                assert client.put()
            ballast.fill()
            _until_refused(client)
            server.signal(end)
            code = server.wait()
            # What could not be flushed is in the log: it says so and ends with 1, or it was all in files.
            assert code == -signal.SIGKILL if end == signal.SIGKILL else code in (0, 1), server.log
        ballast.remove()
    assert client is not None
    with hyperbase.connect(store, wal_segment_bytes=512 << 10) as embedded:
        shown = dict(embedded.table("t").scan())
    assert client.acknowledged.items() <= shown.items()
    assert shown.keys() <= client.acknowledged.keys() | client.unknown
    assert check_store(str(store)) == []
