"""The balancer's plan for any servers: no region is lost, the result is within bounds, and it is the last."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from hyperbase.common.names import META_TABLE
from master.balancer import Limits, RegionLoad, plan_evacuation, plan_moves, slop_bounds
from tests.support.balance import after

Servers = dict[str, list[RegionLoad]]
# Small enough that bytes and requests of a few regions matter.
FREE = Limits(moves=10**6, moves_per_table=10**6, least_size_bytes=10, least_requests=10.0)


@st.composite
def clusters(draw: st.DrawFn) -> Servers:
    names = [f"s{number}" for number in range(draw(st.integers(2, 6)))]
    tables = [META_TABLE, *(f"t{number}" for number in range(draw(st.integers(1, 5))))]
    loads = st.tuples(
        st.sampled_from(names),
        st.sampled_from(tables),
        st.one_of(st.just(0), st.integers(0, 10**6)),
        st.one_of(st.just(0.0), st.floats(0, 10**6)),
        st.floats(0, 10**3),
    )
    servers: Servers = {name: [] for name in names}
    for number, (name, *load) in enumerate(draw(st.lists(loads, max_size=60))):
        servers[name].append(RegionLoad(f"r{number:02d}", *load))
    return servers


def excess(servers: Servers) -> float:
    """Bytes above what a server may have."""
    sizes = [
        sum(region.size_bytes for region in regions if region.table != META_TABLE)
        for regions in servers.values()
    ]
    average = sum(sizes) / len(sizes)
    bound = max(average * (1 + FREE.slop), average + FREE.least_size_bytes)
    return sum(max(0.0, size - bound) for size in sizes)


@given(clusters())
@settings(max_examples=300, deadline=None)
def test_a_plan_loses_nothing_ends_within_the_bounds_and_leaves_nothing_to_do(servers: Servers) -> None:
    moves = plan_moves(servers, FREE)
    assert moves == plan_moves({name: regions[::-1] for name, regions in servers.items()}, FREE)
    assert max(Counter(move.region for move in moves).values(), default=1) == 1
    done = after(servers, moves)
    assert sorted(r.name for rs in done.values() for r in rs) == sorted(
        r.name for rs in servers.values() for r in rs
    )
    tables = {region.table for regions in servers.values() for region in regions} - {META_TABLE}
    for table in (*tables, None):
        held = [
            sum(region.table == table if table else region.table != META_TABLE for region in regions)
            for regions in done.values()
        ]
        low, high = slop_bounds(sum(held), len(held), FREE.slop)
        assert low <= min(held), table
        assert max(held) <= high, table
    assert plan_moves(done, FREE) == []


@given(clusters(), st.integers(1, 8), st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_bounded_runs_come_to_an_end(servers: Servers, most: int, most_of_table: int) -> None:
    limits = Limits(most + 1, most_of_table + 1, FREE.slop, FREE.least_size_bytes, FREE.least_requests)
    for _ in range(200):
        moves = plan_moves(servers, limits)
        assert len(moves) <= limits.moves
        assert max(Counter(move.table for move in moves).values(), default=0) <= limits.moves_per_table
        if not moves:
            return
        servers = after(servers, moves)
    raise AssertionError("there is no end of moves")


@given(clusters())
@settings(max_examples=200, deadline=None)
def test_requests_are_never_spread_at_the_cost_of_bytes(servers: Servers) -> None:
    without = {
        name: [RegionLoad(r.name, r.table, r.size_bytes) for r in regions]
        for name, regions in servers.items()
    }
    done = after(without, plan_moves(without, FREE))
    loads = {region.name: region for regions in servers.values() for region in regions}
    busy = {name: [loads[region.name] for region in regions] for name, regions in done.items()}
    assert excess(after(busy, plan_moves(busy, FREE))) <= excess(busy) + 1e-6


@given(clusters(), st.sets(st.integers(0, 5), min_size=1))
@settings(max_examples=100, deadline=None)
def test_servers_that_leave_keep_nothing_but_meta(servers: Servers, numbers: set[int]) -> None:
    leaving = {f"s{number}" for number in numbers} & set(servers)
    done = after(servers, plan_evacuation(servers, leaving))
    if leaving != set(servers):
        assert all(region.table == META_TABLE for name in leaving for region in done[name])
    else:
        assert done == servers
