"""Every file system that a store can stand on, each with the real server behind it, for one suite of tests.

``HYPERBASE_STORAGE`` names those to run, "local,memory,hdfs,s3" when it is not set. What is named there must
run; what is not there by default and cannot be had quickly is skipped, with the reason.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import uuid
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest

from regionserver.storage.filesystem import FileSystem
from regionserver.storage.memory_filesystem import MemoryFileSystem
from regionserver.storage.opening import open_filesystem
from tests.support import hdfs_server
from tests.support.hdfs_server import HdfsServer
from tests.support.s3_server import S3Server

DEMANDED = tuple(filter(None, os.environ.get("HYPERBASE_STORAGE", "").split(",")))
NAMES = DEMANDED or ("local", "memory", "hdfs", "s3")
SHARED_NAMES = tuple(name for name in NAMES if name != "memory")  # those that another process can open too
FENCING_NAMES = tuple(name for name in NAMES if name in ("hdfs", "s3", "minio"))
FETCH_S = 60.0


class StorageBackend:
    """One empty tree on one kind of storage."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.root: str = ""  # for ``open_filesystem``, also in another process; empty in memory
        self._memory = MemoryFileSystem()
        tree = f"t{uuid.uuid4().hex[:12]}"
        if name == "local":
            self.root = str(directory / tree)
        elif name == "hdfs":
            self.root = f"{running_hdfs().url}/tests/{tree}?dfs.blocksize={hdfs_server.BLOCK_BYTES}"
        elif name == "s3":
            self.root = running_s3("moto").url(tree)
        elif name == "minio":
            self.root = running_s3("minio").url(tree)

    @property
    def fences(self) -> bool:
        """Whether ``fence_log`` stops a writer that lives; on one machine it only tells whether it does."""
        return self.name in FENCING_NAMES

    def open(self, read_only: bool = False) -> FileSystem:
        """A file system on the tree, as another process would have it."""
        if self.root:
            return open_filesystem(self.root, read_only)
        return self._memory.as_read_only() if read_only else self._memory


@cache
def running_hdfs() -> HdfsServer:
    """HDFS, which ends with this process."""
    reason = hdfs_server.why_not()
    if not reason:
        try:
            hdfs_server.fetch(hdfs_server.FETCH_S if DEMANDED else FETCH_S)
        except subprocess.SubprocessError as error:
            reason = f"Hadoop's jars could not be fetched: {error}"
    if reason:
        _without("hdfs", reason)
    return HdfsServer(_directory("hdfs")).start()


@cache
def running_s3(kind: str) -> S3Server:
    """moto's server or MinIO, which ends with this process."""
    return S3Server(_directory(kind), kind).start()


def _directory(name: str) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"hyperbase-{name}-"))


def _without(name: str, reason: str) -> NoReturn:
    if name in DEMANDED:
        pytest.fail(f"{name}: {reason}")
    pytest.skip(f"{name}: {reason}")


def writer_process(script: str, *arguments: str) -> subprocess.Popen[str]:
    """A Python process that runs ``script``; its output comes line by line."""
    return subprocess.Popen(
        [sys.executable, "-u", "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
