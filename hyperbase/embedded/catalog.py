"""The catalogue: ``hbase:meta``, a region like any other, in HBase's form.

| row | columns |
|---|---|
| region name | info:regioninfo (HBase's protobuf), info:state, of a server also info:server … |
| .. of a split parent | also info:splitA, info:splitB |
| .. of a merged region | also info:merge0000, info:merge0001 |
| table name | table:state (HBase's protobuf), table:descriptor (ours: msgpack) |
| namespace name | ns:d (ours: msgpack) |

Every change is one ``mutate_rows``: several rows, one log record, all or none.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgpack

from hyperbase.common.descriptors import ColumnFamilyDescriptor, NamespaceDescriptor, TableDescriptor
from hyperbase.common.model import Delete, Mutation, Put, RowMutations, Scan
from hyperbase.common.region_info import META_REGION, RegionInfo
from hyperbase.common.server_name import ServerName
from regionserver.region.mutations import mutate_rows
from regionserver.region.region import Region

META_DESCRIPTOR = TableDescriptor(
    name="hbase:meta",
    families=tuple(
        ColumnFamilyDescriptor(name=name, max_versions=3, in_memory=True, block_size=8192)
        for name in (b"info", b"ns", b"table")
    ),
)
META_DIRECTORY = f"data/hbase/meta/{META_REGION.encoded_name}"
BUILT_IN_NAMESPACES = ("default", "hbase")

# HBase's TableState protobuf: field 1, an enum. Persisted: numbers are never reused.
_STARTCODE = struct.Struct(">q")
ENABLED, DISABLED = b"\x08\x00", b"\x08\x01"


@dataclass(slots=True)
class CatalogSnapshot:
    """Everything in the catalogue."""

    descriptors: dict[str, TableDescriptor] = field(default_factory=dict)
    enabled: dict[str, bool] = field(default_factory=dict)
    regions: dict[str, list[RegionInfo]] = field(default_factory=dict)  # online ones, in key order
    parents: list[RegionInfo] = field(default_factory=list)  # split, kept while daughters refer to them
    namespaces: dict[str, NamespaceDescriptor] = field(default_factory=dict)


class Catalog:
    """Reads and writes of hbase:meta."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self.server: ServerName | None = None  # who serves the regions; None: this process alone

    def read(self) -> CatalogSnapshot:
        """The whole catalogue."""
        found = CatalogSnapshot()
        scanner = self._region.open_scanner(Scan())
        while (chunk := scanner.next_chunk()) is not None:
            for result in chunk:
                cells = result.to_dict()
                name = result.row
                if b"info:regioninfo" in cells:
                    info = RegionInfo.from_bytes(cells[b"info:regioninfo"])
                    if info.split:
                        found.parents.append(info)
                    else:
                        found.regions.setdefault(info.table, []).append(info)
                if b"table:descriptor" in cells:
                    table = name.decode()
                    fields = msgpack.unpackb(cells[b"table:descriptor"], strict_map_key=False)
                    found.descriptors[table] = TableDescriptor.from_dict(fields)
                    found.enabled[table] = cells.get(b"table:state") != DISABLED
                if b"ns:d" in cells:
                    fields = msgpack.unpackb(cells[b"ns:d"], strict_map_key=False)
                    found.namespaces[name.decode()] = NamespaceDescriptor.from_dict(fields)
        scanner.close()
        for regions in found.regions.values():
            regions.sort(key=lambda info: info.start_key)
        return found

    def _write(self, mutations: Sequence[Mutation | RowMutations]) -> None:
        mutate_rows(self._region, mutations).wait()

    def put_namespace(self, descriptor: NamespaceDescriptor) -> None:
        """Create or change a namespace."""
        self._write([Put(descriptor.name).add(b"ns:d", msgpack.packb(descriptor.to_dict()))])

    def delete_namespace(self, name: str) -> None:
        self._write([Delete(name).add_family(b"ns")])

    def put_table(
        self, descriptor: TableDescriptor, *, enabled: bool, regions: Iterable[RegionInfo] = ()
    ) -> None:
        """Create a table with its regions, or change its descriptor: one commit."""
        put = Put(descriptor.name)
        put.add(b"table:descriptor", msgpack.packb(descriptor.to_dict()))
        put.add(b"table:state", ENABLED if enabled else DISABLED)
        self._write([put, *(self._region_put(info) for info in regions)])

    def set_enabled(self, table: str, enabled: bool) -> None:
        self._write([Put(table).add(b"table:state", ENABLED if enabled else DISABLED)])

    def delete_table(self, table: str, regions: Iterable[RegionInfo]) -> None:
        self._write([Delete(table).add_family(b"table"), *(region_delete(info) for info in regions)])

    def truncate(
        self, descriptor: TableDescriptor, remove: Iterable[RegionInfo], add: Iterable[RegionInfo]
    ) -> None:
        """Other regions for the same table, which ends enabled."""
        put = Put(descriptor.name).add(b"table:state", ENABLED)
        self._write([*(region_delete(i) for i in remove), *(self._region_put(i) for i in add), put])

    def split(self, parent: RegionInfo, first: RegionInfo, second: RegionInfo) -> None:
        """The one commit point of a split; ``parent`` says offline and split."""
        put = Put(parent.region_name)
        put.add(b"info:regioninfo", parent.to_bytes()).add(b"info:state", b"SPLIT")
        put.add(b"info:splitA", first.to_bytes()).add(b"info:splitB", second.to_bytes())
        self._write([put, self._region_put(first), self._region_put(second)])

    def merge(self, parents: Sequence[RegionInfo], merged: RegionInfo) -> None:
        """The one commit point of a merge."""
        put = self._region_put(merged)
        for number, parent in enumerate(parents):
            put.add(b"info:merge%04d" % number, parent.to_bytes())
        self._write([*(region_delete(parent) for parent in parents), put])

    def locate(self, regions: Iterable[RegionInfo]) -> None:
        """Note who serves these regions: in one commit."""
        puts = [self._location(Put(info.region_name)) for info in regions]
        if puts and self.server is not None:
            self._write(puts)

    def _region_put(self, info: RegionInfo) -> Put:
        """The catalogue row of an online region."""
        put = Put(info.region_name)
        put.add(b"info:regioninfo", info.to_bytes()).add(b"info:state", b"OPEN")
        return self._location(put)

    def _location(self, put: Put) -> Put:
        if self.server is not None:
            put.add(b"info:server", self.server.address)
            put.add(b"info:serverstartcode", _STARTCODE.pack(self.server.startcode))
        return put

    def forget_parent(self, parent: RegionInfo) -> None:
        """A split parent whose files nobody refers to any more."""
        self._write([region_delete(parent)])


def region_delete(info: RegionInfo) -> Delete:
    return Delete(info.region_name).add_family(b"info")
