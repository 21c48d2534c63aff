"""The death of a region server: its log is set aside and sealed, its regions are opened elsewhere."""

from __future__ import annotations

import logging

from hyperbase.common.errors import HBaseIOException
from hyperbase.common.region_info import META_REGION
from hyperbase.common.server_name import ServerName
from master.catalog import Node
from master.dead_servers import is_embedded
from master.locks import of_region
from master.procedures import Procedure

logger = logging.getLogger(__name__)


class ServerCrash(Procedure):
    """See ARCHITECTURE.md, "The cluster". Data: ``server``; ``waiting``: regions that need its log, each with
    the server and first sequence id of its last opening before."""

    kind = "server_crash"
    endless = True
    steps = ("expel", "seal", "assign", "archive")

    @property
    def server(self) -> ServerName:
        return ServerName.parse(self.data["server"])

    def describe(self) -> str:
        return f"{self.kind} server={self.data['server']}"

    def expel(self) -> None:
        """Nothing is acknowledged there any more."""
        self.core.dead.expel(self.server)

    def seal(self) -> None:
        """Read its log; which regions need it is written down before anybody may open one elsewhere."""
        dead = self.core.dead.seal(self.server)
        embedded = is_embedded(self.server)
        self.data["waiting"] = {
            node.info.encoded_name: _opening(node)
            for node in self.core.catalog.nodes()
            if node.info.id16 in dead.index and (embedded or node.holder == self.server)
        }

    def assign(self) -> None:
        """Open its regions elsewhere; those that other procedures have in hand are theirs to open."""
        core, server = self.core, self.server
        if not core.dead.is_recovered(server):
            core.dead.seal(server)  # another master has done it: the index is needed
            core.dead.open_to_others(server, self._still_waiting())
        if core.catalog.meta.holder == server:
            core.assignment.open_meta()
        while left := self._left():
            core.check()
            self.note = f"{len(left)} regions are not open yet"
            got = core.locks.try_acquire([of_region(node.info) for node in left], self.number)
            mine = [node for node in left if of_region(node.info) in got]
            try:
                if mine:
                    self._open(mine)
            finally:
                core.locks.release(self.number, got)
            if not mine:
                core.dead.wait(0.1)

    def _still_waiting(self) -> list[str]:
        """Of those that needed the log, the ones that no other server has opened since."""
        names = []
        for name, before in self.data["waiting"].items():
            node = self.core.catalog.node(name)
            if node is not None and not (node.confirmed and _opening(node) != list(before)):
                names.append(name)
        return names

    def _left(self) -> list[Node]:
        """Regions that the dead server holds, or that wait for its log."""
        core = self.core
        waiting = core.dead.waiting(self.server)
        gone = [name for name in waiting if core.catalog.node(name) is None]
        core.dead.forget(gone)
        left = {node.info.encoded_name: node for node in core.catalog.held_by(self.server)}
        for name in waiting:
            node = core.catalog.node(name)
            if node is not None and node.info != META_REGION:
                left[name] = node
        return list(left.values())

    def _open(self, nodes: list[Node]) -> None:
        """Those of tables that are to be served, and those whose edits are not in files yet."""
        core = self.core
        wanted = [
            node
            for node in nodes
            if core.catalog.wanted_open(node.info.table) or core.dead.logs_of(node.info)
        ]
        try:
            core.assignment.open(wanted)
        except HBaseIOException as error:
            core.check()
            logger.error("regions stay closed server=%s error=%s", self.server, error)
            self.core.dead.wait(1.0)
        closed = [node for node in nodes if not core.catalog.wanted_open(node.info.table)]
        if closed:
            core.assignment.close(closed)

    def archive(self) -> None:
        """Nobody needs the log any more."""
        self.core.dead.archive(self.server)


def _opening(node: Node) -> list[object]:
    """By whom it was opened last, and from which sequence id on: replayed edits make that another one."""
    return [str(node.server or ""), node.open_sequence_id]
