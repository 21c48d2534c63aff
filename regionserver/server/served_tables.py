"""Arrow uploads into the regions of a table that one server of a cluster has open.

The client sends each server the rows of that server's regions. If one of these has moved meanwhile, the
upload is refused with NotServingRegionException before any of its slice is loaded: the client cuts it anew.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from hyperbase.common.errors import AccessDeniedException, NotServingRegionException
from hyperbase.common.model import Durability, Put
from hyperbase.common.names import META_TABLE
from regionserver.region.arrow_load import put_arrow
from regionserver.region.batches import run_actions
from regionserver.region.commit import Commit
from regionserver.region.engine import Engine
from regionserver.region.lowering import Lowering, log_records
from regionserver.region.region import Region
from regionserver.storage.edits import LoweredRow


class ServedTable:
    """A table as far as this server has it; ``ArrowPutService``'s ``Loader``.

    Raises:
        AccessDeniedException: it is hbase:meta.
    """

    def __init__(self, engine: Engine, server: str, table: str) -> None:
        if table == META_TABLE:
            raise AccessDeniedException(f"{META_TABLE} is written by the master only")
        self._engine = engine
        self._server = server
        self._table = table
        self.max_key_value_bytes = engine.config.max_key_value_bytes

    def put_arrow(self, data: Any, row_key: str, timestamp: int | str | None, family: bytes | None) -> int:
        """Load rows of regions that are open here.

        Raises:
            NotServingRegionException: one of the rows belongs elsewhere. Nothing of its slice was loaded, but
                where a region closed in the middle of it.
        """
        return put_arrow(self, data, row_key, timestamp, family)

    # -- arrow_load.Target -------------------------------------------------------------------------------

    def _regions(self) -> list[Region]:
        mine = [region for region in list(self._engine.regions.values()) if region.info.table == self._table]
        return sorted(mine, key=lambda region: region.info.start_key)

    def lowering(self) -> Lowering:
        """Of any of the table's regions."""
        regions = self._regions()
        if not regions:
            raise self._elsewhere(f"a region of {self._table}")
        return regions[0].lowering

    def check_rows(self, keys: pa.Array) -> None:
        """All of the rows have their regions here."""
        left = keys
        for region in self._regions():
            if not len(left):
                return
            info = region.info
            here = pc.greater_equal(left, pa.scalar(info.start_key, left.type))
            if info.end_key:
                here = pc.and_(here, pc.less(left, pa.scalar(info.end_key, left.type)))
            left = left.filter(pc.invert(here))
        if len(left):
            raise self._elsewhere(f"the region of row {left[0].as_py()[:64]!r} of {self._table}")

    def region_of(self, row: bytes) -> Region:
        """The open region of a row."""
        return self._finder()(row)

    def _finder(self) -> Callable[[bytes], Region]:
        """``region_of`` for many rows: in the regions that are open now."""
        regions = self._regions()
        starts = [region.info.start_key for region in regions]

        def find(row: bytes) -> Region:
            place = bisect_right(starts, row) - 1
            if place < 0 or not regions[place].info.contains(row):
                raise self._elsewhere(f"the region of row {row[:64]!r} of {self._table}")
            return regions[place]

        return find

    def moved(self, region: Region, error: NotServingRegionException) -> None:
        """The client has to find it."""
        raise error

    def loaded(self, region: Region) -> None:
        """Files were added."""
        self._engine.request_compaction(region)

    def put_rows(self, rows: Sequence[tuple[bytes, Mapping[bytes, bytes]]], timestamp: int | None) -> None:
        """Through the log, one group for each region."""
        groups: dict[Region, list[LoweredRow]] = {}
        find = self._finder()
        for row, data in rows:
            region = find(row)
            groups.setdefault(region, []).append(region.lowering.dict_row(row, data, timestamp))
        for commit in list(_submitted(groups)):
            commit.wait()

    def put_all(self, puts: Sequence[Put]) -> None:
        """Through the log, each with its own timestamp."""
        groups: dict[Region, list[Put]] = {}
        find = self._finder()
        for put in puts:
            groups.setdefault(find(put.row), []).append(put)
        for region, group in groups.items():
            for outcome in run_actions(region, group, [None] * len(group)):
                if isinstance(outcome, Exception):
                    raise outcome

    def _elsewhere(self, what: str) -> NotServingRegionException:
        return NotServingRegionException(
            f"{self._server} does not serve {what}: refresh its location from hbase:meta and retry"
        )


def _submitted(groups: Mapping[Region, list[LoweredRow]]) -> Iterator[Commit]:
    for region, rows in groups.items():
        for part in log_records(rows):
            yield region.submit_rows(part, Durability.USE_DEFAULT)
