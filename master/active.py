"""An active master: from the lock in ZooKeeper to serving, and its chores.

Start: identity → own store (earlier masters' fenced) → living servers hear of this master → logs of dead
ones are set aside and sealed → hbase:meta is open → it is read → procedures of earlier masters go on → every
region that is to be served is on its way. Reads and writes of users need none of this; they go on meanwhile.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hyperbase.client.admin import SWITCHES
from hyperbase.common.config import StoreConfig
from hyperbase.common.errors import (
    HBaseIOException,
    LeaseLostException,
    LeaseSuspendedException,
    MasterNotRunningException,
    StaleMasterException,
    StoreFormatException,
)
from hyperbase.common.region_info import RegionState
from hyperbase.common.server_name import ServerName
from hyperbase.common.zookeeper.coordination import Watch, ZooKeeperCoordination
from master.assignment import Assignment
from master.backend import ClusterBackend
from master.catalog import MasterCatalog, Node
from master.core import Core
from master.dead_servers import DeadServers
from master.janitor import Janitor
from master.locks import Locks
from master.procedures import Executor, Procedure
from master.region_procedures import AssignRegion, SplitRegion
from master.server_crash import ServerCrash
from master.servers import Servers
from master.store import MasterStore
from regionserver.region.table_files import refuse_lost_catalogue
from regionserver.storage.filesystem import FileSystem

logger = logging.getLogger(__name__)

IDENTITY_FILE = "hyperbase.json"
FORMAT_VERSION = 1  # Persisted: numbers are never reused.
SETTLE_S, SETTLE_MAX_S = 1.0, 10.0  # for more region servers, before regions are spread over them
PROBE_S = 0.3  # between looks whether a living server's process is gone
REPORT_S = 2.0
SPLIT_AGAIN_S = 60.0  # a region that could not be split, one of a single row, is not asked all the time
RETRY_FAILED_S = 60.0
BALANCE_S = 300.0  # HBase hbase.balancer.period


def claim_identity(fs: FileSystem) -> str:
    """The cluster's id; a new directory gets one.

    Raises:
        StoreFormatException: the directory holds something else, or is of a newer version.
    """
    if not fs.exists(IDENTITY_FILE):
        foreign = [name for name in fs.list("") if name not in _OWN and not name.endswith(".log")]
        if foreign:
            raise StoreFormatException(
                f"the root directory is not a Hyperbase store: it holds {foreign[0]!r} and no "
                f"{IDENTITY_FILE}. Give an empty or a new directory"
            )
        identity = {"format": FORMAT_VERSION, "cluster_id": str(uuid.uuid4())}
        fs.create_if_absent(IDENTITY_FILE, json.dumps(identity).encode() + b"\n")
    try:
        identity = json.loads(fs.read(IDENTITY_FILE))
        version, cluster_id = int(identity["format"]), str(identity["cluster_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreFormatException(f"{IDENTITY_FILE} is damaged: {error}") from error
    if version > FORMAT_VERSION:
        raise StoreFormatException(
            f"the root directory has store format {version}, this program reads up to {FORMAT_VERSION}: "
            "use a newer version of hyperbase"
        )
    return cluster_id


_OWN = {"LOCK", "HOST", "ZOOKEEPER", "WALs", "oldWALs", "MasterData", "data", "hyperbase.toml"}


class ActiveMaster:
    """See the module.

    Args:
        coordination: of a session that holds the master's lock.
        on_end: told, from any thread, that this master must end: another one is active.
    """

    def __init__(
        self,
        name: ServerName,
        fs: FileSystem,
        config: StoreConfig,
        coordination: ZooKeeperCoordination,
        on_end: Callable[[str], None],
        version: str = "",
    ) -> None:
        self.name = name
        self._version = version
        self._fs = fs
        self._config = config
        self._coordination = coordination
        self._on_end = on_end
        self._lease = coordination.master_lease
        self._stop = threading.Event()
        self._recovering: set[ServerName] = set()
        self._recovering_lock = threading.Lock()
        self._loaded = False  # hbase:meta was read
        self._ready = False  # deaths are recorded before, and dealt with by the start
        self._threads: list[threading.Thread] = []
        self._tried: dict[str, float] = {}  # automatic splits: when
        self._watch: Watch | None = None  # of living servers
        self.core: Core
        self.backend: ClusterBackend

    # -- the start ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Return when this master serves. Raises HBaseIOException, OSError: it cannot."""
        cluster_id = claim_identity(self._fs)
        refuse_lost_catalogue(self._fs)
        zookeeper_is_new = self._coordination.publish_cluster_id(cluster_id)
        self._coordination.set_cluster_up(time.strftime("%a %b %d %H:%M:%S %Z %Y"))
        self._build(zookeeper_is_new)
        core = self.core
        self._watch = self._coordination.watch_servers(core.servers.set_alive)
        core.dead.adopt_embedded_log()
        core.servers.wait_for_one()
        reports = core.servers.ask_all()
        self._seal(self._dead_servers())
        self._find_meta(reports)
        core.assignment.open_meta()
        core.catalog.load()
        self._loaded = True
        resumed = core.executor.resume()
        self._settle()
        self._seal(self._dead_holders())
        crashes = self._crashes(resumed)
        core.executor.begin_resumed([*crashes, *(p for p in resumed if not isinstance(p, ServerCrash))])
        self._ready = True
        for server in self._dead_holders():
            self.ensure_recovery(server)
        self._assign_the_rest()
        self._begin_chores()
        logger.info("master serves server=%s epoch=%d", self.name, self._lease.czxid)

    def _build(self, zookeeper_is_new: bool) -> None:
        check = self.check
        store = MasterStore(self._fs, self.name, self._config, self._lease.check, check, self._on_end)
        servers = Servers(self._lease.czxid, check, self._on_death, self._on_stale)
        dead = DeadServers(self._fs, self._coordination, check)
        if zookeeper_is_new:  # servers may be alive that it does not know: none is, when this time is over
            dead.distrust_s = self._coordination.session.timeout_s
        catalog = MasterCatalog(servers, check)
        assignment = Assignment(catalog, servers, dead, self._coordination, check, self.ensure_recovery)
        locks = Locks()
        self.core = Core(
            self.name,
            self._fs,
            self._config,
            self._coordination,
            store,
            locks,
            servers,
            dead,
            catalog,
            assignment,
            check,
        )
        self.core.executor = Executor(self.core, store, locks, check)
        switches = self.core.switches = dict.fromkeys(SWITCHES, True) | store.switches()
        for address in store.decommissioned():
            servers.drain(address, True)
        self.backend = ClusterBackend(self.core, self.name, switches, self._version)

    def _dead_servers(self) -> list[ServerName]:
        """Servers that left something behind and are not alive."""
        core = self.core
        known = {*core.dead.on_disk(), *self._coordination.removed_servers()}
        return sorted(s for s in known if not core.servers.alive(s) and not self._may_be_starting(s))

    def _may_be_starting(self, server: ServerName) -> bool:
        """A process that has its log and no znode yet: it is not older than a session that ran out."""
        age_s = time.time() - server.startcode / 1000
        return age_s < self._coordination.session.timeout_s and not self.core.dead.proved(server)

    def _dead_holders(self) -> list[ServerName]:
        """Servers that hold regions by hbase:meta and are not alive."""
        core = self.core
        holders = {node.holder for node in (*core.catalog.nodes(), core.catalog.meta)}
        return sorted(h for h in holders if h is not None and not core.servers.alive(h))

    def _seal(self, servers: Iterable[ServerName]) -> None:
        """Set aside and seal the logs of dead servers, all at the same time."""
        dead = self.core.dead

        def one(server: ServerName) -> None:
            dead.expel(server)
            dead.seal(server)

        left = [server for server in servers if not dead.is_known(server)]
        with ThreadPoolExecutor(8, thread_name_prefix="master-seal") as pool:
            list(pool.map(one, left))

    def _find_meta(self, reports: dict[ServerName, Any]) -> None:
        """Who has hbase:meta, by what the servers say; else by what ZooKeeper says."""
        node = self.core.catalog.meta
        for server, report in reports.items():
            for held in report.regions:
                if held.info.is_meta:
                    node.state, node.server, node.given_to = RegionState.OPEN, server, server
                    self._coordination.set_meta_location(server)
                    return
        place = self._coordination.meta_place()
        if place is not None and self.core.servers.alive(place.server):
            # It was told to open it, and may yet; it will say so.
            node.state, node.given_to = RegionState.OPENING, place.server

    def _settle(self) -> None:
        """Wait until no further server comes, so that regions go back to where they were."""
        core, began = self.core, time.monotonic()
        if not core.catalog.nodes():
            return
        seen, since = core.servers.all(), time.monotonic()
        while time.monotonic() - since < SETTLE_S and time.monotonic() - began < SETTLE_MAX_S:
            core.check()
            core.servers.wait_for_change(0.1)
            if core.servers.all() != seen:
                seen, since = core.servers.all(), time.monotonic()

    def _crashes(self, resumed: list[Procedure]) -> list[Procedure]:
        """A procedure for each dead server: those of earlier masters, and new ones."""
        core = self.core
        crashes: dict[ServerName, Procedure] = {
            one.server: one for one in resumed if isinstance(one, ServerCrash)
        }
        for server in {*core.dead.under_recovery(), *self._dead_holders()} - set(crashes):
            crashes[server] = core.executor.prepare(ServerCrash({"server": str(server), "waiting": []}))
        with self._recovering_lock:
            self._recovering |= set(crashes)
        return list(crashes.values())

    def _assign_the_rest(self) -> None:
        """Regions that are to be served and that nobody holds."""
        left = [node for node in self.core.catalog.nodes() if self._is_stranded(node)]
        self._assign(left)

    def _is_stranded(self, node: Node) -> bool:
        catalog = self.core.catalog
        return (
            node.holder is None
            and node.state is not RegionState.FAILED_OPEN
            and catalog.wanted_open(node.info.table)
            and self.core.locks.owner_of(node.info) is None
        )

    def _assign(self, nodes: list[Node]) -> None:
        for begin in range(0, len(nodes), 500):
            part = nodes[begin : begin + 500]
            self._submit(AssignRegion({"regions": [node.info.to_bytes() for node in part]}))

    # -- what happens meanwhile --------------------------------------------------------------------------

    def check(self) -> None:
        """Return while this master may act; waits while it cannot be sure.

        Raises:
            MasterNotRunningException
        """
        while not self._stop.is_set():
            try:
                self._lease.wait(1.0)
            except LeaseSuspendedException:
                continue
            except LeaseLostException as error:
                raise MasterNotRunningException(str(error)) from error
            return
        raise MasterNotRunningException("this master is stopping: ask the next one")

    def _on_death(self, server: ServerName) -> None:
        if self._ready and not self._stop.is_set():
            threading.Thread(target=self._recover, args=(server,), name="master-death", daemon=True).start()

    def _recover(self, server: ServerName) -> None:
        try:
            if self._coordination.cluster_is_up():
                self.ensure_recovery(server)
        except HBaseIOException as error:  # the chores look again
            logger.warning("recovery not begun server=%s error=%s", server, error)

    def ensure_recovery(self, server: ServerName) -> None:
        """Begin the recovery of a dead server, unless it has begun."""
        if not self._loaded:
            # Which of its regions need its log is not known yet. hbase:meta needs no more than a sealed log;
            # the start takes this server for one of those that were dead before.
            self._seal([server])
            return
        with self._recovering_lock:
            if server in self._recovering:
                return
            self._recovering.add(server)
        try:
            self.core.executor.submit(ServerCrash({"server": str(server), "waiting": []}))
        except BaseException:
            with self._recovering_lock:
                self._recovering.discard(server)
            raise

    def _on_stale(self, error: StaleMasterException) -> None:
        self._on_end(f"a region server obeys another master: {error}")

    def _submit(self, procedure: Procedure) -> None:
        try:
            self.core.executor.submit(procedure)
        except HBaseIOException as error:
            logger.warning("not begun %s error=%s", procedure.describe(), error)

    # -- chores ------------------------------------------------------------------------------------------

    def _begin_chores(self) -> None:
        for name, interval_s, chore in (
            ("probe", PROBE_S, self._probe),
            ("report", REPORT_S, self._look_at_reports),
            ("retry", RETRY_FAILED_S, self._retry_failed),
            ("balancer", BALANCE_S, self.backend.run_balancer),
            ("janitor", self._config.janitor_interval_s, self._clean),
        ):
            thread = threading.Thread(
                target=self._repeat, args=(interval_s, chore), name=f"master-{name}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def _repeat(self, interval_s: float, chore: Callable[[], None]) -> None:
        while not self._stop.wait(interval_s):
            try:
                self.check()
                chore()
            except MasterNotRunningException:
                return
            except Exception as error:
                logger.warning(
                    "chore failed error=%s",
                    error,
                    exc_info=not isinstance(error, (OSError, HBaseIOException)),
                )

    def _probe(self) -> None:
        """A server whose log's lock is free is gone, whatever ZooKeeper still believes."""
        core = self.core
        if not self._coordination.cluster_is_up():
            return
        for server in core.servers.all():
            if core.dead.proved(server):
                logger.info("region server process is gone server=%s", server)
                core.servers.declare_dead(server)
        for server in self._dead_servers():
            if not core.dead.is_done(server):
                self.ensure_recovery(server)

    def _look_at_reports(self) -> None:
        """Regions that have outgrown their limit are split."""
        core = self.core
        for report in core.servers.ask_all().values():
            for held in report.regions:
                node = core.catalog.node(held.info.encoded_name)
                if (
                    held.wants_split
                    and self.backend.switches["split"]
                    and node is not None
                    and str(node.server) == report.server
                    and core.locks.owner_of(held.info) is None
                    and self._tried.get(held.info.encoded_name, 0.0) < time.monotonic() - SPLIT_AGAIN_S
                ):
                    self._tried[held.info.encoded_name] = time.monotonic()
                    data = {"regions": [held.info.to_bytes()], "key": None, "forced": False}
                    self._submit(SplitRegion(data))

    def _retry_failed(self) -> None:
        """What made a region impossible to open may be mended."""
        core = self.core
        self._assign(
            [
                node
                for node in core.catalog.nodes()
                if node.state is RegionState.FAILED_OPEN
                and core.catalog.wanted_open(node.info.table)
                and core.locks.owner_of(node.info) is None
            ]
        )

    def _clean(self) -> None:
        if self.backend.switches["cleaner_chore"]:
            Janitor(self.core).run()

    # -- the end -----------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End: what is under way is the next master's to go on with."""
        self._halt()
        self.core.store.close()

    def abandon(self) -> None:
        """End without touching anything: another master is active."""
        self._halt()
        self.core.store.abandon()

    def _halt(self) -> None:
        self._stop.set()
        if self._watch is not None:
            self._watch.close()
        if not hasattr(self, "core"):
            return
        self.core.executor.stop()
        self.core.locks.stop()
        self.core.servers.close()
        for thread in self._threads:
            thread.join(5)
