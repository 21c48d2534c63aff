"""Connections from the master to region servers: each to one process, never to its successor on that port.

Threads: any number. A call blocks its thread; one that was sent and not answered has an unknown outcome.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import Any

from hyperbase.client.network.channel import Channel
from hyperbase.client.network.commands import Parts
from hyperbase.common.config import ClientConfig
from hyperbase.common.errors import (
    CallTimeoutException,
    ConnectException,
    ConnectionLostException,
    HBaseIOException,
    StaleMasterException,
)
from hyperbase.common.model import Result, Scan
from hyperbase.common.region_info import META_REGION
from hyperbase.common.server_name import ServerName
from hyperbase.common.wire.command_codec import COMMANDS, Order, encode_command
from hyperbase.common.wire.messages import Method
from hyperbase.common.wire.model_codec import decode_results, encode_scan

_COMMAND, _SCAN = int(Method.COMMAND), int(Method.SCAN)
_ALL_OF_IT = 1 << 30  # credit: chunks are taken as they come
# A region server that says nothing for so long is asked anew: commands may be repeated.
LINK_CONFIG = ClientConfig(connect_timeout_s=3.0, keepalive_interval_s=2.0, keepalive_timeout_s=8.0)


class Link:
    """Sockets to one region server process."""

    def __init__(self, server: ServerName, config: ClientConfig = LINK_CONFIG) -> None:
        self.server = server
        self._config = config
        self._client_id = os.urandom(16)
        self._lock = threading.Lock()
        self._idle: list[Channel] = []
        self._closed = False

    def command(
        self, order: Order, name: str, arguments: Sequence[Any], timeout_s: float | None = None
    ) -> Any:
        """Have the server carry out a command.

        Raises:
            HBaseIOException: the server's error, or none came: ConnectionLostException, ConnectException.
        """
        answer = self._call(_COMMAND, encode_command(order, name, arguments), timeout_s)
        return COMMANDS[name].result.decode(answer)

    def scan_meta(self) -> list[Result]:
        """Every row of hbase:meta, which this server has."""
        answer = self._call(_SCAN, (META_REGION.id16, encode_scan(Scan()), _ALL_OF_IT))
        rows: list[Result] = []
        assert isinstance(answer, Parts)
        for chunk in (*answer.items, answer.end[0]):
            if chunk is not None:
                rows += decode_results(chunk)
        return rows

    def close(self) -> None:
        """No more calls."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for channel in idle:
            channel.close()

    def _call(self, method: int, arguments: tuple[Any, ...], timeout_s: float | None = None) -> Any:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        channel = self._take()
        try:
            channel.send(method, arguments, None)
            return channel.receive_answer(deadline)
        finally:
            self._give(channel)

    def _take(self) -> Channel:
        with self._lock:
            if self._closed:
                raise ConnectionLostException(f"{self.server} is not called any more: it is dead")
            if self._idle:
                return self._idle.pop()
        address = self.server.address
        channel = Channel.connect(address, self._client_id, self._config, self._config.connect_timeout_s)
        if channel.server != str(self.server):
            channel.close()
            raise ConnectException(
                f"{address} is not {self.server} any more, it is {channel.server}: that one has ended"
            )
        return channel

    def _give(self, channel: Channel) -> None:
        with self._lock:
            if not channel.busy and not self._closed:
                self._idle.append(channel)
                return
        channel.close()


def unanswered(error: HBaseIOException) -> bool:
    """Whether nobody knows what became of the command."""
    return isinstance(
        error, (ConnectionLostException, ConnectException, CallTimeoutException, StaleMasterException)
    )
