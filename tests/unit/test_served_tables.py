"""Arrow uploads to one server of a cluster: the rows of its regions, or none of a slice."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from hyperbase.common.errors import (
    AccessDeniedException,
    IllegalArgumentException,
    LeaseSuspendedException,
    NotServingRegionException,
)
from hyperbase.common.model import Get
from hyperbase.common.region_info import RegionInfo
from regionserver.region import arrow_load, bulk_load
from regionserver.region.region import Region
from regionserver.server.served_tables import ServedTable
from regionserver.storage.memory_filesystem import MemoryFileSystem
from tests.support.cluster_engines import ServerEngine, rows_of

LOW, MIDDLE, HIGH = (
    RegionInfo("t", b"", b"f", 1),
    RegionInfo("t", b"f", b"p", 1),
    RegionInfo("t", b"p", b"", 1),
)


@pytest.fixture(params=["through the log", "as files"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ServerEngine:
    if request.param == "as files":
        monkeypatch.setattr(arrow_load, "FILE_BYTES", 1)
    return ServerEngine(MemoryFileSystem(), "one")


def load(server: ServerEngine, *keys: bytes, table: str = "t", **options: Any) -> int:
    data = pa.table({"row": pa.array(keys, pa.binary()), "f:q": pa.array(keys, pa.binary()), **options})
    stamp = "at" if "at" in options else None
    return ServedTable(server.engine, "one,1,1", table).put_arrow(data.to_reader(), "row", stamp, None)


def test_rows_of_several_regions_of_the_server(server: ServerEngine) -> None:
    low, high = server.open(LOW), server.open(HIGH)
    assert load(server, b"z", b"a", b"q", b"b") == 4
    assert rows_of(low) == [b"a", b"b"]
    assert rows_of(high) == [b"q", b"z"]


def test_timestamps_of_each_row(server: ServerEngine) -> None:
    low, high = server.open(LOW), server.open(HIGH)
    assert load(server, b"a", b"z", at=pa.array([5, 6])) == 2
    stamps = [region.get(Get(row)).timestamp_list() for region, row in ((low, b"a"), (high, b"z"))]
    assert [list(found) for found in stamps] == [[5], [6]]


def test_a_row_of_another_servers_region_refuses_the_whole_slice(server: ServerEngine) -> None:
    regions: list[Region] = [server.open(LOW), server.open(HIGH)]
    for keys in ((b"a", b"g"), (b"g", b"z"), (b"f",), (b"oo", b"a")):
        with pytest.raises(NotServingRegionException, match="one,1,1 does not serve the region of row"):
            load(server, *keys)
    assert [rows_of(region) for region in regions] == [[], []]


def test_an_upload_without_rows_is_checked_where_a_region_of_the_table_is(server: ServerEngine) -> None:
    with pytest.raises(NotServingRegionException, match="a region of t"):
        load(server)
    server.open(MIDDLE)
    assert load(server) == 0
    with pytest.raises(IllegalArgumentException, match="no such column"):
        ServedTable(server.engine, "one", "t").put_arrow(
            pa.table({"x": [b""]}).to_reader(), "row", None, None
        )


def test_a_region_that_closes_in_the_middle(server: ServerEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    server.open(LOW)
    high = server.open(HIGH)
    check = ServedTable.check_rows

    def check_and_close(self: ServedTable, keys: pa.Array) -> None:
        check(self, keys)
        server.engine.close_region(high)

    monkeypatch.setattr(ServedTable, "check_rows", check_and_close)
    with pytest.raises(NotServingRegionException):
        load(server, b"a", b"z")


def test_a_load_waits_while_the_server_is_suspended(
    server: ServerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_load, "_SUSPENDED_PAUSE_S", 0.001)
    region = server.open(LOW)
    asked = 0

    def check_owner() -> None:
        nonlocal asked
        asked += 1
        if asked < 5:
            raise LeaseSuspendedException("not now")

    server.engine.check_owner = check_owner
    assert load(server, b"a", b"b") == 2
    assert rows_of(region) == [b"a", b"b"]


def test_a_load_of_a_suspended_server_that_stops_is_given_up(server: ServerEngine) -> None:
    region = server.open(LOW)

    def check_owner() -> None:
        server.engine.closed = True
        raise LeaseSuspendedException("not now")

    server.engine.check_owner = check_owner
    if arrow_load.FILE_BYTES == 1:
        with pytest.raises(LeaseSuspendedException):
            load(server, b"c")
        assert rows_of(region) == []
    else:  # the log needs no manifest
        assert load(server, b"c") == 1


def test_meta_is_not_loaded_into(server: ServerEngine) -> None:
    with pytest.raises(AccessDeniedException):
        load(server, b"a", table="hbase:meta")
