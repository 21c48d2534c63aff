"""The file system of one machine: POSIX calls, with every fsync that makes a name or its bytes last.

create_if_absent := temporary file, fsync, link, directory fsync, unlink temporary
open_writer      := temporary file; commit = fsync, link, unlink temporary, directory fsync
open_log         := O_EXCL create, fallocate, fsync, directory fsync
archive          := link to the new name, directory fsync, unlink the old name, directory fsync
fence_log        := rename of the directory, parent fsync, flock of LOCK in it as proof of death

``link`` rather than ``rename`` gives a file its name: it never replaces what is there. Temporary files
carry pid, counter and randomness in their name, so that writers never meet. A crash leaves them behind;
``list`` hides them and ``sweep_temporaries`` removes them.

A lock is ``flock`` on a file that is opened with O_CLOEXEC and closed in forked children, so it belongs
to one process and ends with it.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import secrets
import shutil
import stat
import threading
import time
import weakref
from pathlib import Path

from hyperbase.common.errors import ReadOnlyException, StoreLockedException
from regionserver.storage.filesystem import (
    TEMPORARY_PREFIX,
    FileWriter,
    LogFile,
    RandomAccessFile,
    check_beside,
    check_path,
    parent_of,
)

_WRITE_LIMIT_BYTES = 1 << 20  # below this, joining chunks is cheaper than handing them over one by one
_IOV_MAX = 1024
_FILE_MODE = 0o644


class LocalFileSystem:
    """A directory tree below ``root``; safe for any number of threads and processes."""

    def __init__(self, root: str | os.PathLike[str], read_only: bool = False) -> None:
        """Stand on ``root``; it is made with the first mutation when missing (not ``read_only``)."""
        self._root = os.path.abspath(os.fspath(root))
        self._read_only = read_only
        self._counter = itertools.count()

    @property
    def root(self) -> str:
        """The absolute path of the tree."""
        return self._root

    @property
    def read_only(self) -> bool:
        """Whether every mutation is refused with ``ReadOnlyException``."""
        return self._read_only

    def create_if_absent(self, path: str, data: bytes) -> bool:
        """Create a whole file, durable with its name when True; False: the name is taken."""
        full = self._mutable(path)
        if os.path.lexists(full):
            return False
        self._make_parents(parent_of(path))
        temporary = self._temporary(full)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
        try:
            try:
                _write_all(descriptor, data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            try:
                os.link(temporary, full)
            except FileExistsError:
                return False
            _sync_directory(os.path.dirname(full))
        finally:
            _unlink_if_there(temporary)
        return True

    def read(self, path: str) -> bytes:
        """Return a whole small file."""
        return Path(self._full(path)).read_bytes()

    def open_reader(self, path: str) -> RandomAccessFile:
        """Open a file for reads at any offset."""
        return _LocalReader(self._full(path))

    def open_writer(self, path: str) -> FileWriter:
        """Start a new immutable file; nothing is visible at ``path`` before ``commit``."""
        full = self._mutable(path)
        self._make_parents(parent_of(path))
        return _LocalWriter(full, self._temporary(full))

    def open_log(self, path: str, preallocate_bytes: int) -> LogFile:
        """Create a log exclusively and durably, zero-filled to ``preallocate_bytes``."""
        full = self._mutable(path)
        descriptor = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
        try:
            _preallocate(descriptor, preallocate_bytes)
            os.fsync(descriptor)
            _sync_directory(os.path.dirname(full))
        except BaseException:
            os.close(descriptor)
            _unlink_if_there(full)
            raise
        return _LocalLog(full, descriptor)

    def sync_file(self, path: str) -> None:
        """Make durable whatever a process that is gone left unsynced in ``path``, and its name."""
        full = self._mutable(path)
        descriptor = os.open(full, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _sync_directory(os.path.dirname(full))

    def make_directory(self, path: str) -> None:
        """Make a directory and its missing parents, durably; an existing one is fine."""
        self._mutable(path)
        self._make_parents(path)

    def list(self, directory: str) -> list[str]:
        """Return the sorted names in a directory, without temporary files; [] when it is missing."""
        try:
            names = os.listdir(self._full(directory) if directory else self._root)
        except FileNotFoundError:
            return []
        return sorted(name for name in names if not name.startswith(TEMPORARY_PREFIX))

    def exists(self, path: str) -> bool:
        """Whether a file or directory has this name. An I/O error is raised, not taken for "no"."""
        try:
            os.lstat(self._full(path))
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def size(self, path: str) -> int:
        """Return a file's bytes."""
        return os.stat(self._full(path)).st_size

    def delete(self, path: str) -> None:
        """Remove a file; a missing one is fine. Not durable."""
        _unlink_if_there(self._mutable(path))

    def delete_tree(self, path: str) -> None:
        """Remove a directory with all it holds; missing is fine. Not durable."""
        full = self._mutable(path)
        if os.path.lexists(full):
            shutil.rmtree(full)

    def archive(self, path: str, to: str) -> None:
        """Move a closed log to the path ``to``, durably."""
        source, target = self._mutable(path), self._mutable(to)
        self._make_parents(parent_of(to))
        # The new name first, and durable: a crash may show the log twice, but never not at all.
        os.link(source, target)
        _sync_directory(os.path.dirname(target))
        os.unlink(source)
        _sync_directory(os.path.dirname(source))

    def fence_log(self, directory: str, aside: str) -> bool:
        """Move a dead writer's log directory to ``aside``; whether the writer is proved dead."""
        check_beside(directory, aside)
        source, target = self._mutable(directory), self._mutable(aside)
        try:
            os.rename(source, target)
        except FileNotFoundError:
            if not os.path.lexists(target):
                return True
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            raise FileExistsError(
                errno.EEXIST, f"the log cannot be set aside: {aside} holds files already", source
            ) from error
        _sync_directory(os.path.dirname(target))  # also when another did the rename: it may have died since
        return _is_free(f"{target}/LOCK")

    def sweep_temporaries(self, directory: str) -> int:
        """Remove what writers that died left in one directory; return how many files."""
        full = self._mutable(directory) if directory else self._mutable_root()
        try:
            names = [name for name in os.listdir(full) if name.startswith(TEMPORARY_PREFIX)]
        except FileNotFoundError:
            return 0
        for name in names:
            _unlink_if_there(os.path.join(full, name))
        return len(names)

    def lock(self, path: str, shared: bool = False) -> LocalLock:
        """Take a lock at once or raise ``StoreLockedException``."""
        if shared:
            return LocalLock(self._full(path), shared=True)
        full = self._mutable(path)
        self._make_parents(parent_of(path))
        return LocalLock(full, shared=False)

    def _full(self, path: str) -> str:
        return f"{self._root}/{check_path(path)}"

    def _mutable(self, path: str) -> str:
        if self._read_only:
            raise ReadOnlyException(f"the store {self._root} was opened read-only: {path} cannot be changed")
        return self._full(path)

    def _mutable_root(self) -> str:
        if self._read_only:
            raise ReadOnlyException(f"the store {self._root} was opened read-only")
        return self._root

    def _temporary(self, full: str) -> str:
        name = f"{TEMPORARY_PREFIX}{os.getpid()}-{next(self._counter)}-{secrets.token_hex(6)}"
        return f"{os.path.dirname(full)}/{name}"

    def _make_parents(self, directory: str) -> None:
        """Make ``directory`` and what is missing above it, each made durable in its parent."""
        full = f"{self._root}/{directory}" if directory else self._root
        missing = []
        while not os.path.isdir(full):
            missing.append(full)
            full = os.path.dirname(full)
        for path in reversed(missing):
            try:
                os.mkdir(path)
            except FileExistsError:
                if not stat.S_ISDIR(os.stat(path).st_mode):
                    raise
            # Also when another process made it just now: our file below it must not depend on its fsync.
            _sync_directory(os.path.dirname(path))


class _LocalReader:
    def __init__(self, full: str) -> None:
        self._path = full
        self._descriptor = os.open(full, os.O_RDONLY | os.O_CLOEXEC)
        self._size = os.fstat(self._descriptor).st_size

    @property
    def size(self) -> int:
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        if self._descriptor < 0:
            raise ValueError(f"read of a closed file: {self._path}")
        data = os.pread(self._descriptor, length, offset)
        if len(data) == length or not data:
            return data
        parts = [data]
        done = len(data)
        while done < length:
            data = os.pread(self._descriptor, length - done, offset + done)
            if not data:
                break
            parts.append(data)
            done += len(data)
        return b"".join(parts)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            self.close()


class _LocalWriter:
    def __init__(self, full: str, temporary: str) -> None:
        self._path = full
        self._temporary = temporary
        self._written = 0
        self._descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)

    def write(self, data: bytes) -> None:
        if self._descriptor < 0:
            raise ValueError(f"write to a finished file: {self._path}")
        _write_all(self._descriptor, data)
        self._written += len(data)

    def tell(self) -> int:
        return self._written

    def commit(self) -> None:
        if self._descriptor < 0:
            raise ValueError(f"commit of a finished file: {self._path}")
        # Sync before link: a crash must never show the name without its bytes.
        try:
            os.fsync(self._descriptor)
            os.link(self._temporary, self._path)
        finally:
            self.abort()
        _sync_directory(os.path.dirname(self._path))

    def abort(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
            _unlink_if_there(self._temporary)

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            self.abort()


class _LocalLog:
    def __init__(self, full: str, descriptor: int) -> None:
        self._path = full
        self._descriptor = descriptor
        self._offset = 0
        self._intact = True

    def write(self, chunks: list[bytes]) -> None:
        size = sum(map(len, chunks))
        # Positioned writes, and the offset moves last: a call cut short by a signal can be repeated.
        try:
            if size <= _WRITE_LIMIT_BYTES:
                data = b"".join(chunks)
                if os.pwrite(self._descriptor, data, self._offset) != size:
                    self._write_at([data], self._offset)
            else:
                self._write_at(chunks, self._offset)
        except OSError:
            self._intact = False
            raise
        self._offset += size

    def tell(self) -> int:
        return self._offset

    def sync(self) -> None:
        try:
            os.fdatasync(self._descriptor)
        except OSError:
            self._intact = False
            raise

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        try:
            if self._intact:
                os.ftruncate(descriptor, self._offset)
        finally:
            os.close(descriptor)

    def _write_at(self, chunks: list[bytes], offset: int) -> None:
        views = [memoryview(chunk) for chunk in chunks if chunk]
        first = 0
        while first < len(views):
            count = os.pwritev(self._descriptor, views[first : first + _IOV_MAX], offset)
            offset += count
            while count and count >= len(views[first]):
                count -= len(views[first])
                first += 1
            if count:
                views[first] = views[first][count:]

    def __del__(self) -> None:
        descriptor = getattr(self, "_descriptor", -1)
        if descriptor >= 0:  # nobody closed it: leave the file as it is, as a crash would
            os.close(descriptor)


class LocalLock:
    """``flock`` on one file. See ``FileSystem.lock``."""

    def __init__(self, full: str, *, shared: bool) -> None:
        self._path = full
        self._shared = shared
        flags = os.O_RDONLY if shared else os.O_RDWR | os.O_CREAT
        # No fork between open and registration: a child unknown to us would keep the lock alive.
        with _fork_guard:
            self._descriptor = os.open(full, flags | os.O_CLOEXEC, _FILE_MODE)
            _locks.add(weakref.ref(self, _locks.discard))
        try:
            _flock(self._descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            if not shared:
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)
        except BlockingIOError as error:
            owner = _process(_owner(self._descriptor))
            self.release()
            raise StoreLockedException(
                f"{full} is locked by {owner}: close the store there, or open it read-only on both sides."
            ) from error
        except BaseException:
            self.release()
            raise

    @property
    def held(self) -> bool:
        """Whether this process holds it (False in a forked child)."""
        return self._descriptor >= 0

    @property
    def path(self) -> str:
        """The absolute path of the locked file."""
        return self._path

    def release(self) -> None:
        """Give the lock up; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            try:
                # Unlock before close: a child forked this moment may still have the descriptor open.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            finally:
                os.close(descriptor)

    def forget(self) -> None:
        """Close without unlocking, in a forked child: the lock is the parent's."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            self.release()


_locks: set[weakref.ref[LocalLock]] = set()
_fork_guard = threading.Lock()
_ORPHAN_LOCK_S = 2.0


def _drop_locks_in_child() -> None:
    for reference in tuple(_locks):
        lock = reference()
        if lock is not None:
            lock.forget()
    _locks.clear()
    _fork_guard.release()


os.register_at_fork(
    before=_fork_guard.acquire, after_in_parent=_fork_guard.release, after_in_child=_drop_locks_in_child
)


def _flock(descriptor: int, operation: int) -> None:
    """Take the lock; wait for it only when its owner is dead.

    Who was killed while it started another process leaves a copy of the descriptor there, until that process
    has come to its own program.
    """
    deadline = time.monotonic() + _ORPHAN_LOCK_S
    while True:
        try:
            return fcntl.flock(descriptor, operation)
        except BlockingIOError:
            if time.monotonic() > deadline or not _is_gone(_owner(descriptor)):
                raise
        time.sleep(0.01)


def _is_free(full: str) -> bool:
    """Whether nobody holds the lock file ``full``; False when it is missing. Nothing is written."""
    try:
        descriptor = os.open(full, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        _flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _is_gone(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (ValueError, OSError):  # not known, or somebody else's
        return False
    return False


def _owner(descriptor: int) -> str:
    """The pid of who holds the lock, or "": the kernel's list knows best, what the file says comes next."""
    status = os.fstat(descriptor)
    identity = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        lines = []
    for fields in map(str.split, lines):
        # "1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF"; a waiter has "->" in the second place
        if len(fields) >= 6 and fields[1] == "FLOCK" and fields[5] == identity and fields[4] != "0":
            return fields[4]
    try:
        text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    except OSError:
        text = ""
    return text if text.isdigit() else ""


def _process(pid: str) -> str:
    if not pid:
        return "another process"
    return f"this process ({pid})" if pid == str(os.getpid()) else f"process {pid}"


def _preallocate(descriptor: int, size: int) -> None:
    if size <= 0:
        return
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
    os.ftruncate(descriptor, size)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_directory(full: str) -> None:
    descriptor = os.open(full, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unlink_if_there(full: str) -> None:
    try:
        os.unlink(full)
    except FileNotFoundError:
        return
