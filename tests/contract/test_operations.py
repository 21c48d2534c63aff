"""What operators ask of a store: its status, switches, caches, log; and hbase:meta, to be read only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import hyperbase
from hyperbase import Connection, Delete, Get, Increment, Put, RegionInfo, errors
from hyperbase.client.admin import SWITCHES
from hyperbase.common.cluster_status import ClusterStatus, split_server_name


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Connection]:
    """A store with a table ``t`` of two regions."""
    with hyperbase.connect(tmp_path / "s") as connection:
        connection.create_table("t", {"f": {}}, splits=[b"m"])
        yield connection


def test_the_status_names_every_region_and_what_it_carries(db: Connection) -> None:
    db.table("t").put(b"a", {b"f:q": b"v" * 1000})
    db.admin.flush("t")
    db.table("t").put(b"a", {b"f:q": b"v"})
    db.table("t").row(b"a")
    status = db.admin.cluster_status()
    assert status.version == hyperbase.__version__
    (server,) = status.servers
    assert status.master == server.name
    assert server.host_port == "localhost:0"
    assert int(split_server_name(server.name)[2]) > 0
    regions = {region.name: region for region in server.regions}
    low, high = db.admin.regions("t")
    assert set(regions) == {low.region_name, high.region_name, b"hbase:meta,,1.1588230740"}
    carried = regions[low.region_name]
    assert (carried.store_count, carried.store_file_count) == (1, 1)
    assert carried.store_file_bytes > 0
    assert carried.memstore_bytes > 0
    assert (carried.read_requests, carried.write_requests) == (1, 2)
    assert regions[high.region_name].store_file_count == 0
    assert db.admin.region_locations("t") == [(low, server.name), (high, server.name)]


def test_a_status_is_plain_values_and_back(db: Connection) -> None:
    import msgpack

    status = db.admin.cluster_status()
    plain = msgpack.unpackb(msgpack.packb(status.to_dict()))
    assert ClusterStatus.from_dict(plain) == status
    assert ClusterStatus.from_dict({**plain, "added later": 1}) == status


def test_switches_tell_how_they_were(db: Connection) -> None:
    for name in SWITCHES:
        assert db.admin.switch(name) is True
        assert db.admin.switch(name, False) is True
        assert db.admin.switch(name) is False
        assert db.admin.switch(name, True) is False
    with pytest.raises(errors.IllegalArgumentException, match="no switch 'balance'"):
        db.admin.switch("balance")


def test_splits_and_merges_can_be_switched_off(db: Connection) -> None:
    db.admin.switch("split", False)
    with pytest.raises(errors.DoNotRetryIOException, match="split switch off"):
        db.admin.split("t", b"c")
    db.admin.switch("split", True)
    db.admin.split("t", b"c")
    db.admin.switch("merge", False)
    first, second, _ = db.admin.regions("t")
    with pytest.raises(errors.DoNotRetryIOException, match="merge switch was set to false"):
        db.admin.merge_regions(first, second)
    db.admin.switch("merge", True)
    db.admin.merge_regions(first, second)
    assert len(db.admin.regions("t")) == 2


def test_compactions_can_be_switched_off(db: Connection) -> None:
    def files() -> int:
        return sum(region.store_file_count for region in db.admin.cluster_status().servers[0].regions)

    db.admin.switch("compaction", False)
    for value in (b"1", b"2", b"3"):
        db.table("t").put(b"a", {b"f:q": value})
        db.admin.flush("t")
    before = files()
    db.admin.major_compact("t")
    assert files() == before
    db.admin.switch("compaction", True)
    db.admin.major_compact("t")
    assert files() < before
    assert db.admin.compaction_state("t") == "NONE"


def test_the_log_rolls_and_the_cache_forgets(db: Connection) -> None:
    rolls = db.metrics()["rollRequest"]
    db.table("t").put(b"a", {b"f:q": b"v"})
    db.admin.roll_wal()
    assert db.metrics()["rollRequest"] == rolls + 1
    db.admin.flush("t")
    assert list(db.table("t").scan())
    cached = db.metrics()["blockCacheCount"]
    assert 0 < db.admin.clear_block_cache("t") <= cached
    assert db.admin.clear_block_cache("t") == 0
    assert list(db.table("t").scan())


def test_regions_can_be_flushed_and_compacted_by_name(db: Connection) -> None:
    region = db.admin.regions("t")[0]
    db.table("t").put(b"a", {b"f:q": b"v"})
    for name in (region, region.encoded_name, region.region_name):
        db.admin.flush(name)
        db.admin.compact(name)
        db.admin.major_compact(name)
    with pytest.raises(errors.TableNotFoundException):
        db.admin.flush("nope")


def test_the_catalogue_can_be_read_like_a_table(db: Connection) -> None:
    meta = db.table("hbase:meta")
    rows = list(meta.scan(row_prefix=b"t,"))
    regions = db.admin.regions("t")
    assert [row for row, _ in rows] == [region.region_name for region in regions]
    assert [RegionInfo.from_bytes(data[b"info:regioninfo"]) for _, data in rows] == regions
    assert meta.get(Get("t", ["table:state"])).to_dict() == {b"table:state": b"\x08\x00"}
    assert [row for row, _ in meta.scan(reverse=True, limit=1)] == [regions[1].region_name]
    assert meta.run_batch([Get(regions[0].region_name)])[0]
    assert db.admin.table_exists("hbase:meta")
    assert db.admin.is_table_enabled("hbase:meta")
    assert "hbase:meta" not in db.admin.list_tables()
    assert db.admin.describe_table("hbase:meta").family_names == (b"info", b"ns", b"table")
    db.admin.flush("hbase:meta")
    db.admin.split("t", b"c")
    assert len(list(meta.scan(row_prefix=b"t,", columns=["info:splitA"]))) == 1


def test_the_catalogue_cannot_be_written_or_changed(db: Connection) -> None:
    meta, before = db.table("hbase:meta"), list(db.table("hbase:meta").scan())
    refused = [
        lambda: meta.put(b"r", {b"info:q": b"v"}),
        lambda: meta.put(Put("r").add("info:q", "v")),
        lambda: meta.delete(b"t"),
        lambda: meta.delete(Delete("t")),
        lambda: meta.increment(Increment("r").add("info:n", 1)),
        lambda: meta.append(b"r", {"info:q": "v"}),
        lambda: meta.run_batch([Get("t"), Delete("t")]),
        lambda: db.admin.disable_table("hbase:meta"),
        lambda: db.admin.alter_table(db.admin.describe_table("hbase:meta")),
        lambda: db.admin.split("hbase:meta", b"m"),
        lambda: db.admin.split("1588230740", b"m"),
    ]
    for act in refused:
        with pytest.raises(errors.ConstraintException):
            act()
    for act in (db.admin.drop_table, db.admin.truncate_table):
        with pytest.raises(errors.TableNotDisabledException):
            act("hbase:meta")
    with pytest.raises(errors.TableExistsException):
        db.create_table("hbase:meta", {"f": {}})
    assert list(meta.scan()) == before
