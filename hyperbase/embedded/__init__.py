"""The engine behind the client API, in the caller's process, on a directory.

Connections of one process to one directory share one store; it closes with the last of them. That registry
is the only process-wide state: the engine itself has none.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Mapping
from typing import Any

from hyperbase.common.config import StoreConfig
from hyperbase.common.errors import HBaseIOException, IllegalArgumentException
from hyperbase.embedded.backend import EmbeddedBackend
from hyperbase.embedded.store import EmbeddedStore, make_config
from regionserver.storage.local_filesystem import LocalFileSystem

_open_stores: dict[str, tuple[EmbeddedStore, int]] = {}
_registry_lock = threading.Lock()


def _forget_in_child() -> None:
    global _registry_lock
    _registry_lock = threading.Lock()
    for store, _ in _open_stores.values():
        store.disown()
    _open_stores.clear()


os.register_at_fork(after_in_child=_forget_in_child)


def open_backend(
    path: str | os.PathLike[str], read_only: bool = False, settings: Mapping[str, Any] | None = None
) -> EmbeddedBackend:
    """Open the store in a directory, or join the one this process has open there.

    Raises:
        StoreLockedException: another process has it open.
        StoreFormatException: the directory holds something else, or a newer version's store.
        HBaseIOException: the disk does not let it be opened; ``errno`` says why.
        IllegalArgumentException: it is open in this process with other settings or another mode.
    """
    root = os.path.realpath(os.fspath(path))
    config = make_config(settings or {})
    with _registry_lock:
        known = _open_stores.get(root)
        if known is not None:
            store, count = known
            if store.read_only != read_only:
                mode = "read-only" if store.read_only else "for writing"
                raise IllegalArgumentException(
                    f"{root} is open in this process already, {mode}: close it first"
                )
            if settings and any(value is not None for value in settings.values()) and config != store.config:
                raise IllegalArgumentException(
                    f"{root} is open in this process already, with other settings: "
                    "close it first or leave them out"
                )
        else:
            store, count = _open_store(root, read_only, config), 0
        _open_stores[root] = (store, count + 1)
    return EmbeddedBackend(store, lambda: _release(root, store))


def _open_store(root: str, read_only: bool, config: StoreConfig) -> EmbeddedStore:
    if os.path.exists(root) and not os.path.isdir(root):
        raise IllegalArgumentException(f"{root} is a file; a store is a directory, which connect() creates")
    if read_only and not os.path.isdir(root):
        raise FileNotFoundError(f"{root}: no such directory; a read-only open creates nothing")
    try:
        if not read_only:
            os.makedirs(root, exist_ok=True)
        return EmbeddedStore(
            LocalFileSystem(root, read_only=read_only), config, read_only=read_only, root=root
        )
    except HBaseIOException:
        raise
    except OSError as error:
        code = error.errno or errno.EIO
        hint = "mend that, then open it again"
        if not read_only and code in (errno.EROFS, errno.EACCES, errno.EPERM):
            hint = "to read it, open it with read_only=True"
        if code in (errno.ENOSPC, errno.EDQUOT):
            hint = "make space, then open it again; read_only=True needs none"
        where = f" ({error.filename})" if error.filename else ""
        raise HBaseIOException(
            code, f"the store {root} cannot be opened: {error.strerror or error}{where}; {hint}"
        ) from error


def _release(root: str, store: EmbeddedStore) -> None:
    with _registry_lock:
        known = _open_stores.get(root)
        if known is None or known[0] is not store:
            return
        if known[1] > 1:
            _open_stores[root] = (store, known[1] - 1)
            return
        del _open_stores[root]
        store.close()
