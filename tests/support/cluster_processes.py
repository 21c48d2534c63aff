"""A cluster of real processes that a test starts, kills, stops, cuts off and asks.

Members are ``m1``, ``m2`` … and ``r1``, ``r2`` …; each keeps its address for life. It listens on a loopback
address of its own and advertises another one, where a proxy hands connections on (``partitions``); it reaches
ZooKeeper through another. Everything dies with the test (``setpriv --pdeathsig``, which follows the thread
that started a process: one thread starts them all and lives as long as the cluster).
"""

from __future__ import annotations

import contextlib
import random
import resource
import shutil
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from hyperbase.common.errors import HBaseIOException
from hyperbase.common.server_name import ServerName
from hyperbase.common.zookeeper.coordination import ZooKeeperCoordination
from hyperbase.common.zookeeper.session import ZooKeeperSession
from tests.support.partitions import EVERYBODY, LinkProxy, process_behind
from tests.support.service import COMMAND, environment
from tests.support.waiting import wait_for
from tests.support.zookeeper_server import ZooKeeperServer

T = TypeVar("T")
MASTER, SERVER = "master", "regionserver"
READY_S = 60.0
ZNODE_ROOT = "/hyperbase"


class Member:
    """One master or region server, through all of its processes."""

    def __init__(self, cluster: ClusterProcesses, name: str, role: str, net: str, number: int) -> None:
        self.name = name
        self.role = role
        self.process: subprocess.Popen[bytes] | None = None
        self.ends: list[int] = []  # exit codes of the processes that have ended
        self.log = cluster.directory / f"{name}.log"
        self._cluster = cluster
        self._own = f"{net}.{100 + number}"
        self.host = f"{net}.{number}"  # what others know
        self.port = _free_port(self._own)
        self.rpc = LinkProxy((self.host, self.port), (self._own, self.port), cluster.whose)

    @property
    def address(self) -> str:
        """``host:port``, as in the name it has in ZooKeeper."""
        return f"{self.host}:{self.port}"

    @property
    def running(self) -> bool:
        """There is a process, stopped ones too."""
        return self.process is not None and self.process.poll() is None

    @property
    def stopped(self) -> bool:
        """By SIGSTOP."""
        return self.running and self._state() == "T"

    def start(self, program: tuple[str, ...] = COMMAND) -> None:
        """Begin a process; others wait until it is registered."""
        assert not self.running
        host, port = self._cluster.zookeeper_link.address
        words = ["--data", str(self._cluster.root), "--zookeeper", f"zk://{host}:{port}{ZNODE_ROOT}"]
        words += ["--bind", self._own, "--port", str(self.port), "--info-port", "0"]
        settings = {"HYPERBASE_SERVER_ADVERTISED_HOST": self.host, **self._cluster.settings}
        setpriv = shutil.which("setpriv")
        assert setpriv, "setpriv is missing: it is in Debian's util-linux"
        command = [setpriv, "--pdeathsig", "KILL", *program, self.role, *words]
        with open(self.log, "ab") as log:
            self.process = self._cluster.spawn(
                lambda: subprocess.Popen(
                    command,
                    env=environment(**settings),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                )
            )

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    def kill(self) -> bool:
        """SIGKILL; whether that is what ended it."""
        self.signal(signal.SIGKILL)
        return self.wait() == -signal.SIGKILL

    def stop(self) -> bool:
        """SIGSTOP; whether it stands still."""
        self.signal(signal.SIGSTOP)
        wait_for(lambda: not self.running or self._state() == "T")
        return self.running

    def go_on(self) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT)

    def wait(self, wait_s: float = READY_S) -> int:
        """The exit code of its process."""
        assert self.process is not None
        return self.process.wait(wait_s)

    def refuse_disk(self, refused: bool) -> None:
        """Every write of this process to a file fails, as on a full disk; or succeeds again."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            _, most = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (0 if refused else most, most))

    def cut_off_zookeeper(self) -> None:
        """Nothing passes between it and ZooKeeper."""
        self._cluster.zookeeper_link.cut(self.name)

    def heal(self) -> None:
        """Nothing keeps it from others any more."""
        for name in (EVERYBODY, *self._cluster.members):
            self.rpc.heal(name)
        self._cluster.zookeeper_link.heal(self.name)
        self.go_on()

    def note_end(self) -> bool:
        """Whether its process has ended; the exit code is kept."""
        if self.process is None or self.process.poll() is None:
            return False
        self.ends.append(self.process.returncode)
        self.process = None
        return True

    def _state(self) -> str:
        assert self.process is not None
        try:
            text = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            return ""
        return text.rpartition(")")[2].split()[0]


class ClusterProcesses:
    """See the module. Methods may be called from any thread.

    Args:
        directory: for everything; ``root`` in it is the cluster's.
        settings: of every process, as environment.
        programs: what to start instead of ``hyperbase``, by the member's name.
    """

    def __init__(
        self,
        directory: Path,
        *,
        masters: int = 2,
        servers: int = 3,
        tick_s: float = 0.5,
        timeout_s: float = 3.0,
        settings: dict[str, str] | None = None,
        programs: dict[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.directory = directory
        self.root = directory / "root"
        self.timeout_s = timeout_s
        self.tick_s = tick_s
        self.settings = {
            "HYPERBASE_SERVER_ZOOKEEPER_TICK_S": str(tick_s),
            "HYPERBASE_SERVER_ZOOKEEPER_SESSION_TIMEOUT_S": str(timeout_s),
            **(settings or {}),
        }
        self.programs = programs or {}
        self._spawner = ThreadPoolExecutor(1, thread_name_prefix="spawner")
        self._lock = threading.Lock()
        self._asking: ZooKeeperCoordination | None = None
        self.zookeeper = ZooKeeperServer(directory / "zookeeper", tick_ms=round(tick_s * 1000))
        # All of its processes must name ZooKeeper in the same words: one proxy for all of them.
        self.zookeeper_link = LinkProxy(("127.0.0.1", 0), ("127.0.0.1", self.zookeeper.port), self.whose)
        chance = random.SystemRandom()
        net = f"127.{chance.randrange(1, 255)}.{chance.randrange(1, 255)}"
        names = [(f"m{n}", MASTER) for n in range(1, masters + 1)]
        names += [(f"r{n}", SERVER) for n in range(1, servers + 1)]
        self.members = {
            name: Member(self, name, role, net, number) for number, (name, role) in enumerate(names, 1)
        }

    # -- its life ----------------------------------------------------------------------------------------

    def start(self) -> ClusterProcesses:
        """Return when every member is registered and a master serves."""
        self.start_zookeeper()
        for member in self.members.values():
            self.start_member(member)
        self.wait_until_complete()
        return self

    def __enter__(self) -> ClusterProcesses:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything, as a crash would."""
        for member in self.members.values():
            if member.running:
                member.kill()
        if self._asking is not None:
            self._asking.session.close()
        self.zookeeper.kill()
        for member in self.members.values():
            member.rpc.close()
        self.zookeeper_link.close()
        self._spawner.shutdown(wait=False)

    def spawn(self, work: Callable[[], T]) -> T:
        """In the thread whose children live as long as the cluster."""
        return self._spawner.submit(work).result()

    def start_zookeeper(self) -> None:
        """Start it, or again: it keeps its port and what it knows."""
        self.spawn(self.zookeeper.launch)
        self.zookeeper.wait_until_it_answers()

    def start_member(self, member: Member) -> None:
        """Begin its process."""
        member.start(self.programs.get(member.name, COMMAND))

    def revive(self) -> list[str]:
        """Start again whatever has ended; their names."""
        ended = [member for member in self.members.values() if member.note_end()]
        for member in ended:
            self.start_member(member)
        return [member.name for member in ended]

    # -- asking ------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """For clients."""
        return f"zk://{self.zookeeper.quorum}{ZNODE_ROOT}"

    def ask(self, question: Callable[[ZooKeeperCoordination], T]) -> T:
        """Ask ZooKeeper, in a session of the test's own."""
        with self._lock:
            if self._asking is None or self._asking.session.lost:
                session = ZooKeeperSession(self.zookeeper.quorum, timeout_s=20 * self.tick_s).start(READY_S)
                self._asking = ZooKeeperCoordination(session, ZNODE_ROOT, writer="test:1", tick_s=self.tick_s)
            return question(self._asking)

    def active_master(self) -> Member | None:
        """As ZooKeeper says."""
        with contextlib.suppress(HBaseIOException):
            return self._member(self.ask(lambda asking: asking.active_master()))
        return None

    def meta_server(self) -> Member | None:
        """The one that serves hbase:meta, or is to, as ZooKeeper says."""
        with contextlib.suppress(HBaseIOException):
            place = self.ask(lambda asking: asking.meta_place())
            return self._member(place.server) if place is not None else None
        return None

    def registered(self) -> list[Member]:
        """Region servers that ZooKeeper takes for alive."""
        with contextlib.suppress(HBaseIOException):
            found = [self._member(name) for name in self.ask(lambda asking: asking.servers())]
            return [member for member in found if member is not None]
        return []

    def of_role(self, role: str) -> list[Member]:
        """Masters, or region servers."""
        return [member for member in self.members.values() if member.role == role]

    def whose(self, port: int) -> str:
        """The member that connects from a port; empty: a client of the test's."""
        pids = {member.process.pid: name for name, member in self.members.items() if member.process}
        return pids.get(process_behind(port, list(pids)), "")

    def wait_until_complete(self) -> None:
        """Every region server is registered, one master is active, every other one stands by."""

        def complete() -> bool:
            masters = len(self.of_role(MASTER))
            return (
                {member.name for member in self.registered()} == {m.name for m in self.of_role(SERVER)}
                and self.active_master() is not None
                and len(self.ask(lambda asking: asking.backup_masters())) == masters - 1
            )

        wait_for(complete, self.tell, READY_S)

    def tell(self) -> str:
        """For people: who runs, and the end of each log."""
        lines = [f"active master {self.active_master()}, hbase:meta on {self.meta_server()}"]
        for member in self.members.values():
            log = member.log.read_text(encoding="utf-8", errors="replace") if member.log.exists() else ""
            lines.append(f"-- {member.name} running={member.running} ends={member.ends}\n{log[-1500:]}")
        return "\n".join(lines)

    def exit_codes(self) -> Counter[tuple[str, int]]:
        """How processes have ended: role and code."""
        return Counter((member.role, code) for member in self.members.values() for code in member.ends)

    def _member(self, name: ServerName) -> Member | None:
        found = [member for member in self.members.values() if member.address == name.address]
        return found[0] if found else None


def _free_port(host: str) -> int:
    """One that no client gets as its own: a process that starts again must find it free."""
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(17_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            return port


def tracebacks(cluster: ClusterProcesses) -> dict[str, int]:
    """How many each member's log has."""
    counts = {
        name: member.log.read_text(encoding="utf-8", errors="replace").count("Traceback (most recent")
        for name, member in cluster.members.items()
        if member.log.exists()
    }
    return {name: count for name, count in counts.items() if count}
