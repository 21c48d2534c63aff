"""Admin: the methods of ``hyperbase.Admin`` as coroutines."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hyperbase.client.admin import (
    Name,
    check_switch,
    matching,
    name_text,
    namespace_of,
    server_text,
    server_texts,
)
from hyperbase.client.network.admin_calls import admin_call
from hyperbase.client.network.retries import Retries
from hyperbase.common.descriptors import NamespaceDescriptor, TableDescriptor
from hyperbase.common.model import to_bytes
from hyperbase.common.names import canonical_table_name
from hyperbase.common.region_info import RegionInfo
from hyperbase.common.split_keys import check_split_keys

if TYPE_CHECKING:
    from hyperbase.client.aio.connection import Connection
    from hyperbase.common.cluster_status import ClusterStatus, ProcedureStatus, RegionPlace
    from hyperbase.common.inconsistency import Inconsistency


class Admin:
    """What changes the catalogue, and maintenance. ``Connection.admin`` makes one.

    Tables are named in full. Arguments, answers and errors are those of ``hyperbase.Admin``. Calls return
    when what they ask for is done; cancelling the task that awaits one leaves the change to the master.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def _ask(self, name: str, *arguments: Any) -> Any:
        connection = self._connection
        retries = Retries(connection.config, name, limited=False)
        return await connection.driver.run(
            admin_call(connection.locator, connection.nonces, name, arguments, retries)
        )

    # -- namespaces --------------------------------------------------------------------------------------

    async def create_namespace(
        self, namespace: NamespaceDescriptor | Name, configuration: Mapping[str, str] | None = None
    ) -> None:
        """Create a namespace."""
        await self._ask("create_namespace", namespace_of(namespace, configuration))

    async def alter_namespace(
        self, namespace: NamespaceDescriptor | Name, configuration: Mapping[str, str] | None = None
    ) -> None:
        """Replace a namespace's configuration."""
        await self._ask("alter_namespace", namespace_of(namespace, configuration))

    async def describe_namespace(self, name: Name) -> NamespaceDescriptor:
        """The namespace's descriptor."""
        found: NamespaceDescriptor = await self._ask("describe_namespace", name_text(name))
        return found

    async def drop_namespace(self, name: Name) -> None:
        """Remove an empty namespace."""
        await self._ask("drop_namespace", name_text(name))

    async def list_namespaces(self) -> list[str]:
        """All namespaces."""
        return list(await self._ask("list_namespaces"))

    # -- tables ------------------------------------------------------------------------------------------

    async def create_table(self, descriptor: TableDescriptor, splits: Sequence[Name] | None = None) -> None:
        """Create a table, with ``n`` split keys in ``n + 1`` regions."""
        await self._ask("create_table", descriptor, None if splits is None else check_split_keys(splits))

    async def alter_table(self, descriptor: TableDescriptor) -> None:
        """Give the table this schema."""
        await self._ask("alter_table", descriptor)

    async def describe_table(self, name: Name) -> TableDescriptor:
        """The table's schema."""
        found: TableDescriptor = await self._ask("describe_table", canonical_table_name(name))
        return found

    async def list_tables(self, regex: str | re.Pattern[str] | None = None) -> list[str]:
        """Full names in order; with ``regex`` those that match it as a whole."""
        return matching(list(await self._ask("list_tables")), regex)

    async def table_exists(self, name: Name) -> bool:
        """Whether there is such a table, enabled or not."""
        return bool(await self._ask("table_exists", canonical_table_name(name)))

    async def enable_table(self, name: Name) -> None:
        """Serve a disabled table again."""
        await self._ask("enable_table", canonical_table_name(name))

    async def disable_table(self, name: Name) -> None:
        """Stop serving a table."""
        await self._ask("disable_table", canonical_table_name(name))

    async def is_table_enabled(self, name: Name) -> bool:
        """Whether the table serves."""
        return bool(await self._ask("is_table_enabled", canonical_table_name(name)))

    async def truncate_table(self, name: Name, preserve_splits: bool = False) -> None:
        """Remove every row of a disabled table, which is enabled afterwards."""
        await self._ask("truncate_table", canonical_table_name(name), preserve_splits)

    async def drop_table(self, name: Name) -> None:
        """Remove a disabled table with its data."""
        await self._ask("drop_table", canonical_table_name(name))

    async def clone_table_schema(self, source: Name, target: Name, preserve_splits: bool = False) -> None:
        """Create the empty table ``target`` with the schema of ``source``, on request with its regions."""
        descriptor = replace(await self.describe_table(source), name=canonical_table_name(target))
        splits = None
        if preserve_splits:
            splits = [region.start_key for region in await self.regions(source) if region.start_key] or None
        await self._ask("create_table", descriptor, splits)

    # -- regions and maintenance -------------------------------------------------------------------------

    async def regions(self, name: Name) -> list[RegionInfo]:
        """The table's regions in key order."""
        return list(await self._ask("regions", canonical_table_name(name)))

    async def region_locations(self, name: Name) -> list[tuple[RegionInfo, str]]:
        """The table's regions in key order, each with its server's name."""
        return list(await self._ask("region_locations", canonical_table_name(name)))

    async def flush(self, table_or_region: Name | RegionInfo) -> None:
        """Write what the table, or one region, holds in memory to StoreFiles."""
        await self._ask("flush", name_text(table_or_region))

    async def compact(self, table_or_region: Name | RegionInfo) -> None:
        """Merge StoreFiles where the store's policy finds it worth while."""
        await self._ask("compact", name_text(table_or_region), False)

    async def major_compact(self, table_or_region: Name | RegionInfo) -> None:
        """Merge every Store to one file and drop deleted, expired and surplus cells for good."""
        await self._ask("compact", name_text(table_or_region), True)

    async def split(self, table_or_region: Name | RegionInfo, key: Name | None = None) -> None:
        """Split a region, or all of a table, at ``key`` or in the middle."""
        at = None if key is None else to_bytes(key, "split key")
        await self._ask("split", name_text(table_or_region), at)

    async def merge_regions(self, first: Name | RegionInfo, second: Name | RegionInfo) -> None:
        """Merge two adjacent regions."""
        await self._ask("merge_regions", name_text(first), name_text(second))

    # -- operation ---------------------------------------------------------------------------------------

    async def cluster_status(self) -> ClusterStatus:
        """The servers, their regions, and what each carries."""
        found: ClusterStatus = await self._ask("cluster_status")
        return found

    async def compaction_state(self, name: Name) -> str:
        """``NONE``, ``MINOR``, ``MAJOR`` or ``MAJOR_AND_MINOR``."""
        return str(await self._ask("compaction_state", canonical_table_name(name)))

    async def switch(self, name: str, on: bool | None = None) -> bool:
        """Turn a switch on or off, or with ``None`` only ask; returns how it was before."""
        check_switch(name)
        return bool(await self._ask("switch", name, on))

    async def roll_wal(self) -> None:
        """Go on in a new segment of the write-ahead log."""
        await self._ask("roll_wal")

    async def clear_block_cache(self, name: Name) -> int:
        """Forget the table's cached blocks; returns how many there were."""
        return int(await self._ask("clear_block_cache", canonical_table_name(name)))

    # -- servers, and which of them has which region -----------------------------------------------------

    async def servers(self) -> list[str]:
        """Names of the region servers that are alive."""
        return list(await self._ask("servers"))

    async def region_states(self, name: Name) -> list[RegionPlace]:
        """Where each region of the table is in its life, and on which server."""
        return list(await self._ask("region_states", canonical_table_name(name)))

    async def move(self, region: Name | RegionInfo, server: str = "") -> None:
        """Have another server serve a region."""
        await self._ask("move", name_text(region), server_text(server))

    async def assign(self, region: Name | RegionInfo) -> None:
        """Have a region served that is served nowhere."""
        await self._ask("assign", name_text(region))

    async def unassign(self, region: Name | RegionInfo) -> None:
        """Flush a region and have nobody serve it until ``assign``."""
        await self._ask("unassign", name_text(region))

    async def balance(self, dry_run: bool = False, force: bool = False) -> list[str]:
        """Even out regions, bytes and requests over the servers; a sentence for each move."""
        return list(await self._ask("balance", bool(dry_run), bool(force)))

    async def balance_switch(self, on: bool) -> bool:
        """Turn the balancer on or off; returns how it was before."""
        return bool(await self._ask("switch", "balancer", bool(on)))

    async def procedures(self) -> list[ProcedureStatus]:
        """Changes that the master carries out now."""
        return list(await self._ask("procedures"))

    async def decommission(self, servers: Sequence[str] | str, offload: bool = False) -> None:
        """Give servers no more regions; ``offload``: and let others serve those they have."""
        await self._ask("decommission", server_texts(servers), bool(offload))

    async def recommission(self, server: str, regions: Sequence[Name | RegionInfo] = ()) -> None:
        """Give a decommissioned server regions again, and at once those that are named."""
        await self._ask("recommission", server_text(server), [name_text(region) for region in regions])

    async def decommissioned(self) -> list[str]:
        """Servers that get no regions."""
        return list(await self._ask("decommissioned"))

    async def hbck(self, repair: bool = False) -> list[Inconsistency]:
        """What is wrong with catalogue, servers and files; ``repair``: after mending what loses nothing."""
        return list(await self._ask("hbck", bool(repair)))

    async def metrics(self) -> dict[str, float]:
        """The store's counters and gauges by name."""
        return dict(await self._ask("metrics"))
