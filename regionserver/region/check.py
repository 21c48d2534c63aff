"""Verify the files of a store from end to end, without opening it: what ``hyperbase check`` finds.

Every manifest is decoded; every StoreFile that the newest manifest of a region names exists, belongs to that
family, has the recorded size and passes ``StoreFileReader.verify`` (all checksums, order, counts, Bloom
filters); a reference points into such a file; every record of every log segment is read.
Whether regions form a chain is the catalogue's matter and checked above this layer.

Reads only. The caller makes sure that nobody writes meanwhile, or what is deleted under it looks lost.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from hyperbase.common.errors import DoNotRetryIOException
from hyperbase.common.names import family_directory
from regionserver.region.engine import ARCHIVE_DIRECTORY, WAL_DIRECTORY
from regionserver.region.manifest import (
    EPOCH_DIRECTORY,
    MANIFEST_DIRECTORY,
    FileEntry,
    Manifest,
    ManifestStore,
)
from regionserver.storage.filesystem import FileSystem
from regionserver.storage.local_filesystem import LocalFileSystem
from regionserver.storage.store_file import StoreFileReader
from regionserver.storage.wal_reader import LogRecovery, logs_of_servers, read_log

LOG_SUFFIX = ".wal"


@dataclass(slots=True)
class StoreReport:
    """What was looked at, and what is wrong with it. Unnamed files are harmless: the janitor removes them."""

    problems: list[str] = field(default_factory=list)
    region_count: int = 0
    file_count: int = 0
    cell_count: int = 0
    segment_count: int = 0
    record_count: int = 0
    unnamed_files: list[str] = field(default_factory=list)


def check_store(root: str) -> list[str]:
    """Every problem of the store in directory ``root``, one line each; empty: it is sound."""
    return report_store(root).problems


def report_store(root: str) -> StoreReport:
    """As ``check_store``, with counts.

    Raises:
        FileNotFoundError: there is no such directory.
    """
    if not os.path.isdir(root):
        raise FileNotFoundError(f"{root}: no such directory")
    fs = LocalFileSystem(root, read_only=True)
    report = StoreReport()
    verified: dict[str, StoreFileReader] = {}
    for directory in _region_directories(root):
        report.region_count += 1
        _check_region(fs, directory, verified, report)
    _check_logs(fs, report)
    _check_archives(fs, report)
    return report


def _region_directories(root: str) -> Iterator[str]:
    """Directories that have manifests, relative to the root, sorted."""
    for folder, names, _ in os.walk(root):
        names.sort()
        if MANIFEST_DIRECTORY in names or EPOCH_DIRECTORY in names:
            names.clear()
            yield os.path.relpath(folder, root).replace(os.sep, "/")


def _check_region(
    fs: FileSystem, directory: str, verified: dict[str, StoreFileReader], report: StoreReport
) -> None:
    manifests = ManifestStore(fs, directory)
    newest: Manifest | None = None
    for name in manifests.names():
        path = f"{directory}/{MANIFEST_DIRECTORY}/{name}"
        try:
            newest = Manifest.decode(fs.read(path), path)
        except (DoNotRetryIOException, OSError, KeyError, TypeError, ValueError) as error:
            report.problems.append(_line(path, error))
            newest = None
    if newest is None:
        if manifests.names():
            report.problems.append(f"{directory}: the newest manifest is unreadable, its files unknown")
        return
    for family, entries in newest.stores.items():
        for entry in entries:
            _check_file(fs, family, entry, verified, report)
    _find_unnamed(fs, directory, newest, report)


def _check_file(
    fs: FileSystem, family: bytes, entry: FileEntry, verified: dict[str, StoreFileReader], report: StoreReport
) -> None:
    try:
        reader = verified.get(entry.path)
        if reader is None:
            reader = StoreFileReader(fs, entry.path)
            verified[entry.path] = reader
            report.file_count += 1
            report.cell_count += reader.info.cell_count
            reader.verify()
            reader.close()
    except (DoNotRetryIOException, OSError, ValueError) as error:
        report.problems.append(_line(entry.path, error))
        return
    info = reader.info
    if info.family != family:
        report.problems.append(f"{entry.path} holds family {info.family!r} where {family!r} is expected")
    size = fs.size(entry.path)
    if entry.size_bytes and not entry.reference and entry.size_bytes != size:
        report.problems.append(f"{entry.path} has {size:,} bytes, its manifest says {entry.size_bytes:,}")
    if entry.start and entry.stop and entry.start >= entry.stop:
        report.problems.append(f"{entry.path}: reference from {entry.start!r} to {entry.stop!r} is empty")


def _find_unnamed(fs: FileSystem, directory: str, manifest: Manifest, report: StoreReport) -> None:
    named = {entry.path for entry in manifest.files()} | set(manifest.released)
    for family in manifest.stores:
        folder = f"{directory}/{family_directory(family)}"
        report.unnamed_files += [
            f"{folder}/{name}" for name in fs.list(folder) if f"{folder}/{name}" not in named
        ]


def _check_logs(fs: FileSystem, report: StoreReport) -> None:
    """The store's own log, and those that servers of a cluster have left."""
    for directory in (WAL_DIRECTORY, *logs_of_servers(fs, WAL_DIRECTORY)):
        recovery = LogRecovery(fs, directory, seal=False)
        try:
            for _ in recovery.records():
                report.record_count += 1
        except (DoNotRetryIOException, OSError) as error:
            report.problems.append(_line(directory, error))
        report.segment_count += len(recovery.segments)


def _check_archives(fs: FileSystem, report: StoreReport) -> None:
    """Archived segments are in StoreFiles already, but somebody may want to read them again."""
    names = fs.list(ARCHIVE_DIRECTORY)
    paths = [f"{ARCHIVE_DIRECTORY}/{name}" for name in names]
    for server in [name for name in names if "," in name]:
        paths += [f"{ARCHIVE_DIRECTORY}/{server}/{name}" for name in fs.list(f"{ARCHIVE_DIRECTORY}/{server}")]
    for path in paths:
        if path.endswith(LOG_SUFFIX):
            report.segment_count += 1
            try:
                report.record_count += sum(1 for _ in read_log(fs, path))
            except (DoNotRetryIOException, OSError) as error:
                report.problems.append(_line(path, error))


def _line(path: str, error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if path in text else f"{path}: {text}"
