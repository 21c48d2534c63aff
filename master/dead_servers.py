"""Servers that are dead: their logs, set aside and sealed, and which regions still need them.

A region may go to another server when the one that may have it is dead and its log is sealed here. It is then
opened with every log that holds edits of it, until one opening has succeeded: a log is kept as long as any
region waits for that.
Threads: any number.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from hyperbase.common.errors import StoreLockedException
from hyperbase.common.region_info import RegionInfo
from hyperbase.common.server_name import ServerName
from hyperbase.common.zookeeper.coordination import ZooKeeperCoordination
from regionserver.storage.filesystem import FileSystem
from regionserver.storage.wal import EDIT, LogRecovery
from regionserver.storage.wal_archive import move_segment
from regionserver.storage.wal_format import archived_name, parse_name

logger = logging.getLogger(__name__)

LOGS, ARCHIVE = "WALs", "oldWALs"
EMBEDDED = "embedded"  # as whose log the master recovers that of a store in one process
FENCED = "-splitting"
LOCK = "LOCK"
_LOOK_AGAIN_S = 0.1


@dataclass(slots=True)
class DeadServer:
    """What the log of a dead server is needed for."""

    server: ServerName
    index: dict[bytes, int] = field(default_factory=dict)  # 16 bytes of a region → highest id in the log
    waiting: set[str] = field(default_factory=set)  # regions to be opened with it, encoded names
    read: bool = False  # ``index`` is complete
    sealed: bool = False  # and ``waiting`` too
    done: bool = False

    @property
    def directory(self) -> str:
        """Where its log is now."""
        return f"{LOGS}/{self.server}{FENCED}"


class DeadServers:
    """See the module."""

    def __init__(
        self, fs: FileSystem, coordination: ZooKeeperCoordination, check: Callable[[], None]
    ) -> None:
        self._fs = fs
        self._coordination = coordination
        self._check = check
        self._changed = threading.Condition()
        self._dead: dict[ServerName, DeadServer] = {}
        self.distrust_s = 0.0  # how long servers may live that ZooKeeper does not know of
        self._began = time.monotonic()

    # -- a death -----------------------------------------------------------------------------------------

    def get(self, server: ServerName) -> DeadServer:
        """What is known of a dead server; a new entry if it is the first time."""
        with self._changed:
            return self._dead.setdefault(server, DeadServer(server))

    def on_disk(self) -> list[ServerName]:
        """Servers that have a log directory, moved aside or not."""
        names = {name.removesuffix(FENCED) for name in self._fs.list(LOGS)}
        return sorted(ServerName.parse(name) for name in names if name.count(",") == 2)

    def adopt_embedded_log(self) -> None:
        """What a store in one process has left of its log becomes the log of a dead server.

        Nobody writes it any more: the lock on the root keeps such a store out.
        """
        names = [name for name in self._fs.list(LOGS) if parse_name(name) is not None]
        if not names:
            return
        taken = {server.startcode for server in self.on_disk() if is_embedded(server)}
        moved = {
            name
            for directory in self._fs.list(LOGS)
            if directory.startswith(f"{EMBEDDED},0,")
            for name in self._fs.list(f"{LOGS}/{directory}")
        }
        server = ServerName(EMBEDDED, 0, max(taken, default=0) + 1)
        self._fs.make_directory(f"{LOGS}/{server}")
        for name in names:
            if name in moved:  # an adoption that was interrupted: it has both names
                self._fs.delete(f"{LOGS}/{name}")
            else:
                move_segment(self._fs, f"{LOGS}/{name}", f"{LOGS}/{server}/{name}")
        logger.info("log of a store in one process adopted server=%s files=%d", server, len(names))

    def proved(self, server: ServerName) -> bool:
        """The lock on its log is free: the process is gone."""
        path = f"{LOGS}/{server}/{LOCK}"
        if not self._fs.exists(path):
            return self._fs.exists(f"{LOGS}/{server}{FENCED}")
        try:
            self._fs.lock(path).release()
        except (StoreLockedException, FileNotFoundError):
            return False
        return True

    def expel(self, server: ServerName) -> None:
        """When this returns the server acknowledges nothing any more, and begins no segment of its log."""
        removed = self._coordination.remove_znode_of(server)
        end = max(time.monotonic() + removed.wait_s, self._began + self.distrust_s)
        while not self.proved(server) and time.monotonic() < end:
            self._check()
            time.sleep(_LOOK_AGAIN_S)
        self._check()
        dead = self.get(server)
        proved = self._fs.fence_log(f"{LOGS}/{server}", dead.directory)
        logger.info("region server expelled server=%s proved_dead=%s", server, proved)

    def seal(self, server: ServerName) -> DeadServer:
        """Read the whole log, once, end it for every later reader, and note whose edits are in it."""
        dead = self.get(server)
        if dead.read:
            return dead
        index: dict[bytes, int] = {}
        records = 0
        if self._fs.exists(dead.directory):
            for record in LogRecovery(self._fs, dead.directory, seal=True).records():
                records += 1
                if record.kind == EDIT and index.get(record.region, -1) < record.sequence_id:
                    index[record.region] = record.sequence_id
        with self._changed:
            dead.index, dead.read = index, True
            self._changed.notify_all()
        logger.info("log sealed server=%s records=%d regions=%d", server, records, len(index))
        return dead

    def open_to_others(self, server: ServerName, waiting: Iterable[str]) -> None:
        """From here on its regions may be opened elsewhere; ``waiting`` are those that need its log."""
        with self._changed:
            dead = self._dead[server]
            dead.waiting = set(waiting)
            dead.sealed = True
            self._changed.notify_all()

    def archive(self, server: ServerName) -> None:
        """Nobody needs its log any more."""
        dead = self.get(server)
        if self._fs.exists(dead.directory):
            self._keep_segments(dead)
            self._fs.delete_tree(dead.directory)
        self._coordination.forget_removed(server)
        with self._changed:
            dead.done = dead.sealed = True
            dead.index, dead.waiting = {}, set()
            self._changed.notify_all()

    def _keep_segments(self, dead: DeadServer) -> None:
        now_ms = time.time_ns() // 1_000_000
        for name in self._fs.list(dead.directory):
            parsed = parse_name(name)
            if parsed is not None:
                target = f"{ARCHIVE}/{dead.server}/{archived_name(parsed[0], now_ms)}"
                move_segment(self._fs, f"{dead.directory}/{name}", target)

    # -- what regions ask --------------------------------------------------------------------------------

    def is_known(self, server: ServerName) -> bool:
        """Its log was set aside and read."""
        with self._changed:
            return server in self._dead

    def is_read(self, server: ServerName) -> bool:
        """Its log is sealed, so hbase:meta may be opened elsewhere: what that needs is in no table."""
        with self._changed:
            dead = self._dead.get(server)
            return dead is not None and dead.read

    def is_recovered(self, server: ServerName) -> bool:
        """Its regions may be opened elsewhere."""
        with self._changed:
            dead = self._dead.get(server)
            return dead is not None and dead.sealed

    def is_done(self, server: ServerName) -> bool:
        """Nothing of it is left."""
        with self._changed:
            dead = self._dead.get(server)
            return dead is not None and dead.done

    def under_recovery(self) -> list[ServerName]:
        """Dead servers of which something is left."""
        with self._changed:
            return sorted(server for server, dead in self._dead.items() if not dead.done)

    def wait(self, seconds: float) -> None:
        """Until something changes here, or the time is over."""
        with self._changed:
            self._changed.wait(seconds)

    def logs_of(self, info: RegionInfo) -> tuple[str, ...]:
        """Directories of the logs that a region must be opened with, the oldest server's first."""
        with self._changed:
            needed = [
                dead
                for dead in self._dead.values()
                if info.encoded_name in dead.waiting or (info.is_meta and info.id16 in dead.index)
            ]
            return tuple(dead.directory for dead in sorted(needed, key=lambda dead: dead.server.startcode))

    def recovered(self, infos: Iterable[RegionInfo]) -> None:
        """Regions were opened with the logs they needed, or exist no more."""
        with self._changed:
            for info in infos:
                for dead in self._dead.values():
                    dead.waiting.discard(info.encoded_name)
            self._changed.notify_all()

    def forget(self, names: Iterable[str]) -> None:
        """Regions that exist no more wait for nothing."""
        with self._changed:
            for name in names:
                for dead in self._dead.values():
                    dead.waiting.discard(name)

    def waiting(self, server: ServerName) -> set[str]:
        """Regions that still need the server's log."""
        with self._changed:
            return set(self._dead[server].waiting)


def is_embedded(server: ServerName) -> bool:
    """Not a server: a store in one process, whose log was adopted. Any region may need it."""
    return server.host == EMBEDDED and server.port == 0
