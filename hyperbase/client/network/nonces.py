"""Numbers of mutations: with them a server tells a mutation that is sent again from a new one.

A nonce on the wire is ``(number, oldest)``: numbers below ``oldest`` are answered, nobody will send them
again, the server may forget them. Threads: any number; the lock is re-entrant, since the collector may end a
forgotten operation in a thread that holds it.
"""

from __future__ import annotations

import os
import threading

CLIENT_ID_BYTES = 16


class Nonces:
    """The numbers of one client, which ``client_id`` names for all servers."""

    __slots__ = ("_lock", "_next", "_unanswered", "client_id")

    def __init__(self) -> None:
        self.client_id = os.urandom(CLIENT_ID_BYTES)
        self._lock = threading.RLock()
        self._next = 1
        self._unanswered: dict[int, None] = {}  # in ascending order, as they were given out

    def new(self) -> tuple[int, int]:
        """A new number and the oldest unanswered one; call ``done`` when nobody will send it again."""
        with self._lock:
            number = self._next
            self._next = number + 1
            self._unanswered[number] = None
            return number, next(iter(self._unanswered))

    def oldest(self) -> int:
        """The oldest number that may be sent again."""
        with self._lock:
            return next(iter(self._unanswered), self._next)

    def done(self, number: int) -> None:
        """The number is answered, or given up."""
        with self._lock:
            self._unanswered.pop(number, None)
