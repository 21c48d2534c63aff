"""The sockets of a client, by server: taken for one call or stream each, the last one used first.

Threads: any number. Taking and giving back an idle channel are single operations on a list; the lock is for
making channels and for waiting when there are as many as there may be. It is re-entrant: the collector may
end a forgotten scan, which gives its channel back, in a thread that holds it.
"""

from __future__ import annotations

import threading
import time
import weakref

from hyperbase.client.network.channel import Channel
from hyperbase.common.config import ClientConfig
from hyperbase.common.errors import CallTimeoutException, StoreClosedException


class ServerPool:
    """The channels to one server."""

    def __init__(self, address: str, client_id: bytes, config: ClientConfig) -> None:
        self.address = address
        self._client_id = client_id
        self._config = config
        self._idle: list[Channel] = []
        self._changed = threading.Condition()
        self._count = 0  # idle or taken
        self._waiting = 0
        self._closed = False
        self._all: weakref.WeakSet[Channel] = weakref.WeakSet()

    def take_idle(self) -> Channel | None:
        """A channel if one is idle; give it back with ``give``."""
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def take(self, deadline: float | None) -> Channel:
        """A channel, idle or new; give it back with ``give``.

        Raises:
            ConnectException; CallTimeoutException: all are in use until the deadline.
        """
        channel = self.take_idle()
        if channel is not None:
            return channel
        until = deadline
        if until is None:
            until = time.monotonic() + self._config.operation_timeout_s
        with self._changed:
            self._waiting += 1
            try:
                while True:
                    self._check_open()
                    channel = self.take_idle()  # others take without the lock
                    if channel is not None:
                        return channel
                    if self._count < self._config.max_sockets_per_server:
                        break
                    left = until - time.monotonic()
                    if left <= 0:
                        raise CallTimeoutException(
                            f"all {self._count} sockets to {self.address} are in use "
                            "(max_sockets_per_server): close iterators of scans that are not read on"
                        )
                    self._changed.wait(left)
                self._count += 1
            finally:
                self._waiting -= 1
        return self._connect(deadline)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosedException("this connection is closed: call open(), or make a new one")

    def _connect(self, deadline: float | None) -> Channel:
        config = self._config
        left = config.connect_timeout_s if deadline is None else deadline - time.monotonic()
        try:
            channel = Channel.connect(self.address, self._client_id, config, left)
        except BaseException:
            self._lose()
            raise
        with self._changed:
            self._all.add(channel)
            closed = self._closed
        if closed:  # meanwhile
            channel.close()
            self._lose()
            self._check_open()
        return channel

    def give(self, channel: Channel) -> None:
        """Give a channel back; one that is in the middle of something is closed."""
        if channel.busy or self._closed:
            channel.close()
            self._lose()
            return
        self._idle.append(channel)
        if self._waiting:
            with self._changed:
                self._changed.notify()

    def _lose(self) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify()

    def drop_idle(self) -> None:
        """Close the idle channels: the server was lost, and they with it."""
        while True:
            try:
                channel = self._idle.pop()
            except IndexError:
                return
            channel.close()
            self._lose()

    def close(self) -> None:
        """Close every channel; those in use fail."""
        with self._changed:
            self._closed = True
            channels = list(self._all)
            self._changed.notify_all()
        self.drop_idle()
        for channel in channels:
            channel.shut_down()

    def disown(self) -> None:
        """In a forked child: the sockets are the parent's. Closing our copies says nothing to the server.

        Scans that are read on make new ones; a lock that another thread of the parent held is replaced.
        """
        self._changed = threading.Condition()
        self._idle.clear()
        self._count = self._waiting = 0
        for channel in list(self._all):
            self._count += 1  # until its user gives it back
            channel.close()
