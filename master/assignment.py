"""Assignment: which server opens which region, and the way there.

CLOSED → OPENING → OPEN → CLOSING → CLOSED, each written to hbase:meta before the server is told, or when it
has answered. A region on its way to a server stays with it until the server says that it has not opened it,
or is dead and its log sealed (``dead_servers``). Many regions at once are one command for each server.
Callers have claimed the regions (``locks``). Threads: any number.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from hyperbase.common.catalog import META_DESCRIPTOR
from hyperbase.common.errors import DoNotRetryIOException, HBaseIOException
from hyperbase.common.region_info import META_REGION, RegionState
from hyperbase.common.server_name import ServerName
from hyperbase.common.wire.command_codec import OpenRegion
from hyperbase.common.zookeeper.coordination import ZooKeeperCoordination
from master.catalog import MasterCatalog, Node
from master.dead_servers import DeadServers
from master.links import unanswered
from master.servers import Servers

logger = logging.getLogger(__name__)

PAUSE_S, MAX_PAUSE_S = 0.05, 2.0
REGIONS_AT_ONCE = 200  # of one command
ATTEMPTS = 5  # to close regions of a server that says it cannot

Plan = Mapping[str, ServerName]  # encoded name → whom to give it to, if alive


class FailedOpenException(DoNotRetryIOException):
    """Regions that no server could open; each is named with the reason."""


class Assignment:
    """See the module.

    Args:
        check: raises when this master must not act any more.
        ensure_recovery: told of a dead server whose regions are met; begins its recovery unless it has begun.
    """

    def __init__(
        self,
        catalog: MasterCatalog,
        servers: Servers,
        dead: DeadServers,
        coordination: ZooKeeperCoordination,
        check: Callable[[], None],
        ensure_recovery: Callable[[ServerName], None],
    ) -> None:
        self._catalog = catalog
        self._servers = servers
        self._dead = dead
        self._coordination = coordination
        self._check = check
        self._ensure_recovery = ensure_recovery
        self._meta_lock = threading.Lock()  # one at a time finds a place for hbase:meta

    # -- opening -----------------------------------------------------------------------------------------

    def open(self, nodes: Iterable[Node], plan: Plan | None = None) -> None:
        """Return when all of them are open.

        Raises:
            FailedOpenException: some could not be opened; the others are open.
        """
        left = [node for node in nodes if not self._is_open(node)]
        failed: list[Node] = []
        pause_s = PAUSE_S
        while left:
            self._check()
            progress, hopeless = self._open_groups(self._targets(left, plan or {}))
            plan = None  # what could not be opened there is opened anywhere
            self._give_up(hopeless)
            failed += hopeless
            left = [node for node in left if node not in failed and not self._is_open(node)]
            pause_s = PAUSE_S if progress else min(pause_s * 2, MAX_PAUSE_S)
            if left and not progress:
                self._dead.wait(pause_s)
        if failed:
            reasons = "; ".join(f"{node.info.region_name_text}: {node.reason}" for node in failed[:5])
            raise FailedOpenException(f"{len(failed)} region(s) could not be opened: {reasons}")

    def _is_open(self, node: Node) -> bool:
        return node.state is RegionState.OPEN and self._servers.alive(node.server)

    def _targets(self, nodes: Sequence[Node], plan: Plan) -> dict[ServerName, list[Node]]:
        """Whom to give each region to; regions of servers whose log is not sealed yet are left out."""
        load = dict.fromkeys(self._servers.wait_for_one(), 0)
        for node in self._catalog.nodes():
            if node.holder in load:
                load[node.holder] += 1
        groups: dict[ServerName, list[Node]] = {}
        for node in nodes:
            holder = node.holder
            if holder is not None and not self._servers.alive(holder):
                if not self._dead.is_recovered(holder):
                    self._ensure_recovery(holder)
                    continue
                holder = None
            if holder is None:
                wanted = plan.get(node.info.encoded_name)
                holder = wanted if wanted in load else min(load, key=lambda server: (load[server], server))
                load[holder] += 1
            groups.setdefault(holder, []).append(node)
        return groups

    def _open_groups(self, groups: dict[ServerName, list[Node]]) -> tuple[bool, list[Node]]:
        """Tell the servers; whether anything was opened, and the regions that nobody can open."""
        parts: list[tuple[ServerName, list[Node]]] = []
        for server, nodes in groups.items():
            moved = [node for node in nodes if node.holder != server or node.state is not RegionState.OPENING]
            if moved:
                self._catalog.set_states(moved, RegionState.OPENING, server)
            for begin in range(0, len(nodes), REGIONS_AT_ONCE):
                parts.append((server, nodes[begin : begin + REGIONS_AT_ONCE]))
        calls = [
            (server, "open_regions", ([self._to_open(node) for node in nodes],)) for server, nodes in parts
        ]
        progress, hopeless = False, []
        for (server, nodes), answer in zip(parts, self._servers.command_all(calls), strict=True):
            if isinstance(answer, HBaseIOException):
                self._not_opened(nodes, server, answer)
                continue
            opened = []
            for node, outcome in zip(nodes, answer, strict=True):
                if isinstance(outcome, HBaseIOException):
                    self._not_opened([node], server, outcome)
                    if _is_hopeless(outcome):
                        hopeless.append(node)
                else:
                    opened.append((node, outcome))
            if opened:
                self._catalog.set_open(opened, server)
                self._dead.recovered(node.info for node, _ in opened)
                progress = True
        return progress, hopeless

    def _to_open(self, node: Node) -> OpenRegion:
        return OpenRegion(node.info, self._catalog.descriptor(node.info.table), self._dead.logs_of(node.info))

    def _not_opened(self, nodes: Sequence[Node], server: ServerName, error: HBaseIOException) -> None:
        """The server said no, or nobody knows: then it stays with the server as long as that lives."""
        for node in nodes:
            node.reason = f"{server}: {type(error).__name__}: {error}"
        logger.warning("not opened regions=%d server=%s error=%s", len(nodes), server, error)
        if not unanswered(error):
            self._catalog.set_states(nodes, RegionState.CLOSED)

    def _give_up(self, nodes: Sequence[Node]) -> None:
        if nodes:
            self._catalog.set_states(nodes, RegionState.FAILED_OPEN)
            for node in nodes:
                logger.error(
                    "region cannot be opened region=%s reason=%s", node.info.encoded_name, node.reason
                )

    # -- closing -----------------------------------------------------------------------------------------

    def close(self, nodes: Iterable[Node]) -> None:
        """Return when none of them is open anywhere, and every edit is in a file.

        Raises:
            HBaseIOException: a server could not flush one; those that are closed stay closed.
        """
        left = [node for node in nodes if node.holder is not None]
        pause_s, tries = PAUSE_S, 0
        while left:
            self._check()
            self._reopen_lost(left)
            error = self._close_once([node for node in left if self._servers.alive(node.holder)])
            tries += error is not None
            left = [node for node in left if node.holder is not None]
            if error is not None and tries >= ATTEMPTS:
                raise error
            if left:
                self._dead.wait(pause_s)
                pause_s = min(pause_s * 2, MAX_PAUSE_S)

    def _reopen_lost(self, nodes: Sequence[Node]) -> None:
        """Regions of dead servers: their edits are brought into files by an opening elsewhere."""
        lost = [node for node in nodes if node.holder is not None and not self._servers.alive(node.holder)]
        for node in lost:
            assert node.holder is not None
            if not self._dead.is_recovered(node.holder):
                self._ensure_recovery(node.holder)
        ready = [node for node in lost if node.holder is not None and self._dead.is_recovered(node.holder)]
        plain = [node for node in ready if not self._dead.logs_of(node.info)]
        if plain:
            self._catalog.set_states(plain, RegionState.CLOSED)
        with_edits = [node for node in ready if node not in plain]
        if with_edits:
            self.open(with_edits)

    def _close_once(self, nodes: Sequence[Node]) -> HBaseIOException | None:
        """Tell the servers; the last error that one gave."""
        groups: dict[ServerName, list[Node]] = {}
        for node in nodes:
            if node.holder is not None:
                groups.setdefault(node.holder, []).append(node)
        for server, group in groups.items():
            # Who was told to open it may have: until it says no, it counts as the one that serves.
            told = [node for node in group if node.state is not RegionState.CLOSING]
            self._catalog.set_states(told, RegionState.CLOSING, holder=server)
        calls = [
            (server, "close_regions", ([node.info.id16 for node in group],))
            for server, group in groups.items()
        ]
        last: HBaseIOException | None = None
        for (server, group), answer in zip(groups.items(), self._servers.command_all(calls), strict=True):
            if isinstance(answer, HBaseIOException):
                logger.info("not closed regions=%d server=%s error=%s", len(group), server, answer)
                continue
            closed = []
            for node, outcome in zip(group, answer, strict=True):
                if isinstance(outcome, HBaseIOException):
                    node.reason, last = f"{server}: {outcome}", outcome
                    logger.warning("not closed region=%s %s", node.info.encoded_name, node.reason)
                else:
                    closed.append(node)
            if closed:
                self._catalog.set_states(closed, RegionState.CLOSED)
        return last

    def reopen_where_they_were(self, nodes: Sequence[Node]) -> None:
        """After a change was given up: open again what it closed."""
        plan = {node.info.encoded_name: node.server for node in nodes if node.server is not None}
        self.open(nodes, plan)

    # -- hbase:meta --------------------------------------------------------------------------------------

    def open_meta(self) -> None:
        """Return when hbase:meta is served. Its place is kept in ZooKeeper."""
        with self._meta_lock:
            self._open_meta(self._catalog.meta)

    def _open_meta(self, node: Node, target: ServerName | None = None) -> None:
        pause_s = PAUSE_S
        while not self._is_open(node):
            self._check()
            holder = node.holder
            if holder is not None and not self._servers.alive(holder):
                if not self._dead.is_read(holder):
                    self._ensure_recovery(holder)
                    self._dead.wait(PAUSE_S)
                    continue
                holder = None
            if holder is None and self._servers.alive(target):
                holder, target = target, None
            server = holder or self._servers.wait_for_one()[0]
            self._coordination.set_meta_location(server, RegionState.OPENING)
            node.state, node.given_to = RegionState.OPENING, server
            wanted = OpenRegion(META_REGION, META_DESCRIPTOR, self._dead.logs_of(META_REGION))
            answer = self._servers.command_all([(server, "open_regions", ([wanted],))])[0]
            outcome = answer if isinstance(answer, HBaseIOException) else answer[0]
            if not isinstance(outcome, HBaseIOException):
                self._coordination.set_meta_location(server)
                node.state, node.server, node.open_sequence_id = RegionState.OPEN, server, outcome
                self._dead.recovered([META_REGION])
                logger.info("hbase:meta is open server=%s", server)
                return
            logger.warning("hbase:meta was not opened server=%s error=%s", server, outcome)
            if not unanswered(outcome):
                node.state, node.given_to = RegionState.CLOSED, None
            self._dead.wait(pause_s)
            pause_s = min(pause_s * 2, MAX_PAUSE_S)

    def move_meta(self, target: ServerName | None = None) -> None:
        """Have hbase:meta leave its server; ``open_meta`` finishes what is interrupted.

        Args:
            target: who is to have it, if alive; any that may be given regions, if none is named.

        Raises:
            HBaseIOException: it could not be flushed, and is served where it was.
        """
        with self._meta_lock:
            node = self._catalog.meta
            server = node.server
            if self._is_open(node) and server is not None:
                self._coordination.set_meta_location(server, RegionState.CLOSING)
                node.state = RegionState.CLOSING
                call = (server, "close_regions", ([META_REGION.id16],))
                answer = self._servers.command_all([call])[0]
                outcome = answer if isinstance(answer, HBaseIOException) else answer[0]
                if isinstance(outcome, HBaseIOException):  # it may have closed it: it is told to open it
                    node.state, node.given_to = RegionState.OPENING, server
                    self._open_meta(node)
                    raise outcome
                node.state, node.given_to = RegionState.CLOSED, None
            self._open_meta(node, target)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Look again and again. Raises what ``check`` raises."""
        while not condition():
            self._check()
            self._dead.wait(PAUSE_S)


def _is_hopeless(error: HBaseIOException) -> bool:
    """Another server would say the same: a damaged file, a format of the future."""
    return isinstance(error, DoNotRetryIOException) and not unanswered(error)
