"""Splitting and merging the regions of an embedded table.

The daughters' manifests, made of references to halves of the parent's files, are written first; one
multi-row write to the catalogue is the commit point. A crash before it leaves directories that the
catalogue does not name (removed at the next opening); after it the daughters open. Compaction rewrites the
references; when none is left, the janitor removes the parent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from hyperbase.common.catalog import META_DIRECTORY, region_directory
from hyperbase.common.errors import (
    DoNotRetryIOException,
    IllegalArgumentException,
    MergeRegionException,
)
from hyperbase.common.model import MAX_ROW_LENGTH
from hyperbase.common.region_info import RegionInfo
from hyperbase.embedded.store import EmbeddedStore, TableEntry
from regionserver.region.children import Parent, child_manifest
from regionserver.region.manifest import ManifestStore
from regionserver.region.markers import MERGE, SPLIT, note_event
from regionserver.region.region import Region
from regionserver.region.split_policy import split_point, wants_split

logger = logging.getLogger(__name__)


def split_region(store: EmbeddedStore, region: Region, key: bytes | None, *, forced: bool) -> bool:
    """Split at ``key``, or at the region's middle; ``forced``: not being able to is an error."""
    info = region.info
    if key is not None:
        if len(key) > MAX_ROW_LENGTH:
            raise IllegalArgumentException(f"Row length {len(key)} is > {MAX_ROW_LENGTH}")
        if key == info.start_key:
            raise DoNotRetryIOException("should not give a splitkey which equals to startkey!")
        if not info.contains(key):
            raise DoNotRetryIOException(
                f"Split row is not inside region key range splitKey:{key!r} region: {region.name}"
            )
    store.engine.flush(region)
    point = key or split_point(region)
    if point is None:
        if not forced:
            return False
        raise DoNotRetryIOException(
            "Region not splittable because bestSplitPoint = null, maybe table is too small for auto split. "
            "For force split, try specifying split row"
        )
    store.close_regions([region])
    region_id = max(store.new_region_id(), info.region_id + 1)
    first = RegionInfo(info.table, info.start_key, point, region_id)
    second = RegionInfo(info.table, point, info.end_key, region_id)
    parent = replace(info, offline=True, split=True)
    _replace_regions(store, [region], [first, second], lambda: store.catalog.split(parent, first, second))
    store.parents.append(parent)
    note_event(region, SPLIT, at=point, daughters=[first.region_name, second.region_name])
    logger.info("split region=%s at=%r", region.name, point)
    return True


def merge_regions(store: EmbeddedStore, one: Region, other: Region) -> None:
    """Merge two neighbours of one table."""
    if one is other:
        raise MergeRegionException(f"Duplicate regions specified; {one.info.encoded_name}")
    low, high = sorted((one, other), key=lambda region: region.info.start_key)
    if low.info.table != high.info.table or low.info.end_key != high.info.start_key:
        raise MergeRegionException(
            f"Unable to merge non-adjacent or non-overlapping regions '{one.info.encoded_name}', "
            f"'{other.info.encoded_name}' when force=false"
        )
    store.close_regions([low, high])
    region_id = max(store.new_region_id(), low.info.region_id + 1, high.info.region_id + 1)
    merged = RegionInfo(low.info.table, low.info.start_key, high.info.end_key, region_id)
    _replace_regions(store, [low, high], [merged], lambda: store.catalog.merge([low.info, high.info], merged))
    for region in (low, high):
        note_event(region, MERGE, into=merged.region_name)
    logger.info("merged regions=%s,%s into=%s", low.name, high.name, merged.encoded_name)


def _replace_regions(
    store: EmbeddedStore, old: Sequence[Region], new: Sequence[RegionInfo], commit: Callable[[], None]
) -> None:
    """Have ``new`` made from the closed regions ``old``; everything that can fail comes before the commit."""
    table = new[0].table
    opened: list[Region] = []
    try:
        for region in old:
            with region.compacting:  # one under way sees that the region is closed, and gives up
                pass
        for info in new:
            _write_manifest(store, info, old)
        opened = store.open_new_regions(new, store.entry(table).descriptor)
        commit()
    except BaseException:
        store.abandon_regions(opened)
        if store.engine.wal is not None and store.engine.wal.failed is None:
            store.delete_directories(new)  # else the commit may be on disk and name them
        store.serve_again(old)
        raise
    store.has_retired = True
    entry = store.entry(table)
    gone = {region.info.encoded_name for region in old}
    regions = [region for region in entry.regions if region.info.encoded_name not in gone] + opened
    infos = [info for info in entry.infos if info.encoded_name not in gone] + list(new)
    store.set_entry(table, TableEntry.of(entry.descriptor, entry.enabled, regions, infos))
    for region in opened:
        store.engine.request_compaction(region)


def _write_manifest(store: EmbeddedStore, info: RegionInfo, parents: Sequence[Region]) -> None:
    """The first manifest of a region made from others."""
    closed = [Parent(one.info, one.manifest, one.next_sequence_id - 1, one.last_stamp) for one in parents]
    manifest = child_manifest(info, closed, store.engine.clock())
    ManifestStore(store.fs, region_directory(info)).write(manifest)


def forget_parents(store: EmbeddedStore) -> int:
    """Remove split and merged parents whose files no region refers to any more. ``store.ddl`` is held."""
    if not store.parents and not store.has_retired:
        return 0
    used = set()
    for region in store.engine.regions.values():
        used |= {entry.path.rsplit("/", 2)[0] for entry in region.manifest.files()}
    if any(not entry.enabled for entry in store.tables.values()):
        return 0  # a disabled table's manifests are not at hand; its parents wait
    removed = 0
    for parent in list(store.parents):
        directory = region_directory(parent)
        if directory not in used:
            store.catalog.forget_parent(parent)
            store.parents.remove(parent)
            store.delete_directory(directory)
            removed += 1
    known = {region_directory(info) for entry in store.tables.values() for info in entry.infos}
    # Those that are still referred to wait for a compaction.
    store.has_retired = not used <= known | {META_DIRECTORY}
    known |= {region_directory(info) for info in store.parents} | used
    for table in store.tables:
        for directory in store.region_directories(table):
            if directory not in known:
                store.delete_directory(directory)
                removed += 1
    return removed


def maintain(store: EmbeddedStore, region: Region) -> None:
    """After a compaction: split the region if it is too large, remove parents nobody needs any more."""
    # Closing holds ``ddl`` and waits for the thread we run in: never wait for it without looking.
    while not store.ddl.acquire(timeout=0.02):
        if store.closed:
            return
    try:
        if store.closed or region.closed:
            return
        if not maybe_split(store, region):
            forget_parents(store)
    finally:
        store.ddl.release()


def maybe_split(store: EmbeddedStore, region: Region) -> bool:
    """Split a region whose largest Store has outgrown MAX_FILESIZE. The caller holds ``store.ddl``."""
    if not store.switches["split"] or not wants_split(region):
        return False
    if not store.entry(region.info.table).enabled:
        return False
    return split_region(store, region, None, forced=False)
