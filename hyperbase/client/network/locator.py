"""Where the regions of a table are: read from hbase:meta with one scan, and remembered until they move.

The rows of table ``t`` in hbase:meta are ``t`` itself (its state) and ``t,<start key>,…`` for each region:
all of them lie in ``[b"t", b"t-")``. Threads: any number; an entry is replaced whole.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from hyperbase.client.network.commands import Call, Parts, Steps
from hyperbase.client.network.retries import Retries
from hyperbase.common.errors import (
    DoNotRetryIOException,
    HBaseIOException,
    NotServingRegionException,
    TableNotEnabledException,
    TableNotFoundException,
)
from hyperbase.common.model import Result, Scan
from hyperbase.common.names import META_TABLE
from hyperbase.common.region_info import META_REGION, RegionInfo
from hyperbase.common.server_name import ServerName
from hyperbase.common.wire.messages import Method
from hyperbase.common.wire.model_codec import decode_results, encode_scan

_DISABLED = b"\x08\x01"
_META_CREDIT = 1 << 30  # a table's rows are taken as they come
_SCAN, _REGISTRY = int(Method.SCAN), int(Method.REGISTRY)


class Place:
    """A region and the server that has it; ``address`` is empty while none does."""

    __slots__ = ("address", "end_key", "id16", "start_key")

    def __init__(self, info: RegionInfo, address: str) -> None:
        self.id16 = info.id16
        self.start_key = info.start_key
        self.end_key = info.end_key
        self.address = address

    def where(self) -> str:
        """The address.

        Raises:
            NotServingRegionException: the region is on its way.
        """
        if not self.address:
            raise NotServingRegionException(
                f"region {self.id16.hex()} is not assigned to a server at the moment: wait and retry"
            )
        return self.address


class Regions:
    """The regions of one table in key order. Never changed."""

    __slots__ = ("places", "starts")

    def __init__(self, places: Sequence[Place]) -> None:
        self.places = tuple(places)
        self.starts = [place.start_key for place in places]

    def of(self, row: bytes) -> Place:
        """The region that a row belongs to."""
        return self.places[bisect_right(self.starts, row) - 1]

    def below(self, key: bytes) -> Place:
        """The region of the rows just below ``key``, which is not empty."""
        return self.places[bisect_left(self.starts, key) - 1]


class Locator:
    """Knows servers to ask, hbase:meta's place, and the regions of the tables in use."""

    __slots__ = ("_meta", "_seeds", "master", "tables")

    def __init__(self, seeds: Sequence[str]) -> None:
        self._seeds = list(seeds)
        self._meta = ""  # address; empty: ask
        self.master = ""
        self.tables: dict[str, Regions] = {}

    def forget(self, table: str, used: Regions | None) -> None:
        """The regions that were used did not answer; what another thread found meanwhile stays."""
        if used is None:
            self.forget_servers()
        elif self.tables.get(table) is used:
            self.tables.pop(table, None)

    def forget_servers(self) -> None:
        """hbase:meta or the master did not answer."""
        self._meta = self.master = ""

    def regions(self, table: str, retries: Retries) -> Steps[Regions]:
        """The table's regions.

        Raises:
            TableNotFoundException, TableNotEnabledException
        """
        found = self.tables.get(table)
        if found is None:
            found = yield from self._read(table, retries)
            self.tables[table] = found
        return found

    def _read(self, table: str, retries: Retries) -> Steps[Regions]:
        meta = self._meta
        if not meta:
            yield from self.ask_registry(retries)
            meta = self._meta
        if table == META_TABLE:
            return Regions([Place(META_REGION, meta)])
        name = table.encode("utf-8")
        scan = encode_scan(Scan(name, name + b"-", columns=[b"info", b"table:state"]))
        try:
            answer = yield Call(meta, _SCAN, (META_REGION.id16, scan, _META_CREDIT), retries.deadline)
        except HBaseIOException:
            self._meta = ""
            raise
        return read_regions(table, _scanned(answer))

    def ask_registry(self, retries: Retries) -> Steps[None]:
        """Find the master and hbase:meta by asking one server after the other."""
        last: HBaseIOException | None = None
        for seed in list(self._seeds):
            deadline = time.monotonic() + retries.config.connect_timeout_s  # another one may answer
            if retries.deadline is not None:
                deadline = min(deadline, retries.deadline)
            try:
                answer = yield Call(seed, _REGISTRY, (), deadline)
            except HBaseIOException as error:
                if isinstance(error, DoNotRetryIOException):
                    raise
                last = error
                continue
            self._meta = ServerName.parse(answer["meta"]).address
            self.master = ServerName.parse(answer["master"]).address
            for name in answer["servers"]:
                address = ServerName.parse(name).address
                if address not in self._seeds:
                    self._seeds.append(address)
            return
        assert last is not None
        raise last


def _scanned(answer: Parts) -> Iterable[Result]:
    for chunk in (*answer.items, answer.end[0]):
        if chunk is not None:
            yield from decode_results(chunk)


def read_regions(table: str, rows: Iterable[Result]) -> Regions:
    """The table's regions from its rows of hbase:meta.

    Raises:
        TableNotFoundException, TableNotEnabledException
        NotServingRegionException: the table is being made or changed.
    """
    places: list[Place] = []
    state: bytes | None = None
    for result in rows:
        cells = result.to_dict()
        state = cells.get(b"table:state", state)
        bytes_of_info = cells.get(b"info:regioninfo")
        if bytes_of_info is None:
            continue
        info = RegionInfo.from_bytes(bytes_of_info)
        if info.table == table and not (info.split or info.offline):
            places.append(Place(info, cells.get(b"info:server", b"").decode("utf-8", "replace")))
    if state is None:
        raise TableNotFoundException(f"{table}: no such table; list_tables() names those there are")
    if state == _DISABLED:
        raise TableNotEnabledException(f"{table} is disabled.")
    places.sort(key=lambda place: place.start_key)
    if not places or places[0].start_key:
        raise NotServingRegionException(f"hbase:meta lists no first region of {table}: wait and retry")
    return Regions(places)
