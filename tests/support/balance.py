"""What becomes of servers when a balancer's plan is carried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from master.balancer import Move, RegionLoad


def after(servers: Mapping[str, Sequence[RegionLoad]], moves: Sequence[Move]) -> dict[str, list[RegionLoad]]:
    """The servers' regions then; each move takes its region from where it is."""
    places = {region.name: (name, region) for name, regions in servers.items() for region in regions}
    for move in moves:
        source, region = places[move.region]
        assert source == move.source != move.target, move
        places[move.region] = move.target, region
    done: dict[str, list[RegionLoad]] = {name: [] for name in servers}
    for name, region in places.values():
        done[name].append(region)
    return done
