"""A Backend made of dicts, just enough to see what the client API asks for and gives back.

Cells live in ``rows[row][column] = {timestamp: value}``; a delete removes cells, nothing is kept of it.
The clock counts up by one per mutation from 1,000,000. Reads know columns, time range, versions, limit.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from hyperbase.common.cluster_status import ClusterStatus, ProcedureStatus, RegionPlace
from hyperbase.common.descriptors import NamespaceDescriptor, TableDescriptor
from hyperbase.common.errors import (
    NamespaceNotFoundException,
    NoSuchColumnFamilyException,
    RetriesExhaustedWithDetailsException,
    TableNotFoundException,
)
from hyperbase.common.inconsistency import Inconsistency
from hyperbase.common.model import (
    Append,
    CellType,
    CheckAndMutate,
    Delete,
    Durability,
    Get,
    Increment,
    Put,
    Query,
    Result,
    RowMutations,
    Scan,
    split_column,
)
from hyperbase.common.region_info import RegionInfo

Row = dict[bytes, dict[int, bytes]]


class FakeBackend:
    """Tables in memory, and ``calls``: the name and arguments of every data call, in order."""

    def __init__(self) -> None:
        self.descriptors: dict[str, TableDescriptor] = {}
        self.splits: dict[str, list[bytes]] = {}
        self.disabled: set[str] = set()
        self.data: dict[str, dict[bytes, Row]] = {}
        self.namespaces: dict[str, NamespaceDescriptor] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.closed = 0
        self.clock = 1_000_000

    def table(self, name: str) -> FakeTable:
        return FakeTable(self, name)

    def close(self) -> None:
        self.closed += 1

    def metrics(self) -> dict[str, float]:
        return {"cells": 0.0}

    def create_namespace(self, descriptor: NamespaceDescriptor) -> None:
        self.namespaces[descriptor.name] = descriptor

    alter_namespace = create_namespace

    def describe_namespace(self, name: str) -> NamespaceDescriptor:
        if name not in self.namespaces:
            raise NamespaceNotFoundException(name)
        return self.namespaces[name]

    def drop_namespace(self, name: str) -> None:
        self.describe_namespace(name)
        del self.namespaces[name]

    def list_namespaces(self) -> list[str]:
        return sorted(self.namespaces)

    def create_table(self, descriptor: TableDescriptor, splits: Sequence[bytes] | None = None) -> None:
        self.descriptors[descriptor.name] = descriptor
        self.splits[descriptor.name] = list(splits or [])
        self.data[descriptor.name] = {}

    def alter_table(self, descriptor: TableDescriptor) -> None:
        self.descriptors[descriptor.name] = descriptor

    def describe_table(self, name: str) -> TableDescriptor:
        if name not in self.descriptors:
            raise TableNotFoundException(name)
        return self.descriptors[name]

    def list_tables(self) -> list[str]:
        return sorted(self.descriptors)

    def table_exists(self, name: str) -> bool:
        return name in self.descriptors

    def enable_table(self, name: str) -> None:
        self.disabled.remove(name)

    def disable_table(self, name: str) -> None:
        self.disabled.add(name)

    def is_table_enabled(self, name: str) -> bool:
        self.describe_table(name)
        return name not in self.disabled

    def truncate_table(self, name: str, preserve_splits: bool = False) -> None:
        self.calls.append(("truncate_table", name, preserve_splits))

    def drop_table(self, name: str) -> None:
        del self.descriptors[name]

    def regions(self, table: str) -> list[RegionInfo]:
        self.describe_table(table)
        keys = [b"", *self.splits[table], b""]
        return [RegionInfo(table, low, high, 1) for low, high in pairwise(keys)]

    def flush(self, table: str) -> None:
        self.calls.append(("flush", table))

    def compact(self, table: str, major: bool = False) -> None:
        self.calls.append(("compact", table, major))

    def split(self, table_or_region: str, key: bytes | None = None) -> None:
        self.calls.append(("split", table_or_region, key))

    def merge_regions(self, first: str, second: str) -> None:
        self.calls.append(("merge_regions", first, second))

    def cluster_status(self) -> ClusterStatus:
        return ClusterStatus("1", "fake", "host,1,1")

    def region_locations(self, table: str) -> list[tuple[RegionInfo, str]]:
        return [(region, "host,1,1") for region in self.regions(table)]

    def compaction_state(self, table: str) -> str:
        return "NONE"

    def switch(self, name: str, on: bool | None) -> bool:
        self.calls.append(("switch", name, on))
        return True

    def roll_wal(self) -> None:
        self.calls.append(("roll_wal",))

    def clear_block_cache(self, table: str) -> int:
        self.calls.append(("clear_block_cache", table))
        return 0

    def servers(self) -> list[str]:
        return ["host,1,1"]

    def region_states(self, table: str) -> list[RegionPlace]:
        return [RegionPlace(region, "OPEN", "host,1,1") for region in self.regions(table)]

    def move(self, region: str, server: str = "") -> None:
        self.calls.append(("move", region, server))

    def assign(self, region: str) -> None:
        self.calls.append(("assign", region))

    def unassign(self, region: str) -> None:
        self.calls.append(("unassign", region))

    def balance(self, dry_run: bool = False, force: bool = False) -> list[str]:
        self.calls.append(("balance", dry_run, force))
        return []

    def procedures(self) -> list[ProcedureStatus]:
        return []

    def decommission(self, servers: Sequence[str], offload: bool = False) -> None:
        self.calls.append(("decommission", list(servers), offload))

    def recommission(self, server: str, regions: Sequence[str] = ()) -> None:
        self.calls.append(("recommission", server, list(regions)))

    def decommissioned(self) -> list[str]:
        return []

    def hbck(self, repair: bool = False) -> list[Inconsistency]:
        return []


class FakeTable:
    def __init__(self, store: FakeBackend, name: str) -> None:
        self.store = store
        self.name = name

    @property
    def rows(self) -> dict[bytes, Row]:
        self.store.describe_table(self.name)
        return self.store.data[self.name]

    def _now(self) -> int:
        self.store.clock += 1
        return self.store.clock

    def _check_family(self, family: bytes) -> None:
        if family not in self.store.describe_table(self.name).family_names:
            raise NoSuchColumnFamilyException(f"Column family {family!r} does not exist in table {self.name}")

    # -- reading

    def row(self, row: bytes) -> Result:
        return self._read(row, Get(row))

    def get(self, get: Get) -> Result:
        self.store.calls.append(("get", get))
        return self._read(get.row, get)

    def get_many(self, gets: Sequence[Get]) -> list[Result]:
        return [self._read(get.row, get) for get in gets]

    def _read(self, row: bytes, query: Query) -> Result:
        names, values, stamps = [], [], []
        for column, versions in sorted(
            self.rows.get(row, {}).items(), key=lambda item: split_column(item[0])
        ):
            family, qualifier = split_column(column)
            if query.columns is not None and not {(family, None), (family, qualifier)} & set(query.columns):
                continue
            span = query.time_range
            seen = [
                t
                for t in sorted(versions, reverse=True)
                if span is None or span.min_timestamp <= t < span.max_timestamp
            ]
            for t in seen[: query.versions]:
                names.append(column)
                values.append(versions[t])
                stamps.append(t)
        return Result(row, names, values, stamps)

    def scan(self, scan: Scan) -> Iterator[list[Result]]:
        self.store.calls.append(("scan", scan))
        found = []
        for row in sorted(self.rows, reverse=scan.reverse):
            low, high = (scan.stop, scan.start) if scan.reverse else (scan.start, scan.stop)
            low_in, high_in = scan.start_inclusive, scan.stop_inclusive
            if scan.reverse:
                low_in, high_in = high_in, low_in
            if low and (row < low or (row == low and not low_in)):
                continue
            if high and (row > high or (row == high and not high_in)):
                continue
            result = self._read(row, scan)
            if result:
                found.append(result)
        if scan.limit is not None:
            found = found[: scan.limit]
        try:
            for begin in range(0, len(found), 3):
                yield found[begin : begin + 3]
        finally:
            self.store.calls.append(("scan closed",))

    # -- writing

    def put_rows(
        self,
        rows: Sequence[tuple[bytes, Mapping[bytes, bytes]]],
        timestamp: int | None,
        durability: Durability,
    ) -> None:
        self.store.calls.append(
            ("put_rows", [(row, dict(data)) for row, data in rows], timestamp, durability)
        )
        now = self._now() if timestamp is None else timestamp
        failures: list[tuple[bytes, Exception]] = []
        kept = self.rows
        for row, data in rows:
            try:
                for column in data:
                    self._check_family(split_column(column)[0])
            except NoSuchColumnFamilyException as error:
                failures.append((row, error))
                continue
            for column, value in data.items():
                kept.setdefault(row, {}).setdefault(column, {})[now] = value
        if failures:
            raise RetriesExhaustedWithDetailsException(failures)

    def put(self, put: Put) -> None:
        self.store.calls.append(("put", put))
        now = self._now()
        for family, qualifier, stamp, value in put.cells:
            self._check_family(family)
            column = family + b":" + qualifier
            self.rows.setdefault(put.row, {}).setdefault(column, {})[now if stamp is None else stamp] = value

    def delete(self, delete: Delete) -> None:
        self.store.calls.append(("delete", delete))
        now = self._now()
        row = self.rows.get(delete.row, {})
        families = self.store.describe_table(self.name).family_names
        markers = delete.markers or [(f, b"", delete.timestamp, CellType.DELETE_FAMILY) for f in families]
        for family, qualifier, stamp, kind in markers:
            self._check_family(family)
            for column, versions in row.items():
                whole = kind is CellType.DELETE_FAMILY and split_column(column)[0] == family
                if whole or column == family + b":" + qualifier:
                    for t in [t for t in versions if t <= (now if stamp is None else stamp)]:
                        del versions[t]

    def increment(self, increment: Increment) -> Result:
        put = Put(increment.row)
        for family, qualifier, amount in increment.amounts:
            old = self._newest(increment.row, family + b":" + qualifier) or bytes(8)
            value = struct.pack(">q", struct.unpack(">q", old)[0] + amount)
            put.add(family + b":" + qualifier, value)
        self.put(put)
        return self._read(increment.row, Get(increment.row, [f + b":" + q for f, q, _ in increment.amounts]))

    def append(self, append: Append) -> Result:
        put = Put(append.row)
        for family, qualifier, value in append.cells:
            put.add(
                family + b":" + qualifier,
                (self._newest(append.row, family + b":" + qualifier) or b"") + value,
            )
        self.put(put)
        return self._read(append.row, Get(append.row, [f + b":" + q for f, q, _ in append.cells]))

    def _newest(self, row: bytes, column: bytes) -> bytes | None:
        return self._read(row, Get(row)).value(column)

    def mutate_row(self, mutations: RowMutations) -> Result:
        for mutation in mutations.mutations:
            self._apply(mutation)
        return Result(mutations.row)

    def check_and_mutate(self, check: CheckAndMutate) -> tuple[bool, Result | None]:
        assert check.column is not None
        if (self._newest(check.row, b":".join(check.column)) or None) != (check.value or None):
            return False, None
        return True, self._apply(check.action)

    def _apply(self, action: Any) -> Any:
        names = {
            Get: "get",
            Put: "put",
            Delete: "delete",
            Increment: "increment",
            Append: "append",
            RowMutations: "mutate_row",
            CheckAndMutate: "check_and_mutate",
        }
        return getattr(self, names[type(action)])(action)

    def run_batch(self, actions: Sequence[Any]) -> list[Any]:
        self.store.calls.append(("run_batch", list(actions)))
        outcomes: list[Any] = []
        for action in actions:
            try:
                outcomes.append(self._apply(action))
            except NoSuchColumnFamilyException as error:
                outcomes.append(error)
        return outcomes

    # -- Arrow

    def scan_arrow(
        self, scan: Scan, layout: str, types: Mapping[bytes, str] | None, columns: Sequence[bytes] | None
    ) -> Any:
        import pyarrow as pa

        self.store.calls.append(("scan_arrow", scan, layout, types, columns))
        results = [result for chunk in self.scan(scan) for result in chunk]
        rows = [{"row": r.row, **{k.decode(): v for k, v in r.to_dict().items()}} for r in results]
        return pa.Table.from_pylist(rows).to_reader()

    def put_arrow(self, data: Any, row_key: str, timestamp: int | str | None, family: bytes | None) -> int:
        self.store.calls.append(("put_arrow", row_key, timestamp, family))
        rows = data.read_all().to_pylist()
        prefix = "" if family is None else family.decode() + ":"
        for row in rows:
            put = Put(row.pop(row_key))
            for name, value in row.items():
                put.add(prefix + name, value)
            self.put(put)
        return len(rows)
