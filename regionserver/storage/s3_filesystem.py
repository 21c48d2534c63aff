"""The file system on S3 and what speaks its protocol, with conditional puts.

create_if_absent := one put with If-None-Match, a token beside the contents
open_writer      := up to 16 MiB as create_if_absent; else an upload in parts, if nothing has the name
open_log         := a name, if its directory is there before and after
sync of a log    := one object for the group, put if absent
archive          := the name at its new path, then the old one deleted
fence_log        := the directory's mark deleted, every log in it ended and named in ``aside``
sync_file        := the log ended

What S3 is like
  * An object appears whole or not at all, durable and for everybody at once; nothing is renamed or grows.
    How a log lies in objects: ``s3_logs``.
  * There are no directories: what has objects below it is one. ``make_directory`` leaves the mark
    ``.s3-directory``, and ``open_log`` asks for it. It looks again after it has created the log's name:
    a fence deletes the mark before it looks for logs, so of the two one sees the other.
  * A store that does not know If-None-Match takes every put and so would lose data: ``verify`` refuses it.
  * An upload in parts that nobody completes is invisible and costs money: give the bucket a rule that aborts
    incomplete multipart uploads after a day. Completing one is not conditional; the names of data files are
    taken by one process only, since they carry its region's epoch.
  * There is no flock and no lease. ``lock`` makes its file and excludes nobody: fences and epochs do.
  * A deleted object cannot be read any more. Files that readers of this process have open are deleted after
    them; another process must not delete what somebody may still read.
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

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
from regionserver.storage.remote_files import GroupedLog, OpenFiles, RecordLock
from regionserver.storage.s3_logs import LOG_DIRECTORY, NAME_BYTES, S3Log, S3LogReader
from regionserver.storage.s3_objects import CHUNK_BYTES, Objects

_MARK = ".s3-directory"
_PROBE = ".s3-probe"
_HIDDEN = (LOG_DIRECTORY, _MARK, _PROBE)
_RETRIES_AT_OPENING = 2
_THREADS = 16  # requests side by side, for one log's groups or one directory's files


class S3FileSystem:
    """A tree of objects; safe for any number of threads and processes."""

    def __init__(self, url: str, read_only: bool = False) -> None:
        """Stand on ``s3://bucket/prefix``; for the options see ``Objects``. Nothing is asked or made yet."""
        self._url = url
        self._objects = Objects(url)
        self._read_only = read_only
        self._open_files = OpenFiles()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="s3")

    @property
    def root(self) -> str:
        """The URL of the tree, without options."""
        return self._objects.url

    @property
    def read_only(self) -> bool:
        """Whether every mutation is refused with ``ReadOnlyException``."""
        return self._read_only

    def verify(self) -> None:
        """Raise ``OSError`` when the bucket is of no use: missing, not ours, or without conditional puts."""
        objects = Objects(self._url, retries=_RETRIES_AT_OPENING)
        objects.any_below("")
        if self._read_only:
            return
        probe = f"{_PROBE}/{uuid.uuid4().hex}"
        try:
            if not objects.put_new(probe, b"") or objects.put_new(probe, b""):
                raise OSError(
                    errno.EOPNOTSUPP, "this store ignores If-None-Match: nothing is safe on it", self.root
                )
        finally:
            with contextlib.suppress(OSError):  # what is left of it is hidden, and harms nobody
                objects.delete([probe])

    def create_if_absent(self, path: str, data: bytes) -> bool:
        """Create a whole file, durable with its name when True; False: the name is taken."""
        return self._objects.put_new(self._mutable(path), data)

    def read(self, path: str) -> bytes:
        """Return a whole small file."""
        data = self._objects.read(self._there(path))
        log = S3Log.named(self._objects, data)
        if log is None:
            return data
        with_parts = S3LogReader(self._objects, log, self._threads, path, lambda _: None)
        return with_parts.read_at(0, with_parts.size)

    def open_reader(self, path: str) -> RandomAccessFile:
        """Open a file for reads at any offset."""
        size, log = self._look_up(path)
        self._open_files.opened(path)
        if log is None:
            return _S3Reader(self._objects, path, size, self._open_files.closed)
        return S3LogReader(self._objects, log, self._threads, path, self._open_files.closed)

    def open_writer(self, path: str) -> FileWriter:
        """Start a new immutable file; nothing is visible at ``path`` before ``commit``."""
        return _S3Writer(self._objects, self._mutable(path))

    def open_log(self, path: str, preallocate_bytes: int) -> LogFile:
        """Create a log exclusively and durably; nothing is reserved. Its directory must have been made."""
        key, directory = self._mutable(path), parent_of(path)
        self._check_directory(directory)
        log = S3Log.new(self._objects)
        if not self._objects.put_new(key, log.name):
            raise FileExistsError(errno.EEXIST, "exists", path)
        try:
            self._check_directory(directory)
        except FileNotFoundError:
            self._objects.delete([key])
            raise
        return _grouped(log, path)

    def sync_file(self, path: str) -> None:
        """End a log: a writer that still lives can add nothing any more. Other files are durable."""
        self._mutable(path)
        _, log = self._look_up(path)
        if log is not None:
            log.end()

    def make_directory(self, path: str) -> None:
        """Make a directory and its missing parents, durably; an existing one is fine."""
        self._mutable(path)
        while path:
            self._objects.put_new(f"{path}/{_MARK}", b"")
            path = parent_of(path)

    def list(self, directory: str) -> list[str]:
        """Return the sorted names in a directory; [] when it is missing."""
        if directory:
            check_path(directory)
        prefix = f"{directory}/" if directory else ""
        found = self._objects.names(directory)
        if not found and directory and self._is_object(directory):
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", directory)
        return sorted(
            name
            for name in found
            if name not in _HIDDEN
            and not name.startswith(TEMPORARY_PREFIX)
            and not self._open_files.is_doomed(prefix + name)
        )

    def exists(self, path: str) -> bool:
        """Whether a file or directory has this name. An I/O error is raised, not taken for "no"."""
        check_path(path)
        if self._open_files.is_doomed(path):
            return False
        return self._is_object(path) or self._objects.any_below(path)

    def size(self, path: str) -> int:
        """Return a file's bytes; of a log those that were synced."""
        size, log = self._look_up(path)
        return size if log is None else sum(log.groups()[0])

    def delete(self, path: str) -> None:
        """Remove a file; a missing one is fine. One that readers in this process have open goes later."""
        self._mutable(path)
        self._delete_due()
        if not self._open_files.doom(path):
            self._remove(path)

    def delete_tree(self, path: str) -> None:
        """Remove a directory with all it holds; missing is fine. Files that readers have open go later."""
        self._mutable(path)
        self._delete_due()
        plain = []
        for key, size in self._objects.list_below(path):
            if self._open_files.doom(key):
                continue
            if size == NAME_BYTES:  # perhaps a log's
                self._remove(key)
            else:
                plain.append(key)
        self._objects.delete(plain)

    def archive(self, path: str, to: str) -> None:
        """Move a closed log to the path ``to``, durably."""
        source, target = self._mutable(path), self._mutable(to)
        data = self._objects.read(source)
        if not self._objects.put_new(target, data):
            if S3Log.named(self._objects, data) is None or self._objects.read(target) != data:
                raise FileExistsError(errno.EEXIST, "exists", to)
            # Else it is this very log: an earlier attempt got this far.
        self._objects.delete([source])

    def fence_log(self, directory: str, aside: str) -> bool:
        """Move a log directory to ``aside`` and end its logs: its writer is stopped. Always True.

        ``FileExistsError``: both have a file of one name, with other contents.
        """
        check_beside(directory, aside)
        self._mutable(directory)
        mark = f"{directory}/{_MARK}"
        if not self._objects.any_below(directory):
            return True  # moved before, or never there
        self.make_directory(aside)
        self._objects.delete([mark])  # from here on no log begins there; those that had begun are listed now
        files = [key for key, _ in self._objects.list_below(directory) if key != mark]
        for _ in self._threads.map(lambda key: self._move_aside(key, directory, aside), files):
            pass
        return True

    def sweep_temporaries(self, directory: str) -> int:
        """Return 0: an object that was not completed is no object."""
        self._mutable(directory or _PROBE)
        return 0

    def lock(self, path: str, shared: bool = False) -> Lock:
        """Make the lock file, or with ``shared`` look for it. It keeps nobody out: see the module."""
        if shared:
            self._objects.size(self._there(path))
        else:
            self._mutable(path)
            if parent_of(path):
                self.make_directory(parent_of(path))
            self.create_if_absent(path, b"%d\n" % os.getpid())
        return RecordLock()

    def _mutable(self, path: str) -> str:
        check_path(path)
        if self._read_only:
            raise ReadOnlyException(f"the store {self.root} was opened read-only: {path} cannot be changed")
        return path

    def _there(self, path: str) -> str:
        if self._open_files.is_doomed(check_path(path)):
            raise FileNotFoundError(errno.ENOENT, "deleted", path)
        return path

    def _is_object(self, path: str) -> bool:
        try:
            self._objects.size(path)
        except FileNotFoundError:
            return False
        return True

    def _look_up(self, path: str) -> tuple[int, S3Log | None]:
        """The bytes of an object, and the log when that is one's name."""
        size = self._objects.size(self._there(path))
        if size != NAME_BYTES:
            return size, None
        return size, S3Log.named(self._objects, self._objects.read(path))

    def _check_directory(self, directory: str) -> None:
        if directory and not self._is_object(f"{directory}/{_MARK}"):
            raise FileNotFoundError(errno.ENOENT, "no such directory", directory)

    def _remove(self, path: str) -> None:
        try:
            _, log = self._look_up(path)
        except FileNotFoundError:
            return
        # The name first: a log whose groups go one by one must not be found.
        self._objects.delete([path])
        if log is not None:
            log.delete()

    def _delete_due(self) -> None:
        for path in self._open_files.due():
            self._remove(path)

    def _move_aside(self, key: str, directory: str, aside: str) -> None:
        target = aside + key.removeprefix(directory)
        try:
            data = self._objects.read(key)
        except FileNotFoundError:
            return  # another process fences it too, and has moved this one
        log = S3Log.named(self._objects, data)
        if log is not None:
            log.end()
        if not self._objects.put_new(target, data) and self._objects.read(target) != data:
            raise FileExistsError(errno.EEXIST, f"the log cannot be set aside: {target} is another one", key)
        self._objects.delete([key])


def _grouped(log: S3Log, path: str) -> GroupedLog:
    sent = 0

    def send(group: bytes) -> None:
        nonlocal sent
        log.append(sent + 1, group)
        sent += 1

    return GroupedLog(path, send, lambda intact: None)


class _S3Reader:
    def __init__(self, objects: Objects, path: str, size: int, closed: Callable[[str], None]) -> None:
        self._objects = objects
        self._path = path
        self._size = size
        self._closed: Callable[[str], None] | None = closed

    @property
    def size(self) -> int:
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        if self._closed is None:
            raise ValueError(f"read of a closed file: {self._path}")
        length = min(length, self._size - offset)
        if length <= 0:
            return b""
        data = self._objects.read_range(self._path, offset, length)
        if len(data) != length:
            raise OSError(errno.EIO, f"S3 gave {len(data)} of {length} bytes at offset {offset}", self._path)
        return data

    def close(self) -> None:
        closed, self._closed = self._closed, None
        if closed is not None:
            closed(self._path)

    def __del__(self) -> None:
        if getattr(self, "_closed", None) is not None:
            self.close()


class _S3Writer:
    """Holds what fits into one request; an upload in parts takes over when it becomes more."""

    def __init__(self, objects: Objects, key: str) -> None:
        self._objects = objects
        self._key = key
        self._held: list[bytes] = []
        self._upload: Any = None
        self._written = 0
        self._open = True

    def write(self, data: bytes) -> None:
        if not self._open:
            raise ValueError(f"write to a finished file: {self._key}")
        self._held.append(bytes(data))
        self._written += len(data)
        if self._written > CHUNK_BYTES:
            with self._objects.translated(self._key):
                if self._upload is None:
                    self._upload = self._objects.upload(self._key)
                for piece in self._held:
                    self._upload.write(piece)
            self._held.clear()

    def tell(self) -> int:
        return self._written

    def commit(self) -> None:
        if not self._open:
            raise ValueError(f"commit of a finished file: {self._key}")
        held, upload = self._held, self._upload
        self.abort()
        if upload is None:
            taken = not self._objects.put_new(self._key, b"".join(held))
        else:
            taken = self._is_taken()
            if not taken:
                with self._objects.translated(self._key):
                    upload.close()
        if taken:
            raise FileExistsError(errno.EEXIST, "exists", self._key)

    def abort(self) -> None:
        self._open = False
        self._held, self._upload = [], None

    def _is_taken(self) -> bool:
        try:
            self._objects.size(self._key)
        except FileNotFoundError:
            return False
        return True
