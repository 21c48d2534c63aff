"""The rows of ``hbase:meta``: what they say, how they are written. In HBase's form where it has one.

| row | columns |
|---|---|
| region name | info:regioninfo (HBase's protobuf), info:state; of a server also the columns below |
| .. of a split parent | also info:splitA, info:splitB |
| .. of a merged region | also info:merge0000, info:merge0001 |
| table name | table:state (HBase's protobuf), table:descriptor (ours: msgpack) |
| namespace name | ns:d (ours: msgpack) |

| column of a served region | is |
|---|---|
| info:server, info:serverstartcode | ``host:port`` and 8 bytes: who serves it, or did last |
| info:sn | ``host,port,startcode`` of whom it was given to last |
| info:seqnumDuringOpen | 8 bytes: its first sequence id there |
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgpack

from hyperbase.common.descriptors import ColumnFamilyDescriptor, NamespaceDescriptor, TableDescriptor
from hyperbase.common.model import Delete, Put, Result
from hyperbase.common.names import table_directory
from hyperbase.common.region_info import META_REGION, RegionInfo, RegionState
from hyperbase.common.server_name import ServerName

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
ENABLED, DISABLED, DISABLING, ENABLING = b"\x08\x00", b"\x08\x01", b"\x08\x02", b"\x08\x03"
TABLE_STATES = {ENABLED: "ENABLED", DISABLED: "DISABLED", DISABLING: "DISABLING", ENABLING: "ENABLING"}
_INT64 = struct.Struct(">q")


@dataclass(frozen=True, slots=True)
class RegionRow:
    """A region as its row shows it."""

    info: RegionInfo
    state: RegionState = RegionState.OPEN
    server: ServerName | None = None  # who serves it, or did last
    given_to: ServerName | None = None  # whom it was given to last (info:sn)
    open_sequence_id: int | None = None


@dataclass(slots=True)
class CatalogSnapshot:
    """Everything in the catalogue."""

    descriptors: dict[str, TableDescriptor] = field(default_factory=dict)
    states: dict[str, bytes] = field(default_factory=dict)  # of tables: ENABLED …
    regions: dict[str, list[RegionInfo]] = field(default_factory=dict)  # online ones, in key order
    parents: list[RegionInfo] = field(default_factory=list)  # split, kept while daughters refer to them
    namespaces: dict[str, NamespaceDescriptor] = field(default_factory=dict)
    rows: dict[bytes, RegionRow] = field(default_factory=dict)  # by region name, parents too

    def enabled(self, table: str) -> bool:
        """Whether the table is to be served."""
        return self.states.get(table, ENABLED) not in (DISABLED, DISABLING)


def read_catalog(rows: Iterable[Result]) -> CatalogSnapshot:
    """The catalogue from all rows of ``hbase:meta``."""
    found = CatalogSnapshot()
    for result in rows:
        cells = result.to_dict()
        if b"info:regioninfo" in cells:
            row = read_region(cells)
            found.rows[result.row] = row
            if row.info.split:
                found.parents.append(row.info)
            else:
                found.regions.setdefault(row.info.table, []).append(row.info)
        if b"table:descriptor" in cells:
            table = result.row.decode()
            fields = msgpack.unpackb(cells[b"table:descriptor"], strict_map_key=False)
            found.descriptors[table] = TableDescriptor.from_dict(fields)
            found.states[table] = cells.get(b"table:state", ENABLED)
        if b"ns:d" in cells:
            fields = msgpack.unpackb(cells[b"ns:d"], strict_map_key=False)
            found.namespaces[result.row.decode()] = NamespaceDescriptor.from_dict(fields)
    for regions in found.regions.values():
        regions.sort(key=lambda info: info.start_key)
    return found


def read_region(cells: dict[bytes, bytes]) -> RegionRow:
    """One region's row."""
    state = cells.get(b"info:state", b"OPEN").decode("ascii", "replace")
    address, startcode = cells.get(b"info:server", b""), cells.get(b"info:serverstartcode", b"")
    server = None
    if address and len(startcode) == _INT64.size:
        host, _, port = address.decode().rpartition(":")
        server = ServerName(host, int(port), _INT64.unpack(startcode)[0])
    opened = cells.get(b"info:seqnumDuringOpen", b"")
    given_to = cells.get(b"info:sn", b"").decode()
    return RegionRow(
        RegionInfo.from_bytes(cells[b"info:regioninfo"]),
        RegionState(state) if state in RegionState.__members__ else RegionState.OFFLINE,
        server,
        ServerName.parse(given_to) if given_to else None,
        _INT64.unpack(opened)[0] if len(opened) == _INT64.size else None,
    )


def namespace_put(descriptor: NamespaceDescriptor) -> Put:
    """Create or change a namespace."""
    return Put(descriptor.name).add(b"ns:d", msgpack.packb(descriptor.to_dict()))


def namespace_delete(name: str) -> Delete:
    return Delete(name).add_family(b"ns")


def table_put(descriptor: TableDescriptor, state: bytes) -> Put:
    """Create or change a table."""
    put = Put(descriptor.name).add(b"table:descriptor", msgpack.packb(descriptor.to_dict()))
    return put.add(b"table:state", state)


def table_state_put(table: str, state: bytes) -> Put:
    return Put(table).add(b"table:state", state)


def table_delete(table: str) -> Delete:
    return Delete(table).add_family(b"table")


def region_put(info: RegionInfo, state: RegionState = RegionState.OPEN) -> Put:
    """A region's row, without the columns of a server."""
    put = Put(info.region_name)
    return put.add(b"info:regioninfo", info.to_bytes()).add(b"info:state", state.value.encode())


def add_location(put: Put, server: ServerName, open_sequence_id: int | None = None) -> Put:
    """Who serves the region of ``put``."""
    put.add(b"info:server", server.address).add(b"info:serverstartcode", _INT64.pack(server.startcode))
    if open_sequence_id is not None:
        put.add(b"info:seqnumDuringOpen", _INT64.pack(open_sequence_id))
    return put


def state_put(info: RegionInfo, state: RegionState, given_to: ServerName | None = None) -> Put:
    """Where the region is on its way; ``given_to``: who is to open it."""
    put = Put(info.region_name).add(b"info:state", state.value.encode())
    return put if given_to is None else put.add(b"info:sn", str(given_to))


def split_put(parent: RegionInfo, first: RegionInfo, second: RegionInfo) -> Put:
    """The parent's row once its daughters serve; ``parent`` says offline and split."""
    put = region_put(parent, RegionState.SPLIT)
    return put.add(b"info:splitA", first.to_bytes()).add(b"info:splitB", second.to_bytes())


def add_merged(put: Put, parents: Sequence[RegionInfo]) -> Put:
    """Note in the row of a merged region of which it was made."""
    for number, parent in enumerate(parents):
        put.add(b"info:merge%04d" % number, parent.to_bytes())
    return put


def region_delete(info: RegionInfo) -> Delete:
    return Delete(info.region_name).add_family(b"info")


def region_directory(info: RegionInfo) -> str:
    """Where a region's files are."""
    namespace, qualifier = table_directory(info.table)
    return f"data/{namespace}/{qualifier}/{info.encoded_name}"
