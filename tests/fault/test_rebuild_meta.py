"""hbase:meta is lost and written anew from the regions' directories: all tables and rows are there."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from hyperbase import ColumnFamilyDescriptor, Connection, TableDescriptor
from hyperbase.common.catalog import META_DIRECTORY, region_directory
from hyperbase.common.errors import StoreFormatException
from hyperbase.common.region_info import RegionInfo
from hyperbase.embedded.store import EmbeddedStore
from master.hbck import DirectoryFacts, check
from master.hbck_facts import facts_of_disk, read_closed_catalog, read_directories, read_schemas
from master.rebuild import REPLACED, rebuild_meta
from master.rebuild_plan import EVERY_VERSION, RebuildPlan, plan_rebuild
from regionserver.region.children import Parent, child_manifest
from regionserver.region.manifest import FileEntry, Manifest, ManifestStore, next_manifest
from regionserver.region.table_files import forget_descriptor, keep_descriptor, regions_of_table
from regionserver.storage.filesystem import FileSystem
from regionserver.storage.memory_filesystem import MemoryFileSystem, SimulatedCrash
from tests.support.cluster_engines import OTHER, REGION, TABLE, ServerEngine, put, rows_of
from tests.support.engine import memory_connection, store_of

Contents = dict[str, dict[bytes, dict[bytes, bytes]]]


def contents(connection: Connection) -> Contents:
    """Every row of every table."""
    return {
        name: {row: dict(data) for row, data in connection.table(name).scan()}
        for name in connection.admin.list_tables()
    }


def shape(connection: Connection) -> dict[str, Any]:
    """Schemas and regions."""
    admin = connection.admin
    return {name: (admin.describe_table(name), admin.regions(name)) for name in admin.list_tables()}


def lose_meta(fs: FileSystem) -> None:
    """For good: a power loss does not bring it back."""
    fs.delete_tree(META_DIRECTORY)
    fs.make_directory(META_DIRECTORY)


def assert_consistent(fs: FileSystem) -> None:
    assert check(facts_of_disk(fs, read_closed_catalog(fs))) == []


class Life:
    """Random work on a store, with what it should hold then.

    Directories that were removed may be back after a power loss, and with them tables that were dropped:
    where that is how a life ends, nothing is dropped in it.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.power_fails = bool(seed % 2)
        self.fs = MemoryFileSystem()
        self.connection = memory_connection(self.fs)
        self.rows: Contents = {}
        self.made = 0

    def table(self) -> str:
        return self.random.choice(sorted(self.rows))

    def step(self) -> None:
        verbs: list[Callable[[], object]] = [self.put] * 6
        verbs += [self.flush, self.split, self.split, self.merge, self.compact, self.alter, self.delete]
        if len(self.rows) < 2:
            verbs = [self.create]
        elif self.random.random() < 0.1:
            verbs = [self.create, self.restart]
            verbs += [] if self.power_fails else [self.drop, self.truncate]
        self.random.choice(verbs)()

    def key(self) -> bytes:
        return b"%03d" % self.random.randrange(400)

    def create(self) -> None:
        self.made += 1
        name = self.random.choice(["t", "ns:t"]) + str(self.made)
        if name.startswith("ns:") and "ns" not in self.connection.admin.list_namespaces():
            self.connection.admin.create_namespace("ns")
        splits = sorted({self.key() for _ in range(self.random.randrange(3))}) or None
        families = [ColumnFamilyDescriptor("f", max_versions=self.random.randint(1, 5))]
        self.connection.admin.create_table(TableDescriptor(name, families), splits)
        self.rows[name] = {}

    def put(self) -> None:
        name = self.table()
        for _ in range(self.random.randint(1, 20)):
            row, value = self.key(), self.random.randbytes(20)
            self.connection.table(name).put(row, {b"f:q": value})
            self.rows[name][row] = {b"f:q": value}

    def delete(self) -> None:
        name, row = self.table(), self.key()
        self.connection.table(name).delete(row)
        self.rows[name].pop(row, None)

    def flush(self) -> None:
        self.connection.admin.flush(self.table())

    def compact(self) -> None:
        self.connection.admin.major_compact(self.table())

    def split(self) -> None:
        name, key = self.table(), self.key()
        if key not in [info.start_key for info in self.connection.admin.regions(name)]:
            self.connection.admin.split(name, key)

    def merge(self) -> None:
        regions = self.connection.admin.regions(self.table())
        if len(regions) > 1:
            at = self.random.randrange(len(regions) - 1)
            self.connection.admin.merge_regions(*regions[at : at + 2])

    def alter(self) -> None:
        descriptor = self.connection.admin.describe_table(self.table())
        family = replace(descriptor.family(b"f"), max_versions=self.random.randint(1, 5))
        self.connection.admin.alter_table(descriptor.with_family(family, modify=True))

    def drop(self) -> None:
        name = self.table()
        self.connection.delete_table(name, disable=True)
        del self.rows[name]

    def truncate(self) -> None:
        name = self.table()
        self.connection.admin.disable_table(name)
        self.connection.admin.truncate_table(name, preserve_splits=self.random.random() < 0.5)
        self.rows[name] = {}

    def restart(self) -> None:
        self.connection.close()
        self.connection.open()

    def end(self) -> MemoryFileSystem:
        """The disk, after a clean end or a crash."""
        if self.random.random() < 0.5:
            self.connection.close()
            return self.fs
        store_of(self.connection).crash()
        return self.fs.after_crash(self.random.randrange(1000)) if self.power_fails else self.fs.after_kill()


@pytest.mark.parametrize("seed", range(40))
def test_everything_is_there_after_any_life(seed: int) -> None:
    life = Life(seed)
    for _ in range(life.random.randint(3, 60)):
        life.step()
    before = shape(life.connection)
    assert contents(life.connection) == life.rows
    disk = life.end()
    if life.random.random() < 0.8:
        lose_meta(disk)
    plan = rebuild_meta(disk)
    assert plan.problems == []
    connection = memory_connection(disk)
    assert contents(connection) == life.rows
    assert shape(connection) == before
    for name in life.rows:
        connection.table(name).put(b"new", {b"f:q": b"v"})
    connection.close()
    connection.open()
    assert all(rows[b"new"] == {b"f:q": b"v"} for rows in contents(connection).values())
    assert connection.admin.hbck() == []
    connection.close()
    assert_consistent(disk)


# -- changes that a crash cut short, and hbase:meta lost with it -----------------------------------------


def filled(**options: Any) -> tuple[MemoryFileSystem, Connection, Contents]:
    fs = MemoryFileSystem()
    connection = memory_connection(fs)
    connection.create_table("t", {"f": {}}, **options)
    for number in range(100):
        connection.table("t").put(b"%02d" % number, {b"f:q": b"%d" % number})
    return fs, connection, contents(connection)


def interrupted(
    monkeypatch: pytest.MonkeyPatch, method: str, change: Callable[[Connection], object], **options: Any
) -> tuple[MemoryFileSystem, Contents]:
    """A change whose process dies before the catalogue's ``method`` has written anything."""
    fs, connection, rows = filled(**options)

    def die(*arguments: Any, **named: Any) -> None:
        fs.dead = True
        raise SimulatedCrash(method)

    store = store_of(connection)
    monkeypatch.setattr(store.catalog, method, die)
    with pytest.raises(BaseException):  # noqa: B017 - whatever comes of it: the process is dead
        change(connection)
    store.engine.abandon()
    return fs.after_crash(), rows


def split(connection: Connection) -> None:
    connection.admin.split("t", b"50")


def merge(connection: Connection) -> None:
    connection.admin.merge_regions(*connection.admin.regions("t"))


def truncate(connection: Connection) -> None:
    connection.admin.disable_table("t")
    connection.admin.truncate_table("t")


@pytest.mark.parametrize(
    ("method", "change", "options"),
    [
        ("split", split, {}),
        ("merge", merge, {"splits": [b"50"]}),
        ("truncate", truncate, {}),
        ("truncate", truncate, {"splits": [b"50"]}),
    ],
)
@pytest.mark.parametrize("opened_since", [False, True])
def test_a_change_before_its_commit_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, method: str, change: Any, options: Any, opened_since: bool
) -> None:
    disk, rows = interrupted(monkeypatch, method, change, **options)
    if opened_since:
        connection = memory_connection(disk)  # its leftovers are removed, and the parents go on
        if not connection.admin.is_table_enabled("t"):
            connection.admin.enable_table("t")
        connection.table("t").put(b"more", {b"f:q": b"v"})
        rows["t"][b"more"] = {b"f:q": b"v"}
        store_of(connection).crash()
    lose_meta(disk)
    assert rebuild_meta(disk).problems == []
    connection = memory_connection(disk)
    assert contents(connection) == rows
    assert connection.admin.hbck() == []


@pytest.mark.parametrize(("change", "options"), [(split, {}), (merge, {"splits": [b"50"]})])
def test_children_of_a_change_that_was_given_up_are_left_out_though_they_could_not_be_removed(
    monkeypatch: pytest.MonkeyPatch, change: Any, options: Any
) -> None:
    """The parents took more edits since, in files or in the log only."""
    for flush in (False, True):
        fs, connection, _ = filled(**options)
        store = store_of(connection)

        def refuse(*arguments: Any) -> None:
            raise OSError(28, "no space left")

        with monkeypatch.context() as patch:
            patch.setattr(store.catalog, change.__name__, refuse)
            patch.setattr(EmbeddedStore, "delete_directory", lambda self, path: None)
            with pytest.raises(OSError, match="no space left"):
                change(connection)
        connection.table("t").put(b"more", {b"f:q": b"v"})
        rows = contents(connection)
        if flush:
            connection.admin.flush("t")
        store.crash()
        disk = fs.after_crash()
        lose_meta(disk)
        plan = rebuild_meta(disk)
        assert plan.problems == []
        assert any("the change never took place" in note for note in plan.notes)
        assert contents(memory_connection(disk)) == rows


def test_it_can_be_interrupted_anywhere_and_begun_again() -> None:
    fs, connection, rows = filled(splits=[b"50"])
    connection.admin.flush("t")
    before = shape(connection)
    connection.close()
    steps = 0
    while True:
        disk = fs.after_crash()
        if steps % 2:
            lose_meta(disk)
        disk.step_hook = killer(disk, steps)
        with contextlib.suppress(SimulatedCrash):
            rebuild_meta(disk)
            break
        disk.step_hook = None
        left = disk.after_crash(steps)
        again = left.after_crash()
        with contextlib.suppress(StoreFormatException):  # there is none: then nobody opens the store
            assert contents(memory_connection(left)) == rows  # the old or the new one: never an empty one
        assert rebuild_meta(again).problems == []
        found = memory_connection(again)
        assert (contents(found), shape(found)) == (rows, before)
        steps += 1
    assert steps > 10


def killer(disk: MemoryFileSystem, steps: int) -> Callable[[str, int], None]:
    """A hook: the process dies after that many steps."""
    passed = itertools.count()

    def hook(verb: str, number: int) -> None:
        if next(passed) >= steps:
            disk.dead = True
            raise SimulatedCrash(verb)

    return hook


def test_what_there_was_is_kept() -> None:
    fs, connection, rows = filled()
    connection.close()
    before = fs.list(f"{META_DIRECTORY}/info")
    assert before
    rebuild_meta(fs)
    (when,) = fs.list(REPLACED)
    assert fs.list(f"{REPLACED}/{when}/info") == before
    assert contents(memory_connection(fs)) == rows


# -- a cluster's logs ------------------------------------------------------------------------------------


def test_edits_in_the_logs_of_a_clusters_servers_are_brought_into_files() -> None:
    fs = MemoryFileSystem()
    keep_descriptor(fs, TABLE)
    one = ServerEngine(fs, "one")
    region = one.open(REGION)
    put(region, b"a")
    one.engine.flush(region)
    put(region, b"b")
    aside = one.set_log_aside(seal=False)  # the recovery of this server had begun
    two = ServerEngine(fs, "two")
    put(two.open(OTHER), b"x", b"y")
    two.engine.abandon()
    assert fs.list(two.log)
    plan = rebuild_meta(fs)
    assert plan.problems == []
    assert not fs.exists(aside)
    assert not fs.exists(two.log)
    assert fs.list("oldWALs") == ["one,1,1", "two,1,1"]
    connection = memory_connection(fs)
    assert sorted(contents(connection)["t"]) == [b"a", b"b", b"x", b"y"]
    assert connection.admin.regions("t") == [REGION, OTHER]
    connection.close()
    assert rows_of(ServerEngine(fs, "three").open(OTHER)) == [b"x", b"y"]


# -- the plan --------------------------------------------------------------------------------------------

T = TableDescriptor("t", [ColumnFamilyDescriptor(b"f", max_versions=3)])
OWN = FileEntry("data/default/t/x/f/1.arrow", size_bytes=1)


def directory(info: RegionInfo, *files: FileEntry, **changes: Any) -> DirectoryFacts:
    manifest = Manifest(1, stores={b"f": files}, region=info)
    sizes = {entry.path: 1 for entry in files}
    return DirectoryFacts("t", region_directory(info), replace(manifest, **changes), files=sizes)


def planned(*directories: DirectoryFacts, schema: TableDescriptor | None = T, **edits: int) -> RebuildPlan:
    return plan_rebuild(directories, {} if schema is None else {"t": schema}, edits, 1000)


def chosen(plan: RebuildPlan) -> list[RegionInfo]:
    (table,) = plan.tables
    return list(table.regions)


def test_holes_get_new_regions() -> None:
    info = RegionInfo("t", b"c", b"m", 1)
    plan = planned(directory(info, OWN))
    assert chosen(plan) == [RegionInfo("t", b"", b"c", 1000), info, RegionInfo("t", b"m", b"", 1000)]
    assert len(plan.notes) == 2


def test_a_directory_that_does_not_say_enough_is_a_problem() -> None:
    info, other = RegionInfo("t", b"", b"", 1), RegionInfo("t", b"", b"", 2)
    assert "does not say whose it is" in planned(directory(info, region=None)).problems[0]
    assert "whose it cannot be" in planned(directory(info, region=other)).problems[0]
    damaged = DirectoryFacts("t", region_directory(info), error="it is damaged")
    assert "it is damaged" in planned(damaged).problems[0]
    never = DirectoryFacts("t", region_directory(other))
    plan = planned(directory(info, OWN), never)
    assert (plan.problems, chosen(plan)) == ([], [info])


def test_a_file_that_is_missing_is_a_problem() -> None:
    one = replace(directory(RegionInfo("t", b"", b"", 1), OWN), files={})
    assert f"{OWN.path} is missing" in planned(one).problems[0]


def test_regions_that_contradict_each_other_are_a_problem() -> None:
    low, high = RegionInfo("t", b"", b"m", 1), RegionInfo("t", b"k", b"", 2)
    assert "have rows in common" in planned(directory(low, OWN), directory(high, OWN)).problems[0]


def test_a_half_made_split_gives_way_and_a_whole_one_counts() -> None:
    parent = RegionInfo("t", b"", b"", 1)
    halves = [RegionInfo("t", b"", b"m", 2), RegionInfo("t", b"m", b"", 2)]
    whole = directory(parent, OWN)
    assert whole.manifest is not None
    made_from = [Parent.of_manifest(parent, whole.manifest)]
    children = [
        DirectoryFacts("t", region_directory(info), child_manifest(info, made_from, 0)) for info in halves
    ]
    assert chosen(planned(whole, children[0])) == [parent]
    assert chosen(planned(whole, *children)) == halves
    later = replace(whole, manifest=next_manifest(whole.manifest))
    assert chosen(planned(later, *children)) == [parent]
    assert chosen(planned(whole, *children, **{parent.encoded_name: 1})) == [parent]
    (problem, _) = planned(*children).problems  # the parent's files are needed still
    assert "is missing" in problem


def test_empty_regions_do_not_replace_data_they_were_not_made_from() -> None:
    old = [RegionInfo("t", b"", b"m", 1), RegionInfo("t", b"m", b"", 1)]
    new = RegionInfo("t", b"", b"", 2)
    directories = [directory(info, OWN) for info in old]
    assert chosen(planned(*directories, directory(new))) == old
    assert chosen(planned(*directories, directory(new, OWN))) == [new]
    assert chosen(planned(*map(directory, old), directory(new))) == [new]


def test_without_a_schema_nothing_is_dropped_for_its_age() -> None:
    info = RegionInfo("t", b"", b"", 1)
    plan = planned(directory(info, OWN, stores={b"f": (OWN,), b"g": ()}), schema=None)
    (table,) = plan.tables
    assert table.descriptor.family_names == (b"f", b"g")
    assert all(family.max_versions == EVERY_VERSION for family in table.descriptor.families)
    assert "alter it" in plan.notes[0]


def test_a_family_with_files_is_not_left_out() -> None:
    info = RegionInfo("t", b"", b"", 1)
    plan = planned(directory(info, OWN, stores={b"g": (OWN,)}))
    (table,) = plan.tables
    assert table.descriptor.family_names == (b"f", b"g")
    assert table.descriptor.family(b"f") == T.family(b"f")
    assert table.descriptor.family(b"g").max_versions == EVERY_VERSION


def test_a_schema_without_regions_is_left_out() -> None:
    plan = planned()
    assert plan.tables == []
    assert "is left out" in plan.notes[0]


def test_a_problem_changes_nothing_on_disk() -> None:
    fs, connection, _ = filled()
    connection.close()
    (path,) = regions_of_table(fs, "t")
    store = ManifestStore(fs, path)
    manifest = store.newest()
    assert manifest is not None
    store.write(replace(next_manifest(manifest), region=None))
    lose_meta(fs)
    before = (read_directories(fs), read_schemas(fs), fs.list(""))
    assert rebuild_meta(fs).problems
    assert (read_directories(fs), read_schemas(fs), fs.list("")) == before


def test_a_table_whose_schema_is_lost_has_all_its_rows() -> None:
    fs, connection, rows = filled()
    connection.close()
    forget_descriptor(fs, "t")
    lose_meta(fs)
    rebuild_meta(fs)
    connection = memory_connection(fs)
    assert contents(connection) == rows
    assert connection.admin.describe_table("t").family(b"f").max_versions == EVERY_VERSION
