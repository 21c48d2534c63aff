"""Every kind of finding of hbck, from facts made by hand; and that there is none in a sound store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hyperbase.common.catalog import (
    DISABLED,
    ENABLED,
    META_DIRECTORY,
    CatalogSnapshot,
    RegionRow,
    region_directory,
)
from hyperbase.common.descriptors import ColumnFamilyDescriptor, TableDescriptor
from hyperbase.common.inconsistency import Inconsistency
from hyperbase.common.region_info import META_REGION, RegionInfo, RegionState
from hyperbase.common.server_name import ServerName
from master.hbck import DirectoryFacts, Facts, Serving, chain_problems, check, gaps, still_there
from regionserver.region.manifest import FileEntry, Manifest, ParentManifest

TABLE = TableDescriptor("t", [ColumnFamilyDescriptor(b"f")])
ONE, TWO, THREE = (ServerName(name, 1, 1) for name in ("one", "two", "three"))
LOW, HIGH = RegionInfo("t", b"", b"m", 1), RegionInfo("t", b"m", b"", 1)
PARENT = RegionInfo("t", b"", b"m", 0, offline=True, split=True)


def path_of(info: RegionInfo, name: str = "1") -> str:
    return f"{region_directory(info)}/f/{name}.arrow"


def directory(info: RegionInfo, *paths: str) -> DirectoryFacts:
    """With files of its own, and a manifest that names them."""
    own = paths or (path_of(info),)
    entries = tuple(FileEntry(path, size_bytes=10) for path in own)
    return DirectoryFacts(
        info.table,
        region_directory(info),
        Manifest(1, stores={b"f": entries}, region=replace(info, offline=False, split=False)),
        files={path: 10 for path in own if path.startswith(region_directory(info))},
    )


class World:
    """A sound cluster: two servers, a table of two regions, hbase:meta on the first; to be spoilt."""

    def __init__(self) -> None:
        self.catalog = CatalogSnapshot({"t": TABLE}, {"t": ENABLED})
        self.directories = {
            META_DIRECTORY: DirectoryFacts(
                "hbase:meta", META_DIRECTORY, Manifest(1, region=META_REGION), files={}
            )
        }
        self.reports: dict[str, list[RegionInfo]] = {str(ONE): [META_REGION], str(TWO): []}
        self.schemas: dict[str, TableDescriptor | None] = {"t": TABLE}
        self.serving: dict[str, Any] = {"alive": [str(ONE), str(TWO)], "meta_place": str(ONE)}
        self.add(LOW, ONE)
        self.add(HIGH, TWO)

    def add(self, info: RegionInfo, server: ServerName | None = None, **row: Any) -> None:
        """A region, as it should be."""
        values = {"state": RegionState.OPEN, "server": server, "given_to": server, "open_sequence_id": 1}
        self.catalog.rows[info.region_name] = RegionRow(info, **{**values, **row})
        if info.split:
            self.catalog.parents.append(info)
        else:
            self.catalog.regions.setdefault(info.table, []).append(info)
        self.directories[region_directory(info)] = directory(info)
        if server is not None:
            self.reports.setdefault(str(server), []).append(info)

    def drop(self, info: RegionInfo) -> None:
        """Its row is gone."""
        del self.catalog.rows[info.region_name]
        self.catalog.regions[info.table].remove(info)

    def row(self, info: RegionInfo, **changes: Any) -> None:
        self.catalog.rows[info.region_name] = replace(self.catalog.rows[info.region_name], **changes)

    def spoil(self, info: RegionInfo, **changes: Any) -> None:
        """Its directory."""
        path = region_directory(info)
        self.directories[path] = replace(self.directories[path], **changes)

    def found(self, serving: bool = True) -> list[Inconsistency]:
        served = Serving(self.reports, **self.serving) if serving else None
        return check(Facts(self.catalog, list(self.directories.values()), self.schemas, served))

    def kinds(self, serving: bool = True) -> list[tuple[str, str]]:
        return [(finding.kind, finding.about) for finding in self.found(serving)]


@pytest.fixture
def world() -> World:
    return World()


def test_a_sound_cluster_has_no_findings(world: World) -> None:
    world.add(PARENT, state=RegionState.SPLIT)
    assert world.found() == []
    assert world.found(serving=False) == []


# -- the chain of regions --------------------------------------------------------------------------------


def test_holes(world: World) -> None:
    world.drop(HIGH)
    world.add(RegionInfo("t", b"p", b"z", 2), TWO)
    world.reports[str(TWO)].remove(HIGH)
    del world.directories[region_directory(HIGH)]
    assert world.kinds() == [("hole", "t"), ("hole", "t")]
    assert [finding.text for finding in world.found()] == [
        "table t: no region holds the rows from b'm' to b'p'",
        "table t: no region holds the rows from b'z'",
    ]


def test_overlaps(world: World) -> None:
    world.add(RegionInfo("t", b"k", b"p", 2), TWO)
    assert world.kinds() == [("overlap", "t"), ("overlap", "t")]
    assert world.found()[0].text == "table t: two regions hold the rows from b'k' to b'm'"


def test_a_split_region_whose_daughters_are_gone(world: World) -> None:
    world.add(PARENT, state=RegionState.SPLIT)
    world.drop(LOW)
    world.reports[str(ONE)].remove(LOW)
    del world.directories[region_directory(LOW)]
    assert world.kinds() == [("lost_daughters", PARENT.encoded_name)]


def test_gaps_of_any_regions() -> None:
    def infos(*bounds: tuple[bytes, bytes]) -> list[RegionInfo]:
        return [RegionInfo("t", low, high, number) for number, (low, high) in enumerate(bounds)]

    assert gaps(infos((b"", b""))) == []
    assert chain_problems(infos((b"a", b"b"))) == [
        "no region holds the rows before b'a'",
        "no region holds the rows from b'b'",
    ]
    assert chain_problems(infos((b"", b""), (b"", b"m"))) == ["two regions hold the rows before b'm'"]
    assert chain_problems(infos((b"", b""), (b"", b""))) == ["two regions hold any rows"]
    assert chain_problems(infos((b"", b"z"), (b"a", b"b"), (b"c", b"d"), (b"z", b""))) == [
        "two regions hold the rows from b'a' to b'b'",
        "two regions hold the rows from b'c' to b'd'",
    ]
    assert chain_problems([]) == ["it has no region"]


# -- tables ----------------------------------------------------------------------------------------------


def test_tables_without_regions_regions_without_tables_and_lost_namespaces(world: World) -> None:
    other = TableDescriptor("ns:u", [ColumnFamilyDescriptor(b"f")])
    world.catalog.descriptors["ns:u"] = other
    world.schemas["ns:u"] = other
    lost = RegionInfo("v", b"", b"", 1)
    world.add(lost)
    assert world.kinds(serving=False) == [
        ("no_regions", "ns:u"),
        ("unknown_table", "v"),
        ("unknown_namespace", "ns:u"),
    ]


@pytest.mark.parametrize(
    ("schemas", "words"),
    [
        ({}, "is missing"),
        ({"t": None}, "cannot be read"),
        ({"t": TableDescriptor("t", [ColumnFamilyDescriptor(b"g")])}, "is another one"),
    ],
)
def test_copies_of_schemas(world: World, schemas: Any, words: str) -> None:
    world.schemas = schemas
    assert world.kinds() == [("schema_copy", "t")]
    assert words in world.found()[0].text
    world.serving["busy"] = [("t", "")]  # it is being altered
    assert world.found() == []


# -- directories and files -------------------------------------------------------------------------------


def test_regions_without_directory_or_manifest(world: World) -> None:
    del world.directories[region_directory(LOW)]
    world.spoil(HIGH, manifest=None)
    assert world.kinds() == [("no_directory", LOW.encoded_name), ("no_manifest", HIGH.encoded_name)]
    for info in (LOW, HIGH):  # they were never opened: a table that is just being made
        world.row(info, state=RegionState.CLOSED, open_sequence_id=None, server=None)
    world.catalog.states["t"] = DISABLED
    assert world.kinds(serving=False) == []


def test_damaged_manifests(world: World) -> None:
    world.spoil(LOW, manifest=None, error="it is damaged")
    world.spoil(META_REGION, manifest=None, error="damaged, too")
    orphan = RegionInfo("t", b"", b"", 9)
    world.directories["x"] = replace(
        directory(orphan), path=region_directory(orphan), manifest=None, error="and here"
    )
    assert world.kinds() == [
        ("damaged_manifest", LOW.encoded_name),
        ("damaged_manifest", META_REGION.encoded_name),
        ("damaged_manifest", region_directory(orphan)),
        ("orphan_directory", region_directory(orphan)),
    ]


def test_a_directory_that_says_it_is_of_another_region(world: World) -> None:
    manifest = world.directories[region_directory(LOW)].manifest
    assert manifest is not None
    world.spoil(LOW, manifest=replace(manifest, region=RegionInfo("t", b"", b"k", 1)))
    assert world.kinds() == [("wrong_identity", LOW.encoded_name)]
    world.spoil(LOW, manifest=replace(manifest, region=None))  # an older version does not say
    assert world.kinds() == []


def test_files_that_are_missing_or_of_another_length(world: World) -> None:
    world.spoil(LOW, files={})
    world.spoil(HIGH, files={path_of(HIGH): 9})
    assert world.kinds() == [("missing_file", path_of(LOW)), ("wrong_size", path_of(HIGH))]
    assert "has 9 bytes" in world.found()[1].text


def test_references_to_files_of_a_parent(world: World) -> None:
    manifest = world.directories[region_directory(LOW)].manifest
    assert manifest is not None
    entry = FileEntry(path_of(PARENT), stop=b"m", reference=True, size_bytes=3)
    world.spoil(LOW, manifest=replace(manifest, stores={b"f": (entry,)}), files={})
    assert world.kinds() == [("missing_file", path_of(PARENT))]
    world.directories["p"] = directory(PARENT)  # merged: hbase:meta does not know it, a child needs it
    assert world.kinds() == []


def test_directories_that_nothing_names(world: World) -> None:
    orphan = RegionInfo("t", b"", b"", 9)
    world.directories["o"] = directory(orphan)
    assert world.kinds() == [("orphan_directory", region_directory(orphan))]
    assert "it holds 1 StoreFiles" in world.found()[0].text
    world.serving["busy"] = [("t", LOW.encoded_name)]  # a split may be making it
    assert world.kinds() == []


def test_regions_that_others_were_made_from_are_no_leftovers(world: World) -> None:
    """A janitor removes them, when it comes to it."""
    parent, grandparent = RegionInfo("t", b"", b"k", 0), RegionInfo("t", b"", b"", 0)
    world.directories["p"] = directory(parent)
    world.directories["g"] = directory(grandparent)
    for child, made_from in ((LOW, parent), (parent, grandparent)):
        place = region_directory(child) if child is LOW else "p"
        manifest = world.directories[place].manifest
        assert manifest is not None
        parents = (ParentManifest(made_from.encoded_name, 1, 1),)
        world.directories[place] = replace(
            world.directories[place], manifest=replace(manifest, parents=parents)
        )
    world.directories = {one.path: one for one in world.directories.values()}
    assert world.kinds() == []


# -- who serves what -------------------------------------------------------------------------------------


def test_a_region_that_nobody_serves(world: World) -> None:
    world.reports[str(ONE)].remove(LOW)
    assert world.kinds() == [("not_served", LOW.encoded_name)]
    for state in (RegionState.CLOSED, RegionState.FAILED_OPEN):
        world.row(LOW, state=state)
        assert world.kinds() == [("not_served", LOW.encoded_name)]
        assert state.value in world.found()[0].text
    world.serving["busy"] = [("t", LOW.encoded_name)]
    assert world.kinds() == []
    world.serving["busy"] = []
    world.catalog.states["t"] = DISABLED
    world.reports[str(TWO)].remove(HIGH)
    assert world.kinds() == []


def test_a_region_of_a_dead_server(world: World) -> None:
    world.row(LOW, server=THREE)
    world.reports[str(ONE)].remove(LOW)
    assert world.kinds() == [("not_served", LOW.encoded_name)]
    assert "on three,1,1, which is dead" in world.found()[0].text
    world.serving["recovering"] = [str(THREE)]
    assert world.kinds() == []


def test_a_server_that_says_nothing(world: World) -> None:
    del world.reports[str(TWO)]
    assert world.kinds() == [("silent_server", str(TWO))]


def test_a_region_on_two_servers(world: World) -> None:
    world.reports[str(TWO)].append(LOW)
    (finding,) = world.found()
    assert (finding.kind, finding.about, finding.server) == (
        "double_assignment",
        LOW.encoded_name,
        str(TWO),
    )


def test_a_region_where_hbase_meta_does_not_say(world: World) -> None:
    world.reports[str(ONE)].remove(LOW)
    world.reports[str(TWO)].append(LOW)
    (finding,) = world.found()
    assert (finding.kind, finding.about, finding.server) == ("wrong_server", LOW.encoded_name, str(TWO))
    world.row(LOW, state=RegionState.CLOSED)
    (finding,) = world.found()
    assert finding.kind == "wrong_server"
    assert "nowhere (CLOSED)" in finding.text


def test_a_region_that_is_served_and_hbase_meta_says_that_it_is_not_yet(world: World) -> None:
    world.row(LOW, state=RegionState.OPENING)
    assert world.kinds() == [("wrong_state", LOW.encoded_name)]
    world.row(LOW, state=RegionState.CLOSING)
    assert world.kinds() == [("wrong_state", LOW.encoded_name)]


def test_a_region_of_a_disabled_table(world: World) -> None:
    world.catalog.states["t"] = DISABLED
    assert world.kinds() == [
        ("served_though_disabled", LOW.encoded_name),
        ("served_though_disabled", HIGH.encoded_name),
    ]


def test_regions_that_hbase_meta_does_not_know(world: World) -> None:
    unknown = RegionInfo("t", b"", b"", 9)
    world.reports[str(TWO)].append(unknown)
    world.add(PARENT, state=RegionState.SPLIT)
    world.reports[str(ONE)].append(replace(PARENT, offline=False, split=False))
    assert sorted(world.kinds()) == sorted(
        [("unknown_region", unknown.encoded_name), ("unknown_region", PARENT.encoded_name)]
    )


def test_where_hbase_meta_is(world: World) -> None:
    name = META_REGION.encoded_name
    world.serving["meta_place"] = str(TWO)
    assert world.kinds() == [("wrong_meta_place", str(ONE))]
    world.reports[str(TWO)].append(META_REGION)
    assert [(f.kind, f.about, f.server) for f in world.found()] == [("double_assignment", name, str(ONE))]
    for report in world.reports.values():
        report.remove(META_REGION)
    assert world.kinds() == [("not_served", name)]


def test_a_store_of_one_process_writes_no_servers(world: World) -> None:
    for info in (LOW, HIGH):
        world.row(info, server=None, given_to=None)
    assert world.kinds() == []


def test_what_only_one_look_has_found_was_a_change_under_way(world: World) -> None:
    world.reports[str(ONE)].remove(LOW)
    first = world.found()
    world.reports[str(ONE)].append(LOW)
    world.reports[str(TWO)].remove(HIGH)
    assert still_there(first, world.found()) == []
    world.reports[str(ONE)].remove(LOW)
    assert [finding.about for finding in still_there(first, world.found())] == [LOW.encoded_name]


def test_findings_travel_as_plain_values(world: World) -> None:
    world.reports[str(ONE)].remove(LOW)
    (finding,) = world.found()
    assert Inconsistency.from_dict({**finding.to_dict(), "added later": 1}) == finding
