"""What only S3 has: lost answers, a store without conditional puts, refusals, what lies in the bucket."""

from __future__ import annotations

import errno
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from regionserver.storage.opening import open_filesystem
from regionserver.storage.s3_filesystem import S3FileSystem
from regionserver.storage.s3_logs import LOG_DIRECTORY
from regionserver.storage.s3_objects import CHUNK_BYTES
from tests.support.bad_network import CuttingProxy
from tests.support.s3_server import BUCKET, S3Server
from tests.support.storage_backends import NAMES, running_s3

KINDS = [name for name in ("s3", "minio") if name in NAMES]


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> S3Server:
    return running_s3("moto" if request.param == "s3" else "minio")


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    return f"of/{abs(hash(request.node.nodeid)):x}"


def keys(server: S3Server, prefix: str) -> list[str]:
    """Every key below the prefix, relative to it."""
    found = server.client().list_objects_v2(Bucket=BUCKET, Prefix=prefix + "/").get("Contents", [])
    return [entry["Key"].removeprefix(prefix + "/") for entry in found]


def test_lost_answers_make_no_second_winner_and_no_hole(server: S3Server, prefix: str) -> None:
    # moto takes half a request for a whole one, which the signature forbids S3 to do.
    proxy = CuttingProxy(server.port, seed=7, chance=0.15, answers_only=server.kind == "moto")
    url = server.url(prefix, endpoint=f"http://127.0.0.1:{proxy.port}")
    winners: Counter[int] = Counter()

    def take(fs: S3FileSystem) -> None:
        for number in range(40):
            if fs.create_if_absent(f"epoch/{number}", b""):
                winners[number] += 1

    threads = [threading.Thread(target=take, args=(S3FileSystem(url),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    fs = S3FileSystem(url)
    fs.make_directory("WALs")
    log = fs.open_log("WALs/1.wal", 0)
    for number in range(40):
        log.write([b"%04d" % number])
        log.sync()
    log.close()
    for thread in threads:
        thread.join()
    proxy.calm = True
    assert proxy.cuts > 10
    assert winners == dict.fromkeys(range(40), 1)
    assert fs.read("WALs/1.wal") == b"".join(b"%04d" % number for number in range(40))
    proxy.close()


def test_a_deleted_log_leaves_no_object(server: S3Server, prefix: str) -> None:
    fs = S3FileSystem(server.url(prefix))
    fs.make_directory("WALs/server")
    for number in (1, 2, 3):
        log = fs.open_log(f"WALs/server/{number}.wal", 0)
        for _ in range(3):
            log.write([b"x"])
            log.sync()
        log.close()
    fs.sync_file("WALs/server/1.wal")
    fs.archive("WALs/server/1.wal", "oldWALs/1.wal")
    assert len([key for key in keys(server, prefix) if key.startswith(LOG_DIRECTORY)]) == 3 * 3 + 2
    fs.delete("oldWALs/1.wal")
    fs.delete("WALs/server/2.wal")
    assert len([key for key in keys(server, prefix) if key.startswith(LOG_DIRECTORY)]) == 3
    fs.delete_tree("WALs")
    assert keys(server, prefix) == []


def test_a_fence_ends_a_log_that_grows_faster_than_it_looks(server: S3Server, prefix: str) -> None:
    writer, fencer = S3FileSystem(server.url(prefix)), S3FileSystem(server.url(prefix))
    writer.make_directory("WALs/server")
    log = writer.open_log("WALs/server/1.wal", 0)
    counted: list[int] = []
    ends: list[int | None] = []

    def write() -> None:
        try:
            while True:
                log.write([b"x"])
                log.sync()
                counted.append(1)
        except OSError as error:
            ends.append(error.errno)

    thread = threading.Thread(target=write)
    thread.start()
    while len(counted) < 20:
        thread.join(0.001)
    assert fencer.fence_log("WALs/server", "WALs/aside")
    found = fencer.read("WALs/aside/1.wal")
    thread.join()
    assert ends == [errno.ESTALE]
    assert len(found) == len(counted)
    assert fencer.read("WALs/aside/1.wal") == found


def begin_logs(fs: S3FileSystem, directory: str, synced: list[int], ends: list[int | None]) -> None:
    """Begin one log after the other, with one synced byte in each, until something fails."""
    try:
        for number in range(20):
            log = fs.open_log(f"{directory}/{number:02d}.wal", 0)
            log.write([b"x"])
            log.sync()
            synced.append(number)
    except OSError as error:
        ends.append(error.errno)


def test_a_log_that_begins_during_a_fence_is_ended_or_never_was(server: S3Server, prefix: str) -> None:
    for attempt in range(10):
        writer, fencer = S3FileSystem(server.url(prefix)), S3FileSystem(server.url(prefix))
        directory, aside = f"WALs/{attempt}", f"WALs/{attempt}-aside"
        writer.make_directory(directory)
        synced: list[int] = []
        ends: list[int | None] = []
        thread = threading.Thread(target=begin_logs, args=(writer, directory, synced, ends))
        thread.start()
        while len(synced) < 1 + attempt // 3:
            thread.join(0.0005)
        fencer.fence_log(directory, aside)
        kept = [fencer.read(f"{aside}/{name}") for name in fencer.list(aside)]
        thread.join()
        assert [fencer.read(f"{aside}/{name}") for name in fencer.list(aside)] == kept
        assert kept.count(b"x") == len(synced)
        assert ends in ([errno.ENOENT], [errno.ESTALE])


def test_a_long_file_is_uploaded_in_parts_and_not_seen_before(server: S3Server, prefix: str) -> None:
    fs = S3FileSystem(server.url(prefix))
    for size in (CHUNK_BYTES, CHUNK_BYTES + 1):
        writer = fs.open_writer(f"data/{size}")
        for _ in range(16):
            writer.write(bytes(CHUNK_BYTES // 16))
        writer.write(bytes(size - CHUNK_BYTES))
        assert fs.list("data") == ([] if size == CHUNK_BYTES else [f"{CHUNK_BYTES}"])
        writer.commit()
        assert fs.size(f"data/{size}") == size
    aborted = fs.open_writer("data/aborted")
    aborted.write(bytes(CHUNK_BYTES + 1))
    aborted.abort()
    assert not fs.exists("data/aborted")


def test_refusals_are_told_in_one_line(server: S3Server, prefix: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"NoSuchBucket|no such object") as missing:
        open_filesystem(server.url(prefix).replace(BUCKET, "no-such-bucket", 1))
    if server.kind == "minio":  # moto believes everybody
        with pytest.raises(PermissionError, match="SignatureDoesNotMatch") as refused:
            open_filesystem(server.url(prefix, secret_access_key="wrong-secret"))
        assert "wrong-secret" not in str(refused.value)
    with pytest.raises(OSError, match="Connection refused") as nobody:
        open_filesystem(server.url(prefix, endpoint="http://127.0.0.1:1"))
    assert nobody.value.errno == errno.ECONNREFUSED
    for caught in (missing, nobody):
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="nonsense"):
        open_filesystem(server.url(prefix, nonsense="1"))
    with pytest.raises(ValueError, match="not an S3 URL"):
        S3FileSystem("s3:///prefix")


def test_the_root_shows_no_secret(server: S3Server, prefix: str) -> None:
    fs = S3FileSystem(server.url(prefix, secret_access_key="very-secret"))
    assert fs.root == f"s3://{BUCKET}/{prefix}"


class _Careless(BaseHTTPRequestHandler):
    """A store that takes every put, whatever its conditions."""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(b"", ETag='"1"')

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(b"<DeleteResult></DeleteResult>")

    def do_GET(self) -> None:
        self._answer(
            b"<ListBucketResult><Name>b</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated>"
            b"</ListBucketResult>"
        )

    def _answer(self, body: bytes, **headers: str) -> None:
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def careless() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Careless) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_store_without_conditional_puts_is_refused(careless: str) -> None:
    url = f"s3://b/p?endpoint={careless}&region=us-east-1&access_key_id=a&secret_access_key=b"
    with pytest.raises(OSError, match="ignores If-None-Match") as refused:
        open_filesystem(url)
    assert refused.value.errno == errno.EOPNOTSUPP
    assert open_filesystem(url, read_only=True).list("") == []
