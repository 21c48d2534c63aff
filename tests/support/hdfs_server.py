"""A real HDFS for tests: one NameNode and one DataNode of Apache Hadoop, on free ports of loopback.

Maven fetches the jars from Maven Central, once, into a cache directory outside the checkout
(``$XDG_CACHE_HOME/hyperbase/hdfs-<version>``); so does the format of an empty name directory, which costs a
JVM's start. Both servers die with the process that started them, however that ends (``setpriv --pdeathsig``).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.zookeeper_server import free_port

VERSION = "3.4.1"
READY_S = 90.0
FETCH_S = 600.0
BLOCK_BYTES = 1 << 20

_JACKSON = ("jackson-core", "jackson-databind", "jackson-annotations")
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>hyperbase</groupId><artifactId>hdfs</artifactId><version>1</version>
  <dependencies>
    {dependencies}
  </dependencies>
</project>
"""
_UNWANTED = ("servlet-api-2.5.jar", "slf4j-reload4j-*.jar")  # either keeps Hadoop's web servers from starting
_OPENED = ("java.lang", "java.lang.reflect", "java.nio", "java.io", "java.util", "java.net", "sun.nio.ch")
_NAMENODE = "org.apache.hadoop.hdfs.server.namenode.NameNode"
_DATANODE = "org.apache.hadoop.hdfs.server.datanode.DataNode"


def why_not() -> str:
    """What is missing to run HDFS here; empty when nothing is, or the jars are there already."""
    if not shutil.which("java"):
        return "Java is missing (Debian, Ubuntu: apt install default-jre-headless)"
    if not shutil.which("setpriv"):
        return "setpriv is missing: it is in Debian's util-linux"
    if not _library().exists() and not shutil.which("mvn"):
        return "Maven, which fetches Hadoop's jars, is missing (Debian, Ubuntu: apt install maven)"
    return ""


def fetch(timeout_s: float = FETCH_S) -> Path:
    """Return the directory of Hadoop's jars; Maven fetches them when they are not there yet.

    Raises ``subprocess.SubprocessError`` when it fails or takes longer than ``timeout_s``.
    """
    library = _library()
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
            Path(scratch, "pom.xml").write_text(_pom())
            command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"]
            subprocess.run(command, cwd=scratch, check=True, timeout=timeout_s, stdin=subprocess.DEVNULL)
            for pattern in _UNWANTED:
                for jar in Path(scratch, "lib").glob(pattern):
                    jar.unlink()
            with contextlib.suppress(OSError):  # another process was first
                os.rename(Path(scratch, "lib"), library)
    return library


class HdfsServer:
    """A NameNode and a DataNode; ``start``, ``kill`` and ``start`` again keep ports and data.

    Whoever starts it is HDFS's superuser; others are told apart by ``HADOOP_USER_NAME``.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self._jars = fetch()
        self._configuration = directory / "conf"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("hdfs", "datanode", "static"):
            (self._configuration / "webapps" / name).mkdir(parents=True, exist_ok=True)
        _write_site(self._configuration / "core-site.xml", {"fs.defaultFS": self.url})
        _write_site(self._configuration / "hdfs-site.xml", self._settings())
        (self._configuration / "log4j.properties").write_text(
            "log4j.rootLogger=INFO,c\nlog4j.appender.c=org.apache.log4j.ConsoleAppender\n"
            "log4j.appender.c.layout=org.apache.log4j.PatternLayout\n"
            "log4j.appender.c.layout.ConversionPattern=%d %p %c{1}: %.300m%n\n"
        )

    @property
    def url(self) -> str:
        """``hdfs://127.0.0.1:port``."""
        return f"hdfs://127.0.0.1:{self.port}"

    def start(self) -> HdfsServer:
        """Start both and wait until a block can be written."""
        self._format()
        for name in ("namenode", "datanode"):
            self.launch(name)
        self.wait_until_it_stores()
        return self

    def launch(self, name: str) -> None:
        """Start ``namenode`` or ``datanode``."""
        main = {"namenode": _NAMENODE, "datanode": _DATANODE}[name]
        with open(self.directory / f"{name}.log", "ab") as log:
            self._processes[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._java(), main],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_until_it_stores(self) -> None:
        """Wait until the NameNode is out of its safe mode and has a DataNode."""
        end = time.monotonic() + READY_S
        while True:
            with contextlib.suppress(OSError, RuntimeError):
                return self._store_a_block()
            for name, process in self._processes.items():
                assert process.poll() is None, (self.directory / f"{name}.log").read_text()[-3000:]
            assert time.monotonic() < end, f"HDFS did not start within {READY_S:g} s: {self.directory}"
            time.sleep(0.1)

    def signal(self, name: str, number: int) -> None:
        """SIGSTOP: away, its connections stay; SIGCONT: back."""
        os.kill(self._processes[name].pid, number)

    def kill(self, name: str) -> None:
        """End ``namenode`` or ``datanode`` by SIGKILL."""
        process = self._processes.pop(name, None)
        if process is not None:
            with contextlib.suppress(OSError):
                process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait(10)

    def administer(self, *arguments: str) -> str:
        """Run ``hdfs dfsadmin`` or another of Hadoop's commands; return what it says."""
        tools = {"dfsadmin": "org.apache.hadoop.hdfs.tools.DFSAdmin"}
        command = [*self._java(), tools[arguments[0]], *arguments[1:]]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=READY_S)
        return done.stdout

    def __enter__(self) -> HdfsServer:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for name in tuple(self._processes):
            self.kill(name)

    def _settings(self) -> dict[str, str]:
        return {
            "dfs.replication": "1",
            "dfs.blocksize": str(BLOCK_BYTES),
            "dfs.namenode.fs-limits.min-block-size": "4096",
            "dfs.namenode.datanode.registration.ip-hostname-check": "false",
            "dfs.namenode.safemode.extension": "0",
            "dfs.namenode.name.dir": f"file://{self.directory}/name",
            "dfs.datanode.data.dir": f"file://{self.directory}/data",
            "dfs.namenode.http-address": "127.0.0.1:0",
            "dfs.datanode.address": "127.0.0.1:0",
            "dfs.datanode.http.address": "127.0.0.1:0",
            "dfs.datanode.ipc.address": "127.0.0.1:0",
            "dfs.heartbeat.interval": "1",
        }

    def _java(self) -> list[str]:
        opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED]
        jars = ":".join(sorted(map(str, self._jars.glob("*.jar"))))
        return [
            *("java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"),
            *(*opened, "-cp", f"{self._configuration}:{jars}"),
        ]

    def _format(self) -> None:
        """Give the NameNode an empty name directory: a copy of one that is kept beside the jars."""
        target, kept = self.directory / "name", self._jars.parent / "formatted"
        if target.exists():
            return
        if kept.exists():
            shutil.copytree(kept, target)
            return
        command = [*self._java(), _NAMENODE, "-format", "-nonInteractive"]
        done = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, check=False)
        assert target.exists(), done.stderr[-3000:]
        with tempfile.TemporaryDirectory(dir=kept.parent) as scratch, contextlib.suppress(OSError):
            os.rename(shutil.copytree(target, Path(scratch, "formatted")), kept)

    def _store_a_block(self) -> None:
        client = self.client()
        with client.create("/.ready", _write_options()) as file:
            file.write(b"x")
            file.hsync()
        client.delete("/.ready")

    def client(self) -> Any:
        """A client of hdfs-native that is soon discouraged, to look behind the file system's back."""
        import hdfs_native

        return hdfs_native.Client(self.url, {"dfs.client.failover.max.attempts": "1"})


def _write_options() -> Any:
    import hdfs_native

    return hdfs_native.WriteOptions(overwrite=True)


def _library() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache, "hyperbase", f"hdfs-{VERSION}", "lib")


def _pom() -> str:
    wanted = [("org.apache.hadoop", name, VERSION) for name in ("hadoop-common", "hadoop-hdfs")]
    wanted.append(("org.apache.hadoop", "hadoop-hdfs-client", VERSION))
    # Hadoop's own pom mixes versions of these three, and its NameNode does not start with that.
    wanted += [("com.fasterxml.jackson.core", name, "2.15.4") for name in _JACKSON]
    dependencies = "\n    ".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>"
        f"<version>{version}</version></dependency>"
        for group, name, version in wanted
    )
    return _POM.replace("{dependencies}", dependencies)


def _write_site(path: Path, settings: dict[str, str]) -> None:
    properties: Iterator[str] = (
        f"<property><name>{name}</name><value>{value}</value></property>\n"
        for name, value in settings.items()
    )
    path.write_text(f"<configuration>\n{''.join(properties)}</configuration>\n")
