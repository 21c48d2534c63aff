"""hbck of a root that nobody uses: an embedded store that is closed, a cluster that is stopped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from hyperbase.common.errors import StoreFormatException, StoreLockedException
from hyperbase.common.inconsistency import Inconsistency
from master.hbck import check
from master.hbck_facts import facts_of_disk, read_closed_catalog
from master.hbck_repair import DiskRepairs, look_and_mend
from master.rebuild import rebuild_meta
from master.rebuild_plan import RebuildPlan
from master.store import LOGS as MASTER_LOGS
from regionserver.region.engine import WAL_DIRECTORY
from regionserver.storage.filesystem import FileSystem
from regionserver.storage.opening import local_path, open_filesystem

IDENTITY_FILE, LOCK_FILE = "hyperbase.json", "LOCK"


def check_directory(root: str, repair: bool) -> list[Inconsistency]:
    """What is wrong in ``root``, after mending what loses nothing if that is asked for.

    Args:
        root: a path, or a ``file://``, ``hdfs://`` or ``s3://`` URL.

    Raises:
        FileNotFoundError, StoreFormatException: it is no store, or it has no hbase:meta.
        StoreLockedException: somebody uses it. HBaseIOException: hbase:meta or a log is damaged.
        ValueError, ImportError: a URL that nobody understands, or whose package is not installed.
    """
    with closed_root(root, write=repair) as fs:
        repairs = DiskRepairs(fs, lambda: read_closed_catalog(fs)).by_kind()

        def mend(finding: Inconsistency) -> str:
            known = repairs.get(finding.kind)
            return "" if known is None else known(finding)

        return look_and_mend(
            lambda: check(facts_of_disk(fs, read_closed_catalog(fs))), mend if repair else None
        )


def rebuild_directory(root: str) -> RebuildPlan:
    """Write hbase:meta of ``root`` anew. Raises as ``check_directory``, and as ``rebuild_meta``."""
    with closed_root(root, write=True) as fs:
        return rebuild_meta(fs)


@contextmanager
def closed_root(root: str, *, write: bool) -> Iterator[FileSystem]:
    """A root with its lock held, shared with readers unless it is to be written.

    HDFS and S3 know no such lock: there it is the caller who has to know that nobody is at work.
    """
    path = local_path(root)
    if path is not None and not os.path.isdir(path):
        raise FileNotFoundError(f"{root}: no such directory")
    fs = open_filesystem(root, read_only=not write)
    if not fs.exists(IDENTITY_FILE):
        raise StoreFormatException(f"{root} is not a Hyperbase store: it has no {IDENTITY_FILE}")
    lock = fs.lock(LOCK_FILE, shared=not write)
    try:
        _refuse_living(fs, root)
        yield fs
    finally:
        lock.release()


def _refuse_living(fs: FileSystem, root: str) -> None:
    """A cluster's processes share the lock with readers: each one's own lock tells whether it is there."""
    for logs in (WAL_DIRECTORY, MASTER_LOGS):
        for name in fs.list(logs):
            path = f"{logs}/{name}/{LOCK_FILE}"
            if "," not in name or not fs.exists(path):
                continue
            try:
                fs.lock(path, shared=True).release()
            except FileNotFoundError:
                continue
            except StoreLockedException as error:
                raise StoreLockedException(
                    f"{root} is in use: {name} is at work. Give the cluster's URL in place of its directory"
                ) from error
