"""The balancer's plan: which regions should be served elsewhere. A pure function of what servers carry.

Evened out, each without spoiling what comes before it:

1. regions per server,
2. regions of each table per server,
3. bytes per server,
4. requests per server.

Nothing is planned for a kind of load that lies within the slop: HBase's ``hbase.regions.slop``, a share of
the average. What lies outside is evened out as far as it goes, so that the next run finds nothing to do. A
run's moves are bounded; the next one goes on where it stopped, and until then nothing is worse than before.
hbase:meta is neither counted nor moved. The same servers with the same regions give the same plan.

How it ends: a step of 1 lowers the sum of squared counts; a step of 2 lowers the sum of the tables' squared
counts and makes the servers' no less even; a step of 3 or 4 moves weight from a server above its bound to one
below the average and keeps all bounds before it. None of these sums can fall forever.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sortedcontainers import SortedKeyList

from hyperbase.common.names import META_TABLE

PARTNERS = 4  # of the least loaded servers, whom an overloaded one tries to exchange regions with
WORTH = 0.01  # of the average: less is not worth an exchange
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True, slots=True)
class RegionLoad:
    """A region and what it costs its server."""

    name: str  # encoded
    table: str
    size_bytes: int = 0
    reads_per_second: float = 0.0
    writes_per_second: float = 0.0

    @property
    def requests(self) -> int:
        """Per second, of both kinds. Whole: sums are the same in any order."""
        return round(self.reads_per_second + self.writes_per_second)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may do, and what it leaves alone."""

    moves: int = 500
    moves_per_table: int = 250
    slop: float = 0.2  # HBase hbase.regions.slop
    # A server that is less than this above the average is not overloaded, whatever the slop says.
    least_size_bytes: int = 256 * 1024 * 1024
    least_requests: float = 500.0


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Move:
    """One region that should be served elsewhere, and why."""

    region: str  # encoded name
    table: str
    source: str
    target: str
    reason: str

    def __str__(self) -> str:
        return (
            f"move region {self.region} of table {self.table} from {self.source} to {self.target}: "
            f"{self.reason}"
        )


class Bounds(NamedTuple):
    """How many of something a server may have, both ends included."""

    low: int
    high: int


def slop_bounds(total: float, servers: int, slop: float) -> Bounds:
    """``total`` things on that many servers: each may have a share of ``slop`` more or less than the average.

    What can be no more even is within: the whole numbers next to the average. (HBase rounds outwards, and so
    leaves two regions of a table on one of two servers.)
    """
    average = total / servers
    low, high = math.ceil(average * (1 - slop) - 1e-9), math.floor(average * (1 + slop) + 1e-9)
    return Bounds(min(low, math.floor(average)), max(high, math.ceil(average)))


def plan_moves(servers: Mapping[str, Sequence[RegionLoad]], limits: Limits = DEFAULT_LIMITS) -> list[Move]:
    """The moves that even the servers' loads out, in the order in which they should be made.

    Args:
        servers: every server that may be given regions, with the regions it has.
    """
    if len(servers) < 2:
        return []
    layout = _Layout(servers, limits)
    _even_counts(layout)
    _even_tables(layout)
    while _even_weights(layout, _SIZE) or _even_weights(layout, _REQUESTS):
        pass
    return layout.moves()


def plan_evacuation(servers: Mapping[str, Sequence[RegionLoad]], leaving: Collection[str]) -> list[Move]:
    """Moves that take every region from the servers ``leaving`` to the others, evenly; none if there is none.

    Args:
        servers: all of them, with the regions they have.
    """
    targets = sorted(name for name in servers if name not in leaving)
    if not targets:
        return []
    counts = {name: len(servers[name]) for name in targets}
    tables = {name: Counter(region.table for region in servers[name]) for name in targets}
    moves = []
    for source in sorted(set(servers) & set(leaving)):
        for region in sorted(servers[source], key=lambda region: (region.table, region.name)):
            if region.table == META_TABLE:
                continue
            target = min(targets, key=lambda name: (counts[name], tables[name][region.table], name))
            counts[target] += 1
            tables[target][region.table] += 1
            moves.append(Move(region.name, region.table, source, target, f"{source} is to serve nothing"))
    return moves


class _Weight(NamedTuple):
    """A kind of load that is a sum over regions."""

    name: str  # of the field of RegionLoad
    least: str  # of the field of Limits
    words: str


_SIZE = _Weight("size_bytes", "least_size_bytes", "servers hold between {} and {}, {} on average")
_REQUESTS = _Weight(
    "requests", "least_requests", "servers answer between {} and {} requests a second, {} on average"
)


class _Layout:
    """Who has what, as the plan stands; servers are numbers, in the order of their names."""

    def __init__(self, servers: Mapping[str, Sequence[RegionLoad]], limits: Limits) -> None:
        self.limits = limits
        self.names = sorted(servers)
        self.numbers = range(len(self.names))
        # For each server: table → its regions there, small ones first.
        self.held: list[dict[str, SortedKeyList]] = [{} for _ in self.names]
        self.tables: dict[str, list[int]] = {}  # table → regions on each server
        self.counts = [0] * len(self.names)
        self.weights = {kind.name: [0] * len(self.names) for kind in (_SIZE, _REQUESTS)}
        self._table_bounds: dict[str, Bounds] = {}
        self._origin: dict[str, int] = {}
        self._moved: dict[str, tuple[RegionLoad, int, str]] = {}  # region → itself, its place, why
        self._moved_of: Counter[str] = Counter()  # tables
        for number, name in enumerate(self.names):
            for region in servers[name]:
                if region.table != META_TABLE:
                    self._origin[region.name] = number
                    self._add(region, number)

    def _add(self, region: RegionLoad, server: int) -> None:
        held = self.held[server]
        if region.table not in held:
            held[region.table] = SortedKeyList(key=_by_size)
        held[region.table].add(region)
        self.tables.setdefault(region.table, [0] * len(self.names))[server] += 1
        self.counts[server] += 1
        self.weights["size_bytes"][server] += region.size_bytes
        self.weights["requests"][server] += region.requests

    def _remove(self, region: RegionLoad, server: int) -> None:
        self.held[server][region.table].remove(region)
        if not self.held[server][region.table]:
            del self.held[server][region.table]
        self.tables[region.table][server] -= 1
        self.counts[server] -= 1
        self.weights["size_bytes"][server] -= region.size_bytes
        self.weights["requests"][server] -= region.requests

    def move(self, region: RegionLoad, source: int, target: int, reason: str) -> None:
        """Plan one."""
        self._remove(region, source)
        self._add(region, target)
        if self._moved.pop(region.name, None) is not None:
            self._moved_of[region.table] -= 1
        if self._origin[region.name] != target:
            self._moved[region.name] = (region, target, reason)
            self._moved_of[region.table] += 1

    def may_move(self, *tables: str) -> bool:
        """Whether a region of each of these may be moved, all at once."""
        limit, moved = self.limits.moves_per_table, self._moved_of
        return len(self._moved) + len(tables) <= self.limits.moves and all(
            moved[table] + tables.count(table) <= limit for table in tables
        )

    @property
    def is_full(self) -> bool:
        """This run moves no more."""
        return len(self._moved) >= self.limits.moves

    def is_spent(self, table: str) -> bool:
        """This run moves no more regions of the table."""
        return self._moved_of[table] >= self.limits.moves_per_table

    def table_bounds(self, table: str) -> Bounds:
        """How many regions of a table a server may have."""
        found = self._table_bounds.get(table)
        if found is None:
            found = slop_bounds(sum(self.tables[table]), len(self.names), self.limits.slop)
            self._table_bounds[table] = found
        return found

    def counts_allow(self, source: int, target: int) -> bool:
        """Whether a region may go and none come back: the counts are no less even then."""
        return self.counts[source] > self.counts[target]

    def table_allows(self, table: str, source: int, target: int) -> bool:
        """Whether a region of the table may go, as far as the table is concerned."""
        counts, (low, high) = self.tables[table], self.table_bounds(table)
        return counts[source] - 1 >= low and counts[target] + 1 <= high

    def fitting(self, table: str, source: int, target: int) -> RegionLoad:
        """The region of a table whose move does most for the two servers' bytes."""
        sizes = self.weights["size_bytes"]
        regions = self.held[source][table]
        place = regions.bisect_key_right((max(0, sizes[source] - sizes[target]), "\U0010ffff"))
        region: RegionLoad = regions[max(0, place - 1)]
        return region

    def moves(self) -> list[Move]:
        """What was planned."""
        return [
            Move(name, region.table, self.names[self._origin[name]], self.names[place], reason)
            for name, (region, place, reason) in self._moved.items()
        ]


def _by_size(region: RegionLoad) -> tuple[int, str]:
    return region.size_bytes, region.name


# -- counts ----------------------------------------------------------------------------------------------


def _even_counts(layout: _Layout) -> None:
    """1: when a server is out of bounds, until no two differ by more than one."""
    counts, total = layout.counts, sum(layout.counts)
    low, high = slop_bounds(total, len(counts), layout.limits.slop)
    if low <= min(counts) and max(counts) <= high:
        return
    average = total / len(counts)
    while max(counts) - min(counts) > 1:
        source, target = counts.index(max(counts)), counts.index(min(counts))
        table = _most_skewed(layout, source, target)
        if table is None:
            return
        reason = f"servers have between {min(counts)} and {max(counts)} regions, {average:.1f} on average"
        layout.move(layout.fitting(table, source, target), source, target, reason)


def _most_skewed(layout: _Layout, source: int, target: int) -> str | None:
    """The table of which ``source`` has most beside what ``target`` has, if any may be moved."""
    if layout.is_full:
        return None
    best, most = None, -math.inf
    for table in layout.held[source]:
        counts = layout.tables[table]
        skew = counts[source] - counts[target]
        if (skew > most or (skew == most and best is not None and table < best)) and not layout.is_spent(
            table
        ):
            best, most = table, skew
    return best


# -- tables ----------------------------------------------------------------------------------------------


def _even_tables(layout: _Layout) -> None:
    """2: tables that are out of bounds, by moves where the servers' counts allow them, else by exchanges."""
    for table in sorted(layout.tables):
        counts, (low, high) = layout.tables[table], layout.table_bounds(table)
        if low <= min(counts) and max(counts) <= high:
            continue
        while max(counts) - min(counts) > 1 and _spread_table(layout, table):
            pass


def _spread_table(layout: _Layout, table: str) -> bool:
    """Move one region of the table from where most are to where fewest are; whether it could be done."""
    counts = layout.tables[table]
    source = min(layout.numbers, key=lambda server: (-counts[server], -layout.counts[server]))
    target = min(layout.numbers, key=lambda server: (counts[server], layout.counts[server]))
    average = sum(counts) / len(counts)
    reason = (
        f"servers have between {min(counts)} and {max(counts)} regions of table {table}, "
        f"{average:.1f} on average"
    )
    if layout.counts_allow(source, target):
        if not layout.may_move(table):
            return False
        layout.move(layout.fitting(table, source, target), source, target, reason)
        return True
    # The target has no fewer regions than the source and fewer of this table: so more of another one.
    back = _most_skewed(layout, target, source)
    if (
        back is None
        or layout.tables[back][target] <= layout.tables[back][source]
        or not layout.may_move(table, back)
    ):
        return False
    layout.move(layout.fitting(table, source, target), source, target, reason)
    in_return = f"in return for a region of table {table}, which is spread more evenly so"
    layout.move(layout.fitting(back, target, source), target, source, in_return)
    return True


# -- bytes and requests ----------------------------------------------------------------------------------


class _Exchange(NamedTuple):
    """A region that goes, and one that comes back for it, if any."""

    off: float  # how far it is from the transfer that was wished for
    goes: RegionLoad
    comes: RegionLoad | None


def _even_weights(layout: _Layout, kind: _Weight) -> bool:
    """3, 4: relieve servers above their bound as long as that can be done; whether anything was."""
    weights = layout.weights[kind.name]
    average = sum(weights) / len(weights)
    least: float = getattr(layout.limits, kind.least)
    bound = max(average * (1 + layout.limits.slop), average + least)
    worth = max(average * WORTH, least * WORTH)
    done, progress = False, True
    while progress:  # who could not be relieved is looked at again when others were
        progress, stuck = False, set[int]()
        while hot := [server for server in layout.numbers if weights[server] > bound and server not in stuck]:
            if layout.is_full:
                return done
            source = max(hot, key=lambda server: (weights[server], -server))
            if _relieve(layout, kind, source, average, worth):
                done = progress = True
            else:
                stuck.add(source)
    return done


def _relieve(layout: _Layout, kind: _Weight, source: int, average: float, worth: float) -> bool:
    """Take weight from ``source`` to one of the servers that have least; whether it could be done."""
    weights = layout.weights[kind.name]
    cold = [server for server in layout.numbers if weights[server] < average]
    for target in sorted(cold, key=lambda server: weights[server])[:PARTNERS]:
        found = _best_exchange(layout, kind, source, target, worth)
        if found is None:
            continue
        numbers = (min(weights), max(weights), average)
        reason = kind.words.format(*(_in_words(kind, number) for number in numbers))
        layout.move(found.goes, source, target, reason)
        if found.comes is not None:
            layout.move(found.comes, target, source, f"in return for a heavier region: {reason}")
        return True
    return False


def _best_exchange(
    layout: _Layout, kind: _Weight, source: int, target: int, worth: float
) -> _Exchange | None:
    """The exchange of one region for another, or for none, that comes nearest to making the two equal."""
    weights = layout.weights[kind.name]
    most = weights[source] - weights[target] - worth
    wished = (weights[source] - weights[target]) / 2
    partners = _Partners(layout, kind, source, target)
    best: _Exchange | None = None
    for table, regions in layout.held[source].items():
        choices = partners.of(table)
        for region in regions if choices else ():
            weight = getattr(region, kind.name)
            for other in (other for choice in choices for other in choice.near(weight - wished)):
                moved = weight - (0 if other is None else getattr(other, kind.name))
                if not worth <= moved <= most or not _sizes_stay(layout, kind, source, target, region, other):
                    continue
                found = _Exchange(abs(moved - wished), region, other)
                if best is None or _rank(found) < _rank(best):
                    best = found
    return best


def _rank(exchange: _Exchange) -> tuple[float, str, str]:
    return exchange.off, exchange.goes.name, exchange.comes.name if exchange.comes else ""


def _sizes_stay(
    layout: _Layout, kind: _Weight, source: int, target: int, goes: RegionLoad, comes: RegionLoad | None
) -> bool:
    """An exchange for the sake of requests leaves no server with too many bytes that had them not before."""
    if kind is _SIZE:
        return True
    sizes = layout.weights["size_bytes"]
    average = sum(sizes) / len(sizes)
    bound = max(average * (1 + layout.limits.slop), average + layout.limits.least_size_bytes)
    moved = goes.size_bytes - (comes.size_bytes if comes else 0)
    before = max(0.0, sizes[source] - bound) + max(0.0, sizes[target] - bound)
    after = max(0.0, sizes[source] - moved - bound) + max(0.0, sizes[target] + moved - bound)
    return after <= before


class _Choices:
    """Regions that may come in return, by weight; ``None`` among them if nothing has to."""

    def __init__(self, kind: _Weight, regions: Iterable[RegionLoad], *, nothing: bool) -> None:
        self._regions = sorted(regions, key=lambda region: (getattr(region, kind.name), region.name))
        self._weights = [getattr(region, kind.name) for region in self._regions]
        self._nothing = nothing

    def near(self, weight: float) -> Iterator[RegionLoad | None]:
        """Those whose weight is nearest."""
        place = bisect_left(self._weights, weight)
        yield from self._regions[max(0, place - 1) : place + 1]
        if self._nothing:
            yield None


class _Partners:
    """For each table of ``source``: what may come from ``target`` in return for one of its regions."""

    def __init__(self, layout: _Layout, kind: _Weight, source: int, target: int) -> None:
        self._layout, self._kind, self._source, self._target = layout, kind, source, target
        coming = [
            table
            for table in layout.held[target]
            if layout.table_allows(table, target, source) and layout.may_move(table)
        ]
        regions = [region for table in coming for region in layout.held[target][table]]
        self._any = _Choices(kind, regions, nothing=layout.counts_allow(source, target))

    def of(self, table: str) -> Sequence[_Choices]:
        """None: no region of this table may go."""
        layout = self._layout
        if not layout.may_move(table, table):
            return ()
        same = _Choices(self._kind, layout.held[self._target].get(table, ()), nothing=False)
        if layout.table_allows(table, self._source, self._target):
            return self._any, same
        return (same,)


def _in_words(kind: _Weight, number: float) -> str:
    if kind is _REQUESTS:
        return f"{number:,.0f}"
    unit = 0
    while number >= 1024 and unit < len(_UNITS) - 1:
        number, unit = number / 1024, unit + 1
    return f"{number:.1f} {_UNITS[unit]}"
