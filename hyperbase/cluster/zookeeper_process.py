"""The ZooKeeper that ``hyperbase cluster start`` brings with it: Debian's, one server on loopback."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket

from hyperbase.cluster.layout import Layout

JAR = "/usr/share/java/zookeeper.jar"
JAR_VARIABLE = "HYPERBASE_ZOOKEEPER_JAR"
MAIN_CLASS = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
TICK_MS = 2000  # what servers assume unless they are told otherwise
HEAP = "-Xmx256m"
_PROBE_S = 2.0
_SERVER_PORTS = (20_000, 32_000)  # below those that Linux, and IANA, give to clients
_LOOPBACK = "127.0.0.1"


class ZooKeeperMissingError(Exception):
    """Java or ZooKeeper is not installed; the message says what to do."""


def free_port() -> int:
    """A port of loopback that nobody has at this moment, and that no connection is given as its own end:
    while its server is away it stays free.

    Raises:
        OSError: none was found.
    """
    for _ in range(1000):
        port = random.randrange(*_SERVER_PORTS)
        if is_free(port):
            return port
    raise OSError(f"no port from {_SERVER_PORTS[0]} to {_SERVER_PORTS[1]} is free")


def is_free(port: int) -> bool:
    """Whether a server could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            return False
        return True


def find_zookeeper() -> tuple[str, str]:
    """Java, and ZooKeeper's jar.

    Raises:
        ZooKeeperMissingError
    """
    java, jar = shutil.which("java"), os.environ.get(JAR_VARIABLE, JAR)
    if java is None or not os.path.exists(jar):
        missing = "java is not on the PATH" if java is None else f"there is no {jar}"
        raise ZooKeeperMissingError(
            f"no ZooKeeper can be started, {missing} (Debian, Ubuntu: apt install zookeeper). Install it, "
            f"name another jar in {JAR_VARIABLE}, or use a ZooKeeper that runs: --zookeeper host:port"
        )
    return java, jar


def zookeeper_command(layout: Layout, port: int) -> list[str]:
    """How to start it; its settings are written.

    Raises:
        ZooKeeperMissingError. OSError
    """
    java, jar = find_zookeeper()
    directory = layout.path("zookeeper")
    os.makedirs(directory, exist_ok=True)
    settings = os.path.join(directory, "zoo.cfg")
    with open(settings, "w", encoding="utf-8") as file:
        file.write(
            f"tickTime={TICK_MS}\ndataDir={directory}/data\n"
            f"clientPort={port}\nclientPortAddress={_LOOPBACK}\n"
            "maxClientCnxns=0\nadmin.enableServer=false\n4lw.commands.whitelist=srvr\n"
            "autopurge.snapRetainCount=3\nautopurge.purgeInterval=1\n"
        )
    options = (HEAP, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
    return [java, *options, "-Dzookeeper.preAllocSize=4096", "-cp", jar, MAIN_CLASS, settings]


def zookeeper_answers(port: int) -> bool:
    """Whether a ZooKeeper serves there."""
    with contextlib.suppress(OSError), socket.create_connection((_LOOPBACK, port), _PROBE_S) as sock:
        sock.settimeout(_PROBE_S)
        sock.sendall(b"srvr")
        answer = b""
        while part := sock.recv(4096):
            answer += part
        return b"\nMode: " in answer
    return False
