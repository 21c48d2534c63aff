"""What hbase:meta must have said, by the regions' directories alone: a pure function.

Every manifest says whose it is, and of a region made by a split or merge which manifests of its parents it
began with. Of regions with the same rows the newest counts, unless

* one of its parents has a later manifest, or later edits in a log: then the change never took place;
* it does not cover what it would replace, and has no files of its own: a split that was not finished;
* it has no files at all, and was not made from what it would replace: then that is kept, so that a truncation
  that was not finished loses nothing.

Rows that no directory has get a new, empty region. When a directory cannot be read, or regions contradict
each other, there are problems instead: who opened the store then would take such a directory for a leftover.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from hyperbase.common.descriptors import ColumnFamilyDescriptor, TableDescriptor
from hyperbase.common.names import META_TABLE
from hyperbase.common.region_info import RegionInfo
from master.hbck import DirectoryFacts, gaps
from regionserver.region.manifest import Manifest

EVERY_VERSION = 2**31 - 1


class TablePlan(NamedTuple):
    """A table and its regions, in key order."""

    descriptor: TableDescriptor
    regions: tuple[RegionInfo, ...]


@dataclass(slots=True)
class RebuildPlan:
    """What is to be written, what was decided on the way, and what keeps it from being written."""

    tables: list[TablePlan] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class _Candidate(NamedTuple):
    info: RegionInfo
    manifest: Manifest
    path: str

    @property
    def has_files(self) -> bool:
        return bool(self.manifest.files())

    @property
    def only_refers(self) -> bool:
        """It has no files of its own."""
        return all(entry.reference for entry in self.manifest.files())

    def is_made_from(self, other: _Candidate) -> bool:
        return any(parent.region == other.info.encoded_name for parent in self.manifest.parents)


def plan_rebuild(
    directories: Iterable[DirectoryFacts],
    schemas: Mapping[str, TableDescriptor | None],
    newest_edits: Mapping[str, int],
    new_region_id: int,
) -> RebuildPlan:
    """Tables and regions, by what the directories say.

    Args:
        schemas: copies beside the regions; ``None``: one that cannot be read.
        newest_edits: encoded name → the highest sequence id in the logs.
        new_region_id: higher than any there is, for regions that have to be made.
    """
    plan = RebuildPlan()
    by_table: dict[str, list[_Candidate]] = {}
    files: set[str] = set()
    for one in directories:
        files |= set(one.files)
        if one.table == META_TABLE:
            continue
        candidate = _candidate(one, plan)
        if candidate is not None:
            by_table.setdefault(one.table, []).append(candidate)
    for table in sorted(by_table):
        living = _without_void(by_table[table], newest_edits, plan)
        chosen = _choose(table, living, plan)
        _check_files(chosen, files, plan)
        infos = [one.info for one in chosen]
        for gap in gaps(infos):
            infos.append(RegionInfo(table, gap.low, gap.high, new_region_id))
            plan.notes.append(f"table {table}: {gap}: a new, empty region is made for them")
        descriptor = _schema(table, schemas.get(table), chosen, plan)
        plan.tables.append(TablePlan(descriptor, tuple(sorted(infos, key=lambda info: info.start_key))))
    for table in sorted(set(schemas) - set(by_table)):
        plan.notes.append(f"table {table}: there is its schema and no region: it is left out")
    return plan


def _candidate(one: DirectoryFacts, plan: RebuildPlan) -> _Candidate | None:
    """A directory that is a region's; ``None``: one that never was, or a problem."""
    if one.error:
        plan.problems.append(f"{one.path}: {one.error}. Restore it, or take the directory away")
        return None
    if one.manifest is None:
        plan.notes.append(f"{one.path} was never opened: it is left out")
        return None
    info = one.manifest.region
    if info is None:
        plan.problems.append(
            f"{one.path} does not say whose it is: an older version wrote it, and it was not opened since"
        )
        return None
    if info.encoded_name != one.encoded_name or info.table != one.table:
        plan.problems.append(f"{one.path} says that it is of {info.region_name_text}, whose it cannot be")
        return None
    return _Candidate(info, one.manifest, one.path)


def _without_void(
    candidates: Sequence[_Candidate], newest_edits: Mapping[str, int], plan: RebuildPlan
) -> list[_Candidate]:
    """Those whose parents did not go on without them."""
    by_name = {one.info.encoded_name: one for one in candidates}
    living = []
    for one in candidates:
        went_on = None
        for began in one.manifest.parents:
            parent = by_name.get(began.region)
            if parent is None:
                continue
            there = parent.manifest
            later = (there.epoch, there.number) > (began.epoch, began.number)
            if later or newest_edits.get(began.region, 0) > there.flushed_sequence_id:
                went_on = parent
        if went_on is None:
            living.append(one)
        else:
            name, parent_name = one.info.region_name_text, went_on.info.region_name_text
            plan.notes.append(
                f"region {name} is left out: {parent_name}, which it was made from, went on, so the change "
                "never took place"
            )
    return living


def _choose(table: str, candidates: Sequence[_Candidate], plan: RebuildPlan) -> list[_Candidate]:
    """Regions that have no row in common: the newest first, and older ones where they fit."""
    chosen: list[_Candidate] = []
    for one in sorted(candidates, key=lambda one: (-one.info.region_id, one.info.start_key)):
        over = [newer for newer in chosen if _overlap(one.info, newer.info)]
        if not over:
            chosen.append(one)
            continue
        name = one.info.region_name_text
        if _covers([newer.info for newer in over], one.info):
            made = any(newer.is_made_from(one) for newer in over)
            if made or not one.has_files or any(newer.has_files for newer in over):
                plan.notes.append(f"region {name} was replaced by newer ones: it is left out")
                continue
            what = "which is newer and empty, and was not made from it"
        elif all(newer.only_refers and _within(newer.info, one.info) for newer in over):
            what = "part of a split that was not finished"
        else:
            others = ", ".join(newer.info.region_name_text for newer in over)
            plan.problems.append(f"table {table}: {name} and {others} have rows in common: take one away")
            continue
        for newer in over:
            chosen.remove(newer)
            plan.notes.append(f"region {name} is taken, and {newer.info.region_name_text} left out, {what}")
        chosen.append(one)
    return chosen


def _check_files(regions: Iterable[_Candidate], files: Collection[str], plan: RebuildPlan) -> None:
    """A region of which a file is missing would keep the store from opening."""
    for one in regions:
        for entry in one.manifest.files():
            if entry.path not in files:
                plan.problems.append(
                    f"{entry.path} is missing: {one.path} needs it. Restore it, or take {one.path} away"
                )


def _schema(
    table: str, copy: TableDescriptor | None, regions: Iterable[_Candidate], plan: RebuildPlan
) -> TableDescriptor:
    """The copy, with every family of which there are files."""
    families = sorted({family for one in regions for family, files in one.manifest.stores.items() if files})
    if copy is None:
        known = sorted({family for one in regions for family in one.manifest.stores}) or [b"f"]
        plan.notes.append(
            f"table {table}: no readable copy of its schema: its families keep every version; alter it"
        )
        return TableDescriptor(table, [_keeps_all(family) for family in known])
    lost = [family for family in families if family not in copy.family_names]
    for family in lost:
        plan.notes.append(
            f"table {table}: family {family.decode('utf-8', 'replace')} has files and is not in the schema: "
            "it is added, with every version; drop it if it was to go"
        )
    return TableDescriptor.from_dict(
        {
            **copy.to_dict(),
            "families": [each.to_dict() for each in (*copy.families, *map(_keeps_all, lost))],
        }
    )


def _keeps_all(family: bytes) -> ColumnFamilyDescriptor:
    return ColumnFamilyDescriptor(family, max_versions=EVERY_VERSION)


def _overlap(one: RegionInfo, other: RegionInfo) -> bool:
    return (not one.end_key or other.start_key < one.end_key) and (
        not other.end_key or one.start_key < other.end_key
    )


def _within(inner: RegionInfo, outer: RegionInfo) -> bool:
    return outer.start_key <= inner.start_key and (
        not outer.end_key or (bool(inner.end_key) and inner.end_key <= outer.end_key)
    )


def _covers(regions: Iterable[RegionInfo], info: RegionInfo) -> bool:
    """Whether these, which have no row in common, hold every row of ``info``."""
    reached: bytes | None = info.start_key  # rows before it are covered; None: all
    for one in sorted(regions, key=lambda one: one.start_key):
        if reached is None or one.start_key > reached:
            break
        if not one.end_key or one.end_key > reached:
            reached = one.end_key or None
    return reached is None or (bool(info.end_key) and reached >= info.end_key)
