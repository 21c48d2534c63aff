"""HBase 2.6.1 beside us: jars fetched once, a standalone HBase with Thrift on loopback, a Java client.

HOME is a folder of the user's: ``lib/`` with HBase's jars (an unpacked HBase release will do; without it
Maven fetches them) and ``conf/`` with hbase-site.xml (written when there is none). An HBase that runs already
is used and left running; else one is started and stopped again.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from benchmarks.network.processes import listener
from benchmarks.network.team import Worker

VERSION = "2.6.1"
JAVA = Path(__file__).parent / "java"
MASTER = "org.apache.hadoop.hbase.master.HMaster"
THRIFT = "org.apache.hadoop.hbase.thrift.ThriftServer"
REGION_SERVER_PORT, THRIFT_PORT = 16020, 9090
SERVERS = ((MASTER, REGION_SERVER_PORT), (THRIFT, THRIFT_PORT))
SERVER_HEAP, CLIENT_HEAP = "4g", "256m"
START_TIMEOUT_S = 120
# Packages that HBase reaches into on a JDK of 11 or newer.
_OPENED = ["java.lang", "java.lang.reflect", "java.nio", "java.io", "java.util", "java.net", "sun.nio.ch"]
_OPENED += ["jdk.internal.ref", "jdk.internal.misc"]


class HBaseUnavailable(RuntimeError):
    """No JDK, no jars, or HBase did not start; the benchmark goes on without it."""


class HBase:
    """The peer, up and with its Java client compiled."""

    def __init__(self, home: Path, scratch: Path) -> None:
        self._home = home.resolve()
        self._classes = scratch / "classes"
        self._logs = scratch
        self._started: list[subprocess.Popen[bytes]] = []
        for tool in ("java", "javac"):
            if shutil.which(tool) is None:
                raise HBaseUnavailable(f"{tool} is not installed (Debian, Ubuntu: apt install default-jdk)")
        self._fetch_jars()
        self._configure()
        self._compile()
        self._start()
        self.shared = len(self._started) < len(SERVERS)
        self.pids = [pid for pid in map(listener, (REGION_SERVER_PORT, THRIFT_PORT)) if pid is not None]

    # -- making it run -----------------------------------------------------------------------------------

    def _fetch_jars(self) -> None:
        if (self._home / "lib").is_dir():
            return
        if shutil.which("mvn") is None:
            raise HBaseUnavailable(f"{self._home}/lib does not exist, and without mvn it cannot be fetched")
        self._home.mkdir(parents=True, exist_ok=True)
        shutil.copy(JAVA / "pom.xml", self._home / "pom.xml")
        command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib.tmp"]
        if subprocess.run(command, cwd=self._home, check=False).returncode:
            raise HBaseUnavailable(f"mvn could not fetch HBase's jars into {self._home}")
        for pattern in ("servlet-api-2.5.jar", "slf4j-reload4j*"):  # both break HBase's web server
            for jar in (self._home / "lib.tmp").glob(pattern):
                jar.unlink()
        (self._home / "lib.tmp").rename(self._home / "lib")

    def _configure(self) -> None:
        site = self._home / "conf" / "hbase-site.xml"
        if site.exists():
            return
        site.parent.mkdir(parents=True, exist_ok=True)
        data = self._home / "data"
        settings = {
            "hbase.rootdir": f"file://{data}/root",
            "hbase.tmp.dir": f"{data}/tmp",
            "hbase.zookeeper.property.dataDir": f"{data}/zk",
            "hbase.zookeeper.quorum": "localhost",
            "hbase.cluster.distributed": "false",
            "hbase.unsafe.stream.capability.enforce": "false",
            "hbase.wal.provider": "filesystem",
            "hbase.regionserver.thrift.ipaddress": "127.0.0.1",
        }
        for role in ("master", "regionserver"):
            settings[f"hbase.{role}.ipc.address"] = "127.0.0.1"
            settings[f"hbase.{role}.hostname"] = "localhost"
            settings[f"hbase.{role}.info.bindAddress"] = "127.0.0.1"
        properties = "".join(
            f"<property><name>{name}</name><value>{value}</value></property>\n"
            for name, value in settings.items()
        )
        site.write_text(f"<configuration>\n{properties}</configuration>\n")
        (site.parent / "log4j2.properties").write_text(
            "status=warn\nrootLogger.level=INFO\nrootLogger.appenderRefs=o\nrootLogger.appenderRef.o.ref=o\n"
            "appender.o.type=Console\nappender.o.name=o\nappender.o.target=SYSTEM_ERR\n"
            "appender.o.layout.type=PatternLayout\nappender.o.layout.pattern=%d{ISO8601} %-5p %c{2}: %m%n\n"
        )

    def _compile(self) -> None:
        self._classes.mkdir(parents=True, exist_ok=True)
        command = ["javac", "-nowarn", "-cp", self._class_path(), "-d", str(self._classes)]
        done = subprocess.run(
            [*command, str(JAVA / "HBaseBench.java")], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise HBaseUnavailable(f"javac: {done.stderr[-600:]}")

    def _start(self) -> None:
        for main, port in SERVERS:
            if _listening(port):
                continue
            log = self._logs / f"hbase-{main.rpartition('.')[2]}.log"
            with open(log, "wb") as output:
                process = subprocess.Popen(
                    [*self._java(SERVER_HEAP if main is MASTER else "1g"), main, "start"],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            self._started.append(process)
            deadline = time.monotonic() + START_TIMEOUT_S
            while not _listening(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise HBaseUnavailable(f"{main} did not open port {port}: see {log}")
                time.sleep(0.5)

    def stop(self) -> None:
        """End what was started here; Thrift first."""
        for process in reversed(self._started):
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._started.clear()

    # -- its clients -------------------------------------------------------------------------------------

    def _class_path(self) -> str:
        lib = self._home / "lib"
        parts = [self._classes, self._home / "conf", lib / "*"]
        parts += [folder / "*" for folder in lib.glob("client-facing-thirdparty")]
        return os.pathsep.join(map(str, parts))

    def _java(self, heap: str) -> list[str]:
        command = ["java", f"-Xmx{heap}", "-cp", self._class_path()]
        for package in _OPENED:
            command += ["--add-opens", f"java.base/{package}=ALL-UNNAMED"]
        command += ["--add-exports", "java.base/jdk.internal.misc=ALL-UNNAMED"]
        return [*command, f"-Dlog4j2.configurationFile={self._home / 'conf' / 'log4j2.properties'}"]

    def prepare(self, rows: int) -> None:
        """Both tables; the one that is read flushed and compacted."""
        self._run("prepare", str(rows), timeout_s=60 + rows / 500)

    def fresh_table_for_writes(self) -> None:
        self._run("fresh", timeout_s=120)

    def _run(self, *arguments: str, timeout_s: float) -> None:
        log = self._logs / f"java-{arguments[0]}.log"
        with open(log, "wb") as output:
            done = subprocess.run(
                [*self._java(CLIENT_HEAP), "HBaseBench", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=timeout_s,
                check=False,
            )
        if done.returncode:
            raise HBaseUnavailable(
                f"HBaseBench {' '.join(arguments)}: {log.read_text(errors='replace')[-600:]}"
            )

    def worker(self, work: str, client: int, rows: int, warm_up_s: float, warm_up_ops: int) -> Worker:
        arguments = [work, str(client), str(rows), str(warm_up_s), str(warm_up_ops)]
        log = self._logs / f"java-{work}-{client}.log"
        return Worker([*self._java(CLIENT_HEAP), "HBaseBench", *arguments], log)

    @property
    def thrift_location(self) -> str:
        return f"127.0.0.1:{THRIFT_PORT}"


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
