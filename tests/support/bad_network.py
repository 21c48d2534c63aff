"""A network between client and server that cuts connections: before a request, behind it, in an answer."""

from __future__ import annotations

import random
import socket
import threading
from contextlib import suppress


class CuttingProxy:
    """Passes bytes on; each piece may be the one at which its connection ends, whole or in the middle.

    ``answers_only``: what the client sends always arrives whole.
    """

    def __init__(self, port: int, seed: int, chance: float, *, answers_only: bool = False) -> None:
        self._target = ("127.0.0.1", port)
        self._random = random.Random(seed)
        self._chance = chance
        self._answers_only = answers_only
        self.cuts = 0
        self.calm = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            for source, sink in ((client, server), (server, client)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                spared = self._answers_only and source is client
                threading.Thread(target=self._pass_on, args=(source, sink, spared), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, spared: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not spared and not self.calm and self._random.random() < self._chance:
                    self.cuts += 1
                    sink.sendall(data[: self._random.randrange(len(data) + 1)])
                    break
                sink.sendall(data)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
