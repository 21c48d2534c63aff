"""Admin: namespaces, tables and regions of a store, by HBase's names and rules.

Tables are named in full, ``"t"`` or ``"ns:t"``, as text or bytes; a connection's table prefix plays no
part here. Calls return when what they ask for is done. Errors are HBase's: see ``hyperbase.common.errors``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hyperbase.common.argument_checks import check_kind
from hyperbase.common.descriptors import NamespaceDescriptor, TableDescriptor
from hyperbase.common.errors import IllegalArgumentException, WrongTypeException, shown
from hyperbase.common.model import to_bytes
from hyperbase.common.names import canonical_table_name
from hyperbase.common.region_info import RegionInfo
from hyperbase.common.split_keys import check_split_keys

if TYPE_CHECKING:
    from hyperbase.client.backend import Backend
    from hyperbase.client.connection import Connection
    from hyperbase.common.cluster_status import ClusterStatus, ProcedureStatus, RegionPlace
    from hyperbase.common.descriptors import TableDescriptor
    from hyperbase.common.inconsistency import Inconsistency

Name = bytes | str

# What ``Admin.switch`` turns. "split", "merge" and "compaction" stop that work; "balancer", "normalizer",
# "catalogjanitor", "cleaner_chore" and "snapshot_cleanup" matter where there are several servers.
SWITCHES = (
    "balancer",
    "normalizer",
    "catalogjanitor",
    "cleaner_chore",
    "split",
    "merge",
    "compaction",
    "snapshot_cleanup",
)


class Admin:
    """What changes the catalogue, and maintenance. ``Connection.admin`` makes one."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def _backend(self) -> Backend:
        return self._connection._open_backend()

    # -- namespaces --------------------------------------------------------------------------------------

    def create_namespace(
        self, namespace: NamespaceDescriptor | Name, configuration: Mapping[str, str] | None = None
    ) -> None:
        """Create a namespace; a name with its configuration stands for a descriptor.

        Raises:
            NamespaceExistException
        """
        self._backend.create_namespace(namespace_of(namespace, configuration))

    def alter_namespace(
        self, namespace: NamespaceDescriptor | Name, configuration: Mapping[str, str] | None = None
    ) -> None:
        """Replace a namespace's configuration.

        Raises:
            NamespaceNotFoundException
        """
        self._backend.alter_namespace(namespace_of(namespace, configuration))

    def describe_namespace(self, name: Name) -> NamespaceDescriptor:
        """The namespace's descriptor.

        Raises:
            NamespaceNotFoundException
        """
        return self._backend.describe_namespace(name_text(name))

    def drop_namespace(self, name: Name) -> None:
        """Remove an empty namespace.

        Raises:
            ConstraintException: it still has tables, or is ``default`` or ``hbase``.
            NamespaceNotFoundException
        """
        self._backend.drop_namespace(name_text(name))

    def list_namespaces(self) -> list[str]:
        """All namespaces, ``default`` and ``hbase`` among them."""
        return self._backend.list_namespaces()

    # -- tables ------------------------------------------------------------------------------------------

    def create_table(self, descriptor: TableDescriptor, splits: Sequence[Name] | None = None) -> None:
        """Create a table, with ``n`` split keys in ``n + 1`` regions; the keys may come in any order.

        Raises:
            TableExistsException, NamespaceNotFoundException, DoNotRetryIOException (a bad schema).
            IllegalArgumentException: an empty or repeated split key.
        """
        check_kind(descriptor, TableDescriptor)
        self._backend.create_table(descriptor, None if splits is None else check_split_keys(splits))

    def alter_table(self, descriptor: TableDescriptor) -> None:
        """Give the table this schema.

        Raises:
            TableNotFoundException, InvalidFamilyOperationException, DoNotRetryIOException (a bad schema).
        """
        self._backend.alter_table(check_kind(descriptor, TableDescriptor))

    def describe_table(self, name: Name) -> TableDescriptor:
        """The table's schema.

        Raises:
            TableNotFoundException
        """
        return self._backend.describe_table(canonical_table_name(name))

    def list_tables(self, regex: str | re.Pattern[str] | None = None) -> list[str]:
        """Full names in order; with ``regex`` those that match it as a whole."""
        return matching(self._backend.list_tables(), regex)

    def table_exists(self, name: Name) -> bool:
        """Whether there is such a table, enabled or not."""
        return self._backend.table_exists(canonical_table_name(name))

    def enable_table(self, name: Name) -> None:
        """Serve a disabled table again.

        Raises:
            TableNotFoundException, TableNotDisabledException
        """
        self._backend.enable_table(canonical_table_name(name))

    def disable_table(self, name: Name) -> None:
        """Stop serving a table; reads and writes raise TableNotEnabledException.

        Raises:
            TableNotFoundException, TableNotEnabledException
        """
        self._backend.disable_table(canonical_table_name(name))

    def is_table_enabled(self, name: Name) -> bool:
        """Whether the table serves.

        Raises:
            TableNotFoundException
        """
        return self._backend.is_table_enabled(canonical_table_name(name))

    def truncate_table(self, name: Name, preserve_splits: bool = False) -> None:
        """Remove every row of a disabled table, which is enabled afterwards.

        Raises:
            TableNotFoundException, TableNotDisabledException
        """
        self._backend.truncate_table(canonical_table_name(name), preserve_splits)

    def drop_table(self, name: Name) -> None:
        """Remove a disabled table with its data.

        Raises:
            TableNotFoundException, TableNotDisabledException
        """
        self._backend.drop_table(canonical_table_name(name))

    def clone_table_schema(self, source: Name, target: Name, preserve_splits: bool = False) -> None:
        """Create the empty table ``target`` with the schema of ``source``, on request with its regions.

        Raises:
            TableNotFoundException: no ``source``.
            TableExistsException, NamespaceNotFoundException: ``target`` exists, or cannot.
        """
        backend = self._backend
        descriptor = replace(
            backend.describe_table(canonical_table_name(source)), name=canonical_table_name(target)
        )
        splits = None
        if preserve_splits:
            regions = backend.regions(canonical_table_name(source))
            splits = [region.start_key for region in regions if region.start_key] or None
        backend.create_table(descriptor, splits)

    # -- regions and maintenance -------------------------------------------------------------------------

    def regions(self, name: Name) -> list[RegionInfo]:
        """The table's regions in key order.

        Raises:
            TableNotFoundException
        """
        return self._backend.regions(canonical_table_name(name))

    def flush(self, table_or_region: Name | RegionInfo) -> None:
        """Write what the table, or one region, holds in memory to StoreFiles."""
        self._backend.flush(name_text(table_or_region))

    def compact(self, table_or_region: Name | RegionInfo) -> None:
        """Merge StoreFiles where the store's policy finds it worth while."""
        self._backend.compact(name_text(table_or_region), major=False)

    def major_compact(self, table_or_region: Name | RegionInfo) -> None:
        """Merge every Store to one file and drop deleted, expired and surplus cells for good."""
        self._backend.compact(name_text(table_or_region), major=True)

    def split(self, table_or_region: Name | RegionInfo, key: Name | None = None) -> None:
        """Split a region (as ``merge_regions`` takes it), or all of a table, at ``key`` or in the middle.

        Raises:
            DoNotRetryIOException: the key lies outside, or there is too little data to find a middle.
        """
        self._backend.split(name_text(table_or_region), None if key is None else to_bytes(key, "split key"))

    def merge_regions(self, first: Name | RegionInfo, second: Name | RegionInfo) -> None:
        """Merge two adjacent regions, given as ``regions`` has them or by their encoded names.

        Raises:
            UnknownRegionException, MergeRegionException
        """
        self._backend.merge_regions(name_text(first), name_text(second))

    def region_locations(self, name: Name) -> list[tuple[RegionInfo, str]]:
        """The table's regions in key order, each with its server's name, ``host,port,startcode``.

        Raises:
            TableNotFoundException
        """
        return self._backend.region_locations(canonical_table_name(name))

    # -- operation ---------------------------------------------------------------------------------------

    def cluster_status(self) -> ClusterStatus:
        """The servers, their regions, and what each carries."""
        return self._backend.cluster_status()

    def compaction_state(self, name: Name) -> str:
        """``NONE``, ``MINOR``, ``MAJOR`` or ``MAJOR_AND_MINOR``: the table's compactions under way.

        Raises:
            TableNotFoundException, TableNotEnabledException
        """
        return self._backend.compaction_state(canonical_table_name(name))

    def switch(self, name: str, on: bool | None = None) -> bool:
        """Turn one of ``SWITCHES`` on or off, or with ``None`` only ask; returns how it was before.

        Raises:
            IllegalArgumentException: no such switch.
        """
        check_switch(name)
        return self._backend.switch(name, on)

    def roll_wal(self) -> None:
        """Go on in a new segment of the write-ahead log."""
        self._backend.roll_wal()

    def clear_block_cache(self, name: Name) -> int:
        """Forget the table's cached blocks; returns how many there were.

        Raises:
            TableNotFoundException
        """
        return self._backend.clear_block_cache(canonical_table_name(name))

    # -- servers, and which of them has which region -----------------------------------------------------

    def servers(self) -> list[str]:
        """Names of the region servers that are alive, ``host,port,startcode``."""
        return self._backend.servers()

    def region_states(self, name: Name) -> list[RegionPlace]:
        """Where each region of the table is in its life, and on which server, in key order.

        Raises:
            TableNotFoundException
        """
        return self._backend.region_states(canonical_table_name(name))

    def move(self, region: Name | RegionInfo, server: str = "") -> None:
        """Have another server serve a region (as ``merge_regions`` takes it); reads and writes wait for it.

        Args:
            server: its name, ``host,port`` or ``host:port``; any other one, if none is given.

        Raises:
            UnknownRegionException, IllegalArgumentException (no such server is alive).
            DoNotRetryIOException: there is no other server, or the table is disabled.
        """
        self._backend.move(name_text(region), server_text(server))

    def assign(self, region: Name | RegionInfo) -> None:
        """Have a region served that is served nowhere; one that is served stays where it is.

        Raises:
            UnknownRegionException, DoNotRetryIOException (the table is disabled, or no server can open it).
        """
        self._backend.assign(name_text(region))

    def unassign(self, region: Name | RegionInfo) -> None:
        """Flush a region and have nobody serve it until ``assign``; its rows cannot be reached meanwhile.

        Raises:
            UnknownRegionException, DoNotRetryIOException (the store is one process).
        """
        self._backend.unassign(name_text(region))

    def balance(self, dry_run: bool = False, force: bool = False) -> list[str]:
        """Even out regions, bytes and requests over the servers; a sentence for each move, and why.

        Args:
            dry_run: plan and tell, move nothing.
            force: also while regions are in transition; those stay.

        Raises:
            NotBalancedException: the balancer is off, or regions are in transition.
        """
        return self._backend.balance(bool(dry_run), bool(force))

    def balance_switch(self, on: bool) -> bool:
        """Turn the balancer, which runs every five minutes, on or off; returns how it was before."""
        return self._backend.switch("balancer", bool(on))

    def procedures(self) -> list[ProcedureStatus]:
        """Changes that the master carries out now, oldest first."""
        return self._backend.procedures()

    def decommission(self, servers: Sequence[str] | str, offload: bool = False) -> None:
        """Give servers no more regions, also after they were started anew.

        Args:
            servers: as ``move`` takes them; all that are to leave at once, so that no region moves twice.
            offload: have others serve the regions they have; returns when that is done.

        Raises:
            IllegalArgumentException: a server is not alive.
            DoNotRetryIOException: no server would be left to have regions.
        """
        self._backend.decommission(server_texts(servers), bool(offload))

    def recommission(self, server: str, regions: Sequence[Name | RegionInfo] = ()) -> None:
        """Give a decommissioned server regions again, and at once those that are named.

        Raises:
            IllegalArgumentException: no server of that name is alive or decommissioned.
            UnknownRegionException
        """
        self._backend.recommission(server_text(server), [name_text(region) for region in regions])

    def decommissioned(self) -> list[str]:
        """Servers that get no regions: names as ``servers`` has them, ``host,port`` of those not alive."""
        return self._backend.decommissioned()

    def hbck(self, repair: bool = False) -> list[Inconsistency]:
        """Look whether hbase:meta, ZooKeeper, the servers and the files agree; what is found, or ``[]``.

        Args:
            repair: mend what loses nothing; a finding that was mended says so in ``repaired``.

        Raises:
            HBaseIOException: it could not be looked at.
        """
        return self._backend.hbck(bool(repair))


def check_switch(name: str) -> None:
    """Raises IllegalArgumentException for a switch that does not exist."""
    if name not in SWITCHES:
        raise IllegalArgumentException(f"no switch {shown(name)}: there are {', '.join(SWITCHES)}")


def matching(names: list[str], regex: str | re.Pattern[str] | None) -> list[str]:
    """The names that a regular expression matches as a whole; all of them without one."""
    if regex is None:
        return names
    if not isinstance(regex, re.Pattern):
        check_kind(regex, str, "a regular expression")
    elif not isinstance(regex.pattern, str):
        raise WrongTypeException(f"a regular expression of text is wanted here, not {shown(regex)}")
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise IllegalArgumentException(f"{shown(regex)} is not a regular expression: {error}") from error
    return [name for name in names if pattern.fullmatch(name)]


def name_text(name: Name | RegionInfo) -> str:
    """A region's or namespace's name as text."""
    if isinstance(name, RegionInfo):
        return name.encoded_name
    return name if isinstance(name, str) else to_bytes(name, "name").decode("utf-8", "replace")


def server_text(name: str) -> str:
    """A server's name; WrongTypeException for anything but text."""
    return check_kind(name, str, "a server's name")


def server_texts(names: Sequence[str] | str) -> list[str]:
    """Names of servers, or one; WrongTypeException for anything else."""
    if isinstance(names, str):
        return [names]
    if not isinstance(names, Sequence):
        raise WrongTypeException(f"a list of servers is wanted here, not {shown(names)}")
    return [server_text(name) for name in names]


def namespace_of(
    namespace: NamespaceDescriptor | Name, configuration: Mapping[str, str] | None
) -> NamespaceDescriptor:
    """A descriptor as it is, or one made of a name and its configuration."""
    if not isinstance(namespace, (bytes, str)):
        if configuration is not None:
            raise WrongTypeException(
                "a NamespaceDescriptor says everything: no configuration can be given beside it"
            )
        return check_kind(namespace, NamespaceDescriptor)
    return NamespaceDescriptor(name_text(namespace), {} if configuration is None else configuration)
