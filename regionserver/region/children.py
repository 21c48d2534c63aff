"""The first manifest of a region that a split or merge makes: references to its parents' files.

No data is copied: an entry names a parent's file and the rows of it that count. The child goes on with the
parents' sequence ids, their highest stamp and their nonces, so that whatever is retried finds its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from hyperbase.common.region_info import RegionInfo
from regionserver.region.manifest import FileEntry, Manifest, ParentManifest
from regionserver.region.nonces import Nonces


class Parent(NamedTuple):
    """A region that was flushed and closed."""

    info: RegionInfo
    manifest: Manifest
    last_sequence_id: int
    last_stamp: int

    @classmethod
    def of_manifest(cls, info: RegionInfo, manifest: Manifest) -> Parent:
        """What its newest manifest tells: all there is to know of a region whose edits are in files."""
        in_files = max((entry.sequence_id for entry in manifest.files()), default=0)
        last = max(manifest.flushed_sequence_id, in_files, manifest.open_sequence_id - 1)
        return cls(info, manifest, last, manifest.highest_stamp)


def child_manifest(child: RegionInfo, parents: Sequence[Parent], now_ms: int) -> Manifest:
    """The child's manifest, number 0 of epoch 1."""
    stores: dict[bytes, list[FileEntry]] = {}
    nonces = Nonces()
    for parent in parents:
        for family, entries in parent.manifest.stores.items():
            for entry in entries:
                reference = _reference(entry, child, parent.info)
                if reference is not None:
                    stores.setdefault(family, []).append(reference)
        nonces.load(dict(parent.manifest.nonces), now_ms)
    return Manifest(
        epoch=1,
        flushed_sequence_id=max(parent.last_sequence_id for parent in parents),
        highest_stamp=max(parent.last_stamp for parent in parents),
        stores={
            family: tuple(sorted(entries, key=lambda entry: -entry.sequence_id))
            for family, entries in stores.items()
        },
        nonces=nonces.export(now_ms),
        region=child,
        parents=tuple(
            ParentManifest(parent.info.encoded_name, parent.manifest.epoch, parent.manifest.number)
            for parent in parents
        ),
    )


def _reference(entry: FileEntry, child: RegionInfo, parent: RegionInfo) -> FileEntry | None:
    """The part of a parent's file that is the child's, if any."""
    start = max(entry.start, child.start_key, parent.start_key)
    stop = min((key for key in (entry.stop, child.end_key, parent.end_key) if key), default=b"")
    if stop and start >= stop:
        return None
    return replace(entry, start=start, stop=stop, reference=True, major=False)
