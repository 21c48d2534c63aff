"""The root directory that the processes of one cluster share: who may use it, and what each keeps there.

``<root>/LOCK``                 a shared lock of every process; an embedded store wants it alone: it stays out
``<root>/hyperbase.json``       the cluster's identity; the first master makes it
``<root>/HOST``                 the boot id of the machine whose processes use it, text
``<root>/ZOOKEEPER``            the URL of the cluster whose processes use it, text
``<root>/WALs/<server>/``       a server's log; LOCK in it is held with flock for the server's life

A local directory belongs to one machine at a time: locks tell who is alive there, and tell other machines
nothing. Network file systems are refused: their locks do not outlast a restart of the file server.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Sequence

from hyperbase.common.errors import StoreFormatException, StoreLockedException
from hyperbase.common.process.life import ServerStartError
from hyperbase.common.server_name import ServerName
from hyperbase.common.zookeeper.location import ZooKeeperLocation
from regionserver.region.engine import ARCHIVE_DIRECTORY, WAL_DIRECTORY
from regionserver.storage.filesystem import FileSystem, Lock
from regionserver.storage.local_filesystem import LocalFileSystem
from regionserver.storage.wal_reader import list_segments

logger = logging.getLogger(__name__)

LOCK_FILE, IDENTITY_FILE, HOST_FILE, ZOOKEEPER_FILE = "LOCK", "hyperbase.json", "HOST", "ZOOKEEPER"
LOCK_WAIT_S = 3.0  # for processes that begin at the same moment
_LOCK_AGAIN_S = 0.02
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "fuse.sshfs", "fuse.glusterfs"})
_MOUNTS = "/proc/self/mountinfo"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def make_root(directory: str) -> LocalFileSystem:
    """The root as a master finds or makes it: a directory with a lock to share.

    Raises:
        ServerStartError: it cannot be made, or is on a network.
    """
    try:
        os.makedirs(directory, exist_ok=True)
    except FileExistsError:
        raise ServerStartError(f"{directory} is a file: the root must be a directory") from None
    except OSError as error:
        raise ServerStartError(f"the root {directory} cannot be made: {error.strerror}") from error
    refuse_network_file_system(directory)
    return LocalFileSystem(directory)


class SharedRoot:
    """A process's hold on the root, from ``join`` to ``leave``."""

    def __init__(self, fs: LocalFileSystem, lock: Lock) -> None:
        self.fs = fs
        self._lock = lock

    @classmethod
    def join(
        cls,
        directory: str,
        cluster_id: str,
        zookeeper: ZooKeeperLocation,
        registered: Callable[[], Sequence[ServerName]],
    ) -> SharedRoot:
        """Check the root and hold it.

        Args:
            cluster_id: ZooKeeper's.
            zookeeper: where the cluster is.
            registered: the servers that are alive, asked when another machine used the root last.

        Raises:
            ServerStartError: it is not this cluster's, or not this machine's to use.
            StoreLockedException: a store in one process has it open.
        """
        if not os.path.isdir(directory):
            raise ServerStartError(f"{directory} is no directory: it must be the root that the master uses")
        refuse_network_file_system(directory)
        fs = LocalFileSystem(directory)
        if not fs.exists(LOCK_FILE):
            raise ServerStartError(
                f"{directory} is not the root of a cluster: it has no {LOCK_FILE}. Give the master's"
            )
        lock = _hold(fs, directory, zookeeper)
        try:
            _check_identity(fs, directory, cluster_id)
            claim_host(directory, registered)
        except BaseException:
            lock.release()
            raise
        return cls(fs, lock)

    def leave(self) -> None:
        """Nothing of this process's uses it any more."""
        self._lock.release()


class OwnLog:
    """The log directory of one server, and the lock that proves that the server lives.

    Directory and lock are made once, before others can learn the server's name, and never again.
    """

    def __init__(self, fs: FileSystem, server: ServerName) -> None:
        self.directory = f"{WAL_DIRECTORY}/{server}"
        self.archive_directory = f"{ARCHIVE_DIRECTORY}/{server}"
        self._fs = fs
        fs.make_directory(self.directory)
        self._lock = fs.lock(f"{self.directory}/{LOCK_FILE}")

    @property
    def is_there(self) -> bool:
        """Nobody has set it aside."""
        return self._fs.exists(f"{self.directory}/{LOCK_FILE}")

    def remove(self) -> None:
        """After a clean end: nothing is in it that anybody needs. Does nothing while segments are left."""
        if not list_segments(self._fs, self.directory):
            self._fs.delete_tree(self.directory)

    def release(self) -> None:
        """The server writes nothing any more."""
        self._lock.release()


def _hold(fs: LocalFileSystem, directory: str, zookeeper: ZooKeeperLocation) -> Lock:
    """The shared lock, once the root is known to be used by this cluster's processes only.

    Whoever can have the lock alone is the first: nobody else uses the root, and its cluster is noted.

    Raises:
        ServerStartError: processes of another cluster use it.
        StoreLockedException: a store in one process has it open.
    """
    path = os.path.join(directory, ZOOKEEPER_FILE)
    end = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            alone = fs.lock(LOCK_FILE)
        except StoreLockedException:
            alone = None
        if alone is not None:
            try:
                _replace(path, f"{zookeeper}\n".encode())
            finally:
                alone.release()
        try:
            lock = fs.lock(LOCK_FILE, shared=True)
        except StoreLockedException:  # by another process that begins, or by a store in one process
            if time.monotonic() >= end:
                raise
            time.sleep(_LOCK_AGAIN_S)
            continue
        theirs = _text_of(path)
        if theirs == str(zookeeper):
            return lock
        lock.release()
        raise ServerStartError(
            f"{directory} is in use by the processes of {theirs}: two clusters must not share a root, and "
            f"the processes of one name it in the same words ({zookeeper} was given)"
        )


def _check_identity(fs: FileSystem, directory: str, cluster_id: str) -> None:
    try:
        found = str(json.loads(fs.read(IDENTITY_FILE))["cluster_id"])
    except FileNotFoundError:
        raise ServerStartError(
            f"{directory} is not the root of a cluster: it has no {IDENTITY_FILE}. Give the master's"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreFormatException(f"{directory}/{IDENTITY_FILE} is damaged: {error}") from error
    if found != cluster_id:
        raise ServerStartError(
            f"{directory} is the root of cluster {found}, but ZooKeeper's is {cluster_id}: "
            "give the directory that the master uses, or another ZooKeeper root"
        )


def claim_host(directory: str, registered: Callable[[], Sequence[ServerName]]) -> None:
    """This machine's processes use the root from now on.

    Raises:
        ServerStartError: another machine's do.
    """
    mine = _text_of(_BOOT_ID)
    path = os.path.join(directory, HOST_FILE)
    there = _text_of(path)
    if not mine or there == mine:
        return
    alive = registered() if there else ()
    if alive:
        raise ServerStartError(
            f"{directory} was last used by another machine, or before this one was started again, and "
            f"{alive[0]} is still registered: end the cluster there, or wait until its session has expired"
        )
    _replace(path, f"{mine}\n".encode())
    logger.info("root taken by this machine directory=%s boot_id=%s", directory, mine)


def _replace(path: str, data: bytes) -> None:
    temporary = os.path.join(os.path.dirname(path), f".tmp-{os.getpid()}-{secrets.token_hex(6)}")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _text_of(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def refuse_network_file_system(directory: str) -> None:
    """Raises ServerStartError where locks do not prove that a process of this machine is alive."""
    kind = file_system_of(directory)
    if kind in _NETWORK:
        raise ServerStartError(
            f"{directory} is on a network file system ({kind}), whose locks do not tell who is alive: "
            "use a local disk"
        )


def file_system_of(directory: str) -> str:
    """The type of the file system, such as ``ext4``; empty where the system does not tell."""
    device = os.stat(directory).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    # mountinfo := id parent major:minor root mount-point options [field]* - type source options
    for line in _text_of(_MOUNTS).splitlines():
        fields = line.split(" ")
        if len(fields) > 3 and fields[2] == wanted and "-" in fields[6:]:
            return fields[fields.index("-", 6) + 1]
    return ""
