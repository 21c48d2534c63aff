"""Servers behind the client's ``Backend`` protocol, with blocking sockets.

Threads: any number. After a fork the child goes on with sockets of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hyperbase.client.network.admin_calls import admin_call
from hyperbase.client.network.driver import BlockingDriver
from hyperbase.client.network.locator import Locator, Source
from hyperbase.client.network.nonces import Nonces
from hyperbase.client.network.retries import Retries
from hyperbase.client.network.table import NetworkTable
from hyperbase.common.cluster_status import ClusterStatus, ProcedureStatus, RegionPlace
from hyperbase.common.config import ClientConfig
from hyperbase.common.descriptors import NamespaceDescriptor, TableDescriptor
from hyperbase.common.errors import StoreClosedException
from hyperbase.common.inconsistency import Inconsistency
from hyperbase.common.names import canonical_table_name
from hyperbase.common.region_info import RegionInfo


class NetworkBackend:
    """A client of one store's servers, of which some are named, or the ZooKeeper that knows them."""

    def __init__(self, source: Source, config: ClientConfig) -> None:
        self.config = config
        self._source = source
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        self.nonces = Nonces()
        self.locator = Locator(self._source)
        self.driver = BlockingDriver(self.nonces.client_id, self.config)

    def connect(self) -> None:
        """See that a server is there.

        Raises:
            ConnectException: none is, or no ZooKeeper. RetriesExhaustedException: none answered in time.
            PleaseHoldException: there is no cluster at ZooKeeper's root, or it does not serve yet.
        """
        self.driver.run(self.locator.connect(Retries(self.config, "connecting")))

    def close(self) -> None:
        """Close every socket; calls in other threads fail."""
        self._closed = True
        self.driver.close()

    def reconnect_after_fork(self) -> None:
        """In a forked child: sockets and numbers are the parent's, take new ones."""
        self.driver.disown()
        self._begin()

    def check_open(self) -> None:
        """Raises StoreClosedException when it is closed."""
        if self._closed:
            raise StoreClosedException("this connection is closed: call open(), or make a new one")

    def table(self, name: str) -> NetworkTable:
        self.check_open()
        return NetworkTable(self, canonical_table_name(name))

    def _admin(self, name: str, *arguments: Any) -> Any:
        self.check_open()
        retries = Retries(self.config, name, limited=False)
        return self.driver.run(admin_call(self.locator, self.nonces, name, arguments, retries))

    def metrics(self) -> dict[str, float]:
        found: dict[str, float] = self._admin("metrics")
        return found

    # -- namespaces --------------------------------------------------------------------------------------

    def create_namespace(self, descriptor: NamespaceDescriptor) -> None:
        self._admin("create_namespace", descriptor)

    def alter_namespace(self, descriptor: NamespaceDescriptor) -> None:
        self._admin("alter_namespace", descriptor)

    def describe_namespace(self, name: str) -> NamespaceDescriptor:
        found: NamespaceDescriptor = self._admin("describe_namespace", name)
        return found

    def drop_namespace(self, name: str) -> None:
        self._admin("drop_namespace", name)

    def list_namespaces(self) -> list[str]:
        return list(self._admin("list_namespaces"))

    # -- tables ------------------------------------------------------------------------------------------

    def create_table(self, descriptor: TableDescriptor, splits: Sequence[bytes] | None = None) -> None:
        self._admin("create_table", descriptor, splits)

    def alter_table(self, descriptor: TableDescriptor) -> None:
        self._admin("alter_table", descriptor)

    def describe_table(self, name: str) -> TableDescriptor:
        found: TableDescriptor = self._admin("describe_table", name)
        return found

    def list_tables(self) -> list[str]:
        return list(self._admin("list_tables"))

    def table_exists(self, name: str) -> bool:
        return bool(self._admin("table_exists", name))

    def enable_table(self, name: str) -> None:
        self._admin("enable_table", name)

    def disable_table(self, name: str) -> None:
        self._admin("disable_table", name)

    def is_table_enabled(self, name: str) -> bool:
        return bool(self._admin("is_table_enabled", name))

    def truncate_table(self, name: str, preserve_splits: bool = False) -> None:
        self._admin("truncate_table", name, preserve_splits)

    def drop_table(self, name: str) -> None:
        self._admin("drop_table", name)

    # -- regions and maintenance -------------------------------------------------------------------------

    def regions(self, table: str) -> list[RegionInfo]:
        return list(self._admin("regions", table))

    def flush(self, table: str) -> None:
        self._admin("flush", table)

    def compact(self, table: str, major: bool = False) -> None:
        self._admin("compact", table, major)

    def split(self, table_or_region: str, key: bytes | None = None) -> None:
        self._admin("split", table_or_region, key)

    def merge_regions(self, first: str, second: str) -> None:
        self._admin("merge_regions", first, second)

    # -- operation ---------------------------------------------------------------------------------------

    def cluster_status(self) -> ClusterStatus:
        found: ClusterStatus = self._admin("cluster_status")
        return found

    def region_locations(self, table: str) -> list[tuple[RegionInfo, str]]:
        return list(self._admin("region_locations", table))

    def compaction_state(self, table: str) -> str:
        return str(self._admin("compaction_state", table))

    def switch(self, name: str, on: bool | None) -> bool:
        return bool(self._admin("switch", name, on))

    def roll_wal(self) -> None:
        self._admin("roll_wal")

    def clear_block_cache(self, table: str) -> int:
        return int(self._admin("clear_block_cache", table))

    # -- servers, and which of them has which region -----------------------------------------------------

    def servers(self) -> list[str]:
        return list(self._admin("servers"))

    def region_states(self, table: str) -> list[RegionPlace]:
        return list(self._admin("region_states", table))

    def move(self, region: str, server: str = "") -> None:
        self._admin("move", region, server)

    def assign(self, region: str) -> None:
        self._admin("assign", region)

    def unassign(self, region: str) -> None:
        self._admin("unassign", region)

    def balance(self, dry_run: bool = False, force: bool = False) -> list[str]:
        return list(self._admin("balance", dry_run, force))

    def procedures(self) -> list[ProcedureStatus]:
        return list(self._admin("procedures"))

    def decommission(self, servers: Sequence[str], offload: bool = False) -> None:
        self._admin("decommission", servers, offload)

    def recommission(self, server: str, regions: Sequence[str] = ()) -> None:
        self._admin("recommission", server, regions)

    def decommissioned(self) -> list[str]:
        return list(self._admin("decommissioned"))

    def hbck(self, repair: bool = False) -> list[Inconsistency]:
        return list(self._admin("hbck", repair))
