"""What only HDFS has: leases, a NameNode that is away, quotas and permissions, blocks."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading

import pytest

from regionserver.storage.hdfs_filesystem import HdfsFileSystem
from regionserver.storage.opening import open_filesystem
from tests.support.hdfs_server import BLOCK_BYTES, HdfsServer
from tests.support.storage_backends import NAMES, running_hdfs

pytestmark = pytest.mark.skipif("hdfs" not in NAMES, reason="HYPERBASE_STORAGE does not name hdfs")
SOON = "dfs.client.failover.max.attempts=1"


@pytest.fixture
def server() -> HdfsServer:
    return running_hdfs()


@pytest.fixture
def root(server: HdfsServer, request: pytest.FixtureRequest) -> str:
    return f"{server.url}/of/{request.node.name}"


def test_a_log_keeps_every_synced_byte_across_blocks(root: str) -> None:
    fs, other = HdfsFileSystem(root), HdfsFileSystem(root)
    fs.make_directory("WALs")
    log = fs.open_log("WALs/1.wal", 1)  # blocks of the least size that HDFS allows
    piece = bytes(range(256)) * 1200  # 300 KiB: ends nowhere near the end of a block
    for _ in range(8):
        log.write([piece])
        log.sync()
    other.sync_file("WALs/1.wal")  # as if its writer had died
    assert other.read("WALs/1.wal") == piece * 8
    assert other.size("WALs/1.wal") > 2 * BLOCK_BYTES


def test_a_name_shows_all_of_its_bytes_while_its_writer_still_closes(root: str) -> None:
    fs, other = HdfsFileSystem(root), HdfsFileSystem(root)
    data = os.urandom(5000)
    for number in range(20):
        assert fs.create_if_absent(f"manifest/{number}", data)
        assert other.read(f"manifest/{number}") == data


def test_what_a_writer_left_unfinished_is_hidden_and_swept(root: str) -> None:
    fs, other = HdfsFileSystem(root), HdfsFileSystem(root)
    writer = fs.open_writer("data/file")
    writer.write(b"x" * 1000)
    assert other.list("data") == []
    assert other.sweep_temporaries("data") == 1
    with pytest.raises(OSError, match=r"HDFS|exist|File"):
        writer.commit()
    assert other.list("data") == []
    assert other.sweep_temporaries("data") == 0


def test_a_quota_is_told_as_such(server: HdfsServer, root: str) -> None:
    fs = HdfsFileSystem(root)
    fs.make_directory("full")
    server.administer("dfsadmin", "-setQuota", "2", f"{root}/full")
    assert fs.create_if_absent("full/one", b"")
    with pytest.raises(OSError, match="NSQuotaExceeded") as refused:
        fs.create_if_absent("full/two", b"")
    assert refused.value.errno == errno.EDQUOT
    assert "\n" not in str(refused.value)


def test_a_user_without_rights_is_told_so(server: HdfsServer, root: str) -> None:
    HdfsFileSystem(root).create_if_absent("private/file", b"x")
    server.client().set_permission(f"/of/{root.rpartition('/')[2]}/private", 0o700)
    script = """
import sys
from regionserver.storage.hdfs_filesystem import HdfsFileSystem
fs = HdfsFileSystem(sys.argv[1])
for verb in (lambda: fs.read("private/file"), lambda: fs.create_if_absent("new", b"")):
    try:
        verb()
    except PermissionError as error:
        print(error)
"""
    output = subprocess.run(
        [sys.executable, "-c", script, root],
        env={**os.environ, "HADOOP_USER_NAME": "stranger"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert len(output) == 2
    assert all("Permission denied: user=stranger" in line for line in output)


def test_a_namenode_that_is_not_there(tmp_path: object) -> None:
    with pytest.raises(OSError, match="cannot be reached: Connection refused") as refused:
        open_filesystem("hdfs://127.0.0.1:1/store")
    assert refused.value.errno == errno.ECONNREFUSED
    for url in ("hdfs:///store", "http://127.0.0.1:1/store"):
        with pytest.raises(ValueError, match="not an HDFS URL"):
            HdfsFileSystem(url)


def test_a_datanode_that_sleeps_delays_a_sync_and_loses_nothing(server: HdfsServer, root: str) -> None:
    fs = HdfsFileSystem(root)
    fs.make_directory("WALs")
    log = fs.open_log("WALs/1.wal", 1 << 20)
    log.write([b"before"])
    log.sync()
    server.signal("datanode", signal.SIGSTOP)
    log.write([b" and after"])
    syncing = threading.Thread(target=log.sync)
    syncing.start()
    syncing.join(0.3)
    assert syncing.is_alive()
    server.signal("datanode", signal.SIGCONT)
    syncing.join()
    log.close()
    assert fs.read("WALs/1.wal") == b"before and after"


def test_a_namenode_that_was_restarted_has_everything(server: HdfsServer, root: str) -> None:
    fs = HdfsFileSystem(root)
    fs.make_directory("WALs/server")
    log = fs.open_log("WALs/server/1.wal", 1 << 20)
    log.write([b"before"])
    log.sync()
    fs.create_if_absent("manifest", b"contents")
    server.kill("namenode")
    with pytest.raises(OSError, match=r"reached|HDFS") as refused:
        HdfsFileSystem(f"{root}?{SOON}").list("")
    assert refused.value.errno in (errno.ECONNREFUSED, errno.EIO, errno.ECONNRESET)
    server.launch("namenode")
    server.wait_until_it_stores()
    log.write([b" and after"])
    log.sync()
    assert fs.read("manifest") == b"contents"
    other = HdfsFileSystem(root)
    assert other.fence_log("WALs/server", "WALs/aside")
    assert other.read("WALs/aside/1.wal") == b"before and after"


def test_a_fence_that_cannot_close_the_log_says_so_and_is_repeated(server: HdfsServer, root: str) -> None:
    fs = HdfsFileSystem(root)
    fs.make_directory("WALs/server")
    log = fs.open_log("WALs/server/1.wal", 1 << 20)
    log.write([b"synced"])
    log.sync()
    server.signal("datanode", signal.SIGSTOP)
    fencer = HdfsFileSystem(root, recovery_s=0.5)
    try:
        with pytest.raises(TimeoutError, match="did not close 1 files within"):
            fencer.fence_log("WALs/server", "WALs/aside")
    finally:
        server.signal("datanode", signal.SIGCONT)
    assert HdfsFileSystem(root).fence_log("WALs/server", "WALs/aside")
    assert fencer.read("WALs/aside/1.wal") == b"synced"
    assert not fencer.exists("WALs/server")
