"""Facts for hbck: what the disk says; and what hbase:meta says, also where nobody serves it.

Reads only.
"""

from __future__ import annotations

from collections.abc import Iterator

from hyperbase.common.catalog import (
    META_DESCRIPTOR,
    META_DIRECTORY,
    CatalogSnapshot,
    read_catalog,
)
from hyperbase.common.config import StoreConfig
from hyperbase.common.descriptors import TableDescriptor
from hyperbase.common.errors import DoNotRetryIOException, HBaseIOException, StoreFormatException
from hyperbase.common.model import Result, Scan
from hyperbase.common.names import META_TABLE
from hyperbase.common.region_info import META_REGION
from hyperbase.common.server_name import ServerName
from master.hbck import DirectoryFacts, Facts, Serving
from regionserver.region.engine import WAL_DIRECTORY, Engine
from regionserver.region.manifest import Manifest, ManifestStore
from regionserver.region.region import Region
from regionserver.region.table_files import read_descriptor, regions_on_disk, tables_on_disk
from regionserver.storage.filesystem import FileSystem
from regionserver.storage.wal_reader import logs_of_servers


def facts_of_disk(fs: FileSystem, catalog: CatalogSnapshot, serving: Serving | None = None) -> Facts:
    """With all that stands in the directory. hbase:meta is read first: what is made later is not missed."""
    return Facts(catalog, read_directories(fs), read_schemas(fs), serving)


def read_directories(fs: FileSystem) -> list[DirectoryFacts]:
    """Every region's directory."""
    return [read_directory(fs, table, path) for table, path in regions_on_disk(fs)]


def read_directory(fs: FileSystem, table: str, path: str) -> DirectoryFacts:
    """One region's."""
    manifest: Manifest | None = None
    error = ""
    try:
        manifest = ManifestStore(fs, path).newest()
    except (DoNotRetryIOException, OSError, KeyError, TypeError, ValueError) as problem:
        error = " ".join(str(problem).split()) or type(problem).__name__
    return DirectoryFacts(table, path, manifest, error, dict(_store_files(fs, path)))


def _store_files(fs: FileSystem, directory: str) -> Iterator[tuple[str, int]]:
    for family in fs.list(directory):
        if family.startswith("."):
            continue
        for name in fs.list(f"{directory}/{family}"):
            path = f"{directory}/{family}/{name}"
            try:
                yield path, fs.size(path)
            except FileNotFoundError:
                continue  # a janitor was there first


def read_schemas(fs: FileSystem) -> dict[str, TableDescriptor | None]:
    """The copies of schemas beside the regions; ``None``: one that cannot be read."""
    found: dict[str, TableDescriptor | None] = {}
    for table in tables_on_disk(fs):
        if table == META_TABLE:
            continue
        try:
            descriptor = read_descriptor(fs, table)
        except (HBaseIOException, OSError, KeyError, TypeError, ValueError):
            found[table] = None
            continue
        if descriptor is not None:
            found[table] = descriptor
    return found


def read_closed_catalog(fs: FileSystem) -> CatalogSnapshot:
    """hbase:meta of a store or cluster that nobody serves, the logs that were left included.

    Args:
        fs: read-only.

    Raises:
        StoreFormatException: there is no hbase:meta.
        HBaseIOException: it, or a log, is damaged.
    """
    if ManifestStore(fs, META_DIRECTORY).newest() is None:
        raise StoreFormatException(
            f"hbase:meta is missing ({META_DIRECTORY}): hyperbase hbck --rebuild-meta writes it anew"
        )
    engine = Engine(fs, StoreConfig(), read_only=True, background=False)
    try:
        region = engine.open_region(META_REGION, META_DESCRIPTOR, META_DIRECTORY)
        if engine.has_log():
            engine.replay_log([region])
        for log in server_logs(fs):
            engine.replay_log([region], directory=log, seal=False)
        region.go_online(persist=False)
        return read_catalog(_rows(region))
    finally:
        engine.abandon()


def server_logs(fs: FileSystem) -> list[str]:
    """Directories of logs that a cluster's servers left with segments, the oldest server's first."""

    def started(path: str) -> int:
        name = path.rpartition("/")[2].removesuffix("-splitting")
        return ServerName.parse(name).startcode

    return sorted(logs_of_servers(fs, WAL_DIRECTORY), key=started)


def _rows(region: Region) -> Iterator[Result]:
    scanner = region.open_scanner(Scan())
    while (chunk := scanner.next_chunk()) is not None:
        yield from chunk
    scanner.close()
