"""Splitting and merging the regions of an embedded table.

The daughters' manifests, made of references to halves of the parent's files, are written first; one
multi-row write to the catalogue is the commit point. A crash before it leaves directories that the
catalogue does not name (removed at the next opening); after it the daughters open. Compaction rewrites the
references; when none is left, the janitor removes the parent.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

from hyperbase.common.errors import (
    DoNotRetryIOException,
    IllegalArgumentException,
    MergeRegionException,
)
from hyperbase.common.model import MAX_ROW_LENGTH
from hyperbase.common.region_info import RegionInfo
from hyperbase.embedded.store import EmbeddedStore, TableEntry, region_directory
from regionserver.region.manifest import FileEntry, Manifest, ManifestStore
from regionserver.region.region import Region

logger = logging.getLogger(__name__)


def split_point(region: Region) -> bytes | None:
    """The middle row of the largest file of the largest Store, if it can divide the region."""
    stores = [files for files in region.view.files.values() if files]
    if not stores:
        return None
    largest = max(stores, key=lambda files: sum(reader.info.file_bytes for reader in files))
    row = max(largest, key=lambda reader: reader.info.file_bytes).middle_row()
    if row is None or row == region.info.start_key or not region.info.contains(row):
        return None
    return row


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
    _close_for_change(store, [region])
    region_id = max(store.new_region_id(), info.region_id + 1)
    first = RegionInfo(info.table, info.start_key, point, region_id)
    second = RegionInfo(info.table, point, info.end_key, region_id)
    try:
        for daughter in (first, second):
            _write_manifest(store, daughter, [region])
        parent = replace(info, offline=True, split=True)
        store.catalog.split(parent, first, second)
    except BaseException:
        _reopen(store, [region], [first, second])
        raise
    store.parents.append(parent)
    _serve(store, info.table, [region], [first, second])
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
    _close_for_change(store, [low, high])
    region_id = max(low.info.region_id, high.info.region_id) + 1
    merged = RegionInfo(low.info.table, low.info.start_key, high.info.end_key, region_id)
    try:
        _write_manifest(store, merged, [low, high])
        store.catalog.merge([low.info, high.info], merged)
    except BaseException:
        _reopen(store, [low, high], [merged])
        raise
    _serve(store, low.info.table, [low, high], [merged])
    logger.info("merged regions=%s,%s into=%s", low.name, high.name, merged.encoded_name)


def _close_for_change(store: EmbeddedStore, regions: Iterable[Region]) -> None:
    for region in regions:
        store.engine.flush(region)
        store.engine.close_region(region)
        with region.compacting:  # one under way sees that the region is closed, and gives up
            pass


def _write_manifest(store: EmbeddedStore, info: RegionInfo, parents: Sequence[Region]) -> None:
    """The first manifest of a region made from others: references to their files, their ids and nonces."""
    stores: dict[bytes, list[FileEntry]] = {}
    nonces: dict[bytes, object] = {}
    for parent in parents:
        for family, entries in parent.manifest.stores.items():
            for entry in entries:
                start = max(entry.start, info.start_key, parent.info.start_key)
                stops = [stop for stop in (entry.stop, info.end_key, parent.info.end_key) if stop]
                stop = min(stops, default=b"")
                if not stop or start < stop:
                    reference = replace(entry, start=start, stop=stop, reference=True, major=False)
                    stores.setdefault(family, []).append(reference)
        nonces.update(parent.manifest.nonces)
    manifest = Manifest(
        epoch=1,
        flushed_sequence_id=max(parent.next_sequence_id - 1 for parent in parents),
        highest_stamp=max(parent.last_stamp for parent in parents),
        stores={
            family: tuple(sorted(entries, key=lambda entry: -entry.sequence_id))
            for family, entries in stores.items()
        },
        nonces=nonces,
    )
    ManifestStore(store.fs, region_directory(info)).write(manifest)


def _serve(
    store: EmbeddedStore, table: str, old: Sequence[Region], new: Sequence[RegionInfo]
) -> None:
    entry = store.entry(table)
    opened = [store.open_new_region(info, entry.descriptor) for info in new]
    gone = {region.info.encoded_name for region in old}
    regions = [region for region in entry.regions if region.info.encoded_name not in gone] + opened
    infos = [info for info in entry.infos if info.encoded_name not in gone] + list(new)
    store.set_entry(table, TableEntry.of(entry.descriptor, entry.enabled, regions, infos))
    for region in opened:
        store.engine.request_compaction(region)


def _reopen(store: EmbeddedStore, regions: Sequence[Region], abandoned: Sequence[RegionInfo]) -> None:
    """The change failed before its commit point: serve the old regions again."""
    if store.closed or (store.engine.wal is not None and store.engine.wal.failed is not None):
        return
    _serve(store, regions[0].info.table, regions, [region.info for region in regions])
    for info in abandoned:
        store.fs.delete_tree(region_directory(info))


def forget_parents(store: EmbeddedStore) -> int:
    """Remove split and merged parents whose files no region refers to any more."""
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
            store.fs.delete_tree(directory)
            removed += 1
    known = {region_directory(info) for entry in store.tables.values() for info in entry.infos}
    known |= {region_directory(info) for info in store.parents} | used
    for table in store.tables:
        for directory in store.region_directories(table):
            if directory not in known:
                store.fs.delete_tree(directory)
                removed += 1
    return removed


def maybe_split(store: EmbeddedStore, region: Region) -> bool:
    """Split a region whose largest Store has outgrown MAX_FILESIZE."""
    descriptor = region.descriptor
    if region.info.is_meta or not descriptor.split_enabled or region.closed:
        return False
    limit = descriptor.max_file_size or store.config.max_file_size_bytes
    largest = max(
        (sum(entry.size_bytes for entry in entries) for entries in region.manifest.stores.values()), default=0
    )
    if largest <= limit or any(entry.reference for entry in region.manifest.files()):
        return False
    with store.ddl:
        if store.closed or region.closed:
            return False
        return split_region(store, region, None, forced=False)
