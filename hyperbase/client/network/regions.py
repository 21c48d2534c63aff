"""The regions of one table as hbase:meta has them.

Every key belongs to one ``Place``: where hbase:meta lists no region, there is one without a region, so a
table that is being made or repaired is served as far as it is there.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from hyperbase.common.catalog import DISABLED
from hyperbase.common.errors import (
    NotServingRegionException,
    TableNotEnabledException,
    TableNotFoundException,
)
from hyperbase.common.model import MAX_ROW_LENGTH, Result, Scan
from hyperbase.common.region_info import RegionInfo, RegionState

COLUMNS = (b"info:regioninfo", b"info:server", b"info:state", b"table:state")  # of hbase:meta, read here
_OPEN = RegionState.OPEN.value.encode()


class Place:
    """A region and the server that has it; ``address`` is empty while that is not known.

    ``id16`` is empty where there is no region. Threads: any may ``forget``; all else stays as it is.
    """

    __slots__ = ("address", "end_key", "id16", "read_at", "start_key")

    def __init__(self, id16: bytes, start_key: bytes, end_key: bytes, address: str) -> None:
        self.id16 = id16
        self.start_key = start_key
        self.end_key = end_key
        self.address = address
        self.read_at = time.monotonic()

    def where(self) -> str:
        """The address.

        Raises:
            NotServingRegionException: the region is on its way.
        """
        address = self.address
        if address:
            return address
        if not self.id16:
            raise NotServingRegionException(
                f"hbase:meta lists no region from {self.start_key!r} to {self.end_key!r}: wait and retry"
            )
        raise NotServingRegionException(
            f"region {self.id16.hex()} is not assigned to a server at the moment: wait and retry"
        )

    def forget(self) -> None:
        """It is not there any more: who needs it next looks at once."""
        if self.address:
            self.read_at = float("-inf")
            self.address = ""


class Regions:
    """The regions of one table in key order, from ``b""`` to ``b""``, without a hole between them."""

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

    def unknown(self, rows: Iterable[bytes]) -> list[Place]:
        """Of the regions that the rows belong to, those whose server is not known."""
        if all(place.address for place in self.places):
            return []
        found = {id(place): place for place in map(self.of, rows) if not place.address}
        return list(found.values())

    def with_part(self, part: Sequence[Place]) -> Regions | None:
        """These regions with a part read anew, which may be split or reach into what followed.

        None: the part begins or ends where no region here does: it takes more than the part to know.
        """
        low, high = part[0].start_key, part[-1].end_key
        begin = bisect_left(self.starts, low)
        end = bisect_left(self.starts, high) if high else len(self.places)
        joins = begin < len(self.places) and self.starts[begin] == low
        joins = joins and (self.starts[end] == high if end < len(self.places) else not high)
        return Regions((*self.places[:begin], *part, *self.places[end:])) if joins else None


def table_scan(table: str) -> Scan:
    """All that hbase:meta has of a table: its row is its name, its regions' are ``name,start key,…``."""
    name = table.encode("utf-8")
    return Scan(name, name + b"-", columns=list(COLUMNS))


def part_scan(table: str, low: bytes, high: bytes) -> Scan | None:
    """The rows of hbase:meta of a table's regions that begin in ``[low, high)``, and perhaps of some others.

    Rows are in the order of their bytes, where what follows a start key is a comma: regions that begin with a
    part of ``high`` may stand behind ``name,high``. None: a key is as long as no row of a scan may be.
    """
    name = table.encode("utf-8") + b","
    stop = name + high if high else name[:-1] + b"-"
    for length in range(len(low), len(high)):
        if high[:length] >= low:
            stop = max(stop, name + high[:length] + b"-")
    if max(len(low), len(high)) + len(name) + 1 > MAX_ROW_LENGTH:
        return None
    return Scan(name + low, stop, columns=list(COLUMNS))


def check_state(table: str, state: bytes | None) -> None:
    """Raises TableNotFoundException, TableNotEnabledException: what hbase:meta's ``table:state`` means."""
    if state is None:
        raise TableNotFoundException(f"{table}: no such table; list_tables() names those there are")
    if state == DISABLED:
        raise TableNotEnabledException(f"{table} is disabled.")


def read_places(table: str, rows: Iterable[Result]) -> tuple[list[Place], bytes | None]:
    """The table's regions from rows of hbase:meta, in key order, and its state if that is among them."""
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
            served = cells.get(b"info:state", _OPEN) == _OPEN
            address = cells.get(b"info:server", b"").decode("utf-8", "replace") if served else ""
            places.append(Place(info.id16, info.start_key, info.end_key, address))
    places.sort(key=lambda place: place.start_key)
    return places, state


def covering(places: Iterable[Place], low: bytes, high: bytes) -> list[Place]:
    """The places, with one without region wherever they leave a hole between ``low`` and ``high``."""
    out: list[Place] = []
    for place in places:
        if place.start_key > low:
            out.append(Place(b"", low, place.start_key, ""))
        out.append(place)
        if not place.end_key:
            return out
        low = max(low, place.end_key)
    if not out or not high or low < high:
        out.append(Place(b"", low, high, ""))
    return out


def without_hole(places: Sequence[Place], low: bytes, high: bytes) -> bool:
    """Whether the places follow each other from ``low`` to ``high`` or beyond it."""
    for place in places:
        if place.start_key != low:
            return False
        low = place.end_key
        if not low:
            return place is places[-1]
    return bool(places) and bool(high) and low >= high
