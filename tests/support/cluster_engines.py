"""Engines that share one file system, as the region servers of a cluster do, without network or master."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hyperbase.common.catalog import region_directory
from hyperbase.common.config import StoreConfig
from hyperbase.common.descriptors import ColumnFamilyDescriptor, TableDescriptor
from hyperbase.common.model import Durability, Scan
from hyperbase.common.region_info import RegionInfo
from regionserver.region.engine import Engine
from regionserver.region.opening import Opening, open_regions
from regionserver.region.region import Region
from regionserver.storage.filesystem import FileSystem
from regionserver.storage.wal_reader import LogRecovery
from tests.support.engine import QUIET

TABLE = TableDescriptor("t", [ColumnFamilyDescriptor(b"f"), ColumnFamilyDescriptor(b"g")])
REGION = RegionInfo("t", b"", b"m", 1)
OTHER = RegionInfo("t", b"m", b"", 1)


class ServerEngine:
    """One server's engine, with a log of its own; in the background nothing happens."""

    def __init__(
        self, fs: FileSystem, name: str, check_owner: Callable[[], None] | None = None, **settings: Any
    ) -> None:
        self.fs = fs
        self.log = f"WALs/{name},1,1"
        fs.make_directory(self.log)
        self.engine = Engine(
            fs,
            StoreConfig().with_settings(**{**QUIET, **settings}),
            background=False,
            wal_directory=self.log,
            archive_directory=f"oldWALs/{name},1,1",
            deletes_files=False,
            check_owner=check_owner,
        )
        self.engine.start()

    def try_to_open(self, *infos: RegionInfo, logs: tuple[str, ...] = ()) -> list[Region | Exception]:
        """Each region's outcome."""
        return open_regions(self.engine, [Opening(i, TABLE, region_directory(i), logs) for i in infos])

    def open(self, info: RegionInfo = REGION, logs: tuple[str, ...] = ()) -> Region:
        """Open a region, which has to work."""
        (region,) = self.try_to_open(info, logs=logs)
        assert isinstance(region, Region), region
        return region

    def set_log_aside(self, *, seal: bool = True) -> str:
        """The server dies; see ``set_log_aside``."""
        self.engine.abandon()
        return set_log_aside(self.fs, self.log, seal=seal)


def set_log_aside(fs: FileSystem, log: str, *, seal: bool = True) -> str:
    """What the master does with a dead server's log: another name, and an end for good."""
    aside = f"{log}-splitting"
    fs.fence_log(log, aside)
    if seal:
        list(LogRecovery(fs, aside, seal=True).records())
    return aside


def put(region: Region, *rows: bytes, value: bytes = b"v") -> None:
    """Rows that are durable then."""
    data = {b"f:q": value, b"g:q": value}
    lowered = [region.lowering.dict_row(row, data, None) for row in rows]
    region.submit_rows(lowered, Durability.SYNC_WAL).wait()


def rows_of(region: Region) -> list[bytes]:
    """What a scan shows."""
    scanner = region.open_scanner(Scan())
    found: list[bytes] = []
    while (chunk := scanner.next_chunk()) is not None:
        found += [result.row for result in chunk]
    scanner.close()
    return found
