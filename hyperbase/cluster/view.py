"""What a cluster of ``hyperbase cluster start`` is doing, found out anew.

Pids are looked at, ZooKeeper and the processes are asked. Of the supervisor's word nothing is taken but
which processes there should be.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from hyperbase.client.network.zookeeper import short_session
from hyperbase.cluster.layout import (
    CLOCK_SLACK_MS,
    MASTER,
    REGION_SERVER,
    ZOOKEEPER,
    ClusterFile,
    Layout,
    ProcessRecord,
    read_cluster_file,
)
from hyperbase.cluster.zookeeper_process import zookeeper_answers
from hyperbase.common.errors import HBaseIOException, IllegalArgumentException
from hyperbase.common.process.identity import is_stopped
from hyperbase.common.region_info import RegionState
from hyperbase.common.server_name import ServerName
from hyperbase.common.zookeeper.location import ZooKeeperLocation
from hyperbase.common.zookeeper.znodes import (
    MasterInfo,
    MetaLocation,
    RegionServerInfo,
    ZnodePaths,
    read_cluster_id,
)

STARTING, ACTIVE, STANDBY, ONLINE = "starting", "active", "standby", "online"
SUSPENDED, DEAD = "suspended", "dead"
ZOOKEEPER_S = 3.0
HEALTH_S = 1.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy stands in between


@dataclass(slots=True)
class Znodes:
    """What ZooKeeper says of the cluster's processes."""

    cluster_id: str = ""
    meta_is_open: bool = False
    states: dict[ServerName, str] = field(default_factory=dict)
    info_ports: dict[ServerName, int] = field(default_factory=dict)

    def of(self, record: ProcessRecord) -> ServerName | None:
        """The name under which a process has registered."""
        for name in sorted(self.states, key=lambda name: -name.startcode):
            if name.port == record.port and name.startcode >= record.started_ms - CLOCK_SLACK_MS:
                if (self.states[name] == ONLINE) == (record.role == REGION_SERVER):
                    return name
        return None


@dataclass(frozen=True, slots=True)
class ProcessView:
    """One process now."""

    role: str
    label: str
    name: str
    pid: int
    address: str
    info: str
    state: str
    restarts: int

    def to_json(self) -> dict[str, Any]:
        """As ``hyperbase cluster status --json`` has it."""
        shown = ("role", "name", "pid", "address", "info", "state", "restarts")
        return {key: getattr(self, key) if key == "restarts" else getattr(self, key) or None for key in shown}


@dataclass(frozen=True, slots=True)
class ClusterView:
    """All of them; ``problems`` says why the cluster is not ready, a line each."""

    url: str
    cluster_id: str
    supervisor: int  # its pid; 0: none runs
    processes: tuple[ProcessView, ...]
    problems: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Everything that should run does, and hbase:meta is served."""
        return not self.problems

    @property
    def running(self) -> bool:
        """Whether anything runs."""
        return bool(self.supervisor) or any(process.state != DEAD for process in self.processes)

    def to_json(self) -> dict[str, Any]:
        """As ``hyperbase cluster status --json`` has it."""
        return {
            "url": self.url,
            "ready": self.ready,
            "cluster_id": self.cluster_id or None,
            "supervisor": self.supervisor or None,
            "processes": [process.to_json() for process in self.processes],
            "problems": list(self.problems),
        }


def view_cluster(layout: Layout, there: ClusterFile | None = None) -> ClusterView | None:
    """The cluster of a directory; None: there has never been one.

    Raises:
        StoreFormatException: ``cluster.json`` is damaged.
    """
    there = there or read_cluster_file(layout)
    if there is None:
        return None
    asked: str | None = None
    znodes = Znodes()
    if there.alive:
        try:
            znodes = read_znodes(ZooKeeperLocation.parse(there.url))
        except (HBaseIOException, IllegalArgumentException) as error:
            asked = str(error)
    with ThreadPoolExecutor(8) as threads:
        processes = tuple(threads.map(lambda record: _view(record, znodes), there.processes))
    return ClusterView(
        there.url,
        znodes.cluster_id or _cluster_id_of(layout),
        there.supervisor if there.supervised else 0,
        processes,
        tuple(_problems(there, znodes, processes, asked)),
    )


def read_znodes(location: ZooKeeperLocation, timeout_s: float = ZOOKEEPER_S) -> Znodes:
    """What ZooKeeper says.

    Raises:
        HBaseIOException: it does not answer, or what it holds is no cluster's.
    """
    paths, found = ZnodePaths(location.root), Znodes()
    with short_session(location, timeout_s) as client:
        asked = {path: client.get_async(path) for path in (paths.cluster_id, paths.master, paths.meta)}
        folders = {path: client.get_children_async(path) for path in (paths.backup_masters, paths.servers)}
        for folder, names in folders.items():
            for name in _got(names, timeout_s) or ():
                asked[f"{folder}/{name}"] = client.get_async(f"{folder}/{name}")
        values = {path: _got(answer, timeout_s) for path, answer in asked.items()}
    for path, value in values.items():
        if value is not None:
            _note(found, paths, path, value[0])
    return found


def _got(answer: Any, timeout_s: float) -> Any:
    from kazoo.exceptions import NoNodeError

    try:
        return answer.get(timeout=timeout_s)
    except NoNodeError:
        return None


def _note(found: Znodes, paths: ZnodePaths, path: str, value: bytes) -> None:
    if path == paths.cluster_id:
        found.cluster_id = read_cluster_id(value)
    elif path == paths.meta:
        found.meta_is_open = MetaLocation.from_bytes(value).state is RegionState.OPEN
    elif path.startswith(f"{paths.servers}/"):
        name = ServerName.parse(path.rpartition("/")[2])
        found.states[name] = ONLINE
        found.info_ports[name] = RegionServerInfo.from_bytes(value).info_port
    else:
        master = MasterInfo.from_bytes(value)
        found.states[master.server] = ACTIVE if path == paths.master else STANDBY
        found.info_ports[master.server] = master.info_port


def _view(record: ProcessRecord, znodes: Znodes) -> ProcessView:
    name = znodes.of(record)
    shown = record.name if name is None else str(name)
    if name is not None:
        address, info_port = name.address, znodes.info_ports[name]
    else:
        address, info_port = f"127.0.0.1:{record.port}" if record.port else "", 0
    info = record.info or (f"http://{address.rpartition(':')[0]}:{info_port}/health" if info_port else "")
    state = _state(record, None if name is None else znodes.states[name], info)
    return ProcessView(
        record.role,
        record.label,
        shown,
        record.pid if state != DEAD else 0,
        address,
        info,
        state,
        record.restarts,
    )


def _state(record: ProcessRecord, registered: str | None, info: str) -> str:
    if not record.alive:
        return DEAD
    if is_stopped(record.pid):
        return SUSPENDED
    if record.role == ZOOKEEPER:
        return ONLINE if zookeeper_answers(record.port) else STARTING
    health = _health(info) if info else None
    if health is not None and health.get("state") == SUSPENDED:
        return SUSPENDED
    return registered or STARTING


def _health(url: str) -> Mapping[str, Any] | None:
    """What a process says of itself; None: nothing, it may be starting."""
    try:
        with _DIRECT.open(url, timeout=HEALTH_S) as answer:
            found = json.load(answer)
    except urllib.error.HTTPError as error:
        try:
            found = json.load(error)
        except ValueError:
            return None
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _problems(
    there: ClusterFile, znodes: Znodes, processes: tuple[ProcessView, ...], asked: str | None
) -> list[str]:
    problems = []
    if not there.supervised:
        problems.append("no supervisor runs: what dies is not started again")
    if asked is not None:
        problems.append(asked)
    for process in processes:
        if process.state in (DEAD, SUSPENDED, STARTING):
            problems.append(f"{process.label} is {process.state}")
    if not any(process.state == ACTIVE for process in processes if process.role == MASTER):
        problems.append("no master is active")
    if not znodes.meta_is_open:
        problems.append("hbase:meta is not served")
    return problems


def _cluster_id_of(layout: Layout) -> str:
    """The identity as the root has it."""
    try:
        with open(os.path.join(layout.data, "hyperbase.json"), encoding="utf-8") as file:
            return str(json.load(file)["cluster_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
