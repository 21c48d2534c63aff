"""The embedded store behind the client's ``Backend`` protocol: catalogue changes and maintenance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from hyperbase.common.catalog import BUILT_IN_NAMESPACES
from hyperbase.common.cluster_status import (
    ClusterStatus,
    ProcedureStatus,
    RegionPlace,
    split_server_name,
)
from hyperbase.common.descriptors import NamespaceDescriptor, TableDescriptor, check_split_keys
from hyperbase.common.errors import (
    CompactionCancelledException,
    ConstraintException,
    DoNotRetryIOException,
    IllegalArgumentException,
    NamespaceExistException,
    NamespaceNotFoundException,
    NotBalancedException,
    TableExistsException,
    TableNotDisabledException,
    UnknownRegionException,
)
from hyperbase.common.inconsistency import Inconsistency
from hyperbase.common.names import META_TABLE, canonical_table_name, split_table_name
from hyperbase.common.region_info import RegionInfo
from hyperbase.embedded.catalog_table import CatalogTable
from hyperbase.embedded.hbck import store_hbck
from hyperbase.embedded.regions import forget_parents, maintain, merge_regions, split_region
from hyperbase.embedded.status import cluster_status, server_name
from hyperbase.embedded.store import EmbeddedStore, TableEntry
from hyperbase.embedded.table import EmbeddedTable
from regionserver.region.metrics import engine_metrics
from regionserver.region.region import Region
from regionserver.region.table_files import keep_descriptor


class EmbeddedBackend:
    """One connection's hold on a store; closing the last one closes the store."""

    def __init__(self, store: EmbeddedStore, release: Callable[[], None]) -> None:
        self.store = store
        self._release: Callable[[], None] | None = release
        store.engine.after_maintenance = lambda region: maintain(store, region)

    def close(self) -> None:
        """Give up this hold; a second call does nothing."""
        release, self._release = self._release, None
        if release is not None:
            release()

    def table(self, name: str) -> EmbeddedTable:
        self.store.check_open()
        name = canonical_table_name(name)
        return (CatalogTable if name == META_TABLE else EmbeddedTable)(self.store, name)

    def metrics(self) -> dict[str, float]:
        self.store.check_open()
        return engine_metrics(self.store.engine)

    # -- namespaces ----------------------------------------------------------------------------

    def create_namespace(self, descriptor: NamespaceDescriptor) -> None:
        store = self.store
        with store.changing(f"create of namespace {descriptor.name}"):
            if descriptor.name in self.list_namespaces():
                raise NamespaceExistException(f"Namespace {descriptor.name} already exists")
            store.catalog.put_namespace(descriptor)
            store.namespaces[descriptor.name] = descriptor

    def alter_namespace(self, descriptor: NamespaceDescriptor) -> None:
        store = self.store
        with store.changing(f"alter of namespace {descriptor.name}"):
            self.describe_namespace(descriptor.name)
            store.catalog.put_namespace(descriptor)
            store.namespaces[descriptor.name] = descriptor

    def describe_namespace(self, name: str) -> NamespaceDescriptor:
        self.store.check_open()
        if name in self.store.namespaces:
            found: NamespaceDescriptor = self.store.namespaces[name]
            return found
        if name in BUILT_IN_NAMESPACES:
            return NamespaceDescriptor(name)
        raise NamespaceNotFoundException(f"Namespace {name} does not exist: create_namespace() makes one")

    def drop_namespace(self, name: str) -> None:
        store = self.store
        with store.changing(f"drop of namespace {name}"):
            if name in BUILT_IN_NAMESPACES:
                raise ConstraintException(f"Reserved namespace {name} cannot be removed.")
            self.describe_namespace(name)
            count = sum(split_table_name(table)[0] == name for table in store.tables)
            if count:
                raise ConstraintException(
                    f"Only empty namespaces can be removed. Namespace {name} has {count} tables"
                )
            store.catalog.delete_namespace(name)
            del store.namespaces[name]

    def list_namespaces(self) -> list[str]:
        self.store.check_open()
        return sorted({*BUILT_IN_NAMESPACES, *self.store.namespaces})

    # -- tables --------------------------------------------------------------------------------

    def create_table(self, descriptor: TableDescriptor, splits: Sequence[bytes] | None = None) -> None:
        store = self.store
        keys = check_split_keys(splits or [])
        descriptor.check()
        with store.changing(f"create of table {descriptor.name}"):
            namespace = split_table_name(descriptor.name)[0]
            if namespace not in self.list_namespaces():
                raise NamespaceNotFoundException(
                    f"Namespace {namespace} does not exist: create_namespace({namespace!r}) first"
                )
            if descriptor.name in store.tables or namespace == "hbase":
                raise TableExistsException(descriptor.name)
            keep_descriptor(store.fs, descriptor)
            self._create_regions(
                descriptor,
                keys,
                lambda infos: store.catalog.put_table(descriptor, enabled=True, regions=infos),
            )

    def _create_regions(
        self,
        descriptor: TableDescriptor,
        keys: Sequence[bytes],
        commit: Callable[[list[RegionInfo]], None],
    ) -> None:
        """Make the regions, commit them to the catalogue, serve them. A crash before leaves orphans."""
        store = self.store
        bounds = [b"", *keys, b""]
        region_id = store.new_region_id()
        infos = [RegionInfo(descriptor.name, start, stop, region_id) for start, stop in pairwise(bounds)]
        regions = store.open_new_regions(infos, descriptor)
        try:
            commit(infos)
        except BaseException:
            store.abandon_regions(regions)
            if store.engine.wal is None or store.engine.wal.failed is None:
                store.delete_directories(infos)  # else the commit may be on disk and name them
            raise
        store.set_entry(descriptor.name, TableEntry.of(descriptor, True, regions, infos))

    def alter_table(self, descriptor: TableDescriptor) -> None:
        store = self.store
        descriptor.check()
        _refuse_catalog(descriptor.name, "altered")
        with store.changing(f"alter of table {descriptor.name}"):
            entry = store.entry(descriptor.name)
            keep_descriptor(store.fs, descriptor)
            store.reopen_with(descriptor, lambda: store.catalog.put_table(descriptor, enabled=entry.enabled))

    def describe_table(self, name: str) -> TableDescriptor:
        return self.store.entry(canonical_table_name(name)).descriptor

    def list_tables(self) -> list[str]:
        self.store.check_open()
        return sorted(self.store.tables)

    def table_exists(self, name: str) -> bool:
        self.store.check_open()
        name = canonical_table_name(name)
        return name in self.store.tables or name == META_TABLE

    def enable_table(self, name: str) -> None:
        store, name = self.store, canonical_table_name(name)
        with store.changing(f"enable of table {name}"):
            entry = store.entry(name)
            if entry.enabled:
                raise TableNotDisabledException(f"tableName={name}, state=ENABLED")
            store.settle(entry)
            regions = store.open_new_regions(entry.infos, entry.descriptor)
            try:
                store.catalog.set_enabled(name, True)
            except BaseException:
                store.abandon_regions(regions)
                raise
            store.set_entry(name, TableEntry.of(entry.descriptor, True, regions, entry.infos))

    def disable_table(self, name: str) -> None:
        store, name = self.store, canonical_table_name(name)
        _refuse_catalog(name, "disabled")
        with store.changing(f"disable of table {name}"):
            entry = store.enabled_entry(name)
            store.close_regions(entry.regions)
            for region in entry.regions:
                with region.compacting:  # one under way sees that the region is closed, and gives up
                    pass
            try:
                store.catalog.set_enabled(name, False)
            except BaseException:
                store.serve_again(entry.regions)
                raise
            store.set_entry(name, TableEntry.of(entry.descriptor, False, (), entry.infos))

    def is_table_enabled(self, name: str) -> bool:
        return self.store.entry(canonical_table_name(name)).enabled

    def _disabled_entry(self, name: str) -> TableEntry:
        entry = self.store.entry(name)
        if entry.enabled:
            raise TableNotDisabledException(f"Not DISABLED; tableName={name}, state=ENABLED")
        return entry

    def truncate_table(self, name: str, preserve_splits: bool = False) -> None:
        """The table must be disabled; it ends enabled and empty, as in HBase."""
        store, name = self.store, canonical_table_name(name)
        with store.changing(f"truncate of table {name}"):
            entry = self._disabled_entry(name)
            keys = [info.start_key for info in entry.infos if info.start_key] if preserve_splits else []
            gone = [*entry.infos, *(info for info in store.parents if info.table == name)]
            self._create_regions(
                entry.descriptor,
                keys,
                lambda infos: store.catalog.truncate(entry.descriptor, gone, infos),
            )
            store.settle(entry, flush=False)
            store.parents = [info for info in store.parents if info.table != name]
            store.delete_other_directories(name, store.entry(name).infos)

    def drop_table(self, name: str) -> None:
        store, name = self.store, canonical_table_name(name)
        with store.changing(f"drop of table {name}"):
            entry = self._disabled_entry(name)
            parents = [info for info in store.parents if info.table == name]
            store.catalog.delete_table(name, [*entry.infos, *parents])
            store.set_entry(name, None)
            store.settle(entry, flush=False)
            store.parents = [info for info in store.parents if info.table != name]
            store.delete_other_directories(name, ())
            store.delete_descriptor(name)

    # -- regions and maintenance ---------------------------------------------------------------

    def regions(self, table: str) -> list[RegionInfo]:
        return list(self.store.entry(canonical_table_name(table)).infos)

    def _regions_of(self, name: str) -> list[Region]:
        """The regions of a table, or the one region of that name."""
        store = self.store
        store.check_writable()
        found = self._find_region(name)
        if found is not None:
            return [found]
        return list(store.enabled_entry(canonical_table_name(name)).regions)

    def _find_region(self, name: str) -> Region | None:
        for region in list(self.store.engine.regions.values()):
            entry = self.store.tables.get(region.info.table)
            if entry is not None and not entry.enabled:
                continue
            text = region.info.region_name
            if name in (region.info.encoded_name, region.name, text.decode("utf-8", "replace")):
                return region
        return None

    def flush(self, table: str) -> None:
        for region in self._regions_of(table):
            self.store.engine.flush(region)

    def compact(self, table: str, major: bool = False) -> None:
        done: set[str] = set()
        while True:
            missed = False
            for region in self._regions_of(table):
                if region.info.encoded_name in done:
                    continue
                try:
                    self.store.engine.compact(region, major=major)
                except CompactionCancelledException:
                    missed = True
                missed = missed or region.closed
                if not region.closed:
                    done.add(region.info.encoded_name)
            if not missed:
                break
            with self.store.ddl:  # a split, merge or alter closed a region meanwhile: go on with what it left
                self.store.check_open()
        with self.store.ddl:
            if not self.store.closed:
                forget_parents(self.store)

    def split(self, table_or_region: str, key: bytes | None = None) -> None:
        store = self.store
        with store.changing(f"split of {table_or_region}"):
            candidates = self._regions_of(table_or_region)
            for region in candidates:
                _refuse_catalog(region.info.table, "split")
            if not store.switches["split"]:
                raise DoNotRetryIOException(f"Split region {table_or_region} failed due to split switch off")
            if key is not None:
                if not key:
                    raise IllegalArgumentException("the split key is empty")
                candidates = [region for region in candidates if region.info.contains(key)] or candidates[:1]
            for region in candidates:
                split_region(store, region, key, forced=len(candidates) == 1)

    def merge_regions(self, first: str, second: str) -> None:
        store = self.store
        with store.changing(f"merge of {first} and {second}"):
            if not store.switches["merge"]:
                raise DoNotRetryIOException(
                    f"Merge of {first}, {second} failed as merge switch was set to false"
                )
            found = []
            for name in (first, second):
                region = self._find_region(name)
                if region is None:
                    raise UnknownRegionException(f"{name}: no open region has this name or encoded name")
                found.append(region)
            merge_regions(store, found[0], found[1])

    # -- operation -----------------------------------------------------------------------------

    def cluster_status(self) -> ClusterStatus:
        self.store.check_open()
        return cluster_status(self.store)

    def region_locations(self, table: str) -> list[tuple[RegionInfo, str]]:
        name = server_name(self.store)
        return [(info, name) for info in self.regions(table)]

    def compaction_state(self, table: str) -> str:
        entry = self.store.enabled_entry(canonical_table_name(table))
        running = self.store.engine.compacting
        kinds = {running[region.id16] for region in entry.regions if region.id16 in running}
        return "MAJOR_AND_MINOR" if len(kinds) == 2 else kinds.pop() if kinds else "NONE"

    def switch(self, name: str, on: bool | None) -> bool:
        store = self.store
        store.check_open()
        if name not in store.switches:
            raise IllegalArgumentException(f"no switch {name!r}: there are {', '.join(store.switches)}")
        before = store.switches[name]
        if on is not None:
            store.switches[name] = on
            if name == "compaction":
                store.engine.compactions_enabled = on
        return before

    def roll_wal(self) -> None:
        self.store.check_writable()
        assert self.store.engine.wal is not None
        self.store.engine.wal.roll()

    def clear_block_cache(self, table: str) -> int:
        cache = self.store.engine.cache
        before = cache.stats().block_count
        for region in self.store.entry(canonical_table_name(table)).regions:
            for _, reader in region.view.all_files:
                cache.evict_file(reader.path)
        return max(0, before - cache.stats().block_count)

    # -- servers: there is one, which serves every region of enabled tables ----------------------

    def servers(self) -> list[str]:
        self.store.check_open()
        return [server_name(self.store)]

    def region_states(self, table: str) -> list[RegionPlace]:
        entry = self.store.entry(canonical_table_name(table))
        state, server = ("OPEN", server_name(self.store)) if entry.enabled else ("CLOSED", "")
        return [RegionPlace(info, state, server) for info in entry.infos]

    def move(self, region: str, server: str = "") -> None:
        info = self._served_info(region)
        if not server:
            raise DoNotRetryIOException(
                f"this store is one process: region {info.encoded_name} has no other server to go to"
            )
        self._check_server(server)  # it is there already

    def assign(self, region: str) -> None:
        self._served_info(region)

    def unassign(self, region: str) -> None:
        info = self._served_info(region)
        _refuse_catalog(info.table, "unassigned")
        raise DoNotRetryIOException(
            f"one server serves every region of an enabled table: disable {info.table!r} closes this one"
        )

    def balance(self, dry_run: bool = False, force: bool = False) -> list[str]:
        self.store.check_open()
        if not self.store.switches["balancer"]:
            raise NotBalancedException("the balancer is off: balance_switch(True) turns it on")
        return []

    def procedures(self) -> list[ProcedureStatus]:
        self.store.check_open()
        return []

    def decommission(self, servers: Sequence[str], offload: bool = False) -> None:
        for server in servers:
            name = self._check_server(server)
            raise DoNotRetryIOException(f"{name} is the only server: it has to keep its regions")

    def recommission(self, server: str, regions: Sequence[str] = ()) -> None:
        self._check_server(server)
        for region in regions:
            self._served_info(region)

    def decommissioned(self) -> list[str]:
        self.store.check_open()
        return []

    def hbck(self, repair: bool = False) -> list[Inconsistency]:
        self.store.check_open()
        return store_hbck(self.store, repair)

    def _check_server(self, name: str) -> str:
        """This server's name; IllegalArgumentException for any other."""
        self.store.check_open()
        own = server_name(self.store)
        host, port, _ = split_server_name(own)
        if name not in (own, f"{host},{port}", f"{host}:{port}"):
            raise IllegalArgumentException(f"there is no living server {name!r}: there is {own}")
        return own

    def _served_info(self, name: str) -> RegionInfo:
        """A region of an enabled table, by full or encoded name."""
        self.store.check_open()
        for entry in (*self.store.tables.values(), self.store.catalog_entry):
            for info in entry.infos:
                full = info.region_name.decode("utf-8", "replace")
                if name not in (info.encoded_name, info.region_name_text, full):
                    continue
                if not entry.enabled:
                    raise DoNotRetryIOException(
                        f"{info.table} is disabled: enable it, and its regions are served"
                    )
                return info
        raise UnknownRegionException(f"{name}: no region has this name or encoded name")


def _refuse_catalog(table: str, what: str) -> None:
    if table == META_TABLE:
        raise ConstraintException(f"{META_TABLE} is the store's own table: it cannot be {what}")
