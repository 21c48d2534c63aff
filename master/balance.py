"""Procedures that move many regions, some at a time: the balancer's runs, servers that leave or come back.

What is to be moved is planned once and written down. A move that has become needless or impossible when its
turn comes (the region is elsewhere, or gone; the target has died) is passed over; one that fails is reported,
and the others go on. Each is a procedure of its own (``MoveRegion``), so a region is never left half moved.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from hyperbase.common.errors import (
    HBaseIOException,
    LeaseLostException,
    MasterNotRunningException,
    NotBalancedException,
)
from hyperbase.common.region_info import RegionState
from hyperbase.common.server_name import ServerName
from master.balancer import Move, RegionLoad, plan_evacuation, plan_moves
from master.catalog import Node
from master.core import Core
from master.locks import Name
from master.procedures import Procedure
from master.rates import Rates
from master.region_procedures import MoveRegion

logger = logging.getLogger(__name__)

MOVES_AT_ONCE = 8
EVACUATION_ROUNDS = 3  # regions come meanwhile: of splits, of servers that died
BALANCING: Name = "", "balancer"  # no table is called so


# -- what is planned -------------------------------------------------------------------------------------


def plan_balance(core: Core, *, force: bool = False) -> list[Move]:
    """The moves that would even out what the servers carry now.

    Args:
        force: also while regions are in transition; those are neither counted nor moved.

    Raises:
        NotBalancedException: regions are in transition, or a server does not say what it carries.
    """
    if not force and (moving := _in_transition(core)):
        raise NotBalancedException(
            f"{len(moving)} region(s) are in transition, {moving[0].info.region_name_text} among them: "
            "the balancer waits until they have arrived"
        )
    return plan_moves(_loads(core, core.servers.usable()))


def _in_transition(core: Core) -> list[Node]:
    """Regions on their way, or on a server that has died."""
    return [
        node
        for node in core.catalog.nodes()
        if node.state in (RegionState.OPENING, RegionState.CLOSING)
        or (node.holder is not None and not core.servers.alive(node.holder))
    ]


def _loads(core: Core, servers: Iterable[ServerName]) -> dict[str, list[RegionLoad]]:
    """What each of these servers carries."""
    reports = core.servers.ask_all()
    loads: dict[ServerName, list[RegionLoad]] = {server: [] for server in servers}
    silent = [server for server in loads if server not in reports]
    if silent:
        raise NotBalancedException(f"{silent[0]} does not say what it carries: nothing is moved")
    rates = core.servers.rates.of(reports)
    sizes = {
        held.info.encoded_name: held.status.store_file_bytes + held.status.memstore_bytes
        for report in reports.values()
        for held in report.regions
    }
    for node in core.catalog.nodes():
        if node.state is RegionState.OPEN and node.server in loads:
            name, table = node.info.encoded_name, node.info.table
            reads, writes = rates.get(name, Rates())
            loads[node.server].append(RegionLoad(name, table, sizes.get(name, 0), reads, writes))
    return {str(server): regions for server, regions in loads.items()}


def planned(core: Core, moves: Iterable[Move]) -> list[tuple[bytes, str, str]]:
    """Moves as a procedure keeps them: serialized region, source, target."""
    found = []
    for move in moves:
        node = core.catalog.node(move.region)
        if node is not None:
            found.append((node.info.to_bytes(), move.source, move.target))
    return found


# -- how it is carried out -------------------------------------------------------------------------------


class MovesRegions(Procedure):
    """See the module. ``data["failed"]``: what could not be moved, and why."""

    def carry_out(self, moves: Sequence[Sequence[object]], wanted: Callable[[], bool]) -> None:
        """Move regions as planned, as long as that is ``wanted``."""
        failed: list[str] = []
        under_way: deque[MoveRegion] = deque()
        for number, (region, source, target) in enumerate(moves):
            procedure = MoveRegion({"regions": [region], "target": target})
            if wanted() and self._is_possible(procedure, str(source), str(target)):
                under_way.append(procedure)
                self.core.executor.submit(procedure)
            if len(under_way) >= MOVES_AT_ONCE:
                failed += _wait_for(under_way.popleft())
            self.note = f"{number + 1 - len(under_way)} of {len(moves)} regions"
        for procedure in under_way:
            failed += _wait_for(procedure)
        self.data["failed"] = failed
        for line in failed:
            logger.warning("not moved: %s", line)

    def _is_possible(self, procedure: MoveRegion, source: str, target: str) -> bool:
        """The region is still where it was, and its target still takes regions."""
        self.core.check()
        (info,) = procedure.infos()
        node = self.core.catalog.node(info.encoded_name)
        usable = {str(server) for server in self.core.servers.usable()}
        return node is not None and str(node.holder) == source and target in usable


def _wait_for(procedure: MoveRegion) -> list[str]:
    """What went wrong with it, if anything."""
    try:
        procedure.wait()
    except (MasterNotRunningException, LeaseLostException):
        raise
    except HBaseIOException as error:
        return [f"{procedure.describe()} to {procedure.data['target']} failed: {error}"]
    return []


class Balance(MovesRegions):
    """A run of the balancer. Data: ``moves``; ``sentences``: the same for people."""

    kind = "balance"
    steps = ("move",)

    def claims(self) -> Iterable[Name]:
        return [BALANCING]

    def describe(self) -> str:
        return f"{self.kind} moves={len(self.data['moves'])}"

    def move(self) -> None:
        self.carry_out(self.data["moves"], lambda: self.core.switches.get("balancer", True))


class OffloadServers(MovesRegions):
    """Everything leaves servers that are decommissioned. Data: ``servers``, by name."""

    kind = "offload_servers"
    steps = ("move_meta", "move_regions")

    def describe(self) -> str:
        return f"{self.kind} servers={' '.join(self.data['servers'])}"

    def _leaving(self) -> list[ServerName]:
        """Those that still have to; who was taken back meanwhile keeps what it has."""
        servers = map(ServerName.parse, self.data["servers"])
        draining = self.core.servers.draining
        return [one for one in servers if self.core.servers.alive(one) and one.address in draining]

    def move_meta(self) -> None:
        if self.core.catalog.meta.holder in self._leaving():
            self.core.assignment.move_meta()

    def move_regions(self) -> None:
        for _ in range(EVACUATION_ROUNDS):
            leaving = self._leaving()
            if not any(self.core.catalog.held_by(server) for server in leaving):
                return
            names = [str(server) for server in leaving]
            moves = plan_evacuation(self._held(leaving), names)
            self.carry_out(planned(self.core, moves), lambda: bool(self._leaving()))
        left = [node for server in self._leaving() for node in self.core.catalog.held_by(server)]
        if left:
            reasons = "; ".join(self.data["failed"][:5]) or "they were on their way elsewhere"
            raise HBaseIOException(f"{len(left)} region(s) did not leave: {reasons}. Ask again")

    def _held(self, leaving: Sequence[ServerName]) -> dict[str, list[RegionLoad]]:
        servers = {*self.core.servers.usable(), *leaving}
        return {
            str(server): [
                RegionLoad(node.info.encoded_name, node.info.table)
                for node in self.core.catalog.held_by(server)
            ]
            for server in servers
        }


class LoadServer(MovesRegions):
    """A server that was taken back gets regions. Data: ``server``, by name; ``moves``."""

    kind = "load_server"
    steps = ("move",)

    def describe(self) -> str:
        return f"{self.kind} server={self.data['server']} regions={len(self.data['moves'])}"

    def move(self) -> None:
        self.carry_out(self.data["moves"], lambda: True)
        if self.data["failed"]:
            raise HBaseIOException("; ".join(self.data["failed"][:5]))
