"""The root that a cluster's processes share: who may use it, and how a server proves that it lives."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hyperbase.cluster import root as module
from hyperbase.cluster.root import (
    OwnLog,
    SharedRoot,
    claim_host,
    file_system_of,
    refuse_network_file_system,
)
from hyperbase.common.errors import StoreFormatException, StoreLockedException
from hyperbase.common.process.life import ServerStartError
from hyperbase.common.server_name import ServerName
from hyperbase.common.zookeeper.location import ZooKeeperLocation
from regionserver.storage.local_filesystem import LocalFileSystem

SERVER = ServerName("a", 16020, 1)
OTHERS = [ServerName("b", 16020, 1)]


@pytest.fixture
def directory(tmp_path: Path) -> str:
    (tmp_path / "LOCK").touch()
    (tmp_path / "hyperbase.json").write_text('{"format": 1, "cluster_id": "one"}')
    return str(tmp_path)


HERE, THERE = ZooKeeperLocation.parse("zk://here/one"), ZooKeeperLocation.parse("zk://there/one")


def join(directory: str, cluster_id: str = "one", zookeeper: ZooKeeperLocation = HERE) -> SharedRoot:
    return SharedRoot.join(directory, cluster_id, zookeeper, lambda: [])


def test_two_clusters_on_one_root(directory: str) -> None:
    """With one identity, but each with a ZooKeeper of its own: both would have an active master."""
    first = join(directory)
    with pytest.raises(ServerStartError, match="in use by the processes of zk://here:2181/one"):
        join(directory, zookeeper=THERE)
    first.leave()
    moved = join(directory, zookeeper=THERE)  # the cluster has another ZooKeeper now
    with pytest.raises(ServerStartError, match="in use by the processes of zk://there:2181/one"):
        join(directory)
    moved.leave()


def test_processes_that_begin_at_the_same_moment_all_get_in(directory: str) -> None:
    with ThreadPoolExecutor(16) as pool:
        for _ in range(20):
            roots = list(pool.map(lambda _: join(directory), range(16)))
            for root in roots:
                root.leave()


def test_many_processes_share_a_root_and_an_embedded_store_stays_out(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_WAIT_S", 0.1)
    one, two = join(directory), join(directory)
    with pytest.raises(StoreLockedException):
        LocalFileSystem(directory).lock("LOCK")
    one.leave()
    two.leave()
    exclusive = LocalFileSystem(directory).lock("LOCK")
    with pytest.raises(StoreLockedException):
        join(directory)
    exclusive.release()


def test_what_is_no_root_or_anothers_is_refused_and_not_held(directory: str) -> None:
    with pytest.raises(ServerStartError, match="is the root of cluster one, but ZooKeeper's is two"):
        join(directory, "two")
    (Path(directory) / "hyperbase.json").write_text("{")
    with pytest.raises(StoreFormatException, match="is damaged"):
        join(directory)
    (Path(directory) / "hyperbase.json").unlink()
    with pytest.raises(ServerStartError, match=r"has no hyperbase\.json"):
        join(directory)
    LocalFileSystem(directory).lock("LOCK").release()
    (Path(directory) / "LOCK").unlink()
    with pytest.raises(ServerStartError, match="has no LOCK"):
        join(directory)


def test_a_root_is_one_machines_at_a_time(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    boot = Path(directory) / "boot"
    boot.write_text("this machine\n")
    monkeypatch.setattr(module, "_BOOT_ID", str(boot))
    host = Path(directory) / "HOST"
    claim_host(directory, lambda: OTHERS)  # nobody has had it before
    assert host.read_text() == "this machine\n"
    claim_host(directory, lambda: OTHERS)  # they are on this machine
    host.write_text("another\n")
    with pytest.raises(ServerStartError, match=r"last used by another machine.* and b,16020,1 is still"):
        claim_host(directory, lambda: OTHERS)
    assert host.read_text() == "another\n"
    claim_host(directory, lambda: [])
    assert host.read_text() == "this machine\n"
    boot.unlink()  # a system that does not tell
    claim_host(directory, lambda: OTHERS)


def test_network_file_systems_are_refused(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert file_system_of(directory)
    refuse_network_file_system(directory)
    device = os.stat(directory).st_dev
    mounts = Path(directory) / "mounts"
    mounts.write_text(
        "1 0 0:1 / / rw - ext4 /dev/a rw\n"
        f"2 1 {os.major(device)}:{os.minor(device)} / /data rw,noatime shared:1 - nfs4 host:/x rw\n"
    )
    monkeypatch.setattr(module, "_MOUNTS", str(mounts))
    with pytest.raises(ServerStartError, match=r"is on a network file system \(nfs4\)"):
        join(directory)
    monkeypatch.setattr(module, "_MOUNTS", str(mounts) + "-missing")
    assert file_system_of(directory) == ""


def test_a_servers_log_is_locked_as_long_as_it_lives(directory: str) -> None:
    fs = LocalFileSystem(directory)
    log = OwnLog(fs, SERVER)
    assert log.is_there
    with pytest.raises(StoreLockedException):
        OwnLog(fs, SERVER)
    assert not fs.fence_log(log.directory, f"{log.directory}-splitting")
    assert not log.is_there
    log.release()
    assert fs.fence_log(log.directory, f"{log.directory}-splitting")


def test_a_log_that_ended_cleanly_leaves_nothing_and_any_other_stays(directory: str) -> None:
    fs = LocalFileSystem(directory)
    log = OwnLog(fs, SERVER)
    fs.open_log(f"{log.directory}/0000000000000001.wal", 100).close()
    log.remove()
    assert log.is_there
    fs.archive(f"{log.directory}/0000000000000001.wal", f"{log.archive_directory}/0000000000000001-5.wal")
    log.remove()
    assert fs.list("WALs") == []
    log.release()
