"""Stores shared by the connections of one process: opened by the first, closed after the last.

A store's directory is locked while it is open, and HappyBase programs open many connections to one host.
Threads: any; opening and closing one directory excludes each other.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from hyperbase.client.backend import Backend

_lock = threading.RLock()  # reentrant: a forgotten connection may be collected while it is held
_stores: dict[str, _SharedStore] = {}


class _SharedStore:
    def __init__(self, path: str) -> None:
        from hyperbase.embedded import open_backend  # the engine is loaded when it is needed

        self.path = path
        self.backend: Backend = open_backend(path, False, {})
        self.leases = 0


class StoreLease:
    """A Backend that stands for one connection: closing it closes the store after the last one."""

    def __init__(self, shared: _SharedStore) -> None:
        self._shared = shared
        self._backend = shared.backend
        self._closed = False

    def close(self) -> None:
        """Give the lease back; once."""
        with _lock:
            if self._closed:
                return
            self._closed = True
            shared = self._shared
            shared.leases -= 1
            if shared.leases == 0:
                del _stores[shared.path]
                shared.backend.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


def lease_store(path: str) -> Any:
    """A lease of the store in ``path``, opened now if no connection of this process has it open.

    Raises:
        StoreLockedException: another process has it open.
    """
    key = os.path.realpath(path)
    with _lock:
        shared = _stores.get(key)
        if shared is None:
            shared = _stores[key] = _SharedStore(key)
        shared.leases += 1
        return StoreLease(shared)


def _after_fork_in_child() -> None:
    """The parent's stores are not the child's: it leases its own, once the parent has closed."""
    global _lock
    _lock = threading.RLock()
    _inherited.extend(_stores.values())  # never dropped: their files are the parent's to close
    _stores.clear()


_inherited: list[_SharedStore] = []
os.register_at_fork(after_in_child=_after_fork_in_child)
