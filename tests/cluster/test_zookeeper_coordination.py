"""The cluster's facts in a real ZooKeeper: registration, masters, hbase:meta, recovery's first step."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from hyperbase.common.coordination import Coordination, registry_answer
from hyperbase.common.errors import (
    IllegalArgumentException,
    IllegalStateException,
    LeaseLostException,
    PleaseHoldException,
)
from hyperbase.common.region_info import RegionState
from hyperbase.common.server_name import ServerName
from hyperbase.common.zookeeper.lease import LeaseState
from hyperbase.common.zookeeper.session import ZooKeeperSession, end_noted_session, end_session
from hyperbase.common.zookeeper.znodes import RegionServerInfo
from tests.cluster.conftest import TICK_S, Join
from tests.support.waiting import keep_beating, wait_for
from tests.support.zookeeper_server import ZooKeeperServer, free_port

A, B, C = (ServerName(name, 16020, 1) for name in "abc")


def test_registry_answers_what_a_client_needs(join: Join) -> None:
    member, client = join(), join()
    member.publish_cluster_id("id-1")
    member.register_server(A)
    assert member.become_master(B)
    member.set_meta_location(A)
    coordination: Coordination = client
    assert registry_answer(coordination) == {
        "cluster_id": "id-1",
        "master": "b,16020,1",
        "meta": "a,16020,1",
        "servers": ["a,16020,1"],
    }
    member.set_meta_location(None)
    with pytest.raises(PleaseHoldException, match="hbase:meta is not served"):
        client.meta_location()
    member.set_meta_location(A, RegionState.OPENING)
    with pytest.raises(PleaseHoldException):
        client.meta_location()
    member.resign()
    assert registry_answer(coordination) == {
        "cluster_id": "id-1",
        "master": "",
        "meta": "",
        "servers": ["a,16020,1"],
    }


def test_a_cluster_that_has_not_started_says_so(join: Join) -> None:
    member = join()
    with pytest.raises(PleaseHoldException, match="no cluster has started"):
        member.cluster_id()
    with pytest.raises(PleaseHoldException, match="no master"):
        member.active_master()
    with pytest.raises(PleaseHoldException):
        member.meta_location()
    assert member.servers() == []


def test_two_clusters_cannot_share_a_root(join: Join) -> None:
    member = join()
    assert member.publish_cluster_id("one")
    assert not member.publish_cluster_id("one")
    with pytest.raises(IllegalStateException, match="is the root of cluster one, not of two"):
        member.publish_cluster_id("two")


def test_the_flag_of_a_clean_shutdown(join: Join) -> None:
    master, server = join(), join()
    told: list[bool] = []
    watch = server.watch_cluster_up(told.append)
    wait_for(lambda: told == [False])
    master.set_cluster_up("Wed Jul 01 12:00:00 UTC 2026")
    master.set_cluster_up("again")
    wait_for(lambda: told == [False, True])
    assert server.cluster_is_up()
    master.set_cluster_down()
    wait_for(lambda: told == [False, True, False])
    watch.close()


def test_servers_come_and_go_and_their_lease_with_them(join: Join) -> None:
    master, server = join(), join()
    told: list[list[ServerName]] = []
    watch = master.watch_servers(told.append)
    lease = server.lease_server(A, info_port=16030, version="1")
    assert server.lease_server(A) is lease
    lease.wait(10)
    wait_for(lambda: told[-1:] == [[A]])
    found = master.session.get(master.paths.server(A))
    assert found is not None
    assert RegionServerInfo.from_bytes(found[0]) == RegionServerInfo(16030, "1", 10_000)
    assert found[1].ephemeralOwner == server.session.session_id
    heard = len(told)
    keep_beating(lease, 4 * TICK_S)
    assert len(told) == heard, "a master does not hear of heartbeats"
    server.remove_server(A)
    with pytest.raises(LeaseLostException, match="released"):
        lease.check()
    wait_for(lambda: told[-1] == [])
    watch.close()
    assert master.remove_znode_of(A).wait_s == 0


def test_a_name_is_one_processs(join: Join) -> None:
    first, second = join(), join()
    first.register_server(A)
    with pytest.raises(IllegalStateException, match="another process is registered as a,16020,1"):
        second.register_server(A)


def test_a_recovery_takes_the_znode_first_and_the_server_ends(join: Join) -> None:
    master, server = join(), join(timeout_s=6)
    lease = server.lease_server(A)
    lease.wait(10)
    told: list[LeaseState] = []
    lease.add_listener(told.append)
    removed = master.remove_znode_of(A)
    assert removed.wait_s >= 6
    wait_for(lambda: told == [LeaseState.LOST])
    assert lease.lost == "its znode was removed"
    # The next master resumes the recovery and cannot know how long ago the znode went.
    assert join().remove_znode_of(A).wait_s >= 6
    assert master.removed_servers() == [A]
    master.forget_removed(A)
    assert master.remove_znode_of(A).wait_s == 0


def test_who_is_taken_for_dead_before_it_has_registered_does_not_become_alive(join: Join) -> None:
    master, server = join(), join()
    assert master.remove_znode_of(A).wait_s == 0
    with pytest.raises(LeaseLostException, match="taken for dead before it had registered"):
        server.lease_server(A)
    assert master.servers() == []
    assert master.remove_znode_of(A).wait_s == 0
    assert master.removed_servers() == [A]


def test_an_old_mark_does_not_protect_a_znode(join: Join) -> None:
    master, server = join(), join()
    server.register_server(A)
    master.remove_znode_of(A)
    path = master.paths.server(A)  # it registered, and has not looked for a mark yet
    join().session.create(path, b"", ephemeral=True)
    assert master.remove_znode_of(A).wait_s >= 10
    assert master.servers() == []


def test_masters_stand_by_and_take_over_with_a_higher_epoch(join: Join) -> None:
    first, second = join(), join()
    assert first.become_master(A, info_port=16010)
    assert first.become_master(A)
    first.master_lease.wait(10)
    assert not second.become_master(B)
    assert second.active_master() == A
    assert second.backup_masters() == [B]
    with pytest.raises(IllegalStateException, match="not the active master"):
        assert second.master_lease
    info, epoch = second.active_master_info()
    assert (info.info_port, epoch) == (16010, first.master_lease.czxid)
    became: list[bool] = []
    waiting = threading.Thread(
        target=lambda: became.append(second.wait_to_be_master(B, stop=threading.Event()))
    )
    waiting.start()
    lease = first.master_lease
    keep_beating(lease, 3 * TICK_S)
    resigned = time.monotonic()
    first.resign()
    assert lease.state is LeaseState.LOST
    waiting.join(20)
    second.master_lease.wait(10)
    took_s = time.monotonic() - resigned
    print(f"a standby took over, its lease held, {took_s:.3f} s after the other one resigned")
    assert became == [True]
    assert second.active_master_info()[1] > epoch
    assert second.backup_masters() == []


def test_standing_by_ends_when_told(join: Join) -> None:
    first, second = join(), join()
    assert first.become_master(A)
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    assert not second.wait_to_be_master(B, stop=stop)


def test_the_end_of_the_session_is_final_for_all_it_held(join: Join, zookeeper: ZooKeeperServer) -> None:
    server, observer = join(), join()
    lease = server.lease_server(A)
    lease.wait(10)
    session = server.session
    started = time.monotonic()
    end_session(zookeeper.quorum, session.session_id, session.password)
    wait_for(lambda: observer.servers() == [])
    print(f"znode gone {time.monotonic() - started:.3f} s after the dead process's session was ended for it")
    wait_for(lambda: lease.state is LeaseState.LOST)
    first_id = session.session_id
    keep_beating(observer.lease_server(B), 4 * TICK_S)  # time enough for a new session, if it were made
    assert session.session_id == first_id
    assert session.lost
    with pytest.raises(LeaseLostException, match="session has ended"):
        session.create("/x", b"")
    end_session(zookeeper.quorum, first_id, session.password)


def test_the_timeout_is_the_one_that_was_granted(join: Join) -> None:
    assert join(timeout_s=60).session.timeout_s == TICK_S * 20
    with pytest.raises(IllegalArgumentException, match="timeout of 1 s, which leaves no lease"):
        join(timeout_s=0.3, tick_s=1.0).register_server(A)


def test_znodes_of_a_user_are_the_users(zookeeper: ZooKeeperServer, join: Join) -> None:
    member, stranger = join(auth="hyper:secret"), ZooKeeperSession(zookeeper.quorum, timeout_s=10).start()
    member.publish_cluster_id("id")
    member.register_server(A)
    try:
        assert stranger.get(member.paths.cluster_id)
        for attempt in (
            lambda: stranger.delete(member.paths.server(A)),
            lambda: stranger.set(member.paths.cluster_id, b""),
            lambda: stranger.create(member.paths.master, b"", ephemeral=True),
            lambda: stranger.get(member.paths.server(A)),
        ):
            with pytest.raises(Exception, match=r"^\(\)$|^$|[Aa]uth"):
                attempt()
        assert member.servers() == [A]
    finally:
        stranger.close()


def test_no_zookeeper_is_told() -> None:
    session = ZooKeeperSession(f"127.0.0.1:{free_port()}", timeout_s=3)
    with pytest.raises(PleaseHoldException, match=r"did not answer within 0\.5 s: is it running"):
        session.start(0.5)


def test_the_session_of_a_dead_process_is_ended_by_who_has_its_file(
    join: Join, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "server.session"
    monkeypatch.setenv("HYPERBASE_SESSION_FILE", str(path))
    server = join()
    monkeypatch.delenv("HYPERBASE_SESSION_FILE")
    master = join()
    server.register_server(A)
    assert master.servers() == [A]
    assert path.stat().st_mode & 0o777 == 0o600
    assert not end_noted_session(str(path), os.getpid() + 1), "another process's"
    assert master.servers() == [A]
    began = time.monotonic()
    assert end_noted_session(str(path), os.getpid())
    wait_for(lambda: master.servers() == [])
    assert time.monotonic() - began < 5  # the session would have lasted for 10 s
    assert not end_noted_session(str(path), os.getpid())
    wait_for(lambda: bool(server.session.lost))


def test_a_session_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "server.session"
    assert not end_noted_session(str(path), 1)
    path.write_text('{"pid": 1}')
    with pytest.raises(OSError, match="is damaged"):
        end_noted_session(str(path), 1)
