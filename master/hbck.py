"""hbck: whether hbase:meta, ZooKeeper, the servers and the files agree. Pure functions over facts.

Who gathers the facts: ``hbck_facts``. Who mends what can be mended without losing anything: ``hbck_repair``.

| kind | about | is |
|---|---|---|
| hole, overlap | table | rows that no region has, or two |
| lost_daughters | region | rows of a split region that no daughter has |
| no_regions | table | there is no region at all |
| unknown_table, unknown_namespace | table | regions without a table, a table without its namespace |
| schema_copy | table | the copy of the schema beside the regions is missing, damaged or another one |
| no_directory, no_manifest | region | nothing on disk says which files it has |
| damaged_manifest | region or path | what says it cannot be read |
| wrong_identity | region | its directory is another region's |
| missing_file, wrong_size | path | of a StoreFile that a region needs |
| orphan_directory | path | a region's directory that nothing names |
| not_served | region | nobody has it, and somebody should |
| wrong_state | region | it is served, and hbase:meta says it is not |
| double_assignment | region | a server has it beside the one that hbase:meta says |
| wrong_server | region | a server has it that hbase:meta does not say |
| served_though_disabled | region | of a disabled table |
| unknown_region | region | a server has it, and hbase:meta does not know it |
| wrong_meta_place | server | ZooKeeper says that hbase:meta is elsewhere |
| silent_server | server | it is alive and does not say what it has: its regions could not be looked at |
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from hyperbase.common.catalog import (
    BUILT_IN_NAMESPACES,
    META_DIRECTORY,
    CatalogSnapshot,
    RegionRow,
    region_directory,
)
from hyperbase.common.descriptors import TableDescriptor
from hyperbase.common.inconsistency import Inconsistency
from hyperbase.common.names import split_table_name
from hyperbase.common.region_info import META_REGION, RegionInfo, RegionState
from regionserver.region.manifest import Manifest


@dataclass(frozen=True, slots=True)
class DirectoryFacts:
    """A region's directory."""

    table: str
    path: str
    manifest: Manifest | None = None  # the newest
    error: str = ""  # why that cannot be read
    files: Mapping[str, int] = field(default_factory=dict)  # StoreFiles there: path → bytes

    @property
    def encoded_name(self) -> str:
        """Of the region whose directory it is."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Serving:
    """Who serves, while somebody does. Servers by name, regions by encoded name."""

    reports: Mapping[str, Sequence[RegionInfo]]  # what each server that answered has open
    alive: Collection[str]  # by ZooKeeper
    recovering: Collection[str] = ()  # dead servers whose regions are on their way
    meta_place: str = ""  # of hbase:meta, by ZooKeeper; empty: not looked at
    busy: Collection[tuple[str, str]] = ()  # (table, region) in the hands of procedures; "": the whole table

    def is_busy(self, info: RegionInfo) -> bool:
        """Whether a procedure has the region in hand: what is odd about it will not stay."""
        return (info.table, info.encoded_name) in self.busy or (info.table, "") in self.busy

    def is_busy_with(self, table: str) -> bool:
        """Whether a procedure has the table or any region of it in hand."""
        return any(name == table for name, _ in self.busy)


@dataclass(frozen=True, slots=True)
class Facts:
    """All there is to look at."""

    catalog: CatalogSnapshot
    directories: Sequence[DirectoryFacts]  # of every region, hbase:meta's too
    schemas: Mapping[str, TableDescriptor | None] = field(default_factory=dict)  # None: unreadable
    serving: Serving | None = None  # None: nobody serves, the store is closed

    def is_quiet(self, table: str) -> bool:
        """Whether nobody is changing the table."""
        return self.serving is None or not self.serving.is_busy_with(table)


Check = Callable[[Facts], Iterator[Inconsistency]]


def check(facts: Facts) -> list[Inconsistency]:
    """Everything that is not as it should be."""
    return [finding for one in CHECKS for finding in one(facts)]


def still_there(before: Iterable[Inconsistency], after: Iterable[Inconsistency]) -> list[Inconsistency]:
    """What two looks have found: anything else was a change under way."""
    seen = {finding.key for finding in before}
    return [finding for finding in after if finding.key in seen]


# -- tables and the chain of their regions ---------------------------------------------------------------


class Gap(NamedTuple):
    """Rows that no region has, or (``overlap``) two, from ``low`` up to ``high``; ``b""``: no bound."""

    overlap: bool
    low: bytes
    high: bytes

    def __str__(self) -> str:
        who = "two regions hold" if self.overlap else "no region holds"
        if not self.low:
            return f"{who} the rows before {self.high!r}" if self.high else f"{who} any rows"
        return f"{who} the rows from {self.low!r}" + (f" to {self.high!r}" if self.high else "")


def gaps(regions: Iterable[RegionInfo]) -> list[Gap]:
    """Where regions do not cover every row exactly once."""
    ordered = sorted(regions, key=lambda info: (info.start_key, info.last, info.end_key))
    found = []
    reached: bytes | None = b""  # rows before this are covered; None: all are
    for info in ordered:
        if reached is None or info.start_key < reached:
            ends = [key for key in (reached, info.end_key or None) if key is not None]
            found.append(Gap(True, info.start_key, min(ends, default=b"")))
        elif info.start_key > reached:
            found.append(Gap(False, reached, info.start_key))
        if reached is not None:
            reached = None if info.last else max(reached, info.end_key)
    if reached is not None and ordered:
        found.append(Gap(False, reached, b""))
    return found


def chain_problems(regions: Sequence[RegionInfo]) -> list[str]:
    """The same in words; a table without regions has one, too."""
    if not regions:
        return ["it has no region"]
    return [str(gap) for gap in gaps(regions)]


def check_chains(facts: Facts) -> Iterator[Inconsistency]:
    """Each table's regions cover every row exactly once."""
    for table in facts.catalog.descriptors:
        regions = facts.catalog.regions.get(table, [])
        if not regions:
            text = f"table {table} has no region: truncate it, or have hbase:meta written anew"
            yield Inconsistency("no_regions", table, text)
        for gap in gaps(regions):
            if gap.overlap:
                yield Inconsistency("overlap", table, f"table {table}: {gap}")
                continue
            parent = _parent_over(facts.catalog, table, gap)
            if parent is None:
                yield Inconsistency("hole", table, f"table {table}: {gap}")
            else:
                name = parent.region_name_text
                text = f"table {table}: {gap}, which were those of {name}; it was split"
                yield Inconsistency("lost_daughters", parent.encoded_name, text)


def _parent_over(catalog: CatalogSnapshot, table: str, gap: Gap) -> RegionInfo | None:
    """A split region that had all rows of the gap."""
    for parent in catalog.parents:
        ends = not parent.end_key or (gap.high and gap.high <= parent.end_key)
        if parent.table == table and parent.start_key <= gap.low and ends:
            return parent
    return None


def check_tables(facts: Facts) -> Iterator[Inconsistency]:
    """Tables, their regions, their namespaces and the copies of their schemas go together."""
    catalog = facts.catalog
    for table in sorted({row.info.table for row in catalog.rows.values()} - set(catalog.descriptors)):
        text = f"hbase:meta has regions of table {table}, and no such table"
        yield Inconsistency("unknown_table", table, text)
    for table, descriptor in catalog.descriptors.items():
        namespace = split_table_name(table)[0]
        if namespace not in (*BUILT_IN_NAMESPACES, *catalog.namespaces):
            text = f"table {table} is in namespace {namespace}, which does not exist: create it"
            yield Inconsistency("unknown_namespace", table, text)
        if facts.is_quiet(table) and facts.schemas.get(table) != descriptor:
            what = "cannot be read" if table in facts.schemas else "is missing"
            what = "is another one" if facts.schemas.get(table) is not None else what
            text = f"table {table}: the copy of its schema beside its regions {what}"
            yield Inconsistency("schema_copy", table, text)


# -- directories and files -------------------------------------------------------------------------------


def check_directories(facts: Facts) -> Iterator[Inconsistency]:
    """Each region has a directory that says it is its; every directory is a region's, or needed by one."""
    known = {region_directory(row.info): row for row in facts.catalog.rows.values()}
    there = {one.path: one for one in facts.directories}
    for path, row in known.items():
        yield from _check_directory(row, there.get(path))
    meta = there.get(META_DIRECTORY)
    if meta is not None and meta.error:
        yield Inconsistency("damaged_manifest", META_REGION.encoded_name, f"hbase:meta: {meta.error}")
    needed = _needed_directories(one for path, one in there.items() if path in known)
    needed |= {META_DIRECTORY, *_retired_directories(there, known)}
    for path, one in there.items():
        if path in known or path in needed or not facts.is_quiet(one.table):
            continue
        if one.error:
            yield Inconsistency("damaged_manifest", path, f"{one.error}; hbase:meta does not know the region")
        holds = f"it holds {len(one.files)} StoreFiles" if one.files else "it holds no StoreFile"
        text = f"{path} is of no region that hbase:meta knows, and no region needs its files; {holds}"
        yield Inconsistency("orphan_directory", path, text)


def _needed_directories(directories: Iterable[DirectoryFacts]) -> set[str]:
    """Those in which there are files that regions need."""
    return {
        entry.path.rsplit("/", 2)[0]
        for one in directories
        if one.manifest is not None
        for entry in one.manifest.files()
    }


def _retired_directories(there: Mapping[str, DirectoryFacts], known: Collection[str]) -> set[str]:
    """Of regions that known ones were made from: a janitor removes them when nobody needs their files."""
    retired: set[str] = set()
    left = [one for path, one in there.items() if path in known]
    while left:
        one = left.pop()
        for parent in () if one.manifest is None else one.manifest.parents:
            path = f"{one.path.rpartition('/')[0]}/{parent.region}"
            if path in there and path not in retired:
                retired.add(path)
                left.append(there[path])
    return retired


def _check_directory(row: RegionRow, found: DirectoryFacts | None) -> Iterator[Inconsistency]:
    info = row.info
    name, path = info.region_name_text, region_directory(info)
    never_opened = row.state is RegionState.CLOSED and row.open_sequence_id is None
    if found is None:
        if not never_opened:
            yield Inconsistency(
                "no_directory", info.encoded_name, f"region {name} has no directory {path}: restore it"
            )
    elif found.error:
        yield Inconsistency("damaged_manifest", info.encoded_name, f"region {name}: {found.error}")
    elif found.manifest is None:
        if not never_opened:
            text = f"region {name}: nothing in {path} says which files are its; restore {path}/.manifest"
            yield Inconsistency("no_manifest", info.encoded_name, text)
    elif (own := found.manifest.region) is not None and own != replace(info, offline=False, split=False):
        text = f"region {name}: {path} says that it is of {own.region_name_text}"
        yield Inconsistency("wrong_identity", info.encoded_name, text)


def check_files(facts: Facts) -> Iterator[Inconsistency]:
    """Every StoreFile that a region names is there, and as long as it should be."""
    known = {region_directory(row.info): row.info for row in facts.catalog.rows.values()}
    sizes = {path: size for one in facts.directories for path, size in one.files.items()}
    told: set[str] = set()
    for one in facts.directories:
        info = META_REGION if one.path == META_DIRECTORY else known.get(one.path)
        for entry in () if info is None or one.manifest is None else one.manifest.files():
            size = sizes.get(entry.path)
            if entry.path in told or (size is not None and (entry.reference or size == entry.size_bytes)):
                continue
            told.add(entry.path)
            name = (info or META_REGION).region_name_text
            if size is None:
                text = f"{entry.path} is missing: region {name} needs it; restore it"
                yield Inconsistency("missing_file", entry.path, text)
            elif entry.size_bytes:
                text = f"{entry.path} has {size:,} bytes, region {name} says {entry.size_bytes:,}; restore it"
                yield Inconsistency("wrong_size", entry.path, text)


# -- who serves what -------------------------------------------------------------------------------------


def check_serving(facts: Facts) -> Iterator[Inconsistency]:
    """Each region of an enabled table is on the one server that hbase:meta says, and nothing else is."""
    serving = facts.serving
    if serving is None:
        return
    for server in sorted(set(serving.alive) - set(serving.reports)):
        text = f"server {server} is alive and does not say which regions it has"
        yield Inconsistency("silent_server", server, text)
    holders: dict[str, list[str]] = {}
    infos: dict[str, RegionInfo] = {}
    for server, regions in serving.reports.items():
        for info in regions:
            holders.setdefault(info.encoded_name, []).append(server)
            infos[info.encoded_name] = info
    yield from _check_meta(serving, holders.pop(META_REGION.encoded_name, []))
    for row in facts.catalog.rows.values():
        servers = holders.pop(row.info.encoded_name, [])
        if not serving.is_busy(row.info):
            yield from _check_region(facts, serving, row, servers)
    for name, servers in holders.items():
        if facts.is_quiet(infos[name].table):
            for server in servers:
                text = f"{infos[name].region_name_text} is open on {server}: hbase:meta knows no such region"
                yield Inconsistency("unknown_region", name, text, server)


def _check_meta(serving: Serving, servers: Sequence[str]) -> Iterator[Inconsistency]:
    name, place = META_REGION.encoded_name, serving.meta_place
    if not servers:
        yield Inconsistency("not_served", name, "hbase:meta is served by nobody")
    if len(servers) > 1:
        for server in servers:
            if server != place:
                text = f"hbase:meta is open on {server}, and by ZooKeeper on {place or 'no server'}"
                yield Inconsistency("double_assignment", name, text, server)
    elif servers and place and servers[0] != place:
        text = f"hbase:meta is open on {servers[0]}, by ZooKeeper on {place}"
        yield Inconsistency("wrong_meta_place", servers[0], text)


def _check_region(
    facts: Facts, serving: Serving, row: RegionRow, servers: Sequence[str]
) -> Iterator[Inconsistency]:
    info, expected = row.info, _holder(row)
    name, encoded = info.region_name_text, info.encoded_name
    if info.split:
        for server in servers:
            yield Inconsistency(
                "unknown_region", encoded, f"{name} was split, and is open on {server}", server
            )
        return
    if not facts.catalog.enabled(info.table):
        for server in servers:
            text = f"region {name} is open on {server}, and table {info.table} is disabled"
            yield Inconsistency("served_though_disabled", encoded, text, server)
        return
    if not servers:
        yield from _check_absent(serving, row, expected)
        return
    if row.state is RegionState.OPEN and row.server is None:
        expected = servers[0]  # of a store of one process, which writes no servers
    if row.state is not RegionState.OPEN and expected in servers:
        text = f"region {name} is open on {expected}, hbase:meta says {row.state.value}"
        yield Inconsistency("wrong_state", encoded, text, expected)
    for server in servers:
        if server != expected:
            kind = "double_assignment" if len(servers) > 1 else "wrong_server"
            where = f"on {expected}" if expected else f"nowhere ({row.state.value})"
            text = f"region {name} is open on {server}, by hbase:meta {where}"
            yield Inconsistency(kind, encoded, text, server)


def _check_absent(serving: Serving, row: RegionRow, expected: str) -> Iterator[Inconsistency]:
    """No server that answered has a region that should be served."""
    if expected in serving.recovering or (expected in serving.alive and expected not in serving.reports):
        return  # it is on its way; or its server says nothing, which is told already
    where = f" on {expected}" if expected else ""
    if expected and expected not in serving.alive:
        where += ", which is dead"
    text = f"region {row.info.region_name_text} is served by nobody; hbase:meta says {row.state.value}{where}"
    yield Inconsistency("not_served", row.info.encoded_name, text)


def _holder(row: RegionRow) -> str:
    """The only server that may have the region open, by its row; empty: none."""
    if row.state is RegionState.OPENING:
        return str(row.given_to or "")
    if row.state in (RegionState.OPEN, RegionState.CLOSING):
        return str(row.server or "")
    return ""


CHECKS: tuple[Check, ...] = (check_chains, check_tables, check_directories, check_files, check_serving)
