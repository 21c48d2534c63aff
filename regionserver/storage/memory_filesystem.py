"""A file system in memory that knows what a crash would leave of it; tests stand on it, or a store in memory.

Every file has what readers see and what is durable; the writes between the two are pending until a
sync. A directory likewise has the names one sees, the names that are durable and the operations in
between. ``after_crash()`` gives a new file system that holds only what was durable; with a ``seed`` it
also keeps a random part of the rest: any subset of pending writes, torn at any byte, and for each
directory a random number of its first pending operations, as a disk and a journal may.

Each mutating verb announces its substeps in the order of ``LocalFileSystem``, by calling
``step(name)`` **before** each: names such as ``"log.sync"`` or ``"create.link"``. A ``step_hook`` can count
them, raise ``SimulatedCrash`` (from then on every mutation raises it too: the process is dead), or raise an
``OSError`` such as ``ENOSPC`` and ``EIO``. A sync that fails drops its pending writes for good, as the
kernel does when it marks the pages clean: a later sync that succeeds does not bring them back.
"""

from __future__ import annotations

import errno
import random
import threading
from collections.abc import Callable

from hyperbase.common.errors import ReadOnlyException, StoreLockedException
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

StepHook = Callable[[str, int], None]


class SimulatedCrash(BaseException):
    """The process died here. No ``except Exception`` stops it."""


class _File:
    """Contents as seen and as durable; ``size`` may exceed the bytes kept: the rest is zeros."""

    def __init__(self) -> None:
        self.seen = bytearray()
        self.size = 0
        self.durable = bytearray()
        self.durable_size = 0
        self.pending: list[tuple[int, bytes]] = []
        self.lost: list[tuple[int, bytes]] = []  # the sync failed: on disk or not, nobody knows

    def write(self, offset: int, data: bytes) -> None:
        _patch(self.seen, offset, data)
        self.size = max(self.size, offset + len(data))
        self.pending.append((offset, data))

    def resize(self, size: int) -> None:
        del self.seen[size:]
        self.size = size

    def sync(self) -> None:
        for offset, data in self.pending:
            _patch(self.durable, offset, data)
        self.pending.clear()
        del self.durable[self.size :]
        self.durable_size = self.size

    def fail_sync(self) -> None:
        self.lost += self.pending
        self.pending.clear()

    def read(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size - offset))
        return bytes(self.seen[offset : offset + length]).ljust(length, b"\0")

    def after_crash(self, chance: random.Random | None) -> _File:
        left = _File()
        left.durable[:] = self.durable
        left.durable_size = self.durable_size
        if chance is not None:
            for offset, data in self.lost + self.pending:
                _tear(left.durable, offset, data, chance)
            left.durable_size = max(left.durable_size, len(left.durable))
        left.seen[:] = left.durable
        left.size = left.durable_size
        return left


class _Directory:
    def __init__(self) -> None:
        self.seen: dict[str, _File | _Directory] = {}
        self.durable: dict[str, _File | _Directory] = {}
        self.pending: list[dict[str, _File | _Directory | None]] = []

    def set(self, name: str, node: _File | _Directory | None) -> None:
        self._change({name: node})

    def rename(self, name: str, to: str) -> None:
        """One operation: after a crash the entry has either name, never both or none."""
        self._change({to: self.seen[name], name: None})

    def _change(self, entries: dict[str, _File | _Directory | None]) -> None:
        for name, node in entries.items():
            _enter(self.seen, name, node)
        self.pending.append(entries)

    def sync(self) -> None:
        for entries in self.pending:
            for name, node in entries.items():
                _enter(self.durable, name, node)
        self.pending.clear()

    def after_crash(self, chance: random.Random | None, known: dict[int, _File]) -> _Directory:
        names = dict(self.durable)
        if chance is not None:
            for entries in self.pending[: chance.randint(0, len(self.pending))]:
                for name, node in entries.items():
                    _enter(names, name, node)
        left = _Directory()
        for name, node in names.items():
            if isinstance(node, _Directory):
                left.durable[name] = node.after_crash(chance, known)
            else:  # two names of one file stay two names of one file
                if id(node) not in known:
                    known[id(node)] = node.after_crash(chance)
                left.durable[name] = known[id(node)]
        left.seen = dict(left.durable)
        return left


class MemoryFileSystem:
    """The ``FileSystem`` verbs on dictionaries; safe for threads. See the module for crashes and faults."""

    def __init__(self, step_hook: StepHook | None = None, read_only: bool = False) -> None:
        """Start empty. ``step_hook(name, number)`` runs before each substep; numbers count from 1."""
        self.step_hook = step_hook
        self.steps: list[str] = []
        self.dead = False
        self.read_fault: Callable[[str, int], None] | None = None
        """Called with path and offset before each read; what it raises is the read's error."""
        self._read_only = read_only
        self._root = _Directory()
        self._held: dict[str, list[_MemoryLock]] = {}
        self._mutex = threading.RLock()
        self._temporaries = 0

    @property
    def read_only(self) -> bool:
        """Whether every mutation is refused with ``ReadOnlyException``."""
        return self._read_only

    def step(self, name: str) -> None:
        """Announce a substep: the place where a test may let the process die or the disk fail."""
        if self.dead:
            raise SimulatedCrash(name)
        self.steps.append(name)
        if self.step_hook is not None:
            try:
                self.step_hook(name, len(self.steps))
            except SimulatedCrash:
                self.dead = True
                raise

    def after_crash(self, seed: int | None = None) -> MemoryFileSystem:
        """Return what power loss leaves: the durable part, and with a ``seed`` a random part of the rest."""
        with self._mutex:
            left = MemoryFileSystem()
            left._root = self._root.after_crash(None if seed is None else random.Random(seed), {})
            return left

    def after_kill(self) -> MemoryFileSystem:
        """Return the tree for a new process after ``kill -9``: what was written is seen, still unsynced."""
        with self._mutex:
            left = MemoryFileSystem()
            left._root = self._root
            self.dead = True
            return left

    def as_read_only(self) -> MemoryFileSystem:
        """Return a view of the same tree that refuses every mutation."""
        view = MemoryFileSystem(read_only=True)
        view._root, view._held, view._mutex = self._root, self._held, self._mutex
        return view

    def corrupt(self, path: str, offset: int, data: bytes) -> None:
        """Overwrite bytes of a file on disk, behind everybody's back."""
        with self._mutex:
            node = self._file(path)
            _patch(node.seen, offset, data)
            _patch(node.durable, offset, data)

    def truncate(self, path: str, size: int) -> None:
        """Cut a file on disk, behind everybody's back."""
        with self._mutex:
            node = self._file(path)
            node.resize(size)
            node.sync()

    def create_if_absent(self, path: str, data: bytes) -> bool:
        """Create a whole file, durable with its name when True; False: the name is taken."""
        self._check_mutable(path)
        with self._mutex:
            if self._find(path) is not None:
                return False
            directory = self._make(parent_of(path))
            temporary, node = self._new_temporary(directory, "create")
            try:
                self.step("create.write")
                node.write(0, bytes(data))
                self._sync_file(node, "create.sync")
                self.step("create.link")
                directory.set(path.rpartition("/")[2], node)
                self._sync_directory(directory, "create.sync_directory")
            finally:
                self._remove(directory, temporary, "create.unlink")
            return True

    def read(self, path: str) -> bytes:
        """Return a whole small file."""
        with self._mutex:
            node = self._file(path)
            self._may_fail(path, 0)
            return node.read(0, node.size)

    def open_reader(self, path: str) -> RandomAccessFile:
        """Open a file for reads at any offset."""
        with self._mutex:
            return _MemoryReader(self, path, self._file(path))

    def open_writer(self, path: str) -> FileWriter:
        """Start a new immutable file; nothing is visible at ``path`` before ``commit``."""
        self._check_mutable(path)
        with self._mutex:
            return _MemoryWriter(self, path, self._make(parent_of(path)))

    def open_log(self, path: str, preallocate_bytes: int) -> LogFile:
        """Create a log exclusively and durably, zero-filled to ``preallocate_bytes``."""
        self._check_mutable(path)
        with self._mutex:
            directory = self._directory(parent_of(path))
            name = path.rpartition("/")[2]
            if name in directory.seen:
                raise FileExistsError(errno.EEXIST, "exists", path)
            self.step("log.create")
            node = _File()
            directory.set(name, node)
            try:
                self.step("log.preallocate")
                node.size = preallocate_bytes
                self._sync_file(node, "log.create_sync")
                self._sync_directory(directory, "log.create_sync_directory")
            except OSError:
                self._remove(directory, name, "log.create_undo")
                raise
            return _MemoryLog(self, node)

    def sync_file(self, path: str) -> None:
        """Make durable whatever a process that is gone left unsynced in ``path``, and its name."""
        self._check_mutable(path)
        with self._mutex:
            self._sync_file(self._file(path), "file.sync")
            self._sync_directory(self._directory(parent_of(path)), "file.sync_directory")

    def make_directory(self, path: str) -> None:
        """Make a directory and its missing parents, durably; an existing one is fine."""
        self._check_mutable(path)
        with self._mutex:
            self._make(path)

    def list(self, directory: str) -> list[str]:
        """Return the sorted names in a directory, without temporary files; [] when it is missing."""
        with self._mutex:
            node = self._find(directory) if directory else self._root
            if node is None:
                return []
            if isinstance(node, _File):
                raise NotADirectoryError(errno.ENOTDIR, "not a directory", directory)
            return sorted(name for name in node.seen if not name.startswith(TEMPORARY_PREFIX))

    def exists(self, path: str) -> bool:
        """Whether a file or directory has this name."""
        with self._mutex:
            return self._find(path) is not None

    def size(self, path: str) -> int:
        """Return a file's bytes."""
        with self._mutex:
            return self._file(path).size

    def delete(self, path: str) -> None:
        """Remove a file; a missing one is fine. Not durable."""
        self._check_mutable(path)
        with self._mutex:
            node = self._find(path)
            if node is None:
                return
            if isinstance(node, _Directory):
                raise IsADirectoryError(errno.EISDIR, "is a directory", path)
            self._remove(self._directory(parent_of(path)), path.rpartition("/")[2], "delete")

    def delete_tree(self, path: str) -> None:
        """Remove a directory with all it holds; missing is fine. Not durable."""
        self._check_mutable(path)
        with self._mutex:
            node = self._find(path)
            if isinstance(node, _Directory):
                for name in sorted(node.seen):
                    self.delete_tree(f"{path}/{name}")
            if node is not None:
                self._remove(self._directory(parent_of(path)), path.rpartition("/")[2], "delete")

    def archive(self, path: str, to: str) -> None:
        """Move a closed log to the path ``to``, durably."""
        self._check_mutable(path)
        check_path(to)
        with self._mutex:
            node = self._file(path)
            source, target = self._directory(parent_of(path)), self._make(parent_of(to))
            name = to.rpartition("/")[2]
            if name in target.seen:
                raise FileExistsError(errno.EEXIST, "the archive has a log of this name", to)
            self.step("archive.link")
            target.set(name, node)
            self._sync_directory(target, "archive.sync_target")
            self.step("archive.unlink")
            source.set(path.rpartition("/")[2], None)
            self._sync_directory(source, "archive.sync_source")

    def fence_log(self, directory: str, aside: str) -> bool:
        """Move a dead writer's log directory to ``aside``; whether the writer is proved dead."""
        check_beside(directory, aside)
        self._check_mutable(directory)
        with self._mutex:
            if self._find(directory) is None and self._find(aside) is None:
                return True
            parent = self._directory(parent_of(directory))
            if self._find(directory) is not None:
                if self._find(aside) is not None and self._directory(aside).seen:
                    raise FileExistsError(errno.EEXIST, "the log cannot be set aside: it holds files", aside)
                self.step("fence.rename")
                parent.rename(directory.rpartition("/")[2], aside.rpartition("/")[2])
                if f"{directory}/LOCK" in self._held:
                    self._held[f"{aside}/LOCK"] = self._held.pop(f"{directory}/LOCK")
            self._sync_directory(parent, "fence.sync_directory")
            return self._find(f"{aside}/LOCK") is not None and not self._held.get(f"{aside}/LOCK")

    def sweep_temporaries(self, directory: str) -> int:
        """Remove what writers that died left in one directory; return how many files."""
        self._check_mutable(directory or ".tmp")
        with self._mutex:
            node = self._find(directory) if directory else self._root
            if not isinstance(node, _Directory):
                return 0
            names = [name for name in node.seen if name.startswith(TEMPORARY_PREFIX)]
            for name in names:
                self._remove(node, name, "sweep")
            return len(names)

    def lock(self, path: str, shared: bool = False) -> Lock:
        """Take a lock at once or raise ``StoreLockedException``."""
        with self._mutex:
            if shared:
                self._file(path)
            else:
                self._check_mutable(path)
            holders = self._held.setdefault(path, [])
            if holders and not (shared and all(held.shared for held in holders)):
                raise StoreLockedException(
                    f"{path} is locked by another opener in this process. Close that one first."
                )
            if not shared and self._find(path) is None:
                self.step("lock.create")
                self._make(parent_of(path)).set(path.rpartition("/")[2], _File())
            lock = _MemoryLock(holders, shared)
            holders.append(lock)
            return lock

    def _check_mutable(self, path: str) -> None:
        check_path(path)
        if self._read_only:
            raise ReadOnlyException(f"this store was opened read-only: {path} cannot be changed")

    def _may_fail(self, path: str, offset: int) -> None:
        if self.read_fault is not None:
            self.read_fault(path, offset)

    def _find(self, path: str) -> _File | _Directory | None:
        node: _File | _Directory = self._root
        for name in check_path(path).split("/"):
            if isinstance(node, _File) or name not in node.seen:
                return None
            node = node.seen[name]
        return node

    def _file(self, path: str) -> _File:
        node = self._find(path)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        if isinstance(node, _Directory):
            raise IsADirectoryError(errno.EISDIR, "is a directory", path)
        return node

    def _directory(self, path: str) -> _Directory:
        node = self._find(path) if path else self._root
        if node is None:
            raise FileNotFoundError(errno.ENOENT, "no such directory", path)
        if isinstance(node, _File):
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", path)
        return node

    def _make(self, path: str) -> _Directory:
        node = self._root
        for name in check_path(path).split("/") if path else ():
            child = node.seen.get(name)
            if child is None:
                self.step("directory.create")
                child = _Directory()
                node.set(name, child)
                self._sync_directory(node, "directory.sync_parent")
            if isinstance(child, _File):
                raise NotADirectoryError(errno.ENOTDIR, "not a directory", path)
            node = child
        return node

    def _new_temporary(self, directory: _Directory, verb: str) -> tuple[str, _File]:
        self.step(f"{verb}.open")
        self._temporaries += 1
        name, node = f"{TEMPORARY_PREFIX}{self._temporaries}-{id(self):x}", _File()
        directory.set(name, node)
        return name, node

    def _remove(self, directory: _Directory, name: str, step: str) -> None:
        if not self.dead and name in directory.seen:
            self.step(step)
            directory.set(name, None)

    def _sync_file(self, node: _File, step: str) -> None:
        try:
            self.step(step)
        except OSError:
            node.fail_sync()
            raise
        node.sync()

    def _sync_directory(self, node: _Directory, step: str) -> None:
        self.step(step)
        node.sync()


class _MemoryReader:
    def __init__(self, fs: MemoryFileSystem, path: str, node: _File) -> None:
        self._fs, self._path, self._node = fs, path, node
        self._size = node.size
        self._closed = False

    @property
    def size(self) -> int:
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        if self._closed:
            raise ValueError(f"read of a closed file: {self._path}")
        self._fs._may_fail(self._path, offset)
        return self._node.read(offset, length)

    def close(self) -> None:
        self._closed = True


class _MemoryWriter:
    def __init__(self, fs: MemoryFileSystem, path: str, directory: _Directory) -> None:
        self._fs, self._path, self._directory = fs, path, directory
        self._temporary, self._node = fs._new_temporary(directory, "writer")
        self._open = True

    def write(self, data: bytes) -> None:
        if not self._open:
            raise ValueError(f"write to a finished file: {self._path}")
        with self._fs._mutex:
            self._fs.step("writer.write")
            self._node.write(self._node.size, bytes(data))

    def tell(self) -> int:
        return self._node.size

    def commit(self) -> None:
        if not self._open:
            raise ValueError(f"commit of a finished file: {self._path}")
        fs, name = self._fs, self._path.rpartition("/")[2]
        with fs._mutex:
            try:
                fs._sync_file(self._node, "writer.sync")
                fs.step("writer.link")
                if name in self._directory.seen:
                    raise FileExistsError(errno.EEXIST, "exists", self._path)
                self._directory.set(name, self._node)
            finally:
                self.abort()
            fs._sync_directory(self._directory, "writer.sync_directory")

    def abort(self) -> None:
        if self._open:
            self._open = False
            self._fs._remove(self._directory, self._temporary, "writer.unlink")


class _MemoryLog:
    def __init__(self, fs: MemoryFileSystem, node: _File) -> None:
        self._fs, self._node = fs, node
        self._offset = 0
        self._open = self._intact = True

    def write(self, chunks: list[bytes]) -> None:
        with self._fs._mutex:
            try:
                self._fs.step("log.write")
            except OSError:
                self._intact = False
                raise
            offset = self._offset
            for chunk in chunks:
                self._node.write(offset, chunk)
                offset += len(chunk)
            self._offset = offset

    def tell(self) -> int:
        return self._offset

    def sync(self) -> None:
        with self._fs._mutex:
            try:
                self._fs._sync_file(self._node, "log.sync")
            except OSError:
                self._intact = False
                raise

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        if self._intact and not self._fs.dead:
            self._fs.step("log.trim")
            self._node.resize(self._offset)


class _MemoryLock:
    def __init__(self, holders: list[_MemoryLock], shared: bool) -> None:
        self._holders = holders
        self.shared = shared
        self._held = True

    @property
    def held(self) -> bool:
        return self._held

    def release(self) -> None:
        if self._held:
            self._held = False
            self._holders.remove(self)


def _patch(target: bytearray, offset: int, data: bytes) -> None:
    if len(target) < offset:
        target.extend(bytes(offset - len(target)))
    target[offset : offset + len(data)] = data


def _tear(target: bytearray, offset: int, data: bytes, chance: random.Random) -> None:
    """Let a random part of one unsynced write reach the disk: all, none, a piece, or some of its sectors."""
    way = chance.randrange(4)
    if way == 1:
        _patch(target, offset, data)
    elif way == 2:
        begin, end = sorted((chance.randint(0, len(data)), chance.randint(0, len(data))))
        if end > begin:
            _patch(target, offset + begin, data[begin:end])
    elif way == 3:
        sector = chance.choice((1, 16, 512))
        for begin in range(0, len(data), sector):
            if chance.random() < 0.5:
                _patch(target, offset + begin, data[begin : begin + sector])


def _enter(names: dict[str, _File | _Directory], name: str, node: _File | _Directory | None) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node
