"""Writes hbase:meta anew, from the directories of the regions alone. Nobody else uses the root meanwhile.

1. Logs that servers of a cluster left are sealed, read, and flushed into the regions they are about: a new
   hbase:meta could not say who needs them. A log of a store in one process stays: its next opening reads it.
2. A region with all rows of hbase:meta is built aside.
3. What there was of hbase:meta is set aside, under ``replaced-meta``.
4. The new files take their place, and one manifest names them. **This is the rebuilding**: before it there is
   no hbase:meta, and a store that has tables and none is not opened.

Interrupted anywhere it can be begun again. The namespaces' settings are lost, and every table is enabled.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from hyperbase.common.catalog import (
    BUILT_IN_NAMESPACES,
    ENABLED,
    META_DESCRIPTOR,
    META_DIRECTORY,
    namespace_put,
    region_directory,
    region_put,
    table_put,
)
from hyperbase.common.config import StoreConfig
from hyperbase.common.descriptors import NamespaceDescriptor
from hyperbase.common.model import Put
from hyperbase.common.names import split_table_name
from hyperbase.common.region_info import META_REGION
from master.hbck import DirectoryFacts
from master.hbck_facts import read_directories, read_schemas, server_logs
from master.rebuild_plan import RebuildPlan, TablePlan, plan_rebuild
from regionserver.region.engine import ARCHIVE_DIRECTORY, WAL_DIRECTORY, Engine
from regionserver.region.manifest import FileEntry, Manifest, ManifestStore
from regionserver.region.mutations import mutate_rows
from regionserver.region.opening import Opening, open_regions
from regionserver.storage.filesystem import FileSystem
from regionserver.storage.wal import EDIT
from regionserver.storage.wal_archive import move_segment
from regionserver.storage.wal_format import archived_name, parse_name
from regionserver.storage.wal_reader import LogRecovery

logger = logging.getLogger(__name__)

ASIDE = "rebuilt-meta"  # where the new one is built
REPLACED = "replaced-meta"  # where the old one is kept
SEGMENT_BYTES = 8 * 1024 * 1024
REGIONS_AT_ONCE = 50  # that are opened together with the logs

Index = dict[bytes, int]  # 16 bytes of a region → the highest sequence id in a log


def rebuild_meta(fs: FileSystem, config: StoreConfig | None = None) -> RebuildPlan:
    """Write hbase:meta anew, if the plan has no problems; else nothing is changed.

    Args:
        fs: of a root that the caller has locked.

    Raises:
        DamagedWALException: a log is damaged. HBaseIOException, OSError: a region cannot be opened, no room.
    """
    fs.delete_tree(ASIDE)
    logs = {log: _index(fs, log, seal=False) for log in (WAL_DIRECTORY, *server_logs(fs))}
    directories = read_directories(fs)
    plan = plan_rebuild(directories, read_schemas(fs), _newest_edits(logs), _new_region_id(directories))
    if plan.problems:
        return plan
    fs.make_directory(f"{ASIDE}/log")
    engine = Engine(
        fs,
        (config or StoreConfig()).with_settings(wal_segment_bytes=SEGMENT_BYTES),
        wal_directory=f"{ASIDE}/log",
        archive_directory=f"{ASIDE}/oldlog",
        deletes_files=False,
        background=False,
    )
    engine.start()
    try:
        _flush_logs(engine, plan.tables, {log: index for log, index in logs.items() if log != WAL_DIRECTORY})
        built = _build(engine, plan.tables)
    except BaseException:
        engine.abandon()
        raise
    engine.close()
    _set_aside(fs)
    _put_in_place(fs, built, max((index.get(META_REGION.id16, 0) for index in logs.values()), default=0))
    fs.delete_tree(ASIDE)
    regions = sum(len(table.regions) for table in plan.tables)
    logger.info("hbase:meta was rebuilt tables=%d regions=%d", len(plan.tables), regions)
    return plan


def _new_region_id(directories: Iterable[DirectoryFacts]) -> int:
    found = [
        one.manifest.region.region_id
        for one in directories
        if one.manifest is not None and one.manifest.region is not None
    ]
    return max(time.time_ns() // 1_000_000, max(found, default=0) + 1)


# -- logs ------------------------------------------------------------------------------------------------


def _index(fs: FileSystem, log: str, *, seal: bool) -> Index:
    index: Index = {}
    for record in LogRecovery(fs, log, seal=seal).records():
        if record.kind == EDIT and index.get(record.region, -1) < record.sequence_id:
            index[record.region] = record.sequence_id
    return index


def _newest_edits(logs: Mapping[str, Index]) -> dict[str, int]:
    newest: dict[str, int] = {}
    for index in logs.values():
        for id16, number in index.items():
            newest[id16.hex()] = max(number, newest.get(id16.hex(), 0))
    return newest


def _flush_logs(engine: Engine, tables: Iterable[TablePlan], logs: Mapping[str, Index]) -> None:
    """Bring the edits of logs that servers left into files, then put the logs away."""
    for log in logs:
        _index(engine.fs, log, seal=True)
    openings = [
        Opening(info, table.descriptor, region_directory(info), needed)
        for table in tables
        for info in table.regions
        if (needed := tuple(log for log, index in logs.items() if info.id16 in index))
    ]
    for begin in range(0, len(openings), REGIONS_AT_ONCE):
        for outcome in open_regions(engine, openings[begin : begin + REGIONS_AT_ONCE]):
            if isinstance(outcome, Exception):
                raise outcome
            engine.close_region(outcome)
    for log in logs:
        _archive(engine.fs, log)


def _archive(fs: FileSystem, log: str) -> None:
    server, now_ms = log.rpartition("/")[2].removesuffix("-splitting"), time.time_ns() // 1_000_000
    for name in fs.list(log):
        parsed = parse_name(name)
        if parsed is not None:
            target = f"{ARCHIVE_DIRECTORY}/{server}/{archived_name(parsed[0], now_ms)}"
            move_segment(fs, f"{log}/{name}", target)
    fs.delete_tree(log)


# -- hbase:meta ------------------------------------------------------------------------------------------


def _build(engine: Engine, tables: Iterable[TablePlan]) -> Manifest:
    """A region with every row, in files, aside; its newest manifest."""
    directory = f"{ASIDE}/{META_REGION.encoded_name}"
    region = engine.open_region(META_REGION, META_DESCRIPTOR, directory)
    region.go_online(persist=True)
    puts = list(_rows(tables))
    if puts:
        mutate_rows(region, puts).wait()
    engine.close_region(region)
    found = ManifestStore(engine.fs, directory).newest()
    assert found is not None
    return found


def _rows(tables: Iterable[TablePlan]) -> Iterable[Put]:
    namespaces = {split_table_name(table.descriptor.name)[0] for table in tables}
    for name in sorted(namespaces - set(BUILT_IN_NAMESPACES)):
        yield namespace_put(NamespaceDescriptor(name))
    for table in tables:
        yield table_put(table.descriptor, ENABLED)
        yield from map(region_put, table.regions)


def _set_aside(fs: FileSystem) -> None:
    """Keep what there was. With its newest manifest, the last of them, it is no hbase:meta any more."""
    to = f"{REPLACED}/{time.time_ns() // 1_000_000}"
    kinds = sorted(fs.list(META_DIRECTORY), key=lambda name: (not name.startswith(".manifest"), name))
    for kind in kinds:
        for name in fs.list(f"{META_DIRECTORY}/{kind}"):
            fs.archive(f"{META_DIRECTORY}/{kind}/{name}", f"{to}/{kind}/{name}")


def _put_in_place(fs: FileSystem, built: Manifest, logged: int) -> None:
    """Move the files, then name them. Edits of the old one, up to ``logged`` in the logs, count no more.

    The epoch is higher than any there can have been: a directory that was removed may be back after a crash.
    """
    epoch = int(time.time())
    stores: dict[bytes, tuple[FileEntry, ...]] = {}
    for family, entries in built.stores.items():
        moved = []
        for entry in entries:
            folder, name = entry.path.rsplit("/", 2)[1:]
            path = f"{META_DIRECTORY}/{folder}/{epoch:010d}-{name.partition('-')[2]}"
            fs.archive(entry.path, path)
            moved.append(replace(entry, path=path))
        stores[family] = tuple(moved)
    flushed = max(built.flushed_sequence_id, logged)
    ManifestStore(fs, META_DIRECTORY).write(
        Manifest(
            epoch=epoch,
            number=0,
            flushed_sequence_id=flushed,
            open_sequence_id=flushed + 1,
            highest_stamp=built.highest_stamp,
            stores=stores,
            next_file=built.next_file,
            region=META_REGION,
        )
    )
