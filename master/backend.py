"""What ADMIN calls ask of the active master of a cluster: the methods of the client's ``Backend`` and more.

Changes of tables and regions are procedures; a repeated call (same client and nonce, of whichever master)
gets the outcome of the first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from hyperbase.common.catalog import BUILT_IN_NAMESPACES, DISABLED, ENABLED
from hyperbase.common.cluster_status import ClusterStatus, ProcedureStatus, RegionPlace, ServerStatus
from hyperbase.common.descriptors import NamespaceDescriptor, TableDescriptor, check_split_keys
from hyperbase.common.errors import (
    ConstraintException,
    DoNotRetryIOException,
    HBaseIOException,
    IllegalArgumentException,
    MergeRegionException,
    NamespaceExistException,
    NamespaceNotFoundException,
    NotBalancedException,
    NotServingRegionException,
    TableExistsException,
    TableNotEnabledException,
    UnknownRegionException,
)
from hyperbase.common.inconsistency import Inconsistency
from hyperbase.common.names import META_TABLE, canonical_table_name, split_table_name
from hyperbase.common.region_info import META_REGION, RegionInfo, RegionState
from hyperbase.common.server_name import ServerName
from master.balance import (
    Balance,
    LoadServer,
    OffloadServers,
    plan_balance,
    planned,
)
from master.balancer import Move
from master.catalog import Node
from master.core import Core
from master.hbck_cluster import ClusterHbck
from master.procedures import Procedure
from master.region_procedures import (
    AssignRegion,
    MergeRegions,
    MoveRegion,
    SplitRegion,
    UnassignRegion,
    in_key_order,
)
from master.service import CURRENT_CHANGE
from master.table_procedures import (
    AlterTable,
    CreateTable,
    DisableTable,
    DropTable,
    EnableTable,
    TableProcedure,
    TruncateTable,
)

logger = logging.getLogger(__name__)


class ClusterBackend:
    """See the module. Methods block their thread."""

    def __init__(self, core: Core, name: ServerName, switches: dict[str, bool], version: str) -> None:
        self._core = core
        self._version = version
        self._name = name
        self.switches = switches

    def _change(self, make: Callable[[], Procedure]) -> Any:
        """Carry a procedure out, or wait for the one that was begun for this very call."""
        key = CURRENT_CHANGE.get()
        known = self._core.executor.known(key) if key is not None else None
        return (known or self._core.executor.submit(make(), key)).wait()

    # -- namespaces --------------------------------------------------------------------------------------

    def create_namespace(self, descriptor: NamespaceDescriptor) -> None:
        if descriptor.name in self.list_namespaces():
            raise NamespaceExistException(f"Namespace {descriptor.name} already exists")
        self._core.catalog.put_namespace(descriptor)

    def alter_namespace(self, descriptor: NamespaceDescriptor) -> None:
        self.describe_namespace(descriptor.name)
        self._core.catalog.put_namespace(descriptor)

    def describe_namespace(self, name: str) -> NamespaceDescriptor:
        found = self._core.catalog.namespaces.get(name)
        if found is not None:
            return found
        if name in BUILT_IN_NAMESPACES:
            return NamespaceDescriptor(name)
        raise NamespaceNotFoundException(f"Namespace {name} does not exist: create_namespace() makes one")

    def drop_namespace(self, name: str) -> None:
        if name in BUILT_IN_NAMESPACES:
            raise ConstraintException(f"Reserved namespace {name} cannot be removed.")
        self.describe_namespace(name)
        count = sum(split_table_name(table)[0] == name for table in list(self._core.catalog.descriptors))
        if count:
            raise ConstraintException(
                f"Only empty namespaces can be removed. Namespace {name} has {count} tables"
            )
        self._core.catalog.delete_namespace(name)

    def list_namespaces(self) -> list[str]:
        return sorted({*BUILT_IN_NAMESPACES, *self._core.catalog.namespaces})

    # -- tables ------------------------------------------------------------------------------------------

    def create_table(self, descriptor: TableDescriptor, splits: Sequence[bytes] | None = None) -> None:
        keys = check_split_keys(splits or [])
        descriptor.check()
        if split_table_name(descriptor.name)[0] == "hbase":
            raise TableExistsException(descriptor.name)
        data = {"table": descriptor.name, "descriptor": descriptor.to_dict(), "keys": list(keys)}
        self._change(lambda: CreateTable(data))

    def alter_table(self, descriptor: TableDescriptor) -> None:
        descriptor.check()
        _refuse_meta(descriptor.name, "altered")
        data = {"table": descriptor.name, "descriptor": descriptor.to_dict()}
        self._change(lambda: AlterTable(data))

    def describe_table(self, name: str) -> TableDescriptor:
        return self._core.catalog.descriptor(canonical_table_name(name))

    def list_tables(self) -> list[str]:
        return sorted(self._core.catalog.descriptors)

    def table_exists(self, name: str) -> bool:
        name = canonical_table_name(name)
        return name in self._core.catalog.descriptors or name == META_TABLE

    def enable_table(self, name: str) -> None:
        self._change_table(EnableTable, name)

    def disable_table(self, name: str) -> None:
        _refuse_meta(canonical_table_name(name), "disabled")
        self._change_table(DisableTable, name)

    def is_table_enabled(self, name: str) -> bool:
        return self._core.catalog.state(canonical_table_name(name)) == ENABLED

    def truncate_table(self, name: str, preserve_splits: bool = False) -> None:
        self._change_table(TruncateTable, name, preserve_splits=preserve_splits)

    def drop_table(self, name: str) -> None:
        self._change_table(DropTable, name)

    def _change_table(self, kind: type[TableProcedure], name: str, **data: Any) -> None:
        table = canonical_table_name(name)
        self._change(lambda: kind({"table": table, **data}))

    # -- regions and maintenance -------------------------------------------------------------------------

    def regions(self, table: str) -> list[RegionInfo]:
        name = canonical_table_name(table)
        if name == META_TABLE:
            return [META_REGION]
        self._core.catalog.descriptor(name)
        return [node.info for node in self._core.catalog.nodes(name)]

    def region_locations(self, table: str) -> list[tuple[RegionInfo, str]]:
        name = canonical_table_name(table)
        nodes = [self._core.catalog.meta] if name == META_TABLE else self._core.catalog.nodes(name)
        if name != META_TABLE:
            self._core.catalog.descriptor(name)
        return [(node.info, str(node.server or "")) for node in nodes]

    def flush(self, table: str) -> None:
        self._on_regions(table, "flush_regions")

    def compact(self, table: str, major: bool = False) -> None:
        self._on_regions(table, "compact_regions", major)

    def split(self, table_or_region: str, key: bytes | None = None) -> None:
        if key is not None and not key:
            raise IllegalArgumentException("the split key is empty")
        nodes = self._nodes_of(table_or_region)
        for node in nodes:
            _refuse_meta(node.info.table, "split")
        if not self.switches["split"]:
            raise DoNotRetryIOException(f"Split region {table_or_region} failed due to split switch off")
        if key is not None:
            nodes = [node for node in nodes if node.info.contains(key)] or nodes[:1]
        forced = len(nodes) == 1
        if forced:
            data = {"regions": [nodes[0].info.to_bytes()], "key": key, "forced": True}
            self._change(lambda: SplitRegion(data))
            return
        begun = [
            self._core.executor.submit(
                SplitRegion({"regions": [node.info.to_bytes()], "key": None, "forced": False})
            )
            for node in nodes
        ]
        for procedure in begun:
            procedure.wait()

    def merge_regions(self, first: str, second: str) -> None:
        if not self.switches["merge"]:
            raise DoNotRetryIOException(f"Merge of {first}, {second} failed as merge switch was set to false")
        infos = [self._region(name).info for name in (first, second)]
        if infos[0] == infos[1]:
            raise MergeRegionException(f"Duplicate regions specified; {infos[0].encoded_name}")
        low, high = in_key_order(infos)
        self._change(lambda: MergeRegions({"regions": [low.to_bytes(), high.to_bytes()]}))

    def move(self, region: str, server: str = "") -> None:
        """To a server (its name, or its ``host,port``), or to any other."""
        node = self._region(region)
        target = self._server(server) if server else self._another(node)
        if node.info.is_meta:
            if target != node.holder:
                self._core.assignment.move_meta(target)
            return
        data = {"regions": [node.info.to_bytes()], "target": str(target)}
        self._change(lambda: MoveRegion(data))

    def assign(self, region: str) -> None:
        info = self._region(region).info
        if info.is_meta:
            self._core.assignment.open_meta()
            return
        if not self._core.catalog.wanted_open(info.table):
            raise DoNotRetryIOException(f"{info.table} is disabled: enable it, and its regions are served")
        self._change(lambda: AssignRegion({"regions": [info.to_bytes()]}))

    def unassign(self, region: str) -> None:
        info = self._region(region).info
        _refuse_meta(info.table, "unassigned")
        self._change(lambda: UnassignRegion({"regions": [info.to_bytes()]}))

    def compaction_state(self, table: str) -> str:
        nodes = self._enabled_nodes(canonical_table_name(table))
        states = {state for part in self._ask(nodes, "compaction_states") for state in part}
        states.discard("NONE")
        return "MAJOR_AND_MINOR" if len(states) > 1 else states.pop() if states else "NONE"

    def clear_block_cache(self, table: str) -> int:
        return sum(self._ask(self._enabled_nodes(canonical_table_name(table)), "clear_block_cache"))

    # -- operation ---------------------------------------------------------------------------------------

    def cluster_status(self) -> ClusterStatus:
        core = self._core
        servers = core.servers
        reports = servers.ask_all()
        return ClusterStatus(
            version=self._version,
            cluster_id=core.coordination.cluster_id(),
            master=str(self._name),
            servers=tuple(
                ServerStatus(
                    str(server),
                    tuple(region.status for region in report.regions),
                    report.requests_per_second,
                    report.used_memory_bytes,
                    report.max_memory_bytes,
                )
                for server, report in sorted(reports.items())
            ),
            backup_masters=tuple(map(str, core.coordination.backup_masters())),
            dead_servers=tuple(map(str, core.dead.under_recovery())),
            regions_in_transition=tuple(self._in_transition()),
        )

    def _in_transition(self) -> list[str]:
        catalog = self._core.catalog
        out = []
        for node in catalog.nodes():
            if node.state is RegionState.OPEN or not catalog.wanted_open(node.info.table):
                continue
            where = f" on {node.holder}" if node.holder is not None else ""
            out.append(
                f"{node.info.region_name_text} {node.state.value}{where}: {node.reason or 'on its way'}"
            )
        return out

    def procedures(self) -> list[ProcedureStatus]:
        """Those under way, oldest first."""
        return [
            ProcedureStatus(
                procedure.number,
                procedure.kind,
                procedure.describe(),
                procedure.step,
                round(procedure.began * 1000),
                procedure.note,
            )
            for procedure in self._core.executor.running()
        ]

    def region_states(self, table: str) -> list[RegionPlace]:
        """Each region's state, and where it is."""
        name = canonical_table_name(table)
        nodes = [self._core.catalog.meta] if name == META_TABLE else self._core.catalog.nodes(name)
        if name != META_TABLE:
            self._core.catalog.descriptor(name)
        return [
            RegionPlace(node.info, node.state.value, str(node.holder or ""), node.reason) for node in nodes
        ]

    def servers(self) -> list[str]:
        """Those alive."""
        return [str(server) for server in self._core.servers.all()]

    # -- the balancer, and servers that come and go ------------------------------------------------------

    def balance(self, dry_run: bool = False, force: bool = False) -> list[str]:
        """Even out what the servers carry, and say each move in words; ``dry_run``: only say.

        Args:
            force: also while regions are in transition; those stay.

        Raises:
            NotBalancedException: the balancer is off, or regions are in transition.
        """
        key = CURRENT_CHANGE.get()
        procedure = self._core.executor.known(key) if key is not None else None
        if procedure is None:
            if not self.switches["balancer"]:
                raise NotBalancedException("the balancer is off: balance_switch(True) turns it on")
            moves = plan_balance(self._core, force=force)
            if dry_run or not moves:
                return list(map(str, moves))
            procedure = self._core.executor.submit(self._balance(moves), key)
        procedure.wait()
        sentences: list[str] = procedure.data["sentences"]
        return [*sentences, *procedure.data["failed"]]

    def _balance(self, moves: Sequence[Move]) -> Balance:
        sentences = list(map(str, moves))
        return Balance({"moves": planned(self._core, moves), "sentences": sentences, "failed": []})

    def run_balancer(self) -> None:
        """The chore: balance, if there is anything to do and it may be done."""
        try:
            for sentence in self.balance():
                logger.info("balanced: %s", sentence)
        except NotBalancedException as error:
            logger.info("not balanced: %s", error)

    def decommission(self, servers: Sequence[str], offload: bool = False) -> None:
        """Give living servers no more regions, also when they come back under another start code.

        Args:
            servers: by name, ``host,port`` or ``host:port``.
            offload: have others serve what they have; returns when that is done.

        Raises:
            DoNotRetryIOException: no server would be left to have regions.
        """
        leaving = [self._server(name) for name in servers]
        if not set(self._core.servers.usable()) - set(leaving):
            raise DoNotRetryIOException(
                f"beside {', '.join(map(str, leaving))} there is no server that may have regions"
            )
        self._drain([server.address for server in leaving], True)
        if offload:
            names = list(map(str, leaving))
            self._change(lambda: OffloadServers({"servers": names, "failed": []}))

    def recommission(self, server: str, regions: Sequence[str] = ()) -> None:
        """Give a server regions again; those named are moved there, by full or encoded name."""
        address = self._drained_address(server)
        nodes = [self._region(name) for name in regions]
        target = self._server(server) if regions else None
        self._drain([address], False)
        moves = [(n.info.to_bytes(), str(n.holder or ""), str(target)) for n in nodes if n.holder != target]
        if moves:
            self._change(lambda: LoadServer({"server": str(target), "moves": moves}))

    def decommissioned(self) -> list[str]:
        """Servers that are to get no regions: names of those alive, ``host,port`` of others."""
        alive = {server.address: str(server) for server in self._core.servers.all()}
        return [
            alive.get(address, ",".join(address.rsplit(":", 1))) for address in self._core.servers.draining
        ]

    def _drain(self, addresses: Sequence[str], on: bool) -> None:
        self._core.store.set_decommissioned(addresses, on)
        for address in addresses:
            self._core.servers.drain(address, on)

    def _drained_address(self, name: str) -> str:
        """Of a server that lives, or that is decommissioned and does not."""
        for address in self._core.servers.draining:
            host, port = address.rsplit(":", 1)
            if name == address or name == f"{host},{port}" or name.startswith(f"{host},{port},"):
                return address
        return self._server(name).address

    def hbck(self, repair: bool = False) -> list[Inconsistency]:
        """Whether hbase:meta, ZooKeeper, servers and files agree; ``repair``: mend what loses nothing.

        Raises:
            HBaseIOException: it could not be looked at.
        """
        return ClusterHbck(self._core).run(repair)

    def switch(self, name: str, on: bool | None) -> bool:
        if name not in self.switches:
            raise IllegalArgumentException(f"no switch {name!r}: there are {', '.join(self.switches)}")
        before = self.switches[name]
        if on is not None:
            self._core.store.set_switch(name, on)
            self.switches[name] = on
            if name == "compaction":
                self._tell_all("switch_compactions", on)
        return before

    def roll_wal(self) -> None:
        self._tell_all("roll_wal")

    def metrics(self) -> dict[str, float]:
        """The servers' own, added up."""
        total: dict[str, float] = {}
        for report in self._core.servers.ask_all().values():
            for name, number in report.metrics.items():
                total[name] = total.get(name, 0) + number
        return total

    # -- helpers -----------------------------------------------------------------------------------------

    def _tell_all(self, name: str, *arguments: Any) -> None:
        servers = self._core.servers
        for answer in servers.command_all([(server, name, arguments) for server in servers.all()]):
            if isinstance(answer, HBaseIOException):
                raise answer

    def _server(self, name: str) -> ServerName:
        for server in self._core.servers.all():
            if name in (str(server), server.address, f"{server.host},{server.port}"):
                return server
        raise IllegalArgumentException(f"there is no living server {name!r}: servers() names them")

    def _another(self, node: Node) -> ServerName:
        others = [server for server in self._core.servers.usable() if server != node.holder]
        if not others:
            raise DoNotRetryIOException("there is no other server to move the region to")
        held = {server: len(self._core.catalog.held_by(server)) for server in others}
        return min(others, key=lambda server: (held[server], server))

    def _region(self, name: str) -> Node:
        """By full or encoded name."""
        found = self._core.catalog.node(name)
        if found is not None:
            return found
        for node in self._core.catalog.nodes():
            if name in (node.info.region_name_text, node.info.region_name.decode("utf-8", "replace")):
                return node
        raise UnknownRegionException(f"{name}: no region has this name or encoded name")

    def _nodes_of(self, name: str) -> list[Node]:
        """The regions of a table, or the one region of that name."""
        try:
            return [self._region(name)]
        except UnknownRegionException:
            return self._enabled_nodes(canonical_table_name(name))

    def _enabled_nodes(self, table: str) -> list[Node]:
        if table == META_TABLE:
            return [self._core.catalog.meta]
        if self._core.catalog.state(table) == DISABLED:
            raise TableNotEnabledException(f"{table} is disabled.")
        return self._core.catalog.nodes(table)

    def _ask(self, nodes: Sequence[Node], name: str, *arguments: Any) -> list[Any]:
        """A command about regions, to the servers that have them; an answer for each server."""
        groups: dict[ServerName, list[bytes]] = {}
        for node in nodes:
            if node.server is not None and node.state is RegionState.OPEN:
                groups.setdefault(node.server, []).append(node.info.id16)
        answers = self._core.servers.command_all(
            [(server, name, (ids, *arguments)) for server, ids in groups.items()]
        )
        for answer in answers:
            if isinstance(answer, HBaseIOException):
                raise answer
        return answers

    def _on_regions(self, name: str, command: str, *arguments: Any) -> None:
        """Have it done to every region, wherever it goes meanwhile."""
        done: set[str] = set()
        while True:
            nodes = [node for node in self._nodes_of(name) if node.info.encoded_name not in done]
            if not nodes:
                return
            self._core.check()
            progress = self._once(nodes, command, arguments, done)
            if not progress:
                self._core.dead.wait(0.1)

    def _once(self, nodes: Sequence[Node], command: str, arguments: Any, done: set[str]) -> bool:
        groups: dict[ServerName, list[Node]] = {}
        for node in nodes:
            if node.server is not None and node.state is RegionState.OPEN:
                groups.setdefault(node.server, []).append(node)
            elif node.state in (RegionState.CLOSED, RegionState.FAILED_OPEN):
                done.add(node.info.encoded_name)  # it is served nowhere: there is nothing in memory
        before = len(done)
        calls = [
            (server, command, ([n.info.id16 for n in group], *arguments)) for server, group in groups.items()
        ]
        for group, answer in zip(groups.values(), self._core.servers.command_all(calls), strict=True):
            if isinstance(answer, HBaseIOException):
                if isinstance(answer, DoNotRetryIOException):
                    raise answer
                continue
            for node, outcome in zip(group, answer, strict=True):
                if isinstance(outcome, NotServingRegionException):
                    continue  # it moved, split or merged
                if isinstance(outcome, HBaseIOException):
                    raise outcome
                done.add(node.info.encoded_name)
        return len(done) > before


def _refuse_meta(table: str, verb: str) -> None:
    if table == META_TABLE:
        raise ConstraintException(f"{META_TABLE} is the store's own table: it cannot be {verb}")
