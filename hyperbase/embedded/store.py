"""An embedded store: a directory, its lock, its engine, its catalogue and the open regions of each table.

Opening: lock → identity → log of hbase:meta → catalogue → regions → their log records → online. Every
region is opened and replayed, those of disabled tables too, so nothing in the log is passed over; a
disabled table's regions are then flushed and closed, or wait for that when the disk is full.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import threading
import time
import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from hyperbase.client.admin import SWITCHES
from hyperbase.common.argument_checks import check_integer
from hyperbase.common.catalog import META_DESCRIPTOR, META_DIRECTORY, region_directory
from hyperbase.common.config import StoreConfig, derived_flush_size_bytes
from hyperbase.common.descriptors import TableDescriptor
from hyperbase.common.errors import (
    HBaseIOException,
    NotServingRegionException,
    ReadOnlyException,
    StoreClosedException,
    StoreFormatException,
    TableNotEnabledException,
    TableNotFoundException,
    WrongTypeException,
    shown,
)
from hyperbase.common.names import META_TABLE
from hyperbase.common.region_info import META_REGION, RegionInfo
from hyperbase.embedded.catalog import Catalog
from regionserver.region.engine import WAL_DIRECTORY, Engine
from regionserver.region.janitor import sweep_region
from regionserver.region.manifest import ManifestStore, commit_manifest, next_manifest
from regionserver.region.observers import RegionObserver
from regionserver.region.reads import now_ms
from regionserver.region.region import Region
from regionserver.region.table_files import (
    forget_descriptor,
    keep_descriptor,
    refuse_lost_catalogue,
    regions_of_table,
    regions_on_disk,
    tables_on_disk,
)
from regionserver.storage.filesystem import FileSystem, Lock
from regionserver.storage.wal_reader import logs_of_servers

logger = logging.getLogger(__name__)

IDENTITY_FILE = "hyperbase.json"
LOCK_FILE = "LOCK"
FORMAT_VERSION = 1  # Persisted: numbers are never reused.
# What a server keeps beside the store: its settings, where it listens, its logs.
_OF_A_SERVER = re.compile(r"hyperbase\.toml|server\.json|.+\.log(\.[0-9]+)?")
RELOCATE_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class TableEntry:
    """A table as it is now; replaced as a whole when anything changes."""

    descriptor: TableDescriptor
    enabled: bool
    regions: tuple[Region, ...] = ()  # in key order; empty when disabled
    starts: tuple[bytes, ...] = ()
    infos: tuple[RegionInfo, ...] = ()

    @classmethod
    def of(
        cls,
        descriptor: TableDescriptor,
        enabled: bool,
        regions: Sequence[Region],
        infos: Sequence[RegionInfo],
    ) -> TableEntry:
        """Order the regions by start key."""
        ordered = tuple(sorted(regions, key=lambda region: region.info.start_key))
        return cls(
            descriptor,
            enabled,
            ordered,
            tuple(region.info.start_key for region in ordered),
            tuple(sorted(infos, key=lambda info: info.start_key)),
        )

    def region_of(self, row: bytes) -> Region:
        """The region whose range holds ``row``."""
        if len(self.regions) == 1:
            return self.regions[0]
        return self.regions[bisect_right(self.starts, row) - 1]


class EmbeddedStore:
    """See the module. Thread-safe; one per directory and process."""

    def __init__(
        self,
        fs: FileSystem,
        config: StoreConfig,
        *,
        read_only: bool = False,
        root: str | None = None,
        clock: Callable[[], int] = now_ms,
        sync_hook: Callable[[], None] | None = None,
        background: bool = True,
        observers: Iterable[RegionObserver] = (),
    ) -> None:
        self.fs = fs
        self.config = config
        self.read_only = read_only
        self.path = root or "memory"
        self.pid = os.getpid()
        self.closed = False
        self.background = background
        self.ddl = threading.RLock()  # one change of the catalogue at a time
        self._changed = threading.Condition()
        self.tables: dict[str, TableEntry] = {}
        self.namespaces: dict[str, Any] = {}
        self.parents: list[RegionInfo] = []
        self.switches = dict.fromkeys(SWITCHES, True)
        self.has_retired = True  # there may be directories of merged regions, or of dropped ones, to remove
        self._last_region_id = 0
        self._lock: Lock = self._take_lock()
        try:
            self.cluster_id = self._identify()
            self.engine = Engine(
                fs,
                config,
                read_only=read_only,
                clock=clock,
                root=root,
                sync_hook=sync_hook,
                background=background,
                observers=observers,
            )
            self._open()
        except BaseException:
            engine = getattr(self, "engine", None)
            if engine is not None:
                engine.abandon()
            self._lock.release()
            raise

    # -- opening and closing -------------------------------------------------------------------

    def _take_lock(self) -> Lock:
        if not self.read_only:
            self._check_foreign()
            return self.fs.lock(LOCK_FILE)
        try:
            return self.fs.lock(LOCK_FILE, shared=True)
        except FileNotFoundError:
            raise StoreFormatException(
                f"{self.path} is not a Hyperbase store: it has no {LOCK_FILE}. "
                "A read-only open creates nothing"
            ) from None

    def _check_foreign(self) -> None:
        """Refuse to settle in a directory that holds something else."""
        if self.fs.exists(IDENTITY_FILE):
            return
        known = {LOCK_FILE, "WALs", "oldWALs", "data"}
        names = [name for name in self.fs.list("") if not _OF_A_SERVER.fullmatch(name)]
        foreign = [name for name in names if name not in known]
        if foreign:
            raise StoreFormatException(
                f"{self.path} is not a Hyperbase store: it holds {foreign[0]!r} and no {IDENTITY_FILE}. "
                "Give an empty or a new directory"
            )

    def _identify(self) -> str:
        if not self.fs.exists(IDENTITY_FILE):
            if self.read_only:
                raise StoreFormatException(f"{self.path} is not a Hyperbase store: it has no {IDENTITY_FILE}")
            identity = {"format": FORMAT_VERSION, "cluster_id": str(uuid.uuid4())}
            self.fs.create_if_absent(IDENTITY_FILE, json.dumps(identity).encode() + b"\n")
        try:
            identity = json.loads(self.fs.read(IDENTITY_FILE))
            version, cluster_id = int(identity["format"]), str(identity["cluster_id"])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreFormatException(f"{self.path}/{IDENTITY_FILE} is damaged: {error}") from error
        if version > FORMAT_VERSION:
            raise StoreFormatException(
                f"{self.path} has store format {version}, this program reads up to {FORMAT_VERSION}: "
                "use a newer version of hyperbase"
            )
        return cluster_id

    def _check_cluster_has_ended(self) -> None:
        """Refuse a cluster's directory in which servers left edits that are in no file."""
        left = logs_of_servers(self.fs, WAL_DIRECTORY)
        if left:
            raise StoreFormatException(
                f"{self.path} is a cluster's that has not ended cleanly: {left[0]} may hold edits that are "
                "in no file yet. Start the cluster again, which recovers them, and stop it cleanly"
            )

    def _open(self) -> None:
        self._check_cluster_has_ended()
        refuse_lost_catalogue(self.fs)
        engine = self.engine
        meta = engine.open_region(META_REGION, META_DESCRIPTOR, META_DIRECTORY)
        replay = engine.has_log()
        if replay:
            engine.replay_log([meta])
        meta.read_points.current = meta.next_sequence_id - 1
        self.catalog = Catalog(meta)
        self.catalog_entry = TableEntry.of(META_DESCRIPTOR, True, [meta], [META_REGION])
        found = self.catalog.read()
        opened = [
            engine.open_region(info, found.descriptors[table], region_directory(info))
            for table, infos in found.regions.items()
            for info in infos
        ]
        if replay and opened:
            engine.replay_log(opened)
        if not self.read_only:
            engine.start()
        for region in (meta, *opened):
            region.go_online(persist=not self.read_only)
            if not self.read_only:
                sweep_region(region)
        known = [info.region_id for infos in found.regions.values() for info in infos]
        # The catalogue's own clock was past every id when the region was entered, of dropped ones too.
        self._last_region_id = max([meta.last_stamp, *known])
        self.namespaces = found.namespaces
        self.parents = found.parents
        by_table: dict[str, list[Region]] = {}
        for region in opened:
            by_table.setdefault(region.info.table, []).append(region)
        for table, descriptor in found.descriptors.items():
            regions, infos = by_table.get(table, []), found.regions.get(table, [])
            enabled = found.enabled(table)
            if not enabled and not self.read_only:
                self._close_disabled(regions)
            self.tables[table] = TableEntry.of(descriptor, enabled, regions if enabled else [], infos)
        if not self.read_only:
            self._remove_orphans()
            self._keep_descriptors()

    def _close_disabled(self, regions: Sequence[Region]) -> None:
        """Flush and close what the log had for a disabled table.

        On a full disk it stays in memory and in the log: the other tables must be served all the same.
        """
        for region in regions:
            try:
                self.engine.close_region(region)
            except OSError as error:
                logger.warning("kept in memory region=%s error=%s", region.name, error)

    def settle(self, entry: TableEntry, *, flush: bool = True) -> None:
        """Close what the opening could not flush of a disabled table; without ``flush`` it is forgotten.

        Raises:
            HBaseIOException: there is still no room. Nothing is lost.
        """
        mine = set(entry.infos)
        for region in [one for one in self.engine.regions.values() if one.info in mine]:
            self.engine.close_region(region, flush=flush)

    def _remove_orphans(self) -> None:
        """Delete region directories that neither the catalogue nor a reference names."""
        keep = {META_DIRECTORY} | {region_directory(info) for info in self.parents}
        for entry in self.tables.values():
            keep |= {region_directory(info) for info in entry.infos}
        for region in self.engine.regions.values():
            for file in region.manifest.files():
                keep.add(file.path.rsplit("/", 2)[0])
        for entry in self.tables.values():
            for info in () if entry.enabled else entry.infos:
                manifest = ManifestStore(self.fs, region_directory(info)).newest()
                for file in manifest.files() if manifest else ():
                    keep.add(file.path.rsplit("/", 2)[0])
        for _, path in regions_on_disk(self.fs):
            if path not in keep:
                logger.info("removed orphan region directory path=%s", path)
                self.delete_directory(path)

    def _keep_descriptors(self) -> None:
        """Copies of the schemas beside the regions: those that a crash, or an older version, left out."""
        for table in tables_on_disk(self.fs):
            entry = self.tables.get(table)
            try:
                if entry is not None:
                    keep_descriptor(self.fs, entry.descriptor)
                elif table != META_TABLE:
                    forget_descriptor(self.fs, table)
            except OSError as error:  # a full disk: nothing is served worse without them
                logger.warning("schema not copied table=%s error=%s", table, error)

    def region_directories(self, table: str) -> list[str]:
        """Every region directory of a table, those that nothing names any more too."""
        return regions_of_table(self.fs, table)

    def close(self) -> None:
        """Flush and close everything; a second call does nothing."""
        with self.ddl:
            if self.closed:
                return
            self.closed = True
            if self.pid != os.getpid():
                return  # a forked child owns nothing here
            with self._changed:
                self._changed.notify_all()
            try:
                self.engine.close()
            finally:
                self._lock.release()

    def crash(self) -> None:
        """Let go of the directory without flushing anything, as a killed process does (for tests)."""
        self.closed = True
        self.engine.abandon()
        self._lock.release()

    def disown(self) -> None:
        """In a forked child: this store is the parent's, nothing here may touch it."""
        self.closed = True
        self.engine.closed = True

    def check_open(self) -> None:
        """Raises StoreClosedException after ``close`` and in a forked child."""
        if self.closed and self.pid == os.getpid():
            raise StoreClosedException("the connection is closed: open it again with hyperbase.connect()")
        if self.pid != os.getpid():
            raise StoreClosedException(
                f"this store was opened by process {self.pid}, before the fork: an embedded store belongs to "
                "one process; open it in one of them only"
            )

    def check_writable(self) -> None:
        """Also raises ReadOnlyException, and StoreFailedException after a failed sync of the log."""
        self.check_open()
        if self.read_only:
            raise ReadOnlyException(f"{self.path} was opened read-only")
        self.engine.check_log()

    @contextmanager
    def changing(self, what: str) -> Iterator[None]:
        """One change of tables, regions or namespaces at a time, on a store that takes changes.

        An error of the disk before the commit is told as HBaseIOException: nothing was changed.
        """
        with self.ddl:
            self.check_writable()
            try:
                yield
            except HBaseIOException:
                raise
            except OSError as error:
                raise HBaseIOException(
                    error.errno or errno.EIO,
                    f"{what} failed: {error.strerror or error}. Nothing was changed; make space or mend the "
                    "disk, then repeat it",
                ) from error

    # -- tables and regions --------------------------------------------------------------------

    def entry(self, table: str) -> TableEntry:
        """The table as it is now. Raises TableNotFoundException."""
        if self.closed:
            self.check_open()
        entry = self.tables.get(table)
        if entry is None and table == META_TABLE:
            return self.catalog_entry
        if entry is None:
            raise TableNotFoundException(f"{table}: no such table; list_tables() names those there are")
        return entry

    def enabled_entry(self, table: str) -> TableEntry:
        """As ``entry``; raises TableNotEnabledException for a disabled table."""
        entry = self.entry(table)
        if not entry.enabled:
            raise TableNotEnabledException(f"{table} is disabled.")
        return entry

    def set_entry(self, table: str, entry: TableEntry | None) -> None:
        """Replace or remove a table's entry and wake those who wait for regions."""
        with self._changed:
            if entry is None:
                self.tables.pop(table, None)
            else:
                self.tables[table] = entry
            self._changed.notify_all()

    def wait_for_change(self, table: str, seen: TableEntry, error: NotServingRegionException) -> None:
        """After NotServingRegionException: wait until the table's regions are others than ``seen``."""
        deadline = time.monotonic() + RELOCATE_TIMEOUT_S
        with self._changed:
            while self.tables.get(table) is seen and not self.closed:
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    raise error

    def new_region_id(self) -> int:
        """Milliseconds, never the same twice, also when the clock was set back: the log may still hold
        edits of a dropped region, and they are found by the name that the id is part of."""
        self._last_region_id = max(self.engine.clock(), self._last_region_id + 1)
        return self._last_region_id

    def open_new_region(self, info: RegionInfo, descriptor: TableDescriptor) -> Region:
        """Open a region that is new or was closed cleanly: nothing in the log concerns it."""
        region = self.engine.open_region(info, descriptor, region_directory(info))
        try:
            region.go_online(persist=True)
        except BaseException:
            self.engine.close_region(region, flush=False)
            raise
        return region

    def open_new_regions(self, infos: Iterable[RegionInfo], descriptor: TableDescriptor) -> list[Region]:
        """As ``open_new_region``; all or none."""
        opened: list[Region] = []
        try:
            for info in infos:
                opened.append(self.open_new_region(info, descriptor))
        except BaseException:
            self.abandon_regions(opened)
            raise
        return opened

    def abandon_regions(self, regions: Sequence[Region]) -> None:
        """Close regions without edits whose change was not committed."""
        for region in regions:
            self.engine.close_region(region, flush=False)

    def delete_directories(self, infos: Iterable[RegionInfo]) -> None:
        """Remove regions that nothing names; what cannot be removed now goes at the next opening."""
        for info in infos:
            self.delete_directory(region_directory(info))

    def delete_other_directories(self, table: str, keep: Iterable[RegionInfo]) -> None:
        """Remove every region directory of a table but these; merged regions' too, which have no row."""
        kept = set(map(region_directory, keep))
        for path in self.region_directories(table):
            if path not in kept:
                self.delete_directory(path)

    def delete_directory(self, path: str) -> None:
        """As ``delete_directories``, for one path."""
        try:
            self.fs.delete_tree(path)
        except OSError as error:
            logger.warning("left behind path=%s error=%s", path, error)

    def delete_descriptor(self, table: str) -> None:
        """Remove the copy of a dropped table's schema, now or at the next opening."""
        try:
            forget_descriptor(self.fs, table)
        except OSError as error:
            logger.warning("left behind schema of table=%s error=%s", table, error)

    def close_regions(self, regions: Sequence[Region]) -> None:
        """Flush and close regions of one table; when that fails for one, all of them serve on."""
        closed: list[Region] = []
        try:
            for region in regions:
                self.engine.close_region(region)
                closed.append(region)
        except BaseException:
            self.serve_again(closed)
            # Who met a region while it was closed waits for a new entry, also when all serve on as before.
            name = regions[0].info.table
            self.set_entry(name, replace(self.entry(name)))
            raise

    def serve_again(self, closed: Sequence[Region], descriptor: TableDescriptor | None = None) -> None:
        """Open regions of one table again that were flushed and closed; touches no disk."""
        if not closed:
            return
        entry = self.entry(closed[0].info.table)
        opened = {region.id16: self.engine.reopen_region(region, descriptor) for region in closed}
        regions = [opened.get(region.id16, region) for region in entry.regions]
        descriptor = descriptor or entry.descriptor
        self.set_entry(descriptor.name, TableEntry.of(descriptor, entry.enabled, regions, entry.infos))

    def reopen_with(self, descriptor: TableDescriptor, commit: Callable[[], None]) -> None:
        """Close the table's regions, commit the change of its schema, open them with it."""
        before = self.entry(descriptor.name)
        if before.enabled:
            self.close_regions(before.regions)
        try:
            for region in self._regions_to_persist(before):
                # A family that is dropped must be gone from the manifest before one of its name is added.
                with region.maintenance:
                    commit_manifest(region, next_manifest(region.manifest))
            commit()
        except BaseException:
            self.serve_again(before.regions)
            raise
        if before.enabled:
            self.serve_again(before.regions, descriptor)
        else:
            self.set_entry(descriptor.name, replace(before, descriptor=descriptor))

    def _regions_to_persist(self, entry: TableEntry) -> Sequence[Region]:
        if entry.enabled:
            return entry.regions
        self.settle(entry)
        regions = [self.open_new_region(info, entry.descriptor) for info in entry.infos]
        for region in regions:
            self.engine.close_region(region)
        return regions


def make_config(settings: Mapping[str, Any]) -> StoreConfig:
    """A StoreConfig from the arguments of ``connect``; ``None`` values are the defaults."""
    given = {name: value for name, value in settings.items() if value is not None}
    for name, value in given.items():
        if not isinstance(value, (int, float, str)):
            raise WrongTypeException(f"{name} must be a number, not {shown(value)}")
        if isinstance(value, int):
            check_integer(int(value), name)
    derived = derived_flush_size_bytes(given)
    if derived is not None:
        given["memstore_flush_size_bytes"] = derived
    return StoreConfig().with_settings(**given)
