"""The file system on HDFS, through hdfs-native: no JVM in this process.

create_if_absent := empty: create without overwrite, close. Else as open_writer
open_writer      := temporary file, hsync, wait until it can be read, rename without overwrite
open_log         := create without overwrite, and without its directory
sync of a log    := write, hsync
archive          := rename without overwrite
fence_log        := rename of the directory, then recover_lease of all files in it until HDFS has closed them
sync_file        := recover_lease of one file

What HDFS is like
  * A file has one writer, who holds its lease. ``recover_lease`` takes that away: what was hsynced stays, and
    whatever the writer sends afterwards is refused. Renaming alone does not stop it.
  * The last block of a file that is open for writing cannot be read (hdfs-native passes it over), though its
    length is known. Reading such a file raises ``EAGAIN`` rather than return less than was synced.
  * A close returns after some 500 ms, but the file is whole and readable some 3 ms after its last byte. So it
    is closed in the background, and gets its name when the NameNode shows all of it (``hdfs_files.Closer``).
    A NameNode that dies in that half second forgets, and takes the file for open: its mode 0444 tells the
    next reader that no writer has anything to add, so he may recover it.
  * An hsync covers the current block only: writers hsync before they go on in the next one.
  * Space is not reserved. A log segment that keeps to its preallocated size is one block.
  * There is no flock. ``lock`` makes its file and excludes nobody: leases, fences and epochs do.
  * A deleted file cannot be read any more. Files that readers of this process have open are deleted after
    them; another process must not delete what somebody may still read.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import time
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from hyperbase.common.errors import ReadOnlyException
from regionserver.storage.filesystem import (
    TEMPORARY_PREFIX,
    FileWriter,
    Lock,
    LogFile,
    RandomAccessFile,
    check_beside,
    check_path,
    parent_of,
)
from regionserver.storage.hdfs_errors import translated
from regionserver.storage.hdfs_files import Blocks, Closer, HdfsReader, HdfsWriter
from regionserver.storage.remote_files import GroupedLog, OpenFiles, RecordLock

if TYPE_CHECKING:
    import hdfs_native

BLOCK_BYTES = 128 << 20
RECOVERY_S = 120.0
_SMALLEST_BLOCK_BYTES = 1 << 20  # the NameNode's own lower limit, unless somebody changed it
_DEFAULT_PORT = 8020
_ACTIVE_NAMENODE_ONLY = "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider"
_DATA_MODE, _LOG_MODE = 0o444, 0o644  # what has no right to be written is whole: see ``_open``


class HdfsFileSystem:
    """A directory tree in HDFS; safe for any number of threads and processes."""

    def __init__(self, url: str, read_only: bool = False, *, recovery_s: float = RECOVERY_S) -> None:
        """Stand on ``hdfs://host:port/path``; the directory is made with the first mutation when missing.

        Args:
            url: host and port of the NameNode, or a name service of ``$HADOOP_CONF_DIR``. Options behind "?"
                are settings of Hadoop's client, such as ``dfs.blocksize=…&dfs.client.socket-timeout=…``.
            recovery_s: seconds within which a fence must have closed every file of a log.
        """
        parts = urlsplit(url)
        if parts.scheme != "hdfs" or not parts.hostname:
            raise ValueError(f"not an HDFS URL: {url!r}. Give hdfs://host:port/path")
        settings = dict(parse_qsl(parts.query))
        self._base = parts.path.rstrip("/")
        self._authority = f"hdfs://{parts.netloc}"
        self._block_bytes = int(settings.pop("dfs.blocksize", BLOCK_BYTES))
        # Never an observer, which may be behind: what others made has to be seen at once.
        service = parts.netloc.partition(":")[0]
        settings[f"dfs.client.failover.proxy.provider.{service}"] = _ACTIVE_NAMENODE_ONLY
        self._settings = settings
        self._native = _package()
        self._client = _connect(self._native, self._authority, settings)
        self._closer = Closer(self._client)
        self._read_only = read_only
        self._recovery_s = recovery_s
        self._counter = itertools.count()
        self._open_files = OpenFiles()

    @property
    def root(self) -> str:
        """The URL of the tree."""
        return f"{self._authority}{self._base}"

    @property
    def read_only(self) -> bool:
        """Whether every mutation is refused with ``ReadOnlyException``."""
        return self._read_only

    def verify(self) -> None:
        """Raise ``OSError`` when no NameNode answers, or refuses this user; without the usual retries."""
        settings = {"dfs.client.failover.max.attempts": "2"} | self._settings
        client = _connect(self._native, self._authority, settings)
        with translated(self.root), contextlib.suppress(FileNotFoundError):
            client.get_file_info(self._base or "/")

    def create_if_absent(self, path: str, data: bytes) -> bool:
        """Create a whole file, durable with its name when True; False: the name is taken."""
        full = self._mutable(path)
        if self.exists(path):
            return False
        try:
            if data:
                self._write_whole(path, data)
            else:
                self._create(full).close()
        except FileExistsError:
            return False
        return True

    def read(self, path: str) -> bytes:
        """Return a whole small file."""
        file = self._open(path)
        with translated(path):
            return file.read_range(0, len(file)) if len(file) else b""

    def open_reader(self, path: str) -> RandomAccessFile:
        """Open a file for reads at any offset. ``EAGAIN``: it is open for writing."""
        file = self._open(path)
        self._open_files.opened(path)
        return HdfsReader(file, path, self._open_files.closed)

    def open_writer(self, path: str) -> FileWriter:
        """Start a new immutable file; nothing is visible at ``path`` before ``commit``."""
        full = self._mutable(path)
        name = f"{TEMPORARY_PREFIX}{os.getpid()}-{next(self._counter)}-{secrets.token_hex(6)}"
        blocks = self._create(f"{parent_of(full)}/{name}")
        return HdfsWriter(self._client, self._closer, blocks, full)

    def open_log(self, path: str, preallocate_bytes: int) -> LogFile:
        """Create a log exclusively and durably. Nothing is reserved: its blocks are taken as they fill."""
        full = self._mutable(path)
        count = -(-max(preallocate_bytes, 1) // _SMALLEST_BLOCK_BYTES)
        blocks = self._create_in_place(full, count * _SMALLEST_BLOCK_BYTES, _LOG_MODE)

        def send(group: bytes) -> None:
            blocks.write(group)
            blocks.hsync()

        return GroupedLog(path, send, lambda intact: self._closer.close(blocks, wait=intact))

    def sync_file(self, path: str) -> None:
        """Close ``path`` with what was hsynced of it; a writer that still lives can add nothing any more."""
        self._recover([self._mutable(path)])

    def make_directory(self, path: str) -> None:
        """Make a directory and its missing parents, durably; an existing one is fine."""
        self._make_directory(self._mutable(path))

    def list(self, directory: str) -> list[str]:
        """Return the sorted names in a directory, without temporary files; [] when it is missing."""
        full = self._full(directory) if directory else self._base or "/"
        found = self._statuses(full)
        if any(status.path == full and not status.isdir for status in found):
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", directory)
        names = (status.path.rpartition("/")[2] for status in found)
        prefix = f"{directory}/" if directory else ""
        return sorted(
            name
            for name in names
            if not name.startswith(TEMPORARY_PREFIX) and not self._open_files.is_doomed(prefix + name)
        )

    def exists(self, path: str) -> bool:
        """Whether a file or directory has this name. An I/O error is raised, not taken for "no"."""
        try:
            self._status(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def size(self, path: str) -> int:
        """Return a file's bytes; of one that is open for writing those that were hsynced."""
        status = self._status(path)
        if status.isdir:
            raise IsADirectoryError(errno.EISDIR, "is a directory", path)
        return status.length

    def delete(self, path: str) -> None:
        """Remove a file; a missing one is fine. One that readers in this process have open goes later."""
        full = self._mutable(path)
        self._delete_due()
        if self._open_files.doom(path):
            return
        try:
            if self._status(path).isdir:
                raise IsADirectoryError(errno.EISDIR, "is a directory", path)
        except (FileNotFoundError, NotADirectoryError):
            return
        with translated(path):
            self._client.delete(full)

    def delete_tree(self, path: str) -> None:
        """Remove a directory with all it holds; missing is fine. Files that readers have open go later."""
        full = self._mutable(path)
        self._delete_due()
        if self._open_files.any_below(path):
            for file in self._files_below(full):
                self.delete(file.removeprefix(f"{self._base}/"))
            return
        with translated(path):
            self._client.delete(full, recursive=True)

    def archive(self, path: str, to: str) -> None:
        """Move a closed log to the path ``to``, durably."""
        source, target = self._mutable(path), self._mutable(to)
        self._make_directory(parent_of(target))
        with translated(path):
            self._client.rename(source, target, overwrite=False)

    def fence_log(self, directory: str, aside: str) -> bool:
        """Move a log directory to ``aside`` and close all its files: its writer is stopped. Always True.

        ``ETIMEDOUT``: HDFS could not close them all in time (no DataNode has the last block); repeat it.
        """
        check_beside(directory, aside)
        source, target = self._mutable(directory), self._mutable(aside)
        try:
            with translated(directory):
                self._client.rename(source, target, overwrite=False)
        except FileNotFoundError:
            if not self.exists(aside):
                return True
        except FileExistsError as error:
            raise FileExistsError(
                errno.EEXIST, f"the log cannot be set aside: {aside} is there already", directory
            ) from error
        self._recover(self._files_below(target), may_be_gone=True)
        return True

    def sweep_temporaries(self, directory: str) -> int:
        """Remove what writers that died left in one directory; return how many files."""
        full = self._mutable(directory) if directory else self._mutable_root()
        names = [status.path for status in self._statuses(full)]
        doomed = [name for name in names if name.rpartition("/")[2].startswith(TEMPORARY_PREFIX)]
        for name in doomed:
            with translated(name):
                self._client.delete(name)
        return len(doomed)

    def lock(self, path: str, shared: bool = False) -> Lock:
        """Make the lock file, or with ``shared`` look for it. It keeps nobody out: see the module."""
        if shared:
            self._status(path)
        else:
            self.create_if_absent(path, b"")
        return RecordLock()

    # Paths -------------------------------------------------------------------------------------------------

    def _full(self, path: str) -> str:
        return f"{self._base}/{check_path(path)}"

    def _mutable(self, path: str) -> str:
        if self._read_only:
            raise ReadOnlyException(f"the store {self.root} was opened read-only: {path} cannot be changed")
        return self._full(path)

    def _mutable_root(self) -> str:
        if self._read_only:
            raise ReadOnlyException(f"the store {self.root} was opened read-only")
        return self._base or "/"

    def _status(self, path: str) -> hdfs_native.FileStatus:
        full = self._full(path)
        if self._open_files.is_doomed(path):
            raise FileNotFoundError(errno.ENOENT, "deleted", path)
        with translated(path):
            return self._client.get_file_info(full)

    def _statuses(self, full: str) -> tuple[hdfs_native.FileStatus, ...]:
        try:
            with translated(full):
                return tuple(self._client.list_status(full))
        except FileNotFoundError:
            return ()

    def _files_below(self, full: str) -> tuple[str, ...]:
        with translated(full):
            statuses = self._client.list_status(full, recursive=True)
            return tuple(status.path for status in statuses if not status.isdir)

    def _make_directory(self, full: str) -> None:
        with translated(full):
            self._client.mkdirs(full or "/", create_parent=True)

    # Files -------------------------------------------------------------------------------------------------

    def _create(self, full: str) -> Blocks:
        """Create a file for data, and its directory when that is missing."""
        try:
            return self._create_in_place(full, self._block_bytes, _DATA_MODE)
        except FileNotFoundError:
            self._make_directory(parent_of(full))
        return self._create_in_place(full, self._block_bytes, _DATA_MODE)

    def _create_in_place(self, full: str, block_bytes: int, mode: int) -> Blocks:
        # Never with its directory, which is the default: a log that was moved aside must stay away.
        options = self._native.WriteOptions(
            block_size=block_bytes, permission=mode, overwrite=False, create_parent=False
        )
        with translated(full):
            return Blocks(self._client.create(full, options), full, block_bytes)

    def _write_whole(self, path: str, data: bytes) -> None:
        writer = self.open_writer(path)
        try:
            writer.write(data)
            writer.commit()
        finally:
            writer.abort()

    def _open(self, path: str) -> hdfs_native.FileReader:
        full, status = self._full(path), self._status(path)
        if status.isdir:
            raise IsADirectoryError(errno.EISDIR, "is a directory", path)
        with translated(path):
            file = self._client.read(full)
        if len(file) < status.length and status.permission == _DATA_MODE:
            # Its writer or the NameNode died between its name and the end of its close: nothing is to come.
            self._recover([full])
            with translated(path):
                file = self._client.read(full)
        if len(file) < status.length:
            raise BlockingIOError(
                errno.EAGAIN,
                f"open for writing, {len(file)} of {status.length} bytes can be read before it is recovered",
                path,
            )
        return file

    def _recover(self, paths: Iterable[str], *, may_be_gone: bool = False) -> None:
        """Have HDFS close every file. Once told it does so by itself, within some heartbeats."""
        deadline = time.monotonic() + self._recovery_s
        pause = 0.005
        pending = list(paths)
        while True:
            pending = [path for path in pending if not self._is_closed(path, may_be_gone)]
            if not pending:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(
                    errno.ETIMEDOUT,
                    f"HDFS did not close {len(pending)} files within {self._recovery_s:g} s",
                    pending[0],
                )
            time.sleep(pause)
            pause = min(1.5 * pause, 0.2)

    def _is_closed(self, full: str, may_be_gone: bool) -> bool:
        try:
            with translated(full):
                return self._client.recover_lease(full)
        except FileNotFoundError:
            if may_be_gone:
                return True
            raise
        except OSError as error:
            # "Being created", for which hdfs-native says "exists": its last block was sent, and no DataNode
            # has reported it yet. Or its recovery is under way.
            if error.errno in (errno.EEXIST, errno.EBUSY):
                return False
            raise

    def _delete_due(self) -> None:
        for path in self._open_files.due():
            with translated(path):
                self._client.delete(self._full(path))


def _package() -> ModuleType:
    try:
        import hdfs_native
    except ImportError as error:
        raise ImportError("hdfs:// needs the package hdfs-native: pip install 'hyperbase[hdfs]'") from error
    return hdfs_native


def _connect(native: ModuleType, authority: str, settings: dict[str, str]) -> hdfs_native.Client:
    """Return a client of the NameNode, or of the name service of that name; nothing is asked yet."""
    with translated(authority):
        try:
            client: hdfs_native.Client = native.Client(authority, settings)
        except RuntimeError as error:
            if "No NameNode" not in str(error):
                raise
            client = native.Client(f"{authority}:{_DEFAULT_PORT}", settings)
        return client
