"""Servers, and which of them has which region: of a store that is one process, and of a cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hyperbase import Connection
from hyperbase.common.cluster_status import RegionPlace, split_server_name
from hyperbase.common.errors import (
    DoNotRetryIOException,
    IllegalArgumentException,
    NotBalancedException,
    TableNotFoundException,
    UnknownRegionException,
)
from tests.contract.conftest import OPENERS
from tests.support.cluster import Cluster
from tests.support.cluster_contract import cluster_connection, empty
from tests.support.engine import Bench

ROWS = {b"%02d" % number: {b"f:q": b"v"} for number in range(60)}


@pytest.fixture(scope="module", params=list(OPENERS))
def one_server(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A store of one process."""
    with OPENERS[request.param]() as connection:
        yield connection


@pytest.fixture
def servers(cluster: Cluster) -> Iterator[Connection]:
    """A cluster of three servers; each of them may have regions again afterwards."""
    with cluster_connection(cluster) as connection:
        yield connection
        for name in connection.admin.decommissioned():
            connection.admin.recommission(name)
        connection.admin.balance_switch(True)
        empty(connection)


# -- one server ------------------------------------------------------------------------------------------


def test_one_server_has_every_region_of_enabled_tables(one_server: Connection) -> None:
    bench = Bench(one_server, splits=[b"m"])
    admin = one_server.admin
    (server,) = admin.servers()
    assert server == admin.cluster_status().servers[0].name
    low, high = admin.regions(bench.name)
    assert admin.region_states(bench.name) == [
        RegionPlace(low, "OPEN", server),
        RegionPlace(high, "OPEN", server),
    ]
    assert [place.state for place in admin.region_states("hbase:meta")] == ["OPEN"]
    admin.disable_table(bench.name)
    assert admin.region_states(bench.name) == [RegionPlace(low, "CLOSED"), RegionPlace(high, "CLOSED")]
    with pytest.raises(TableNotFoundException):
        admin.region_states("nope")
    assert admin.procedures() == []


def test_a_region_of_the_only_server_stays_where_it_is(one_server: Connection) -> None:
    bench, admin = Bench(one_server), one_server.admin
    (region,), (server,) = admin.regions(bench.name), admin.servers()
    host, port, _ = split_server_name(server)
    for name in (server, f"{host},{port}", f"{host}:{port}"):
        admin.move(region, name)
    for target in (region, region.encoded_name, region.region_name):
        admin.assign(target)
    with pytest.raises(DoNotRetryIOException, match="has no other server to go to"):
        admin.move(region)
    with pytest.raises(IllegalArgumentException, match="there is no living server 'elsewhere,1,1'"):
        admin.move(region, "elsewhere,1,1")
    with pytest.raises(DoNotRetryIOException, match="one server serves every region of an enabled table"):
        admin.unassign(region)
    for call in (admin.move, admin.assign, admin.unassign):
        with pytest.raises(UnknownRegionException, match="nope"):
            call("nope")
    admin.disable_table(bench.name)
    for call in (admin.move, admin.assign, admin.unassign):
        with pytest.raises(DoNotRetryIOException, match="is disabled"):
            call(region)


def test_one_server_has_nothing_to_balance(one_server: Connection) -> None:
    admin = one_server.admin
    assert admin.balance() == []
    assert admin.balance(dry_run=True, force=True) == []
    assert admin.balance_switch(False) is True
    with pytest.raises(NotBalancedException, match="the balancer is off"):
        admin.balance()
    assert admin.balance_switch(True) is False


def test_the_only_server_cannot_be_spared(one_server: Connection) -> None:
    bench, admin = Bench(one_server), one_server.admin
    (server,) = admin.servers()
    for servers in (server, [server]):
        with pytest.raises(DoNotRetryIOException, match="is the only server: it has to keep its regions"):
            admin.decommission(servers, offload=True)
    with pytest.raises(IllegalArgumentException, match="there is no living server 'x'"):
        admin.decommission(["x"])
    with pytest.raises(IllegalArgumentException, match="there is no living server 'x'"):
        admin.recommission("x")
    admin.recommission(server, admin.regions(bench.name))
    with pytest.raises(UnknownRegionException):
        admin.recommission(server, ["nope"])
    assert admin.decommissioned() == []


# -- a cluster -------------------------------------------------------------------------------------------


def table_of_six_regions(connection: Connection) -> Bench:
    """With rows in memory."""
    bench = Bench(connection, splits=[b"10", b"20", b"30", b"40", b"50"])
    for row, data in ROWS.items():
        bench.table.put(row, data)
    return bench


def spread(bench: Bench) -> list[int]:
    """Regions of the table on each server."""
    admin = bench.connection.admin
    places = [place.server for place in admin.region_states(bench.name)]
    return sorted(places.count(server) for server in admin.servers())


def test_a_region_goes_where_it_is_sent(servers: Connection) -> None:
    bench, admin = table_of_six_regions(servers), servers.admin
    assert len(admin.servers()) == 3
    assert spread(bench) == [2, 2, 2]
    place = admin.region_states(bench.name)[0]
    assert place.state == "OPEN"
    target = next(server for server in admin.servers() if server != place.server)
    host, port, _ = split_server_name(target)
    admin.move(place.region, f"{host}:{port}")
    assert admin.region_states(bench.name)[0] == RegionPlace(place.region, "OPEN", target)
    admin.move(place.region)
    assert admin.region_states(bench.name)[0].server != target
    with pytest.raises(IllegalArgumentException, match="there is no living server 'elsewhere,1,1'"):
        admin.move(place.region, "elsewhere,1,1")
    assert dict(bench.table.scan()) == ROWS


def test_a_region_that_nobody_serves(servers: Connection) -> None:
    bench, admin = table_of_six_regions(servers), servers.admin
    region = admin.regions(bench.name)[2]
    admin.unassign(region)
    assert admin.region_states(bench.name)[2] == RegionPlace(region, "CLOSED")
    assert [finding.kind for finding in admin.hbck()] == ["not_served"]
    admin.assign(region)
    admin.assign(region.encoded_name)
    assert admin.region_states(bench.name)[2].state == "OPEN"
    assert dict(bench.table.scan()) == ROWS


def test_what_is_uneven_is_balanced(servers: Connection) -> None:
    bench, admin = table_of_six_regions(servers), servers.admin
    one = admin.servers()[0]
    for region in admin.regions(bench.name):
        admin.move(region, one)
    assert spread(bench) == [0, 0, 6]
    planned = admin.balance(dry_run=True)
    assert len(planned) == 4
    assert all(f"of table {bench.name} from {one} to " in sentence for sentence in planned)
    admin.balance_switch(False)
    with pytest.raises(NotBalancedException):
        admin.balance()
    admin.balance_switch(True)
    assert admin.balance() == planned
    assert spread(bench) == [2, 2, 2]
    assert admin.balance() == []
    assert dict(bench.table.scan()) == ROWS


def test_a_server_is_emptied_and_taken_back(servers: Connection) -> None:
    bench, admin = table_of_six_regions(servers), servers.admin
    (_, home), *_ = admin.region_locations("hbase:meta")
    admin.decommission(home, offload=True)
    assert admin.decommissioned() == [home]
    status = {server.name: server for server in admin.cluster_status().servers}
    assert status[home].regions == ()
    assert spread(bench) == [0, 3, 3]
    assert admin.region_locations("hbase:meta")[0][1] != home
    assert dict(bench.table.scan()) == ROWS
    regions = admin.regions(bench.name)[:2]
    admin.recommission(home, regions)
    assert [place.server for place in admin.region_states(bench.name)[:2]] == [home, home]
    assert admin.decommissioned() == []
    assert dict(bench.table.scan()) == ROWS
    with pytest.raises(DoNotRetryIOException, match="there is no server that may have regions"):
        admin.decommission(admin.servers())
