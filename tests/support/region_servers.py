"""Region servers as real processes, and a small master that commands them as a real one does.

The master knows no procedures: a test says what is opened where, and plays each recovery by hand.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from hyperbase.client.network.channel import Channel
from hyperbase.common.catalog import (
    ENABLED,
    META_DESCRIPTOR,
    add_location,
    region_put,
    table_put,
)
from hyperbase.common.config import ClientConfig
from hyperbase.common.descriptors import TableDescriptor
from hyperbase.common.model import Mutation
from hyperbase.common.region_info import META_REGION, RegionInfo
from hyperbase.common.server_name import ServerName
from hyperbase.common.wire.command_codec import COMMANDS, OpenRegion, Order, encode_command
from hyperbase.common.wire.messages import Method
from hyperbase.common.zookeeper.coordination import ZooKeeperCoordination
from regionserver.storage.local_filesystem import LocalFileSystem
from regionserver.storage.wal_reader import LogRecovery
from tests.support.service import COMMAND, TIMEOUT_S, _listen_to_signals, environment

CLUSTER_ID = "11111111-2222-3333-4444-555555555555"
MASTER = ServerName("localhost", 16000, 1)


class RegionServerProcess:
    """``hyperbase regionserver`` in the foreground; with ``wait``, until it is ready."""

    def __init__(
        self, root: Path, zookeeper: str, *, wait: bool = True, tick_s: float = 0.5, timeout_s: float = 3
    ) -> None:
        command = [*COMMAND, "regionserver", "--data", str(root), "--zookeeper", zookeeper]
        command += ["--port", "0", "--info-port", "0"]
        settings = {
            "HYPERBASE_SERVER_ZOOKEEPER_TICK_S": str(tick_s),
            "HYPERBASE_SERVER_ZOOKEEPER_SESSION_TIMEOUT_S": str(timeout_s),
        }
        self.log_path = root.parent / f"server-{os.urandom(4).hex()}.log"
        with open(self.log_path, "wb") as errors:
            self.process = subprocess.Popen(
                command,
                cwd=root.parent,
                env=environment(**settings),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
                preexec_fn=_listen_to_signals,
            )
        self.lines: list[str] = []
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self) -> RegionServerProcess:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line == "ready\n":
                return self
        raise AssertionError(f"no server: code {self.process.wait()}, {self.lines}, {self.log}")

    @property
    def log(self) -> str:
        """What it wrote to standard error so far."""
        return self.log_path.read_text(encoding="utf-8")

    @property
    def name(self) -> ServerName:
        found = re.search(r"started server=(\S+)", self.log)
        assert found, self.log
        return ServerName.parse(found[1])

    @property
    def port(self) -> int:
        return self.name.port

    def health(self) -> dict[str, Any]:
        """What /health says."""
        (url,) = (line.split()[1] for line in self.lines if line.startswith("info"))
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                facts: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            facts = json.load(error)
        return facts

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(TIMEOUT_S)

    def kill(self) -> None:
        """End it as a crash would, when it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(TIMEOUT_S)
        if self.process.stdout is not None:
            self.process.stdout.close()


class SmallMaster:
    """The active master of a cluster, as far as region servers notice."""

    def __init__(self, coordination: ZooKeeperCoordination, root: Path) -> None:
        self.coordination = coordination
        self.fs = LocalFileSystem(root)
        self.root = root
        self.number = 0
        root.mkdir(exist_ok=True)
        if not self.fs.exists("LOCK"):
            self.fs.lock("LOCK").release()
        identity = json.dumps({"format": 1, "cluster_id": CLUSTER_ID}).encode()
        self.fs.create_if_absent("hyperbase.json", identity)
        assert coordination.become_master(MASTER)
        coordination.publish_cluster_id(CLUSTER_ID)
        coordination.set_cluster_up("now")

    @property
    def epoch(self) -> int:
        return self.coordination.master_lease.czxid

    def command(
        self, server: ServerName, name: str, *arguments: Any, order: Order | None = None, wait_s: float = 30
    ) -> Any:
        """One command on a connection of its own.

        Raises:
            HBaseIOException: the server's error.
        """
        self.number += 1
        sent = encode_command(order or Order(self.epoch, self.number), name, arguments)
        config = ClientConfig(operation_timeout_s=wait_s)
        channel = Channel.connect(server.address, os.urandom(16), config, 10)
        try:
            answer = channel.call(int(Method.COMMAND), sent, None, None)
        finally:
            channel.close()
        return COMMANDS[name].result.decode(answer)

    def open(
        self,
        server: ServerName,
        infos: Sequence[RegionInfo],
        table: TableDescriptor,
        logs: tuple[str, ...] = (),
    ) -> list[Any]:
        """Have regions opened; their outcomes."""
        wanted = [OpenRegion(info, table, logs) for info in infos]
        outcomes: list[Any] = self.command(server, "open_regions", wanted)
        return outcomes

    def open_meta(self, server: ServerName, logs: tuple[str, ...] = ()) -> None:
        """Have hbase:meta opened and say where it is."""
        (outcome,) = self.open(server, [META_REGION], META_DESCRIPTOR, logs)
        assert isinstance(outcome, int), outcome
        self.coordination.set_meta_location(server)

    def write_meta(self, *mutations: Mutation) -> None:
        server = self.coordination.meta_location()
        assert self.command(server, "write_meta", list(mutations), [])

    def assign(
        self,
        server: ServerName,
        infos: Sequence[RegionInfo],
        table: TableDescriptor,
        logs: tuple[str, ...] = (),
    ) -> None:
        """Have regions opened, and clients find them."""
        outcomes = self.open(server, infos, table, logs)
        assert all(isinstance(outcome, int) for outcome in outcomes), outcomes
        rows = [
            add_location(region_put(info), server, opened)
            for info, opened in zip(infos, outcomes, strict=True)
        ]
        self.write_meta(*rows)

    def create(
        self, table: TableDescriptor, splits: Sequence[bytes], servers: Sequence[ServerName]
    ) -> list[RegionInfo]:
        """A table whose regions are spread over the servers."""
        bounds = [b"", *splits, b""]
        infos = [RegionInfo(table.name, start, stop, 1) for start, stop in pairwise(bounds)]
        self.write_meta(table_put(table, ENABLED))
        for number, info in enumerate(infos):
            self.assign(servers[number % len(servers)], [info], table)
        return infos

    def recover(self, server: ServerName) -> str:
        """Set a dead server's log aside and seal it; its directory."""
        self.coordination.remove_znode_of(server)
        aside = f"WALs/{server}-splitting"
        assert self.fs.fence_log(f"WALs/{server}", aside)
        for _ in LogRecovery(self.fs, aside, seal=True).records():
            pass
        return aside
