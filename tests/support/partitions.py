"""Partitions without privileges: a TCP proxy before each listener, which knows who is behind a connection.

Who connects is found by the kernel's tables: the inode of the connecting socket, and the process that has it.
So two processes can be cut off from each other while both talk to everybody else.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterable

Address = tuple[str, int]
EVERYBODY = "*"


class LinkProxy:
    """Hands on what comes to ``listen``. Cut off, nothing passes and connections stay open, as packets that
    are lost on their way; afterwards all goes on, late.

    Args:
        whose: the name of who connects from a port; asked once for each connection.
    """

    def __init__(self, listen: Address, target: Address, whose: Callable[[int], str] = lambda _: "") -> None:
        self._target = target
        self._whose = whose
        self._cut: set[str] = set()
        self._changed = threading.Condition()
        self._sockets: set[socket.socket] = set()
        self.held = 0  # how often something was kept back
        self._listener = socket.create_server(listen, backlog=128)
        self.address: Address = self._listener.getsockname()[:2]
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def cut(self, name: str = EVERYBODY) -> None:
        """Nothing passes from and to this one."""
        with self._changed:
            self._cut.add(name)

    def heal(self, name: str = EVERYBODY) -> None:
        """Everything passes that this cut kept back."""
        with self._changed:
            self._cut.discard(name)
            self._changed.notify_all()

    def reset(self) -> int:
        """Break the connections there are; how many ends of them. What is on its way may have arrived."""
        sockets = list(self._sockets)
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        return len(sockets)

    def close(self) -> None:
        """Break every connection, accept none."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._changed:
            self._cut.clear()
            self._changed.notify_all()
        self.reset()

    def _pass(self, name: str) -> None:
        """Return when what belongs to ``name`` may pass."""
        if not self._cut:
            return
        with self._changed:
            if not self._is_cut(name):
                return
            self.held += 1
            self._changed.wait_for(lambda: not self._is_cut(name))

    def _is_cut(self, name: str) -> bool:
        return EVERYBODY in self._cut or name in self._cut

    def _accept(self) -> None:
        while True:
            try:
                near, peer = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near, peer[1]), name="proxy", daemon=True).start()

    def _serve(self, near: socket.socket, port: int) -> None:
        with near:
            name = self._whose(port)
            self._pass(name)
            try:
                far = socket.create_connection(self._target, 5)
            except OSError:
                return
            with far:
                far.settimeout(None)
                for sock in (near, far):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets |= {near, far}
                back = threading.Thread(target=self._pump, args=(far, near, name), name="proxy", daemon=True)
                back.start()
                self._pump(near, far, name)
                back.join()
                self._sockets -= {near, far}

    def _pump(self, source: socket.socket, target: socket.socket, name: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 17):
                self._pass(name)
                target.sendall(data)
        self._pass(name)  # the end of a connection is a packet like others
        for sock in (source, target):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def process_behind(port: int, pids: Iterable[int]) -> int:
    """Which of the processes has a loopback connection from ``port``; 0: none of them."""
    inodes = set(_inodes_of(port))
    for pid in pids:
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/{pid}/fd/{name}") in inodes:
                        return pid
    return 0


def _inodes_of(port: int) -> Iterable[str]:
    suffix = f":{port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in table:
            # sl local_address rem_address st queues tr:tm->when retrnsmt uid timeout inode …
            fields = line.split()
            if fields[1].endswith(suffix):
                yield f"socket:[{fields[9]}]"
