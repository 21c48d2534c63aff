"""The master's picture of hbase:meta, and the only way it is written.

The active master alone writes hbase:meta, so what it has read once and written since is what stands there. A
change is written first and then noted here; a write whose answer was lost is repeated: every row is put as it
shall be, so doing it twice does no harm.
Threads: any number; reads give what is there at the moment.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hyperbase.common.catalog import (
    DISABLED,
    DISABLING,
    ENABLED,
    add_location,
    add_merged,
    namespace_delete,
    namespace_put,
    read_catalog,
    region_delete,
    region_put,
    split_put,
    state_put,
    table_delete,
    table_put,
    table_state_put,
)
from hyperbase.common.descriptors import NamespaceDescriptor, TableDescriptor
from hyperbase.common.errors import DoNotRetryIOException, HBaseIOException, TableNotFoundException
from hyperbase.common.model import Mutation
from hyperbase.common.region_info import META_REGION, RegionInfo, RegionState
from hyperbase.common.server_name import ServerName
from master.servers import Servers

logger = logging.getLogger(__name__)

ROWS_AT_ONCE = 500  # of one write to hbase:meta, where they need not be one
ON_ITS_WAY = frozenset({RegionState.OPENING, RegionState.OPEN, RegionState.CLOSING})


@dataclass(slots=True)
class Node:
    """A region and where it is: ``server`` serves it or did last, ``given_to`` was told last to open it."""

    info: RegionInfo
    state: RegionState = RegionState.CLOSED
    server: ServerName | None = None
    given_to: ServerName | None = None
    open_sequence_id: int = 0
    reason: str = ""  # why it is not open, in words

    @property
    def holder(self) -> ServerName | None:
        """The only server that may have it open; ``None``: none has."""
        if self.state is RegionState.OPENING:
            return self.given_to
        return self.server if self.state in ON_ITS_WAY else None

    @property
    def confirmed(self) -> bool:
        """Whoever was told last to open it has opened it."""
        return self.server is not None and self.given_to == self.server


class MasterCatalog:
    """See the module.

    Args:
        check: raises when this master must not act any more.
    """

    def __init__(self, servers: Servers, check: Callable[[], None]) -> None:
        self._servers = servers
        self._check = check
        self._lock = threading.RLock()
        self._write_lock = threading.Lock()  # writes take effect here in the order in which they are made
        self.meta = Node(META_REGION)
        self.descriptors: dict[str, TableDescriptor] = {}
        self.states: dict[str, bytes] = {}
        self.namespaces: dict[str, NamespaceDescriptor] = {}
        self._nodes: dict[str, Node] = {}  # by encoded name, without hbase:meta's
        self._tables: dict[str, dict[str, Node]] = {}
        self.parents: dict[str, RegionInfo] = {}  # split, while daughters refer to their files

    def load(self) -> None:
        """Read all of it from the server that has hbase:meta."""
        server = self.meta.server
        assert server is not None
        found = read_catalog(self._servers.scan_meta(server))
        with self._lock:
            self.descriptors, self.states = dict(found.descriptors), dict(found.states)
            self.namespaces = dict(found.namespaces)
            self.parents = {info.encoded_name: info for info in found.parents}
            self._nodes, self._tables = {}, {}
            for row in found.rows.values():
                if not row.info.split:
                    self._add(
                        Node(
                            row.info,
                            row.state,
                            row.server,
                            row.given_to or row.server,
                            row.open_sequence_id or 0,
                        )
                    )
        logger.info("hbase:meta was read tables=%d regions=%d", len(self.descriptors), len(self._nodes))

    # -- reading -----------------------------------------------------------------------------------------

    def descriptor(self, table: str) -> TableDescriptor:
        """Raises TableNotFoundException."""
        found = self.descriptors.get(table)
        if found is None:
            raise TableNotFoundException(f"{table}: no such table; list_tables() names those there are")
        return found

    def state(self, table: str) -> bytes:
        """ENABLED … Raises TableNotFoundException."""
        self.descriptor(table)
        return self.states.get(table, ENABLED)

    def wanted_open(self, table: str) -> bool:
        """Whether the table's regions are to be served."""
        return table in self.descriptors and self.states.get(table) not in (DISABLED, DISABLING)

    def nodes(self, table: str | None = None) -> list[Node]:
        """The regions of a table in key order, or of all."""
        with self._lock:
            found = self._nodes if table is None else self._tables.get(table, {})
            return sorted(found.values(), key=lambda node: node.info.sort_key())

    def node(self, encoded_name: str) -> Node | None:
        """A region by its encoded name; hbase:meta's too."""
        if encoded_name == META_REGION.encoded_name:
            return self.meta
        return self._nodes.get(encoded_name)

    def held_by(self, server: ServerName) -> list[Node]:
        """Regions that the server may have open."""
        with self._lock:
            return [node for node in self._nodes.values() if node.holder == server]

    def region_ids(self) -> int:
        """The highest region id there is."""
        with self._lock:
            return max((node.info.region_id for node in self._nodes.values()), default=0)

    # -- writing -----------------------------------------------------------------------------------------

    def write(self, mutations: Sequence[Mutation], then: Callable[[], None]) -> None:
        """Write rows, all or none, and note it: ``then``. Waits while hbase:meta is served nowhere.

        Raises:
            HBaseIOException: it was refused for good.
        """
        with self._write_lock:
            pause_s = 0.02
            while True:
                self._check()
                server = self.meta.server if self.meta.state is RegionState.OPEN else None
                if server is not None and self._servers.alive(server):
                    try:
                        self._servers.command(server, "write_meta", list(mutations), [])
                        break
                    except HBaseIOException as error:
                        self._check()
                        if isinstance(error, DoNotRetryIOException):
                            raise
                        logger.info("hbase:meta was not written, again server=%s error=%s", server, error)
                self._servers.wait_for_change(pause_s)
                pause_s = min(pause_s * 2, 1.0)
            with self._lock:
                then()

    def put_namespace(self, descriptor: NamespaceDescriptor) -> None:
        """Create or change one."""
        self.write(
            [namespace_put(descriptor)], lambda: self.namespaces.__setitem__(descriptor.name, descriptor)
        )

    def delete_namespace(self, name: str) -> None:
        """It is empty."""
        self.write([namespace_delete(name)], lambda: self._forget(self.namespaces, name))

    def put_table(
        self, descriptor: TableDescriptor, state: bytes, regions: Iterable[RegionInfo] = ()
    ) -> None:
        """Create or change a table, and add regions that are closed: one commit."""
        infos = list(regions)

        def note() -> None:
            self.descriptors[descriptor.name], self.states[descriptor.name] = descriptor, state
            for info in infos:
                self._add(Node(info))

        self.write(
            [table_put(descriptor, state), *(region_put(info, RegionState.CLOSED) for info in infos)], note
        )

    def set_state(self, table: str, state: bytes) -> None:
        """ENABLED …"""
        self.write([table_state_put(table, state)], lambda: self.states.__setitem__(table, state))

    def replace_regions(self, table: str, state: bytes, add: Sequence[RegionInfo]) -> None:
        """Other regions for a table, closed ones: one commit."""
        gone = [node.info for node in self.nodes(table)] + self._parents_of(table)
        gone = [info for info in gone if info not in add]

        def note() -> None:
            self._drop(gone)
            self.states[table] = state
            for info in add:
                self._add(Node(info))

        puts = [region_put(info, RegionState.CLOSED) for info in add]
        self.write([table_state_put(table, state), *map(region_delete, gone), *puts], note)

    def delete_table(self, table: str) -> list[RegionInfo]:
        """All rows of a table: one commit; returns its regions, parents too."""
        gone = [node.info for node in self.nodes(table)] + self._parents_of(table)

        def note() -> None:
            self._drop(gone)
            self._forget(self.descriptors, table)
            self._forget(self.states, table)

        self.write([table_delete(table), *map(region_delete, gone)], note)
        return gone

    def set_states(
        self,
        nodes: Sequence[Node],
        state: RegionState,
        given_to: ServerName | None = None,
        holder: ServerName | None = None,
    ) -> None:
        """Regions are on their way; ``holder`` is who may have them open until it says no."""
        for begin in range(0, len(nodes), ROWS_AT_ONCE):
            part = nodes[begin : begin + ROWS_AT_ONCE]

            def note(part: Sequence[Node] = part) -> None:
                for node in part:
                    node.state = state
                    node.given_to = given_to or node.given_to
                    node.server = holder or node.server

            puts = [state_put(node.info, state, given_to) for node in part]
            if holder is not None:
                puts = [add_location(put, holder) for put in puts]
            self.write(puts, note)

    def set_open(self, opened: Sequence[tuple[Node, int]], server: ServerName) -> None:
        """A server has opened regions: ``(node, first sequence id)`` each."""
        for begin in range(0, len(opened), ROWS_AT_ONCE):
            part = opened[begin : begin + ROWS_AT_ONCE]

            def note(part: Sequence[tuple[Node, int]] = part) -> None:
                for node, first in part:
                    node.state, node.server, node.open_sequence_id = RegionState.OPEN, server, first
                    node.reason = ""

            self.write(
                [add_location(state_put(node.info, RegionState.OPEN), server, first) for node, first in part],
                note,
            )

    def split(self, parent: RegionInfo, first: RegionInfo, second: RegionInfo) -> None:
        """The one commit point of a split; ``parent`` says offline and split."""

        def note() -> None:
            self._drop([parent])
            self.parents[parent.encoded_name] = parent
            self._add(Node(first))
            self._add(Node(second))

        children = [region_put(info, RegionState.CLOSED) for info in (first, second)]
        self.write([split_put(parent, first, second), *children], note)

    def merge(self, parents: Sequence[RegionInfo], merged: RegionInfo) -> None:
        """The one commit point of a merge."""

        def note() -> None:
            self._drop(parents)
            self._add(Node(merged))

        put = add_merged(region_put(merged, RegionState.CLOSED), parents)
        self.write([*map(region_delete, parents), put], note)

    def forget_parent(self, parent: RegionInfo) -> None:
        """A split parent whose files nobody refers to any more."""
        self.write([region_delete(parent)], lambda: self._forget(self.parents, parent.encoded_name))

    # -- helpers -----------------------------------------------------------------------------------------

    def _add(self, node: Node) -> None:
        self._nodes[node.info.encoded_name] = node
        self._tables.setdefault(node.info.table, {})[node.info.encoded_name] = node

    def _drop(self, infos: Iterable[RegionInfo]) -> None:
        for info in infos:
            self._nodes.pop(info.encoded_name, None)
            self._tables.get(info.table, {}).pop(info.encoded_name, None)
            self.parents.pop(info.encoded_name, None)

    def _parents_of(self, table: str) -> list[RegionInfo]:
        return [info for info in self.parents.values() if info.table == table]

    @staticmethod
    def _forget(where: dict[str, Any], name: str) -> None:
        where.pop(name, None)
