"""Procedures that move, split and merge regions."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from hyperbase.common.catalog import region_directory
from hyperbase.common.errors import (
    DoNotRetryIOException,
    HBaseIOException,
    IllegalArgumentException,
    MergeRegionException,
    UnknownRegionException,
)
from hyperbase.common.model import MAX_ROW_LENGTH
from hyperbase.common.region_info import RegionInfo
from hyperbase.common.server_name import ServerName
from master.catalog import Node
from master.links import unanswered
from master.locks import Name, of_region
from master.procedures import DONE, Procedure
from regionserver.region.children import Parent, child_manifest
from regionserver.region.manifest import Manifest, ManifestStore

logger = logging.getLogger(__name__)


class RegionProcedure(Procedure):
    """A change of some regions of one table. Data: ``regions``: those that are there now."""

    def infos(self, name: str = "regions") -> list[RegionInfo]:
        """Of ``data``."""
        return [RegionInfo.from_bytes(info) for info in self.data[name]]

    def claims(self) -> Iterable[Name]:
        return [of_region(info) for info in self.infos()]

    def describe(self) -> str:
        return f"{self.kind} region={','.join(info.encoded_name for info in self.infos())}"

    def nodes(self) -> list[Node]:
        """The regions' nodes.

        Raises:
            UnknownRegionException: one was split, merged or dropped meanwhile.
        """
        found = []
        for info in self.infos():
            node = self.core.catalog.node(info.encoded_name)
            if node is None:
                raise UnknownRegionException(f"{info.region_name_text}: there is no such region any more")
            found.append(node)
        return found

    def plan(self) -> dict[str, ServerName]:
        """Children go where their parents were."""
        servers = [ServerName.parse(name) for name in self.data.get("servers", ()) if name]
        names = [info.encoded_name for info in self.infos("children")]
        return {name: servers[min(i, len(servers) - 1)] for i, name in enumerate(names) if servers}

    def close_parents(self) -> None:
        """Flush and close them."""
        self.data["servers"] = [str(node.holder or "") for node in self.nodes()]
        self.core.assignment.close(self.nodes())

    def write_children(self) -> None:
        """Their first manifests: references to the parents' files."""
        parents = []
        for info in self.infos():
            manifest = ManifestStore(self.core.fs, region_directory(info)).newest() or Manifest()
            parents.append(Parent.of_manifest(info, manifest))
        for child in self.infos("children"):
            store = ManifestStore(self.core.fs, region_directory(child))
            if store.newest() is None:  # else an earlier try has written it, from the same parents
                store.write(child_manifest(child, parents, time.time_ns() // 1_000_000))

    def open_children(self) -> None:
        nodes = [self.core.catalog.node(info.encoded_name) for info in self.infos("children")]
        self.core.assignment.open([node for node in nodes if node is not None], self.plan())

    def take_back(self) -> None:
        """The parents serve on, the children never were."""
        for info in self.infos("children"):
            self.core.delete_directory(region_directory(info))
        if self.core.catalog.wanted_open(self.infos()[0].table):
            nodes = [self.core.catalog.node(info.encoded_name) for info in self.infos()]
            self.core.assignment.reopen_where_they_were([node for node in nodes if node is not None])


class MoveRegion(RegionProcedure):
    """Data: ``regions``: one; ``target``: a server's name, or empty."""

    kind = "move_region"
    steps = ("unassign", "assign")

    def unassign(self) -> str | None:
        (node,) = self.nodes()
        if not self.core.catalog.wanted_open(node.info.table):
            raise DoNotRetryIOException(f"{node.info.table} is disabled: its regions are nowhere")
        if self.data["target"] and str(node.holder) == self.data["target"]:
            return DONE
        self.data["source"] = str(node.holder or "")
        self.core.assignment.close([node])
        return None

    def assign(self) -> None:
        (node,) = self.nodes()
        plan = {}
        if self.data["target"]:
            plan[node.info.encoded_name] = ServerName.parse(self.data["target"])
        self.core.assignment.open([node], plan)

    def undo(self, error: Exception) -> None:
        if self.step == "unassign" and "source" in self.data:
            self.core.assignment.open(self.nodes())


class UnassignRegion(RegionProcedure):
    """HBase's ``unassign``: closed until somebody assigns it. Data: ``regions``."""

    kind = "unassign_region"
    steps = ("unassign",)

    def unassign(self) -> None:
        self.core.assignment.close(self.nodes())


class AssignRegion(RegionProcedure):
    """HBase's ``assign``. Data: ``regions``."""

    kind = "assign_region"
    steps = ("assign",)

    def assign(self) -> None:
        self.core.assignment.open(self.nodes())


class SplitRegion(RegionProcedure):
    """Data: ``regions``: one; ``key`` or ``None``; ``forced``: not being able to is an error."""

    kind = "split_region"
    steps = ("prepare", "close_parents", "write_children", "commit", "open_children")

    def prepare(self) -> str | None:
        (node,) = self.nodes()
        info, key = node.info, self.data["key"]
        if node.holder is None:
            raise DoNotRetryIOException(f"{info.region_name_text} is not open: {node.state.value}")
        if key is not None:
            _check_split_key(info, key)
        point = key or self._middle(node)
        if not point:
            if not self.data["forced"]:
                return DONE
            raise DoNotRetryIOException(
                "Region not splittable because bestSplitPoint = null, maybe table is too small for auto "
                "split. For force split, try specifying split row"
            )
        region_id = max(self.core.new_region_id(), info.region_id + 1)
        first = RegionInfo(info.table, info.start_key, point, region_id)
        second = RegionInfo(info.table, point, info.end_key, region_id)
        self.data["children"] = [first.to_bytes(), second.to_bytes()]
        return None

    def _middle(self, node: Node) -> bytes:
        """Its middle row; a server that dies meanwhile is none to give up for."""
        while True:
            self.core.assignment.open([node])
            assert node.server is not None
            try:
                point: bytes = self.core.servers.command(node.server, "split_point", node.info.id16)
                return point
            except HBaseIOException as error:
                if not unanswered(error):
                    raise
                self.core.dead.wait(0.1)

    def commit(self) -> None:
        """The one commit point."""
        (parent,) = self.infos()
        if self.core.catalog.node(parent.encoded_name) is not None:
            first, second = self.infos("children")
            self.core.catalog.split(replace(parent, offline=True, split=True), first, second)

    def undo(self, error: Exception) -> None:
        if self.step in ("close_parents", "write_children", "commit"):
            self.take_back()


class MergeRegions(RegionProcedure):
    """Data: ``regions``: two neighbours, in key order."""

    kind = "merge_regions"
    steps = ("prepare", "close_parents", "write_children", "commit", "open_children")

    def prepare(self) -> None:
        low, high = (node.info for node in self.nodes())
        if low.table != high.table or low.end_key != high.start_key:
            raise MergeRegionException(
                f"Unable to merge non-adjacent or non-overlapping regions '{low.encoded_name}', "
                f"'{high.encoded_name}' when force=false"
            )
        region_id = max(self.core.new_region_id(), low.region_id + 1, high.region_id + 1)
        merged = RegionInfo(low.table, low.start_key, high.end_key, region_id)
        self.data["children"] = [merged.to_bytes()]

    def commit(self) -> None:
        """The one commit point."""
        parents = self.infos()
        if self.core.catalog.node(parents[0].encoded_name) is not None:
            self.core.catalog.merge(parents, self.infos("children")[0])

    def undo(self, error: Exception) -> None:
        if self.step in ("close_parents", "write_children", "commit"):
            self.take_back()


def _check_split_key(info: RegionInfo, key: bytes) -> None:
    if len(key) > MAX_ROW_LENGTH:
        raise IllegalArgumentException(f"Row length {len(key)} is > {MAX_ROW_LENGTH}")
    if key == info.start_key:
        raise DoNotRetryIOException("should not give a splitkey which equals to startkey!")
    if not info.contains(key):
        raise DoNotRetryIOException(
            f"Split row is not inside region key range splitKey:{key!r} region: {info.region_name_text}"
        )


def in_key_order(infos: Sequence[RegionInfo]) -> list[RegionInfo]:
    """By start key."""
    return sorted(infos, key=lambda info: info.sort_key())
