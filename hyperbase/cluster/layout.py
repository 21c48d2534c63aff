"""The directory of ``hyperbase cluster start``, and ``cluster.json`` in it: which processes there are.

DIR/data/             the cluster's root; a store like any other once the cluster has stopped cleanly
DIR/zookeeper/        of its own ZooKeeper: settings and data
DIR/logs/<label>.log  of each process; supervisor.log
DIR/run/<label>.out   what a process says when it starts; <label>.session ends its session (mode 0600)
DIR/cluster.json      who runs: written whole by the supervisor at each change
DIR/supervisor.lock   held with flock while a supervisor runs

A label is the role with a number, ``regionserver-2``: it stays, while the process behind it changes.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from hyperbase.common.errors import StoreFormatException, StoreLockedException
from hyperbase.common.process.identity import is_process

VERSION = 1  # of cluster.json. Persisted: numbers are never reused.
CLOCK_SLACK_MS = 500  # a process takes its start code after it was started, by a clock that may be set back
ZOOKEEPER, MASTER, REGION_SERVER = "zookeeper", "master", "regionserver"
ROLES = (ZOOKEEPER, MASTER, REGION_SERVER)


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths in the directory, which is absolute."""

    directory: str

    def path(self, *parts: str) -> str:
        """Of something in it."""
        return os.path.join(self.directory, *parts)

    @property
    def data(self) -> str:
        """The cluster's root."""
        return self.path("data")

    @property
    def state(self) -> str:
        """Who runs."""
        return self.path("cluster.json")

    def log(self, label: str) -> str:
        """A process's log."""
        return self.path("logs", f"{label}.log")

    def output(self, label: str) -> str:
        """What a process said when it started."""
        return self.path("run", f"{label}.out")

    def session(self, label: str) -> str:
        """What ends a process's session."""
        return self.path("run", f"{label}.session")

    def make(self) -> None:
        """Make the directories. Raises OSError."""
        for parts in ((), ("data",), ("logs",), ("run",)):
            os.makedirs(self.path(*parts), exist_ok=True)


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """One process as ``cluster.json`` has it; ``pid`` 0: none runs."""

    role: str
    label: str
    pid: int = 0
    process: str = ""  # its identity: see ``process_identity``
    name: str = ""  # host,port,startcode; the last one it had
    port: int = 0  # the one it listens on, or last did
    info: str = ""  # URL of its health
    info_port: int = 0
    started_ms: int = 0
    restarts: int = 0

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return is_process(self.pid, self.process)

    @property
    def named(self) -> bool:
        """Whether ``name`` is that of this very process, and not of one before it."""
        startcode = self.name.rpartition(",")[2]
        return startcode.isdecimal() and int(startcode) >= self.started_ms - CLOCK_SLACK_MS


@dataclass(frozen=True, slots=True)
class ClusterFile:
    """What ``cluster.json`` says."""

    url: str = ""  # zk://…
    supervisor: int = 0  # its pid
    supervisor_process: str = ""
    own_zookeeper: bool = True
    processes: tuple[ProcessRecord, ...] = ()
    killed: tuple[str, ...] = ()  # labels of those that did not stop in time
    version: int = VERSION

    @property
    def supervised(self) -> bool:
        """Whether the supervisor runs."""
        return is_process(self.supervisor, self.supervisor_process)

    @property
    def alive(self) -> bool:
        """Whether anything runs."""
        return self.supervised or any(record.alive for record in self.processes)

    def of(self, label: str) -> ProcessRecord | None:
        """The process with a label."""
        return next((record for record in self.processes if record.label == label), None)

    def named(self, name: str) -> ProcessRecord | None:
        """The process that a person means: by label, by name or by address."""
        for record in self.processes:
            host = record.name.partition(",")[0] or "127.0.0.1"
            if name in (record.label, record.name, f"{host}:{record.port}"):
                return record
        return None


def read_cluster_file(layout: Layout) -> ClusterFile | None:
    """What the directory's ``cluster.json`` says; None: there is none.

    Raises:
        StoreFormatException: it is damaged, or a newer version's.
    """
    try:
        with open(layout.state, encoding="utf-8") as file:
            found = json.load(file)
        if found["version"] > VERSION:
            raise ValueError(f"version {found['version']}")
        return _parsed(found)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreFormatException(
            f"{layout.state} is damaged ({type(error).__name__}: {error}): when no process of the cluster "
            "runs, remove it"
        ) from error


def _parsed(found: Any) -> ClusterFile:
    records = tuple(ProcessRecord(**record) for record in found["processes"])
    for record in records:
        if record.role not in ROLES or record.pid < 0:
            raise ValueError(f"process {record}")
    return ClusterFile(**{**found, "processes": records, "killed": tuple(found["killed"])})


def write_cluster_file(layout: Layout, found: ClusterFile) -> None:
    """Write ``cluster.json``: a reader sees all of it or none. Raises OSError."""
    temporary = layout.path(f".tmp-{os.getpid()}-{secrets.token_hex(6)}")
    try:
        with open(temporary, "x", encoding="utf-8") as file:
            json.dump(asdict(found), file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, layout.state)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def with_record(records: Sequence[ProcessRecord], label: str, **changes: Any) -> tuple[ProcessRecord, ...]:
    """The records with one changed."""
    return tuple(replace(one, **changes) if one.label == label else one for one in records)


class DirectoryLock:
    """The directory is one supervisor's, as long as its process lives."""

    def __init__(self, layout: Layout) -> None:
        """Raises StoreLockedException: another process has it."""
        self._file = os.open(layout.path("supervisor.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            there = read_cluster_file(layout)
            known = there is not None and there.supervised
            who = f"pid {there.supervisor}, {there.url}" if there is not None and known else "starting"
            raise StoreLockedException(
                f"a cluster is running on {layout.directory} already: {who}; connect to it, look with "
                "hyperbase cluster status, or stop it with hyperbase cluster stop"
            ) from None

    def release(self) -> None:
        """Another one may begin."""
        os.close(self._file)
