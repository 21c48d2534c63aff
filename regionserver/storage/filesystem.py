"""The file system a store stands on: few verbs, each durable when it returns unless it says otherwise.

Paths are "/"-separated text relative to the store's root, without empty, "." or ".." components.

Data files are immutable: they are written under a temporary name (``.tmp-…``, never listed) and get
their name when complete and synced. Logs alone grow in place. Names are taken, never replaced:
``create_if_absent`` is the one verb that decides who was first, and it exists on every backend
(local link, HDFS rename without overwrite, S3 ``If-None-Match``). Nothing is renamed but inside a verb.

=================  ==========================  ===================================================
verb               atomic                      when it returned
=================  ==========================  ===================================================
create_if_absent   yes, one of all that race   durable, and there for everybody
FileWriter.commit  yes                         durable, and there for everybody
open_log           yes, one of all that race   durable and empty
LogFile.sync       no: a crash may leave part  durable
archive            no: both names for a while  durable
fence_log          no, but may be repeated     durable
make_directory     no: parents first           durable
list, exists, size yes                         what others made and deleted counts at once
delete, …_tree     no: file by file            gone; a crash may bring it back
=================  ==========================  ===================================================

Any number of processes read, create and list at one time; a log is written by the process that opened it;
deleting is the janitor's. Only ``fence_log`` and ``sync_file`` take something from a process that lives.

Errors: an ``OSError`` of the operating system passes unchanged (``FileNotFoundError``,
``FileExistsError``, ``ENOSPC``, ``EIO`` …), and other backends raise the same; the caller knows what it was
doing and translates. ``ReadOnlyException`` refuses every mutation of a read-only file system,
``StoreLockedException`` names the process that holds a lock. After any error the verb may or may not have
happened, except that a name never shows incomplete contents.

What a backend promises beyond that, and what it costs: its module, and docs/storage.md.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

TEMPORARY_PREFIX = ".tmp-"


class RandomAccessFile(Protocol):
    """An open file; any number of threads may read. Stays readable after this process deletes its name."""

    @property
    def size(self) -> int:
        """Bytes in the file when it was opened."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset``; fewer only at the end of the file."""

    def close(self) -> None:
        """Give the handle back; a second call does nothing."""


class FileWriter(Protocol):
    """A new immutable file in the making; one thread."""

    def write(self, data: bytes) -> None:
        """Add ``data`` at the end."""

    def tell(self) -> int:
        """Return the bytes written so far."""

    def commit(self) -> None:
        """Make contents and name durable, then visible. ``FileExistsError``: the name is taken."""

    def abort(self) -> None:
        """Throw the file away; after ``commit`` or a second time it does nothing."""


class LogFile(Protocol):
    """A log segment that grows in place, with zeros up to its preallocated size; one thread at a time.

    After a failed ``write`` or ``sync`` nobody knows what is on disk: the only use left is ``close``.
    """

    def write(self, chunks: list[bytes]) -> None:
        """Add the chunks at the end of what was written; an interrupted call may be repeated."""

    def tell(self) -> int:
        """Return the bytes of all ``write`` calls that returned."""

    def sync(self) -> None:
        """Return when everything written is durable (fdatasync)."""

    def close(self) -> None:
        """Close, and give back preallocated space that was not used (not after a failure)."""


class Lock(Protocol):
    """A held lock. Ends with ``release``, with the process, and never passes to a forked child."""

    @property
    def held(self) -> bool:
        """Whether this process holds it (False in a forked child)."""

    def release(self) -> None:
        """Give the lock up; a second call does nothing."""


@runtime_checkable
class FileSystem(Protocol):
    """What the storage engine asks of a directory tree."""

    @property
    def read_only(self) -> bool:
        """Whether every mutation is refused with ``ReadOnlyException``."""

    def create_if_absent(self, path: str, data: bytes) -> bool:
        """Create a whole file, durable with its name when True; False: the name is taken.

        Of any number of racing callers exactly one gets True. Missing parents are made, durably.
        """

    def read(self, path: str) -> bytes:
        """Return a whole small file. ``FileNotFoundError`` when missing."""

    def open_reader(self, path: str) -> RandomAccessFile:
        """Open a file for reads at any offset. ``FileNotFoundError`` when missing.

        Of a log that grows it shows what was synced when it was opened, or more. Where that cannot be had
        before the log is closed or recovered (HDFS), ``BlockingIOError`` says so; ``read`` likewise.
        """

    def open_writer(self, path: str) -> FileWriter:
        """Start a new immutable file; nothing is visible at ``path`` before ``commit``."""

    def open_log(self, path: str, preallocate_bytes: int) -> LogFile:
        """Create a log exclusively and durably, zero-filled to ``preallocate_bytes`` if that reserves space.

        Never creates its directory: a directory that recovery renamed aside must stay away. That was made
        by ``make_directory`` or by a ``lock`` in it.
        ``FileExistsError``, ``FileNotFoundError``; ``ENOSPC`` when the space cannot be reserved.
        """

    def sync_file(self, path: str) -> None:
        """Make durable whatever a process that is gone left unsynced in ``path``, before that is read.

        Should its writer live after all, it can add nothing more (HDFS, S3; on one machine a lock or a lease
        has to see to that). ``FileNotFoundError`` when missing.
        """

    def make_directory(self, path: str) -> None:
        """Make a directory and its missing parents, durably; an existing one is fine."""

    def list(self, directory: str) -> list[str]:
        """Return the sorted names in a directory, without temporary files; [] when it is missing."""

    def exists(self, path: str) -> bool:
        """Whether a file or directory has this name."""

    def size(self, path: str) -> int:
        """Return a file's bytes. ``FileNotFoundError`` when missing."""

    def delete(self, path: str) -> None:
        """Remove a file; a missing one is fine. Not durable: after a crash it may be back.

        Readers of this process keep it. Those of other processes do on a local disk only: before it
        deletes there, a janitor has to know that nobody reads.
        """

    def delete_tree(self, path: str) -> None:
        """Remove a directory with all it holds; missing is fine. Not durable, as ``delete``."""

    def archive(self, path: str, to: str) -> None:
        """Move a closed log to the path ``to``, durably; ``to``'s directory is made when missing.

        ``FileExistsError``: ``to`` is taken. ``FileNotFoundError``: nothing at ``path``.
        """

    def fence_log(self, directory: str, aside: str) -> bool:
        """Move a dead writer's log directory to ``aside``, durably, so that it can begin no new segment.

        True: the writer is stopped for good, and what ``aside`` holds no longer changes. HDFS and S3 stop it
        themselves; on one machine a free lock on ``<directory>/LOCK`` proves it dead. False, on one machine
        only: that is not proved (the writer holds LOCK, or the file is missing). It may still add to the
        segment it has open, so read only when it can no longer acknowledge anything; or ask again.

        May be repeated: ``aside`` is there already, or neither is (True: nothing was ever written).
        ``ValueError``: ``aside`` must be beside ``directory``. ``FileExistsError``: both hold files.
        After any other ``OSError`` it is to be repeated.
        Writers make directory, LOCK and first segment before others can learn their name, and never again.
        """

    def sweep_temporaries(self, directory: str) -> int:
        """Remove what writers that died left in one directory; return how many files.

        Only for the holder of the store's exclusive lock: live writers have temporary files too.
        """

    def lock(self, path: str, shared: bool = False) -> Lock:
        """Take a lock at once or raise ``StoreLockedException``, which names the owner's pid and the path.

        An exclusive lock creates the file and its directory when missing and writes the pid into it. A shared
        one writes nothing and needs the file: ``FileNotFoundError``. HDFS and S3 know no lock that ends with
        its process: theirs makes the file and excludes nobody; fences, leases and epochs do the work.
        """


def check_path(path: str) -> str:
    """Return ``path`` when it stays below the root; ``ValueError`` otherwise."""
    if not path or path.startswith("/") or "\0" in path or any(p in ("", ".", "..") for p in path.split("/")):
        raise ValueError(f"not a path below the store's root: {path!r}")
    return path


def check_beside(directory: str, aside: str) -> None:
    """Raise ``ValueError`` unless the two paths are different names in one directory."""
    if parent_of(check_path(directory)) != parent_of(check_path(aside)) or directory == aside:
        raise ValueError(f"a log is set aside under another name beside it: {directory!r}, {aside!r}")


def parent_of(path: str) -> str:
    """Return the directory part of ``path``; "" is the root itself."""
    return path.rpartition("/")[0]
