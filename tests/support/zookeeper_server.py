"""A real ZooKeeper for tests, from Debian's package, on a free port of loopback; and a way to cut it off.

The server dies with the process that started it, however that ends (``setpriv --pdeathsig``).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType

JAR = Path("/usr/share/java/zookeeper.jar")
READY_S = 60.0


def free_port() -> int:
    """A port that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ZooKeeperServer:
    """One server; ``start``, ``kill`` and ``start`` again keep its port and its data.

    Args:
        settings: more lines of its configuration.
    """

    def __init__(self, directory: Path, *, tick_ms: int = 500, settings: str = "") -> None:
        assert JAR.exists(), "ZooKeeper is missing: apt-get install zookeeper"
        self.directory = directory
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "zoo.cfg").write_text(
            f"tickTime={tick_ms}\ndataDir={directory}/data\nclientPort={self.port}\n"
            "clientPortAddress=127.0.0.1\nmaxClientCnxns=0\nadmin.enableServer=false\n"
            f"4lw.commands.whitelist=srvr\n{settings}"
        )

    @property
    def quorum(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> ZooKeeperServer:
        """Start and wait until it answers."""
        self.launch()
        self.wait_until_it_answers()
        return self

    def launch(self) -> None:
        """Start."""
        java = shutil.which("java")
        setpriv = shutil.which("setpriv")
        assert java, "Java is missing: apt-get install zookeeper brings it"
        assert setpriv, "setpriv is missing: it is in Debian's util-linux"
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(
                [
                    *(setpriv, "--pdeathsig", "KILL", java, "-Xmx128m", "-XX:+UseSerialGC"),
                    *("-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp", str(JAR)),
                    "org.apache.zookeeper.server.quorum.QuorumPeerMain",
                    str(self.directory / "zoo.cfg"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_until_it_answers(self) -> None:
        end = time.monotonic() + READY_S
        while not self.mode():
            assert self.process is not None
            assert self.process.poll() is None, (self.directory / "log").read_text()[-3000:]
            assert time.monotonic() < end, f"ZooKeeper did not start within {READY_S:g} s"
            time.sleep(0.05)

    def mode(self) -> str:
        """``standalone``, ``leader``, ``follower``; empty while it serves nobody."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as sock:
            sock.settimeout(2)
            sock.sendall(b"srvr")
            answer = b""
            while part := sock.recv(4096):
                answer += part
            for line in answer.decode().splitlines():
                if line.startswith("Mode: "):
                    return line.removeprefix("Mode: ")
        return ""

    def signal(self, number: int) -> None:
        """SIGSTOP: away, its connections stay; SIGCONT: back."""
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """End it by SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def __enter__(self) -> ZooKeeperServer:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process is not None:
            with contextlib.suppress(OSError):
                self.signal(signal.SIGCONT)
        self.kill()


class ZooKeeperEnsemble:
    """Three servers, of which any two are a quorum."""

    def __init__(self, directory: Path, *, tick_ms: int) -> None:
        peers = [f"server.{n}=127.0.0.1:{free_port()}:{free_port()}\n" for n in (1, 2, 3)]
        settings = "initLimit=10\nsyncLimit=5\n" + "".join(peers)
        self.servers = []
        for number in (1, 2, 3):
            server = ZooKeeperServer(directory / str(number), tick_ms=tick_ms, settings=settings)
            (server.directory / "data").mkdir()
            (server.directory / "data" / "myid").write_text(str(number))
            self.servers.append(server)

    def in_mode(self, mode: str) -> ZooKeeperServer:
        """The leader, or one of the followers."""
        return next(server for server in self.servers if server.mode() == mode)

    def __enter__(self) -> ZooKeeperEnsemble:
        for server in self.servers:
            server.launch()
        for server in self.servers:
            server.wait_until_it_answers()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for server in self.servers:
            server.kill()


class CutProxy:
    """A TCP proxy to one port. ``cut``: nothing passes, connections stay open; ``heal``: all goes on."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._passing = threading.Event()
        self._passing.set()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def quorum(self) -> str:
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        self._passing.clear()

    def heal(self) -> None:
        self._passing.set()

    def reset(self) -> None:
        """Break the connections there are."""
        sockets, self._sockets = self._sockets, []
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.heal()
        self.reset()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        self._passing.wait()
        try:
            far = socket.create_connection(("127.0.0.1", self._target_port), 5)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        self._sockets += [near, far]
        back = threading.Thread(target=self._pump, args=(far, near), daemon=True)
        back.start()
        self._pump(near, far)
        back.join()
        near.close()
        far.close()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._passing.wait()
                target.sendall(data)
        self._passing.wait()
        for sock in (source, target):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
