"""What the procedures of an active master work with."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hyperbase.common.config import StoreConfig
from hyperbase.common.server_name import ServerName
from hyperbase.common.zookeeper.coordination import ZooKeeperCoordination
from master.assignment import Assignment
from master.catalog import MasterCatalog
from master.dead_servers import DeadServers
from master.locks import Locks
from master.servers import Servers
from master.store import MasterStore
from regionserver.storage.filesystem import FileSystem

if TYPE_CHECKING:
    from master.procedures import Executor


@dataclass(slots=True)
class Core:
    """Parts of one active master; made by ``active.py``."""

    name: ServerName
    fs: FileSystem
    config: StoreConfig
    coordination: ZooKeeperCoordination
    store: MasterStore
    locks: Locks
    servers: Servers
    dead: DeadServers
    catalog: MasterCatalog
    assignment: Assignment
    check: Callable[[], None]
    executor: Executor = field(init=False)
    switches: dict[str, bool] = field(default_factory=dict)  # what is turned on, by name
    _ids: threading.Lock = field(default_factory=threading.Lock)
    _last_region_id: int = 0

    def delete_directory(self, path: str) -> None:
        """Asked at the last moment: a master that was stopped and replaced meanwhile may have decided this by
        what was true before. Raises what ``check`` raises."""
        self.check()
        self.fs.delete_tree(path)

    def new_region_id(self) -> int:
        """Milliseconds, higher than any region's there is or was made by this master."""
        with self._ids:
            known = max(self._last_region_id, self.catalog.region_ids())
            self._last_region_id = max(time.time_ns() // 1_000_000, known + 1)
            return self._last_region_id
