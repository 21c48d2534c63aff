"""Znodes: HBase's bytes as HBase 2.6.1 wrote them, ours as HBase reads them, damaged ones refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperbase.common.errors import IllegalArgumentException
from hyperbase.common.region_info import RegionState
from hyperbase.common.server_name import ServerName
from hyperbase.common.zookeeper.znodes import (
    STATE_NUMBERS,
    STATES,
    MasterInfo,
    MetaLocation,
    RegionServerInfo,
    ZnodePaths,
    cluster_id_value,
    read_cluster_id,
    unwrap,
    wrap,
)

# What a fresh HBase 2.6.1 had in its ZooKeeper.
HBASEID = bytes.fromhex(
    "ff000000146d61737465723a31363030305e06ba76b84c705d504255460a2437376364326535392d66"
    "6365302d343639642d623335652d643830643637653435643239"
)
MASTER = bytes.fromhex(
    "ff000000146d61737465723a31363030305f2f916cc8e0d951504255460a150a096c6f63616c686f73"
    "7410807d1893ebbb85a1341000188a7d"
)
META = bytes.fromhex(
    "ff000000146d61737465723a3136303030a34979df3316b40f504255460a150a096c6f63616c686f73"
    "7410947d18fcb0bc85a13410001803"
)
REGION_SERVER = bytes.fromhex(
    "ff0000001a726567696f6e7365727665723a31363032300127479aa48d0db650425546089e7d129802"
    "0a05322e362e3112366769743a2f2f3564313332663665303330352f686f6d652f6e64696d6964756b"
    "2f68626173652d726d2f6f75747075742f68626173651a283765643530623464643734323236396137"
    "383837356662333231313232313566383331323834666622086e64696d6964756b2a1c576564204f63"
    "742020392031313a33343a353320555443203230323432800136336663396139663533373830643462"
    "3936633538333332643164323531626632626430346565373363343566326531396162356536656366"
    "3835656662333433633363323336303733363239313365633365663561363636303230323662333633"
    "65333865343338323136363466333865393638333065643831386334316438024006"
)
SALT = {HBASEID: 17, MASTER: 17, META: 17, REGION_SERVER: 23}

MASTER_NAME = ServerName("localhost", 16000, 1795576231315)
SERVER_NAME = ServerName("localhost", 16020, 1795576240252)


def without_salt(value: bytes, salt: int) -> bytes:
    return value[:salt] + value[salt + 8 :]


def test_hbases_own_values_are_read() -> None:
    assert read_cluster_id(HBASEID) == "77cd2e59-fce0-469d-b35e-d80d67e45d29"
    assert MasterInfo.from_bytes(MASTER) == MasterInfo(MASTER_NAME, info_port=16010)
    assert MetaLocation.from_bytes(META) == MetaLocation(SERVER_NAME, RegionState.OPEN)
    assert RegionServerInfo.from_bytes(REGION_SERVER) == RegionServerInfo(16030, "2.6.1")


def test_ours_are_the_same_bytes_but_for_the_salt() -> None:
    for recorded, ours in (
        (HBASEID, cluster_id_value("master:16000", "77cd2e59-fce0-469d-b35e-d80d67e45d29")),
        (MASTER, MasterInfo(MASTER_NAME, 16010).to_bytes("master:16000")),
        (META, MetaLocation(SERVER_NAME).to_bytes("master:16000")),
    ):
        assert without_salt(ours, SALT[recorded]) == without_salt(recorded, SALT[recorded])
    assert wrap("master:16000", b"") != wrap("master:16000", b"")


def test_a_region_servers_value_has_every_field_that_hbase_requires() -> None:
    info = RegionServerInfo(16030, "0.1.0", session_timeout_ms=10_000)
    value = info.to_bytes("regionserver:16020")
    assert RegionServerInfo.from_bytes(value) == info
    version = b"\x0a\x050.1.0" + b"\x12\0" + b"\x1a\0" + b"\x22\0" + b"\x2a\0" + b"\x32\0"
    assert unwrap(value) == b"\x08\x9e\x7d\x12" + bytes([len(version)]) + version + b"\xc0\x3e\x90\x4e"


def test_states_have_hbases_numbers() -> None:
    assert STATE_NUMBERS[RegionState.OPEN] == 3
    assert STATE_NUMBERS[RegionState.OPENING] == 2
    assert set(STATE_NUMBERS) == set(RegionState)
    for state in RegionState:
        location = MetaLocation(SERVER_NAME, state)
        assert MetaLocation.from_bytes(location.to_bytes("m")) == location
        assert STATES[STATE_NUMBERS[state]] == state


def test_a_value_without_a_writer_is_all_message() -> None:
    assert unwrap(b"PBUF\x0a\x01x") == b"\x0a\x01x"


@pytest.mark.parametrize(
    "value", [b"", b"\xff", b"\xff\0\0\0\x05abcde", b"hello", wrap("m", b"")[:-1], b"\xff\xff\xff\xff\xff"]
)
def test_other_values_are_refused(value: bytes) -> None:
    with pytest.raises(IllegalArgumentException, match="znode"):
        unwrap(value)


def test_damage_inside_is_refused() -> None:
    with pytest.raises(IllegalArgumentException, match="unknown region state: 77"):
        MetaLocation.from_bytes(META[:-1] + b"\x4d")
    with pytest.raises(IllegalArgumentException, match="names no server"):
        MasterInfo.from_bytes(wrap("m", b""))
    with pytest.raises(IllegalArgumentException, match="without host"):
        MasterInfo.from_bytes(wrap("m", b"\x0a\x00"))
    with pytest.raises(IllegalArgumentException, match="no cluster id"):
        read_cluster_id(wrap("m", b""))
    with pytest.raises(IllegalArgumentException, match="UTF-8"):
        read_cluster_id(wrap("m", b"\x0a\x01\xff"))


@given(st.binary(max_size=80), st.sampled_from([HBASEID, MASTER, META, REGION_SERVER]), st.integers(0, 400))
def test_any_bytes_are_read_or_refused(noise: bytes, recorded: bytes, cut: int) -> None:
    for value in (noise, recorded[:cut], recorded[:cut] + noise, wrap("m", noise)):
        for read in (
            read_cluster_id,
            MasterInfo.from_bytes,
            MetaLocation.from_bytes,
            RegionServerInfo.from_bytes,
        ):
            with contextlib.suppress(IllegalArgumentException):
                read(value)  # type: ignore[operator]


def test_paths_stand_under_the_root() -> None:
    paths = ZnodePaths("/hbase")
    assert paths.cluster_id == "/hbase/hbaseid"
    assert paths.master == "/hbase/master"
    assert paths.meta == "/hbase/meta-region-server"
    assert paths.running == "/hbase/running"
    assert paths.server(SERVER_NAME) == "/hbase/rs/localhost,16020,1795576240252"
    assert paths.backup_master(MASTER_NAME) == "/hbase/backup-masters/localhost,16000,1795576231315"
    assert paths.removed_server(SERVER_NAME) == "/hbase/removed/localhost,16020,1795576240252"
    assert paths.world_readable("/hbase/meta-region-server")
    assert not paths.world_readable("/hbase/removed")
