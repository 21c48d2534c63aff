"""The master's janitor: the only one in a cluster that deletes files of regions.

For each region directory the newest manifest counts: of the highest epoch that has one. Deleted is what no
reader that begins now can need: files of earlier epochs which it does not name, files of its own epoch which
it lists as released, manifests and epoch claims before it. Files of later epochs belong to an opening that is
under way. A directory that hbase:meta does not know goes when no manifest refers to its files.
"""

from __future__ import annotations

import logging
import time

from hyperbase.common.catalog import META_DIRECTORY, region_directory
from hyperbase.common.region_info import RegionInfo
from master.core import Core
from master.dead_servers import ARCHIVE
from master.locks import of_table
from master.store import ARCHIVE as MASTERS_ARCHIVE
from master.store import DIRECTORY as STORE_DIRECTORY
from regionserver.region.manifest import (
    EPOCH_DIRECTORY,
    MANIFEST_DIRECTORY,
    Manifest,
    ManifestStore,
)
from regionserver.region.table_files import has_descriptor, keep_descriptor, regions_on_disk
from regionserver.storage.filesystem import FileSystem
from regionserver.storage.wal_archive import clean_archive

logger = logging.getLogger(__name__)

JANITOR = 0  # as an owner of claims


class Janitor:
    """One pass over everything: ``run``. One thread."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._fs = core.fs

    def run(self) -> int:
        """Returns how many files and directories were deleted."""
        known = {region_directory(node.info): node.info for node in self._core.catalog.nodes()}
        used: set[str] = set()
        deleted = 0
        complete = True
        for directory in (STORE_DIRECTORY, META_DIRECTORY, *known):
            self._core.check()
            try:
                manifest = ManifestStore(self._fs, directory).newest()
                if manifest is not None:
                    deleted += clean_directory(self._fs, directory, manifest)
                    used |= {entry.path.rsplit("/", 2)[0] for entry in manifest.files()}
            except OSError as error:  # a damaged manifest, or one that was replaced while we looked
                complete = False
                logger.warning("not cleaned directory=%s error=%s", directory, error)
        self._keep_descriptors()
        deleted += self._clean_archives()
        if complete:
            deleted += self._forget_parents(used)
            deleted += self._remove_orphans(used)
        return deleted

    def _keep_descriptors(self) -> None:
        """Copy the schemas of tables that were made before that was done."""
        for descriptor in list(self._core.catalog.descriptors.values()):
            if has_descriptor(self._fs, descriptor.name):
                continue
            if self._core.locks.try_acquire([of_table(descriptor.name)], JANITOR):
                try:
                    if self._core.catalog.descriptors.get(descriptor.name) == descriptor:
                        keep_descriptor(self._fs, descriptor)
                finally:
                    self._core.locks.release(JANITOR)

    def _clean_archives(self) -> int:
        """Old logs of servers that are dead; the living look after their own."""
        config, done = self._core.config, 0
        alive = set(map(str, self._core.servers.all()))
        for archive in (ARCHIVE, MASTERS_ARCHIVE):
            for name in self._fs.list(archive):
                path = f"{archive}/{name}"
                if name.count(",") != 2 or name in alive or name == str(self._core.name):
                    continue
                done += len(
                    clean_archive(
                        self._fs, path, config.wal_archive_ttl_s, config.wal_archive_limit_bytes, time.time()
                    )
                )
                if not self._fs.list(path):
                    self._fs.delete_tree(path)
        return done

    def _forget_parents(self, used: set[str]) -> int:
        """Split parents whose files nobody refers to any more."""
        done = 0
        for parent in list(self._core.catalog.parents.values()):
            directory = region_directory(parent)
            if directory in used or not self._claim(parent):
                continue
            try:
                if self._children_refer(parent):
                    continue
                self._core.catalog.forget_parent(parent)
                self._core.delete_directory(directory)
                logger.info("parent removed region=%s", parent.encoded_name)
                done += 1
            finally:
                self._core.locks.release(JANITOR)
        return done

    def _children_refer(self, parent: RegionInfo) -> bool:
        """Look again, now that nothing can change: the pass took its time."""
        directory = region_directory(parent)
        for node in self._core.catalog.nodes(parent.table):
            manifest = ManifestStore(self._fs, region_directory(node.info)).newest()
            if manifest is not None and any(
                entry.path.startswith(directory + "/") for entry in manifest.files()
            ):
                return True
        return False

    def _claim(self, info: RegionInfo) -> bool:
        """Nobody else changes the table meanwhile."""
        return bool(self._core.locks.try_acquire([of_table(info.table)], JANITOR))

    def _remove_orphans(self, used: set[str]) -> int:
        """Directories that hbase:meta does not know: of merged regions, of changes that were given up."""
        done = 0
        for table, path in regions_on_disk(self._fs):
            if path in used or path == META_DIRECTORY:
                continue
            if not self._core.locks.try_acquire([(table, "")], JANITOR):
                continue
            try:
                infos = [node.info for node in self._core.catalog.nodes(table)]
                infos += [info for info in self._core.catalog.parents.values() if info.table == table]
                if path not in map(region_directory, infos) and not self._refers(infos, path):
                    self._core.delete_directory(path)
                    logger.info("orphan removed directory=%s", path)
                    done += 1
            finally:
                self._core.locks.release(JANITOR)
        return done

    def _refers(self, infos: list[RegionInfo], path: str) -> bool:
        for info in infos:
            manifest = ManifestStore(self._fs, region_directory(info)).newest()
            if manifest is not None and any(entry.path.startswith(path + "/") for entry in manifest.files()):
                return True
        return False


def clean_directory(fs: FileSystem, directory: str, manifest: Manifest) -> int:
    """Delete what the newest manifest made obsolete."""
    named = {entry.path for entry in manifest.files()}
    doomed = [path for path in manifest.released if path not in named and fs.exists(path)]
    for name in fs.list(directory):
        if name in (MANIFEST_DIRECTORY, EPOCH_DIRECTORY):
            continue
        for file in fs.list(f"{directory}/{name}"):
            path = f"{directory}/{name}/{file}"
            epoch = file.partition("-")[0]
            if path not in named and epoch.isdigit() and int(epoch) < manifest.epoch:
                doomed.append(path)
    for path in doomed:
        fs.delete(path)
    newest = f"{manifest.epoch:010d}-{manifest.number:010d}"
    for name in fs.list(f"{directory}/{MANIFEST_DIRECTORY}"):
        if name < newest:
            fs.delete(f"{directory}/{MANIFEST_DIRECTORY}/{name}")
    for name in fs.list(f"{directory}/{EPOCH_DIRECTORY}"):
        if int(name) < manifest.epoch:
            fs.delete(f"{directory}/{EPOCH_DIRECTORY}/{name}")
    return len(doomed)
