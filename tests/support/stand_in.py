"""Stands in for a master or a region server: a process that registers in ZooKeeper and does nothing else.

``python -m tests.support.stand_in ROLE zk://… PORT [crash | deaf]``. It says where it listens and ``ready``,
as the real ones do, and ends on SIGTERM. ``crash``: it ends by itself before it is ready; ``deaf``: SIGTERM
does nothing.
"""

from __future__ import annotations

import signal
import socket
import sys
import threading
import time

from hyperbase.common.server_name import ServerName
from hyperbase.common.zookeeper.coordination import ZooKeeperCoordination
from hyperbase.common.zookeeper.location import ZooKeeperLocation
from hyperbase.common.zookeeper.session import ZooKeeperSession


def main(role: str, url: str, port: str, *modes: str) -> int:
    """Serve until a signal comes."""
    if "crash" in modes:
        print("something is wrong", file=sys.stderr)
        return 1
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: None if "deaf" in modes else ended.set())
    listener = socket.create_server(("127.0.0.1", int(port)))
    name = ServerName("127.0.0.1", listener.getsockname()[1], int(time.time() * 1000))
    location = ZooKeeperLocation.parse(url)
    session = ZooKeeperSession(location.quorum, timeout_s=10).start(60)
    coordination = ZooKeeperCoordination(session, location.root, writer=f"{role}:{name.port}")
    coordination.prepare()
    serve = {"master": be_master, "regionserver": be_region_server}[role]
    serve(coordination, name, ended)
    while not ended.wait(0.05):  # signals are handled between
        if session.lost:
            print(f"lost: {session.lost}", file=sys.stderr)
            return 4
    coordination.close()
    return 0


def be_region_server(coordination: ZooKeeperCoordination, name: ServerName, ended: threading.Event) -> None:
    coordination.register_server(name)
    coordination.set_meta_location(name)
    announce(name)


def be_master(coordination: ZooKeeperCoordination, name: ServerName, ended: threading.Event) -> None:
    def lead() -> None:
        if coordination.wait_to_be_master(name, stop=ended):
            coordination.publish_cluster_id("c-1")
            coordination.set_cluster_up("today")

    threading.Thread(target=lead, daemon=True).start()
    announce(name)


def announce(name: ServerName) -> None:
    print(f"rpc      hyperbase://{name.address}  (loopback: this machine only)\nready", flush=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
