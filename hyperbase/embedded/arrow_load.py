"""Arrow rows into a table of an embedded store: every region is here, one that split is found anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from hyperbase.common.errors import NotServingRegionException
from hyperbase.common.model import Durability, Put
from hyperbase.embedded.store import EmbeddedStore
from hyperbase.embedded.table import EmbeddedTable
from regionserver.region import arrow_load
from regionserver.region.lowering import Lowering
from regionserver.region.region import Region


def put_arrow(
    store: EmbeddedStore,
    table: str,
    data: pa.RecordBatchReader,
    row_key: str,
    timestamp: int | str | None,
    family: bytes | None,
) -> int:
    """See ``Table.put_arrow``. Returns how many input rows had at least one value."""
    store.check_writable()
    return arrow_load.put_arrow(_Target(store, table), data, row_key, timestamp, family)


class _Target:
    """``arrow_load.Target``: a table of the store."""

    def __init__(self, store: EmbeddedStore, table: str) -> None:
        self._store = store
        self._name = table
        self._table = EmbeddedTable(store, table)
        self._entry = store.enabled_entry(table)
        self.max_key_value_bytes = store.config.max_key_value_bytes

    def lowering(self) -> Lowering:
        return self._entry.regions[0].lowering

    def check_rows(self, keys: pa.Array) -> None:
        pass

    def region_of(self, row: bytes) -> Region:
        self._entry = self._store.enabled_entry(self._name)
        return self._entry.region_of(row)

    def moved(self, region: Region, error: NotServingRegionException) -> None:
        if self._store.tables.get(self._name) is self._entry:
            self._store.wait_for_change(self._name, self._entry, error)

    def loaded(self, region: Region) -> None:
        self._store.engine.request_compaction(region)  # looks whether there is anything to do

    def put_rows(self, rows: Sequence[tuple[bytes, Mapping[bytes, bytes]]], timestamp: int | None) -> None:
        self._table.put_rows(rows, timestamp, Durability.USE_DEFAULT)

    def put_all(self, puts: Sequence[Put]) -> None:
        for outcome in self._table.run_batch(puts):
            if isinstance(outcome, Exception):
                raise outcome
