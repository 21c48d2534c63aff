"""Regions: names and bytes as HBase has them, ranges, order, damaged bytes."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperbase.common.errors import IllegalArgumentException
from hyperbase.common.region_info import META_REGION, RegionInfo, RegionState


def test_a_regions_name_is_table_start_id_and_their_md5() -> None:
    region = RegionInfo("ns:t", b"a\x00", b"b", 1700000000000)
    digest = hashlib.md5(b"ns:t,a\x00,1700000000000").hexdigest()
    assert region.encoded_name == digest
    assert region.region_name == b"ns:t,a\x00,1700000000000." + digest.encode() + b"."
    assert region.region_name_text == f"ns:t,a\\x00,1700000000000.{digest}."


def test_a_replica_hashes_its_own_name() -> None:
    region = RegionInfo("t", b"", b"", 5, replica_id=10)
    assert region.region_name.startswith(b"t,,5_000A.")
    assert region.encoded_name == hashlib.md5(b"t,,5_000A").hexdigest()
    assert region.encoded_name != RegionInfo("t", b"", b"", 5).encoded_name


def test_meta_keeps_its_old_name() -> None:
    assert META_REGION.region_name == b"hbase:meta,,1.1588230740"
    assert META_REGION.encoded_name == "1588230740"
    assert META_REGION.is_meta
    assert META_REGION.first
    assert META_REGION.last
    assert not RegionInfo("meta", b"", b"", 1).is_meta


def test_bytes_are_hbases() -> None:
    region = RegionInfo("t", b"a", b"b", 300, offline=True, split=True)
    expected = b"PBUF\x08\xac\x02\x12\x0c\x0a\x07default\x12\x01t\x1a\x01a\x22\x01b\x28\x01\x30\x01\x38\x00"
    assert region.to_bytes() == expected
    assert RegionInfo.from_bytes(expected) == region


def test_absent_fields_have_defaults_and_unknown_ones_are_skipped() -> None:
    needed = b"PBUF\x08\x05\x12\x07\x0a\x02ns\x12\x01t"
    unknown = b"\x48\x07" + b"\x51" + b"8bytes.." + b"\x5d4444" + b"\x62\x03abc"
    assert RegionInfo.from_bytes(needed + unknown) == RegionInfo("ns:t", b"", b"", 5)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PBU",
        b"PBUF",
        b"PBUF\x08\x05",  # no table
        b"PBUF\x12\x07\x0a\x02ns\x12\x01t",  # no region id
        b"PBUF\x08\x05\x12\x03\x0a\x01n",  # no qualifier
        b"PBUF\x08\x05\x12\x06\x0a\x01\xff\x12\x01t",  # namespace is not text
        b"PBUF\x08" + b"\xff" * 10,  # number too long
        b"PBUF\x08\xff",  # cut inside a number
        b"PBUF\x12\xff\xff\x03",  # length beyond the end
        b"PBUF\x0b",  # group
        b"PBUF\x00\x00",  # field 0
        b"PBUF\x08" + b"\xff" * 9 + b"\x01" + b"\x12\x07\x0a\x02ns\x12\x01t",  # negative region id
        b"PBUF\x08\x05\x12\x07\x0a\x02ns\x12\x01t\x1a\x01b\x22\x01a",  # end before start
    ],
)
def test_malformed_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(IllegalArgumentException):
        RegionInfo.from_bytes(data)


@given(st.binary(max_size=64))
def test_arbitrary_bytes_are_a_region_or_refused(data: bytes) -> None:
    try:
        region = RegionInfo.from_bytes(b"PBUF" + data)
    except IllegalArgumentException:
        return
    assert RegionInfo.from_bytes(region.to_bytes()) == region


KEYS = st.binary(max_size=4)


@given(
    KEYS, KEYS, st.integers(0, 2**63 - 1), st.booleans(), st.booleans(), st.integers(0, 0xFFFF),
    st.sampled_from(["t", "ns:t", "é"]),
)  # fmt: skip
def test_bytes_round_trip(
    start: bytes, end: bytes, region_id: int, offline: bool, split: bool, replica: int, table: str
) -> None:
    if end and start >= end:
        with pytest.raises(IllegalArgumentException):
            RegionInfo(table, start, end, region_id)
        return
    region = RegionInfo(table, start, end, region_id, offline, split, replica)
    again = RegionInfo.from_bytes(region.to_bytes())
    assert again == region
    assert hash(again) == hash(region)
    assert (again.region_name, again.encoded_name) == (region.region_name, region.encoded_name)


def test_a_range_includes_its_start_and_not_its_end() -> None:
    region = RegionInfo("t", b"b", b"d", 1)
    assert [region.contains(row) for row in (b"a", b"b", b"c", b"d")] == [False, True, True, False]
    assert not region.first
    assert not region.last
    last = RegionInfo("t", b"d", b"", 1)
    assert last.last
    assert last.contains(b"\xff" * 9)
    assert not last.contains(b"c")


def test_order_is_table_then_start_then_end_with_unbounded_last() -> None:
    ordered = [
        RegionInfo("a", b"x", b"", 9),
        RegionInfo("b", b"", b"m", 1),
        RegionInfo("b", b"", b"", 1),
        RegionInfo("b", b"m", b"", 1),
        RegionInfo("b", b"m", b"", 2),
        RegionInfo("b", b"m", b"", 2, replica_id=1),
    ]
    shuffled = ordered[::-1]
    assert sorted(shuffled, key=RegionInfo.sort_key) == ordered


@pytest.mark.parametrize(
    ("table", "region_id", "replica_id"),
    [("a b", 1, 0), ("t", -1, 0), ("t", 2**63, 0), ("t", 1, -1), ("t", 1, 65536)],
)
def test_impossible_regions_are_refused(table: str, region_id: int, replica_id: int) -> None:
    with pytest.raises(IllegalArgumentException):
        RegionInfo(table, b"", b"", region_id, replica_id=replica_id)


def test_states_are_persisted_by_hbases_names() -> None:
    assert RegionState("OPEN") is RegionState.OPEN
    assert all(state.value == state.name for state in RegionState)
    assert len(RegionState) == 14
