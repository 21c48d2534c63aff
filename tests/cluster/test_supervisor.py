"""The supervisor of a cluster: what it starts, keeps, notices, starts again and stops.

It is a process of its own, as a person's would be, with a real ZooKeeper; masters and servers are stand-ins.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hyperbase.cluster import supervised
from hyperbase.cluster.layout import ClusterFile, Layout, ProcessRecord, read_cluster_file, write_cluster_file
from hyperbase.cluster.view import read_znodes
from hyperbase.common.errors import StoreFormatException
from hyperbase.common.process.identity import process_identity
from hyperbase.common.zookeeper.location import ZooKeeperLocation
from tests.support.service import ROOT, environment, hyperbase_command
from tests.support.waiting import wait_for
from tests.support.zookeeper_server import ZooKeeperServer

# The product's command line, with stand-ins for its processes.
PROGRAM = """
import sys
from hyperbase.cli import cluster_commands, main
from hyperbase.cluster import supervised, supervisor
usual = cluster_commands._command
modes = dict(word.split("=") for word in sys.argv[1].split(",") if word)
supervisor.STOP_S = float(modes.pop("stop_s", 60))
supervisor.Supervisor.stop.__defaults__ = (supervisor.STOP_S,)
def stand_in(layout, record, url, config):
    if record.role == "zookeeper":
        return usual(layout, record, url, config)
    words = [sys.executable, "-m", "tests.support.stand_in", record.role, url, str(record.port)]
    return [*words, *filter(None, [modes.get(record.label)])]
cluster_commands._command = stand_in
sys.exit(main.main(sys.argv[2:]))
"""
START_S = 60


class Cluster:
    """``hyperbase cluster`` on one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.layout = Layout(str(directory))

    def start(self, *words: str, modes: str = "") -> subprocess.CompletedProcess[str]:
        """``cluster start``, which returns when it is ready."""
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, modes, "cluster", "start", "--dir", str(self.directory), *words],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=START_S * 2,
        )

    def command(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Any other of its commands."""
        return hyperbase_command("cluster", name, *words, "--dir", self.directory, cwd=self.directory.parent)

    def status(self) -> tuple[int, dict[str, Any]]:
        done = self.command("status", "--json")
        found: dict[str, Any] = json.loads(done.stdout)
        return done.returncode, found

    def states(self) -> list[str]:
        return [process["state"] for process in self.status()[1]["processes"]]

    @property
    def file(self) -> ClusterFile:
        found = read_cluster_file(self.layout)
        assert found is not None
        return found

    def record(self, label: str) -> ProcessRecord:
        found = self.file.of(label)
        assert found is not None
        return found

    def wait_until_ready(self) -> None:
        wait_for(lambda: self.status()[0] == 0, lambda: self.status(), START_S)

    def registered(self) -> list[str]:
        """The names of the region servers that ZooKeeper has."""
        znodes = read_znodes(ZooKeeperLocation.parse(self.file.url))
        return [str(name) for name, state in znodes.states.items() if state == "online"]

    def end(self) -> None:
        """Whatever is left, with the supervisor first."""
        try:
            found = read_cluster_file(self.layout)
        except StoreFormatException:
            return
        if found is None:
            return
        for pid, identity in [
            (found.supervisor, found.supervisor_process),
            *[(record.pid, record.process) for record in found.processes],
        ]:
            if pid and process_identity(pid) == identity:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    found = Cluster(tmp_path / "cluster")
    yield found
    found.end()


@pytest.fixture
def running(cluster: Cluster) -> Cluster:
    """One with two masters and three region servers."""
    done = cluster.start()
    assert done.returncode == 0, done.stdout + done.stderr
    return cluster


def gone(record: ProcessRecord) -> Callable[[], bool]:
    return lambda: not record.alive


def test_it_starts_and_stops(cluster: Cluster) -> None:
    done = cluster.start("--regionservers", "2", "--masters", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\nready\n")
    code, status = cluster.status()
    assert code == 0
    assert status["ready"] is True
    assert status["cluster_id"] == "c-1"
    assert f"url          {status['url']}\n" in done.stdout
    assert [process["role"] for process in status["processes"]] == [
        "zookeeper",
        "master",
        *["regionserver"] * 2,
    ]
    assert [process["state"] for process in status["processes"]] == ["online", "active", "online", "online"]
    assert [process["restarts"] for process in status["processes"]] == [0] * 4
    for process in status["processes"]:
        assert set(process) == {"role", "name", "pid", "address", "info", "state", "restarts"}
        host, port, startcode = process["name"].split(",")
        assert process["address"] == f"{host}:{port}"
        assert abs(int(startcode) / 1000 - time.time()) < 2 * START_S
        assert process_identity(process["pid"])
    assert cluster.command("status").stdout.endswith("\nready\n")
    done = cluster.command("stop")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("stopped 4 processes")
    assert not any(process_identity(process["pid"]) for process in status["processes"])
    code, status = cluster.status()
    assert code == 2
    assert status["ready"] is False
    assert {process["state"] for process in status["processes"]} == {"dead"}
    assert cluster.command("stop").returncode == 1


@pytest.mark.parametrize("label", ["regionserver-2", "master-1", "master-2", "zookeeper"])
def test_what_dies_is_started_again_where_it_was(running: Cluster, label: str) -> None:
    before = running.record(label)
    name = {"zookeeper": label, "master-1": before.name}.get(label, f"127.0.0.1:{before.port}")
    done = running.command("kill", name)
    assert done.stdout == f"KILL {label} pid {before.pid}\n"
    killed = time.monotonic()
    wait_for(lambda: running.record(label).alive and running.record(label).pid != before.pid)
    assert time.monotonic() - killed < 2.5
    running.wait_until_ready()
    wait_for(lambda: running.record(label).named)
    after = running.record(label)
    assert (after.port, after.restarts) == (before.port, 1)
    assert after.name.rpartition(",")[0] == before.name.rpartition(",")[0]
    assert after.name != before.name
    assert sorted(running.states()) == ["active", "online", "online", "online", "online", "standby"]


def test_the_znode_of_a_dead_server_goes_at_once(running: Cluster) -> None:
    name = running.record("regionserver-1").name
    assert name in running.registered()
    os.kill(running.record("regionserver-1").pid, signal.SIGKILL)
    killed = time.monotonic()
    wait_for(lambda: name not in running.registered())
    assert time.monotonic() - killed < 3  # its session would last for 10 s
    session = Path(running.layout.session("regionserver-2"))
    assert session.stat().st_mode & 0o777 == 0o600


def test_a_stopped_process_is_suspended_and_not_dead(running: Cluster) -> None:
    assert running.command("kill", "regionserver-3", "--signal", "STOP").returncode == 0
    code, status = running.status()
    assert code == 1
    assert status["ready"] is False
    assert status["processes"][5]["state"] == "suspended"
    assert status["problems"] == ["regionserver-3 is suspended"]
    assert running.command("status").returncode == 1
    running.command("kill", "regionserver-3", "--signal", "CONT")
    running.wait_until_ready()
    assert running.record("regionserver-3").restarts == 0


def test_it_stops_a_stopped_process(running: Cluster) -> None:
    running.command("kill", "regionserver-3", "--signal", "STOP")
    assert running.command("stop").returncode == 0
    assert not running.file.alive


def test_names_that_are_nobodys(running: Cluster) -> None:
    done = running.command("kill", "regionserver-9")
    assert done.returncode == 2
    assert "no process 'regionserver-9'" in done.stderr
    running.command("stop")
    done = running.command("kill", "regionserver-1")
    assert done.returncode == 1
    assert "regionserver-1 is dead" in done.stderr


def test_two_supervisors_never_share_a_directory(running: Cluster) -> None:
    done = running.start()
    assert done.returncode == 1, "as the daemon's first words are an error"
    assert (
        f"a cluster is running on {running.directory} already: pid {running.file.supervisor}" in done.stderr
    )
    assert running.status()[0] == 0


def test_without_its_supervisor_the_cluster_goes_on_until_the_next_one_adopts_it(running: Cluster) -> None:
    before = running.file
    os.kill(before.supervisor, signal.SIGKILL)
    wait_for(lambda: not before.supervised)
    code, status = running.status()
    assert code == 1
    assert status["supervisor"] is None
    assert status["problems"] == ["no supervisor runs: what dies is not started again"]
    killed = running.record("regionserver-1")
    os.kill(killed.pid, signal.SIGKILL)
    wait_for(gone(killed))
    assert running.status()[1]["processes"][3]["state"] == "dead"
    done = running.start()
    assert done.returncode == 0, done.stderr
    after = running.file
    assert after.url == before.url
    for old, new in zip(before.processes, after.processes, strict=True):
        assert (old.pid == new.pid) == (old.label != "regionserver-1")
        assert old.port == new.port
    adopted = running.record("regionserver-2")
    os.kill(adopted.pid, signal.SIGKILL)
    wait_for(
        lambda: running.record("regionserver-2").alive and running.record("regionserver-2").restarts == 1
    )
    running.wait_until_ready()
    assert running.command("stop").returncode == 0


def test_orphans_are_stopped(running: Cluster) -> None:
    before = running.file
    os.kill(before.supervisor, signal.SIGKILL)
    wait_for(lambda: not before.supervised)
    done = running.command("stop")
    assert done.returncode == 0, done.stderr
    assert not any(record.alive for record in before.processes)
    assert running.status()[0] == 2


def test_a_second_start_takes_the_ports_of_the_first(running: Cluster) -> None:
    before = running.file
    assert running.command("stop").returncode == 0
    assert running.start("--regionservers", "2").returncode == 0
    after = running.file
    assert after.url == before.url
    assert [record.port for record in after.processes] == [record.port for record in before.processes[:-1]]


def test_a_port_that_another_has_taken_is_given_up(running: Cluster) -> None:
    import socket

    port = running.record("regionserver-1").port
    assert running.command("stop").returncode == 0
    with socket.create_server(("127.0.0.1", port)):
        assert running.start().returncode == 0
        assert running.record("regionserver-1").port != port


def test_fewer_region_servers_than_run(running: Cluster) -> None:
    before = running.file
    os.kill(before.supervisor, signal.SIGKILL)
    wait_for(lambda: not before.supervised)
    assert running.start("--regionservers", "1").returncode == 0
    surplus = [record for record in before.processes if record.label in ("regionserver-2", "regionserver-3")]
    wait_for(lambda: not any(record.alive for record in surplus))
    assert len(running.status()[1]["processes"]) == 4


def test_a_process_that_does_not_end_is_killed(cluster: Cluster) -> None:
    assert cluster.start(modes="regionserver-1=deaf,stop_s=3").returncode == 0
    done = cluster.command("stop")
    assert done.returncode == 1
    assert "regionserver-1 did not end in time and got SIGKILL; no acknowledged write is lost" in done.stderr
    assert cluster.status()[0] == 2


def test_a_process_that_never_comes_up_is_the_reason(cluster: Cluster) -> None:
    done = cluster.start("--timeout", "8", modes="regionserver-2=crash")
    assert done.returncode == 1
    assert "not ready within 8 s: regionserver-2 did not start" in done.stderr
    assert "regionserver-2.log ends with: something is wrong. It was stopped" in done.stderr
    assert cluster.status()[0] == 2
    log = Path(cluster.layout.log("supervisor")).read_text()
    assert "restart_in_s=1.0" in log
    assert "restart_in_s=2.0" in log


def test_an_ensemble_of_its_users(cluster: Cluster, zookeeper: ZooKeeperServer, root: str) -> None:
    done = cluster.start("--regionservers", "1", "--masters", "1", "--zookeeper", f"{zookeeper.quorum}{root}")
    assert done.returncode == 0, done.stderr
    _, status = cluster.status()
    assert status["url"] == f"zk://{zookeeper.quorum}{root}"
    assert [process["role"] for process in status["processes"]] == ["master", "regionserver"]
    before = cluster.file
    os.kill(before.supervisor, signal.SIGKILL)
    wait_for(lambda: not before.supervised)
    done = cluster.start("--regionservers", "1", "--masters", "1")
    assert done.returncode == 1
    assert f"of the cluster at zk://{zookeeper.quorum}{root} still run: stop them first" in done.stderr
    assert cluster.command("stop").returncode == 0
    assert zookeeper.mode()


def test_in_the_foreground_a_signal_stops_it(cluster: Cluster) -> None:
    command = [sys.executable, "-c", PROGRAM, "", "cluster", "start", "--dir", str(cluster.directory)]
    process = subprocess.Popen(
        [*command, "--foreground", "--regionservers", "1", "--masters", "1"],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line == "ready\n":
            break
    assert lines[-1] == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(START_S) == 0
    process.stdout.close()
    assert not cluster.file.alive


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--regionservers", "0"], "--regionservers must be 1 or more"),
        (["--masters", "-1"], "--masters must be 1 or more"),
        (["--zookeeper", "h:x"], "not a port"),
    ],
)
def test_wrong_arguments(cluster: Cluster, words: list[str], message: str) -> None:
    done = cluster.command("start", *words)
    assert done.returncode == 2
    assert message in done.stderr


def test_no_zookeeper_is_installed(cluster: Cluster) -> None:
    done = hyperbase_command(
        *("cluster", "start", "--dir", cluster.directory),
        cwd=cluster.directory.parent,
        HYPERBASE_ZOOKEEPER_JAR="/nowhere.jar",
    )
    assert done.returncode == 1
    assert "no ZooKeeper can be started, there is no /nowhere.jar (Debian, Ubuntu: apt install" in done.stderr


def test_no_cluster(cluster: Cluster) -> None:
    code, status = cluster.status()
    assert code == 2
    assert status["ready"] is False
    assert cluster.command("status").stdout == f"not running: there is no cluster in {cluster.directory}\n"
    for command in (["stop"], ["kill", "master-1"]):
        assert cluster.command(*command).returncode == 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 2}', '{"version": 1, "processes": [{"role": "x"}]}']
)
def test_a_damaged_file(cluster: Cluster, text: str) -> None:
    cluster.layout.make()
    Path(cluster.layout.state).write_text(text)
    with pytest.raises(StoreFormatException, match=r"cluster\.json is damaged"):
        read_cluster_file(cluster.layout)
    for command in (["status"], ["stop"], ["kill", "x"]):
        assert cluster.command(*command).returncode == 2


def test_a_pid_that_is_used_again_is_not_the_process(cluster: Cluster) -> None:
    cluster.layout.make()
    record = ProcessRecord("master", "master-1", os.getpid(), "another-boot:1", "h,1,1", 1)
    write_cluster_file(
        cluster.layout, ClusterFile("zk://127.0.0.1:1/hyperbase", os.getpid(), "b:1", True, (record,))
    )
    assert not cluster.file.alive
    assert cluster.status()[0] == 2
    assert cluster.command("kill", "master-1").returncode == 1


def test_the_pause_before_a_restart_grows() -> None:
    delays = []
    process = supervised.Supervised.__new__(supervised.Supervised)
    process._delay_s = supervised.FIRST_DELAY_S
    for _ in range(7):
        before = time.monotonic()
        process._be_due()
        assert process.due is not None
        delays.append(round(process.due - before))
    assert delays == [1, 2, 4, 8, 16, 30, 30]


def test_endpoints_are_read_from_what_a_process_says() -> None:
    lines = [
        "rpc      hyperbase://127.0.0.1:16020  (loopback: this machine only)",
        "info     http://127.0.0.1:16030/health  (loopback: this machine only)",
        "rest     not there yet: port 8080 is kept for it",
        "ready",
    ]
    record = supervised._with_endpoints(ProcessRecord("regionserver", "regionserver-1"), lines)
    assert (record.port, record.info_port) == (16020, 16030)
    assert record.info == "http://127.0.0.1:16030/health"
