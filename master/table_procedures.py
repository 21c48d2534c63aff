"""Procedures that make, change and remove tables.

Data of all of them: ``table``, and what the step before found out for the steps after it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from hyperbase.common.catalog import DISABLED, DISABLING, ENABLED, ENABLING, region_directory
from hyperbase.common.descriptors import TableDescriptor
from hyperbase.common.errors import (
    NamespaceNotFoundException,
    TableExistsException,
    TableNotDisabledException,
    TableNotEnabledException,
)
from hyperbase.common.names import split_table_name
from hyperbase.common.region_info import RegionInfo
from master.catalog import Node
from master.locks import Name, of_table
from master.procedures import Procedure
from regionserver.region.table_files import forget_descriptor, keep_descriptor, regions_of_table


class TableProcedure(Procedure):
    """A change of one table, alone at it."""

    @property
    def table(self) -> str:
        name: str = self.data["table"]
        return name

    def claims(self) -> Iterable[Name]:
        return [of_table(self.table)]

    def describe(self) -> str:
        return f"{self.kind} table={self.table}"

    def nodes(self) -> list[Node]:
        """The table's regions."""
        return self.core.catalog.nodes(self.table)

    def new_regions(self, keys: Iterable[bytes]) -> list[bytes]:
        """Regions between these keys, as they are kept in ``data``."""
        region_id = self.core.new_region_id()
        bounds = [b"", *keys, b""]
        infos = [RegionInfo(self.table, start, stop, region_id) for start, stop in pairwise(bounds)]
        return [info.to_bytes() for info in infos]

    def kept_regions(self) -> list[RegionInfo]:
        """Of ``data``."""
        return [RegionInfo.from_bytes(info) for info in self.data["regions"]]

    def delete_directories(self, infos: Iterable[RegionInfo]) -> None:
        """Nothing names these regions any more."""
        self.core.dead.recovered(infos)
        for info in infos:
            self.core.delete_directory(region_directory(info))

    def delete_other_directories(self) -> None:
        """Only regions that are there need their directories: merged ones have some, and no row."""
        kept = {region_directory(node.info) for node in self.nodes()}
        for path in regions_of_table(self.core.fs, self.table):
            if path not in kept:
                self.core.delete_directory(path)


class CreateTable(TableProcedure):
    """Data: ``descriptor``, ``keys`` to split at."""

    kind = "create_table"
    steps = ("prepare", "add", "assign", "conclude")

    @property
    def descriptor(self) -> TableDescriptor:
        return TableDescriptor.from_dict(self.data["descriptor"])

    def prepare(self) -> None:
        """Look whether it may be; choose the regions."""
        catalog = self.core.catalog
        namespace = split_table_name(self.table)[0]
        if namespace not in ("default", *catalog.namespaces):
            raise NamespaceNotFoundException(
                f"Namespace {namespace} does not exist: create_namespace({namespace!r}) first"
            )
        if self.table in catalog.descriptors:
            raise TableExistsException(self.table)
        self.data["regions"] = self.new_regions(self.data["keys"])

    def add(self) -> None:
        """The one commit: the table is there."""
        if self.table not in self.core.catalog.descriptors:
            keep_descriptor(self.core.fs, self.descriptor)
            self.core.catalog.put_table(self.descriptor, ENABLING, self.kept_regions())

    def assign(self) -> None:
        self.core.assignment.open(self.nodes())

    def conclude(self) -> None:
        self.core.catalog.set_state(self.table, ENABLED)

    def undo(self, error: Exception) -> None:
        """A region that cannot be opened: the table goes again, as if it had never been."""
        if self.step in ("assign", "conclude") and self.table in self.core.catalog.descriptors:
            self.core.assignment.close(self.nodes())
            self.delete_directories(self.core.catalog.delete_table(self.table))
            forget_descriptor(self.core.fs, self.table)


class EnableTable(TableProcedure):
    """Data: ``table``."""

    kind = "enable_table"
    steps = ("prepare", "assign", "conclude")

    def prepare(self) -> None:
        if self.core.catalog.state(self.table) not in (DISABLED, ENABLING):
            raise TableNotDisabledException(f"tableName={self.table}, state=ENABLED")
        self.core.catalog.set_state(self.table, ENABLING)

    def assign(self) -> None:
        plan = {node.info.encoded_name: node.server for node in self.nodes() if node.server is not None}
        self.core.assignment.open(self.nodes(), plan)

    def conclude(self) -> None:
        self.core.catalog.set_state(self.table, ENABLED)

    def undo(self, error: Exception) -> None:
        """What can be served is: one damaged region keeps nobody from the others."""
        if self.step == "assign":
            self.core.catalog.set_state(self.table, ENABLED)


class DisableTable(TableProcedure):
    """Data: ``table``."""

    kind = "disable_table"
    steps = ("prepare", "unassign", "conclude")

    def prepare(self) -> None:
        if self.core.catalog.state(self.table) not in (ENABLED, DISABLING):
            raise TableNotEnabledException(f"{self.table} is disabled.")
        self.core.catalog.set_state(self.table, DISABLING)

    def unassign(self) -> None:
        self.core.assignment.close(self.nodes())

    def conclude(self) -> None:
        self.core.catalog.set_state(self.table, DISABLED)

    def undo(self, error: Exception) -> None:
        """A region that cannot be flushed, on a full disk: all of them serve on."""
        if self.step == "unassign":
            self.core.catalog.set_state(self.table, ENABLED)
            self.core.assignment.reopen_where_they_were(self.nodes())


class DropTable(TableProcedure):
    """Data: ``table``."""

    kind = "drop_table"
    steps = ("prepare", "remove", "delete_files")

    def prepare(self) -> None:
        _check_disabled(self)
        parents = [info for info in self.core.catalog.parents.values() if info.table == self.table]
        self.data["regions"] = [info.to_bytes() for info in (*(n.info for n in self.nodes()), *parents)]

    def remove(self) -> None:
        """The one commit: the table is gone."""
        if self.table in self.core.catalog.descriptors:
            self.core.catalog.delete_table(self.table)

    def delete_files(self) -> None:
        self.delete_directories(self.kept_regions())
        self.delete_other_directories()
        forget_descriptor(self.core.fs, self.table)


class TruncateTable(TableProcedure):
    """Data: ``table``, ``preserve_splits``."""

    kind = "truncate_table"
    steps = ("prepare", "replace", "delete_files", "assign", "conclude")

    def prepare(self) -> None:
        _check_disabled(self)
        keep = self.data["preserve_splits"]
        keys = [node.info.start_key for node in self.nodes() if node.info.start_key] if keep else []
        parents = [info for info in self.core.catalog.parents.values() if info.table == self.table]
        self.data["old"] = [info.to_bytes() for info in (*(n.info for n in self.nodes()), *parents)]
        self.data["regions"] = self.new_regions(keys)

    def replace(self) -> None:
        """The one commit: the table is empty."""
        self.core.catalog.replace_regions(self.table, ENABLING, self.kept_regions())

    def delete_files(self) -> None:
        self.delete_directories([RegionInfo.from_bytes(info) for info in self.data["old"]])
        self.delete_other_directories()

    def assign(self) -> None:
        self.core.assignment.open(self.nodes())

    def conclude(self) -> None:
        self.core.catalog.set_state(self.table, ENABLED)


class AlterTable(TableProcedure):
    """Data: ``descriptor``. Regions are closed, the schema is changed, regions are opened with it."""

    kind = "alter_table"
    steps = ("prepare", "unassign", "change", "assign")

    @property
    def descriptor(self) -> TableDescriptor:
        return TableDescriptor.from_dict(self.data["descriptor"])

    def prepare(self) -> None:
        before = self.core.catalog.descriptor(self.table)
        self.data["enabled"] = self.core.catalog.wanted_open(self.table)
        dropped = set(before.family_names) - set(self.descriptor.family_names)
        self.data["dropped"] = sorted(dropped)
        self.data["before"] = before.to_dict()

    def unassign(self) -> None:
        self.core.assignment.close(self.nodes())

    def change(self) -> None:
        """The one commit."""
        state = self.core.catalog.state(self.table)
        keep_descriptor(self.core.fs, self.descriptor)
        self.core.catalog.put_table(self.descriptor, state)

    def assign(self) -> None:
        """A family that is dropped must be gone from the manifests before one of its name is added: the
        regions of a disabled table are opened for that, and closed again."""
        if self.data["enabled"] or self.data["dropped"]:
            plan = {node.info.encoded_name: node.server for node in self.nodes() if node.server is not None}
            self.core.assignment.open(self.nodes(), plan)
        if not self.data["enabled"]:
            self.core.assignment.close(self.nodes())

    def undo(self, error: Exception) -> None:
        if self.step == "change":
            keep_descriptor(self.core.fs, TableDescriptor.from_dict(self.data["before"]))
        if self.step in ("unassign", "change") and self.data["enabled"]:
            self.core.assignment.reopen_where_they_were(self.nodes())


def _check_disabled(procedure: TableProcedure) -> None:
    state = procedure.core.catalog.state(procedure.table)
    if state != DISABLED:
        raise TableNotDisabledException(f"Not DISABLED; tableName={procedure.table}, state=ENABLED")
