"""Region manifests: which files make up a region, as a series of immutable files.

``.manifest/<epoch>-<n>``, both as 10 decimal digits, is written with ``create_if_absent``; the newest
(highest epoch, then n) counts. Opening a region claims ``.epoch/<epoch + 1>`` first, so a process that lost
the region can no longer add a manifest that counts. Family names cannot begin with a dot.

File := MAGIC b"HBMF0001" | crc32c u32 of the body | body (msgpack map). See docs/formats.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import google_crc32c
import msgpack

from hyperbase.common.errors import (
    CorruptHFileException,
    IllegalArgumentException,
    NotServingRegionException,
    StoreFormatException,
)
from hyperbase.common.region_info import RegionInfo
from regionserver.storage.filesystem import FileSystem

if TYPE_CHECKING:
    from regionserver.region.region import Region

MAGIC = b"HBMF0001"
MANIFEST_DIRECTORY = ".manifest"
EPOCH_DIRECTORY = ".epoch"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One StoreFile of a Store. ``start``/``stop`` bound a reference into another region's file."""

    path: str  # relative to the store's root
    start: bytes = b""
    stop: bytes = b""
    reference: bool = False
    bulk: bool = False
    major: bool = False  # written by a compaction of all files
    sequence_id: int = 0  # highest, orders the files of a Store
    size_bytes: int = 0
    created_ms: int = 0


class ParentManifest(NamedTuple):
    """Which manifest of a parent a child began with. When a later one is there the child never came to be."""

    region: str  # encoded name
    epoch: int
    number: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything about a region that is not in its log."""

    epoch: int = 0
    number: int = 0
    flushed_sequence_id: int = 0  # edits up to here are in files
    open_sequence_id: int = 0
    highest_stamp: int = 0
    stores: Mapping[bytes, tuple[FileEntry, ...]] = field(default_factory=dict)  # newest file first
    released: tuple[str, ...] = ()  # files of this epoch that nothing reads any more
    nonces: Mapping[bytes, Any] = field(default_factory=dict)
    next_file: int = 1
    region: RegionInfo | None = None  # whose manifest it is; None: written before that was noted
    # Of a region made by a split or merge: the regions it was made from, as they were then.
    parents: tuple[ParentManifest, ...] = ()

    def encode(self) -> bytes:
        """The manifest file's bytes."""
        body = msgpack.packb(
            {
                "version": 1,
                "epoch": self.epoch,
                "number": self.number,
                "flushed": self.flushed_sequence_id,
                "open": self.open_sequence_id,
                "stamp": self.highest_stamp,
                "stores": [
                    [family, [_entry_fields(entry) for entry in entries]]
                    for family, entries in self.stores.items()
                ],
                "released": list(self.released),
                "nonces": [[client, state] for client, state in self.nonces.items()],
                "next_file": self.next_file,
                "region": None if self.region is None else self.region.to_bytes(),
                "parents": list(self.parents),
            }
        )
        checksum: int = google_crc32c.value(body)
        return MAGIC + checksum.to_bytes(4, "big") + bytes(body)

    @classmethod
    def decode(cls, data: bytes, path: str) -> Manifest:
        """Raises CorruptHFileException or StoreFormatException, naming the file."""
        if data[:4] != MAGIC[:4]:
            raise CorruptHFileException(f"{path} is not a region manifest: it begins with {data[:8]!r}")
        if data[:8] != MAGIC:
            raise StoreFormatException(f"{path} has manifest format {data[4:8]!r}: a newer version wrote it")
        body = data[12:]
        if google_crc32c.value(body) != int.from_bytes(data[8:12], "big"):
            raise CorruptHFileException(
                f"{path} is damaged: its checksum does not match its {len(body)} bytes"
            )
        fields = msgpack.unpackb(body, use_list=False, strict_map_key=False)
        if fields["version"] != 1:
            raise StoreFormatException(
                f"{path} has manifest version {fields['version']}: use a newer program"
            )
        return cls(
            epoch=fields["epoch"],
            number=fields["number"],
            flushed_sequence_id=fields["flushed"],
            open_sequence_id=fields["open"],
            highest_stamp=fields["stamp"],
            stores={
                family: tuple(FileEntry(*entry) for entry in files) for family, files in fields["stores"]
            },
            released=fields["released"],
            nonces=dict(fields["nonces"]),
            next_file=fields["next_file"],
            region=_region(fields.get("region"), path),
            parents=tuple(ParentManifest(*parent) for parent in fields.get("parents", ())),
        )

    def files(self) -> list[FileEntry]:
        """Every file of every Store."""
        return [entry for entries in self.stores.values() for entry in entries]


def _region(data: bytes | None, path: str) -> RegionInfo | None:
    try:
        return None if data is None else RegionInfo.from_bytes(data)
    except IllegalArgumentException as error:
        raise CorruptHFileException(f"{path} is damaged: {error}") from error


def _entry_fields(entry: FileEntry) -> tuple[Any, ...]:
    return (
        entry.path,
        entry.start,
        entry.stop,
        entry.reference,
        entry.bulk,
        entry.major,
        entry.sequence_id,
        entry.size_bytes,
        entry.created_ms,
    )


class ManifestStore:
    """The manifests of one region directory."""

    def __init__(self, fs: FileSystem, directory: str) -> None:
        self._fs = fs
        self.directory = directory
        self.written: tuple[int, int] | None = None  # epoch and number of the last one known to be there

    def _path(self, epoch: int, number: int) -> str:
        return f"{self.directory}/{MANIFEST_DIRECTORY}/{epoch:010d}-{number:010d}"

    def names(self) -> list[str]:
        """Manifest file names, oldest first."""
        return sorted(self._fs.list(f"{self.directory}/{MANIFEST_DIRECTORY}"))

    def newest(self) -> Manifest | None:
        """The manifest that counts, or ``None`` before the first."""
        gone = ""
        while names := self.names():
            path = f"{self.directory}/{MANIFEST_DIRECTORY}/{names[-1]}"
            try:
                return Manifest.decode(self._fs.read(path), path)
            except FileNotFoundError:
                if path == gone:
                    raise
                gone = path  # a newer one came and a janitor removed this one: look again
        return None

    def claim(self) -> tuple[int, Manifest | None]:
        """Claim the next epoch, then read the newest manifest: ``(epoch, manifest)``."""
        claimed = [int(name) for name in self._fs.list(f"{self.directory}/{EPOCH_DIRECTORY}")]
        written = [int(name.partition("-")[0]) for name in self.names()]
        epoch = max([0, *claimed, *written]) + 1
        while not self._fs.create_if_absent(f"{self.directory}/{EPOCH_DIRECTORY}/{epoch:010d}", b""):
            epoch += 1
        return epoch, self.newest()

    def write(self, manifest: Manifest) -> None:
        """Make ``manifest`` the one that counts. "Exists" means that somebody else owns the region now."""
        path = self._path(manifest.epoch, manifest.number)
        if not self._fs.create_if_absent(path, manifest.encode()):
            raise NotServingRegionException(f"{path} exists already: another process opened this region")
        self.written = (manifest.epoch, manifest.number)

    def remove_older(self, manifest: Manifest) -> None:
        """Delete what the newest manifest made obsolete (the janitor's work)."""
        if self.written != (manifest.epoch, manifest.number):
            return  # the write of one failed: those before it may be the newest there are
        newest = f"{manifest.epoch:010d}-{manifest.number:010d}"
        for name in self.names():
            if name < newest:
                self._fs.delete(f"{self.directory}/{MANIFEST_DIRECTORY}/{name}")
        for name in self._fs.list(f"{self.directory}/{EPOCH_DIRECTORY}"):
            if int(name) < manifest.epoch:
                self._fs.delete(f"{self.directory}/{EPOCH_DIRECTORY}/{name}")


def commit_manifest(region: Region, manifest: Manifest) -> None:
    """Write the region's next manifest and take it. ``region.maintenance`` is held.

    Raises:
        LeaseSuspendedException, LeaseLostException: nothing was written.

    After any other error nobody knows whether the file is there. Its number is spent, then: a later manifest
    wins over it in any case, and until there is one, what it names must stay.
    """
    region.services.check_owner()
    try:
        region.manifests.write(manifest)
    except OSError:
        region.manifest = replace(region.manifest, number=manifest.number)
        raise
    region.manifest = manifest


def released_files(region: Region) -> tuple[str, ...]:
    """What the region's next manifest has to list as released still.

    Where somebody else deletes these files nobody tells when they are gone: who looks finds out.
    """
    released, services = region.manifest.released, region.services
    if services.deletes_files:
        return released
    return tuple(path for path in released if services.fs.exists(path))


def next_manifest(manifest: Manifest, **changes: Any) -> Manifest:
    """The manifest after ``manifest``."""
    return replace(manifest, number=manifest.number + 1, **changes)
