"""The catalogue of an embedded store: ``hbase:meta``, a region like any other.

Every change is one ``mutate_rows``: several rows, one log record, all or none. What the rows say:
``common/catalog.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from hyperbase.common.catalog import (
    DISABLED,
    ENABLED,
    CatalogSnapshot,
    add_location,
    add_merged,
    namespace_delete,
    namespace_put,
    read_catalog,
    region_delete,
    region_put,
    split_put,
    table_delete,
    table_put,
    table_state_put,
)
from hyperbase.common.descriptors import NamespaceDescriptor, TableDescriptor
from hyperbase.common.model import Mutation, Put, Result, RowMutations, Scan
from hyperbase.common.region_info import RegionInfo
from hyperbase.common.server_name import ServerName
from regionserver.region.mutations import mutate_rows
from regionserver.region.region import Region


class Catalog:
    """Reads and writes of hbase:meta."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self.server: ServerName | None = None  # who serves the regions; None: this process alone

    def read(self) -> CatalogSnapshot:
        """The whole catalogue."""
        return read_catalog(self._rows())

    def _rows(self) -> Iterator[Result]:
        scanner = self._region.open_scanner(Scan())
        while (chunk := scanner.next_chunk()) is not None:
            yield from chunk
        scanner.close()

    def _write(self, mutations: Sequence[Mutation | RowMutations]) -> None:
        mutate_rows(self._region, mutations).wait()

    def put_namespace(self, descriptor: NamespaceDescriptor) -> None:
        """Create or change a namespace."""
        self._write([namespace_put(descriptor)])

    def delete_namespace(self, name: str) -> None:
        self._write([namespace_delete(name)])

    def put_table(
        self, descriptor: TableDescriptor, *, enabled: bool, regions: Iterable[RegionInfo] = ()
    ) -> None:
        """Create a table with its regions, or change its descriptor: one commit."""
        put = table_put(descriptor, ENABLED if enabled else DISABLED)
        self._write([put, *(self._region_put(info) for info in regions)])

    def set_enabled(self, table: str, enabled: bool) -> None:
        self._write([table_state_put(table, ENABLED if enabled else DISABLED)])

    def delete_table(self, table: str, regions: Iterable[RegionInfo]) -> None:
        self._write([table_delete(table), *(region_delete(info) for info in regions)])

    def truncate(
        self, descriptor: TableDescriptor, remove: Iterable[RegionInfo], add: Iterable[RegionInfo]
    ) -> None:
        """Other regions for the same table, which ends enabled."""
        put = table_state_put(descriptor.name, ENABLED)
        self._write([*(region_delete(i) for i in remove), *(self._region_put(i) for i in add), put])

    def split(self, parent: RegionInfo, first: RegionInfo, second: RegionInfo) -> None:
        """The one commit point of a split; ``parent`` says offline and split."""
        put = split_put(parent, first, second)
        self._write([put, self._region_put(first), self._region_put(second)])

    def merge(self, parents: Sequence[RegionInfo], merged: RegionInfo) -> None:
        """The one commit point of a merge."""
        put = add_merged(self._region_put(merged), parents)
        self._write([*(region_delete(parent) for parent in parents), put])

    def locate(self, regions: Iterable[RegionInfo]) -> None:
        """Note who serves these regions: in one commit."""
        if self.server is not None:
            server = self.server
            puts = [add_location(Put(info.region_name), server) for info in regions]
            if puts:
                self._write(puts)

    def _region_put(self, info: RegionInfo) -> Put:
        """The catalogue row of an online region."""
        put = region_put(info)
        return put if self.server is None else add_location(put, self.server)

    def forget_parent(self, parent: RegionInfo) -> None:
        """A split parent whose files nobody refers to any more."""
        self._write([region_delete(parent)])
