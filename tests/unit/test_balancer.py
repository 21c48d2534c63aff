"""The balancer's plan: what is evened out, what is left alone, and in what words."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest

from hyperbase.common.names import META_TABLE
from master.balancer import Limits, Move, RegionLoad, plan_evacuation, plan_moves
from tests.support.balance import after

GIB = 2**30


def regions(table: str, count: int, first: int = 0, **load: float) -> list[RegionLoad]:
    return [RegionLoad(f"{table}-{number:03d}", table, **load) for number in range(first, first + count)]  # type: ignore[arg-type]


def counts(servers: Mapping[str, Sequence[RegionLoad]]) -> list[int]:
    return [len(servers[name]) for name in sorted(servers)]


def of_table(servers: Mapping[str, Sequence[RegionLoad]], table: str) -> list[int]:
    return [sum(region.table == table for region in servers[name]) for name in sorted(servers)]


def test_a_new_server_gets_its_share() -> None:
    servers = {"a": regions("t", 6), "b": regions("t", 6, 6), "c": []}
    moves = plan_moves(servers)
    assert len(moves) == 4
    assert {move.target for move in moves} == {"c"}
    assert counts(after(servers, moves)) == [4, 4, 4]


def test_what_lies_within_the_slop_stays() -> None:
    assert plan_moves({"a": regions("t", 12), "b": regions("t", 10, 12), "c": regions("t", 8, 22)}) == []


def test_each_table_is_spread_though_the_counts_are_even() -> None:
    servers = {"a": regions("t", 4), "b": regions("u", 4)}
    moves = plan_moves(servers)
    done = after(servers, moves)
    assert (counts(done), of_table(done, "t"), of_table(done, "u")) == ([4, 4], [2, 2], [2, 2])
    assert len(moves) == 4


def test_single_regions_of_many_tables_are_left_where_they_are() -> None:
    servers = {
        name: [RegionLoad(f"{name}{n}", f"t{name}{n}") for n in range(5)] for name in ("a", "b", "c", "d")
    }
    assert plan_moves(servers) == []


def test_bytes_are_spread_by_exchanges_that_leave_counts_and_tables_alone() -> None:
    servers = {
        "a": regions("t", 3, size_bytes=4 * GIB),
        "b": regions("t", 3, 3, size_bytes=GIB // 8),
    }
    moves = plan_moves(servers)
    done = after(servers, moves)
    assert counts(done) == [3, 3]
    sizes = [sum(region.size_bytes for region in done[name]) for name in ("a", "b")]
    assert max(sizes) < 9 * GIB
    assert len(moves) == 2


def test_requests_are_spread_and_bytes_are_not_spoilt_for_them() -> None:
    hot = [
        RegionLoad(f"h{n}", "t", size_bytes=GIB, reads_per_second=900, writes_per_second=100)
        for n in range(4)
    ]
    servers = {"a": hot, "b": regions("t", 4, size_bytes=GIB)}
    done = after(servers, plan_moves(servers))
    assert [sum(region.requests for region in done[name]) for name in ("a", "b")] == [2000, 2000]
    assert [sum(region.size_bytes for region in done[name]) for name in ("a", "b")] == [4 * GIB, 4 * GIB]


def test_one_region_that_is_hot_by_itself_is_not_sent_around() -> None:
    servers = {
        "a": [RegionLoad("hot", "t", reads_per_second=50_000), *regions("t", 3)],
        "b": regions("t", 4, 3),
    }
    assert plan_moves(servers) == []


def test_small_differences_of_bytes_and_requests_are_not_worth_a_move() -> None:
    small = {"size_bytes": 1000, "reads_per_second": 10}
    assert plan_moves({"a": regions("t", 4, **small), "b": regions("t", 4, 4)}) == []


def test_meta_is_neither_counted_nor_moved() -> None:
    meta = RegionLoad("1588230740", META_TABLE, size_bytes=500 * GIB, reads_per_second=10**6)
    servers = {"a": [meta, *regions("t", 3)], "b": regions("t", 3, 3)}
    assert plan_moves(servers) == []
    moves = plan_moves({"a": [meta, *regions("t", 6)], "b": []})
    assert len(moves) == 3
    assert meta.name not in {move.region for move in moves}
    assert plan_evacuation(servers, ["a"]) == [
        Move(f"t-00{n}", "t", "a", "b", "a is to serve nothing") for n in range(3)
    ]


def test_a_runs_moves_are_bounded_and_the_next_one_goes_on() -> None:
    servers: dict[str, list[RegionLoad]] = {"a": regions("t", 40) + regions("u", 40), "b": [], "c": []}
    limits = Limits(moves=10, moves_per_table=6)
    runs = 0
    while moves := plan_moves(servers, limits):
        assert len(moves) <= 10
        assert max(Counter(move.table for move in moves).values()) <= 6
        servers, runs = after(servers, moves), runs + 1
    assert runs > 3
    assert max(counts(servers)) <= 32


def test_one_server_or_none_has_nothing_to_balance() -> None:
    assert plan_moves({}) == []
    assert plan_moves({"a": regions("t", 9)}) == []
    assert plan_evacuation({"a": regions("t", 9)}, ["a"]) == []


def test_who_leaves_gives_everything_away_evenly() -> None:
    servers = {
        "a": regions("t", 5) + regions("u", 5),
        "b": regions("u", 2, 5),
        "c": [],
        "d": regions("t", 4, 5),
    }
    done = after(servers, plan_evacuation(servers, ["a", "d"]))
    assert counts(done) == [0, 8, 8, 0]
    assert of_table(done, "t") == [0, 4, 5, 0]


def test_every_move_says_why() -> None:
    by_count = plan_moves({"a": regions("t", 4), "b": []})
    assert str(by_count[0]) == (
        "move region t-003 of table t from a to b: servers have between 0 and 4 regions, 2.0 on average"
    )
    by_table = plan_moves({"a": regions("t", 2), "b": regions("u", 2)})
    assert [move.reason for move in by_table] == [
        "servers have between 0 and 2 regions of table t, 1.0 on average",
        "in return for a region of table t, which is spread more evenly so",
    ]
    by_size = plan_moves({"a": regions("t", 2, size_bytes=GIB), "b": regions("t", 2, 2)})
    assert by_size[0].reason == "servers hold between 0.0 B and 2.0 GiB, 1.0 GiB on average"
    by_requests = plan_moves({"a": regions("t", 2, writes_per_second=5000), "b": regions("t", 2, 2)})
    assert by_requests[0].reason == (
        "servers answer between 0 and 10,000 requests a second, 5,000 on average"
    )
    assert by_requests[1].reason.startswith("in return for a heavier region: servers answer")


@pytest.mark.parametrize("tables", [1, 100, 10_000])
@pytest.mark.parametrize("shape", ["one server has all", "random", "a server is new"])
def test_a_hundred_servers_with_a_hundred_thousand_regions_are_planned_in_ten_seconds(
    shape: str, tables: int
) -> None:
    random_ = random.Random(1)
    servers: dict[str, list[RegionLoad]] = {f"s{number:02d}": [] for number in range(100)}
    names = sorted(servers)
    choices = {"one server has all": names[:1], "random": names, "a server is new": names[:-1]}[shape]
    for number in range(100_000):
        region = RegionLoad(
            f"{number:032x}",
            f"t{random_.randrange(tables)}",
            int(random_.paretovariate(1.5) * GIB / 4),
            random_.expovariate(1 / 20),
            random_.expovariate(1 / 20),
        )
        servers[random_.choice(choices)].append(region)
    began = time.process_time()
    moves = plan_moves(servers)
    assert time.process_time() - began <= 10
    assert moves
    after(servers, moves)
