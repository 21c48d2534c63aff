"""hbck in the active master of a cluster: gathers the facts, and mends what loses nothing.

Mended is: a region that nobody serves is closed where it should be and opened; a region on a server that
should not have it is flushed and closed there; ZooKeeper is told where hbase:meta is; and ``hbck_repair``.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from hyperbase.common.catalog import CatalogSnapshot, read_catalog
from hyperbase.common.errors import HBaseIOException
from hyperbase.common.inconsistency import Inconsistency
from hyperbase.common.region_info import META_REGION, RegionState
from hyperbase.common.server_name import ServerName
from master.catalog import Node
from master.core import Core
from master.hbck import Facts, Serving, check, still_there
from master.hbck_facts import facts_of_disk
from master.hbck_repair import DiskRepairs, Repair, look_and_mend
from master.locks import Name, of_region, of_table
from master.region_procedures import AssignRegion, MoveRegion

logger = logging.getLogger(__name__)

PAUSE_S = 1.0  # between two looks
_owners = itertools.count(-1, -1)  # of claims: procedures have positive numbers


class ClusterHbck:
    """hbck in the active master of a cluster."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._owner = next(_owners)
        self._disk = DiskRepairs(core.fs, self._catalog, core.delete_directory)

    def run(self, repair: bool) -> list[Inconsistency]:
        """Everything that two looks have found.

        Raises:
            HBaseIOException: it could not be looked at: hbase:meta is not served.
        """
        return look_and_mend(self._look, self._mend if repair else None)

    # -- looking -----------------------------------------------------------------------------------------

    def _look(self) -> list[Inconsistency]:
        first = check(self._facts())
        if not first:
            return []
        self._core.dead.wait(PAUSE_S)
        return still_there(first, check(self._facts()))

    def _catalog(self) -> CatalogSnapshot:
        server = self._core.catalog.meta.server
        if server is None or not self._core.servers.alive(server):
            raise HBaseIOException("hbase:meta is not served at the moment: ask again")
        return read_catalog(self._core.servers.scan_meta(server))

    def _facts(self) -> Facts:
        core = self._core
        core.check()
        busy = core.locks.claimed()  # before and after: whatever was under way in between
        reports = core.servers.ask_all()
        place = core.coordination.meta_place()
        catalog = self._catalog()
        disk = facts_of_disk(core.fs, catalog)
        serving = Serving(
            {str(server): [held.info for held in report.regions] for server, report in reports.items()},
            [str(server) for server in core.servers.all()],
            [str(server) for server in core.dead.under_recovery()],
            "" if place is None else str(place.server),
            {*busy, *core.locks.claimed()},
        )
        return replace(disk, serving=serving)

    # -- mending -----------------------------------------------------------------------------------------

    def _mend(self, finding: Inconsistency) -> str:
        repairs: dict[str, Repair] = {
            "not_served": self._serve,
            "wrong_state": self._serve,
            "double_assignment": self._close,
            "wrong_server": self._close,
            "served_though_disabled": self._close,
            "unknown_region": self._close,
            "wrong_meta_place": self._tell_where_meta_is,
        }
        repair = repairs.get(finding.kind)
        if repair is not None:
            return repair(finding)
        disk = self._disk.by_kind().get(finding.kind)
        if disk is None:
            return ""
        table = finding.about if finding.kind == "schema_copy" else _table_of(finding.about)
        return self._alone([of_table(table)], lambda: disk(finding))

    def _alone(self, names: Sequence[Name], work: Callable[[], str]) -> str:
        """While nobody else has these; not at all if somebody has."""
        got = self._core.locks.try_acquire(names, self._owner)
        try:
            return work() if len(got) == len(names) else ""
        finally:
            self._core.locks.release(self._owner)

    def _serve(self, finding: Inconsistency) -> str:
        """Closed where it should be, for certain, and opened."""
        core = self._core
        node = core.catalog.node(finding.about)
        if node is None:
            return ""
        if node.info.is_meta:
            core.assignment.open_meta()
            return "had hbase:meta opened"
        data: dict[str, Any] = {"regions": [node.info.to_bytes()], "target": ""}
        closed = node.holder is None or node.state is RegionState.FAILED_OPEN
        core.executor.submit(AssignRegion(data) if closed else MoveRegion(data)).wait()
        return f"had region {node.info.region_name_text} opened on {node.server}"

    def _close(self, finding: Inconsistency) -> str:
        """On a server that should not have it; what it holds in memory is flushed."""
        core, server = self._core, ServerName.parse(finding.server)
        node = core.catalog.node(finding.about)
        if finding.about == META_REGION.encoded_name and node is not None and server == node.server:
            return ""
        names = [of_region(node.info)] if node is not None and not node.info.is_meta else []
        return self._alone(names, lambda: self._close_there(finding, server, node))

    def _close_there(self, finding: Inconsistency, server: ServerName, node: Node | None) -> str:
        core = self._core
        wanted = node is not None and (node.info.is_meta or core.catalog.wanted_open(node.info.table))
        if node is not None and wanted and node.holder == server:
            return ""  # it is the right one by now
        id16 = META_REGION.id16 if node is not None and node.info.is_meta else bytes.fromhex(finding.about)
        (outcome,) = core.servers.command(server, "close_regions", [id16])
        if isinstance(outcome, HBaseIOException):
            raise outcome
        return f"had {server} flush and close the region"

    def _tell_where_meta_is(self, finding: Inconsistency) -> str:
        node = self._core.catalog.meta
        if str(node.server) != finding.about or node.state is not RegionState.OPEN:
            return ""
        self._core.coordination.set_meta_location(node.server)
        return f"told ZooKeeper that hbase:meta is on {node.server}"


def _table_of(path: str) -> str:
    """The table whose region's directory it is."""
    _, namespace, qualifier, _ = path.split("/")
    return qualifier if namespace == "default" else f"{namespace}:{qualifier}"
