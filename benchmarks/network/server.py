"""Hyperbase's server and the echo server, as processes of their own."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hyperbase
from benchmarks.network.data import BATCH, FAMILY, READ, WRITE, Source
from benchmarks.network.processes import status_kib, tree_rss_kib
from benchmarks.network.team import Worker

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 60.0
SETTING = "HYPERBASE_STORE_{}"  # how `hyperbase config` names a setting of the store in the environment


class Server:
    """``hyperbase start`` on a free port of the loopback, with its other doors shut."""

    def __init__(self, directory: Path, log: Path, settings: Mapping[str, object] | None = None) -> None:
        self.directory = directory
        self._log = log
        allow_many_files()
        env = dict(os.environ)
        env.update({SETTING.format(name.upper()): str(value) for name, value in (settings or {}).items()})
        command = [sys.executable, "-m", "hyperbase.cli", "start", "--data", str(directory), "--port", "0"]
        command += ["--rest-port", "0", "--thrift-port", "0", "--console-port", "0"]
        started = time.monotonic()
        with open(log, "wb") as output:
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=output, env=env, text=True
            )
        self._wait_ready()
        self.start_s = time.monotonic() - started
        described = json.loads((directory / "server.json").read_text())
        self.location: str = described["endpoints"]["rpc"]
        self.pid: int = described.get("pid", self._process.pid)

    def _wait_ready(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == "ready":
                return
        self._process.wait()
        raise RuntimeError(f"hyperbase start failed: {self._log.read_text(errors='replace')[-600:]}")

    def connect(self) -> Any:
        return hyperbase.connect(self.location)

    def rss_mb(self) -> float:
        """Resident memory of the server and its workers, now."""
        return tree_rss_kib(self.pid) / 1024

    def peak_rss_mb(self) -> float:
        """The most the server itself ever held."""
        return status_kib(self.pid, "VmHWM") / 1024

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


class EchoServer:
    """echo.py in a process."""

    def __init__(self, log: Path) -> None:
        self._worker = Worker([sys.executable, "-m", "benchmarks.network.echo"], log)
        self.port = int(self._worker.read_line(START_TIMEOUT_S).split()[1])

    def stop(self) -> None:
        self._worker.stop()


def allow_many_files() -> None:
    """Room for 1,000 connections in this process and those it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def recreate(connection: Any, name: str) -> None:
    """An empty table with HBase's defaults: one version, no compression, a ROW Bloom filter."""
    if connection.admin.table_exists(name):
        connection.delete_table(name, disable=True)
    connection.create_table(name, {FAMILY: {"max_versions": 1}})


def load(connection: Any, name: str, rows: int, flushes: int = 1) -> None:
    """Rows ``0 .. rows`` of the table that is read, in as many StoreFiles as there are flushes."""
    source = Source(0, rows)
    table = connection.table(name)
    for part in range(flushes):
        numbers = range(part, rows, flushes)
        for begin in range(0, len(numbers), BATCH):
            with table.batch() as batch:
                for number in numbers[begin : begin + BATCH]:
                    batch.put(*source.row(number))
        connection.admin.flush(name)


def prepare(connection: Any, rows: int) -> None:
    """Both tables; the one that is read lies in one StoreFile."""
    recreate(connection, WRITE)
    recreate(connection, READ)
    load(connection, READ, rows)
    connection.admin.major_compact(READ)
