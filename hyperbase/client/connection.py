"""Connection: the door to a store. It hands out Tables and an Admin, and can be opened anew after a close.

Threads: one Connection serves any number of threads. A Connection to a directory belongs to the process that
opened it: in a forked child it is closed. One to a server goes on in the child, with sockets of its own.
"""

from __future__ import annotations

import _thread
import atexit
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any

from hyperbase.client.admin import Admin
from hyperbase.client.table import Table
from hyperbase.common.descriptors import THRIFT_MAX_VERSIONS, ColumnFamilyDescriptor, TableDescriptor
from hyperbase.common.errors import (
    IllegalArgumentException,
    StoreClosedException,
    WrongTypeException,
    shown,
)
from hyperbase.common.model import to_bytes
from hyperbase.common.names import canonical_table_name
from hyperbase.common.split_keys import check_split_keys

if TYPE_CHECKING:
    from typing import Self

    from hyperbase.client.backend import Backend

Name = bytes | str

_connections: weakref.WeakSet[Connection] = weakref.WeakSet()


class Connection:
    """A store's tables and administration. ``hyperbase.connect`` makes one.

    Args:
        opener: opens the store; called by ``open``.
        autoconnect: open now.
        table_prefix: put, with the separator, before the name of every table (``table`` can say no).
            ``tables`` then lists only such tables, without it. ``admin`` knows no prefix.
    """

    table_class: type[Table] = Table

    def __init__(
        self,
        opener: Callable[[], Backend],
        autoconnect: bool = True,
        table_prefix: Name | None = None,
        table_prefix_separator: Name = b"_",
    ) -> None:
        self.table_prefix = None if table_prefix is None else to_bytes(table_prefix, "'table_prefix'")
        self.table_prefix_separator = to_bytes(table_prefix_separator, "'table_prefix_separator'")
        self._opener = opener
        self._lock = threading.Lock()
        self._backend: Backend | None = None  # None: closed
        self._closer: weakref.finalize[Any, Any] | None = None
        self._inherited: Backend | None = None  # of the parent process; kept, for it is not ours to drop
        if autoconnect:
            self.open()

    def __repr__(self) -> str:
        return (
            f"<{type(self).__module__}.{type(self).__name__} {'closed' if self._backend is None else 'open'}>"
        )

    # -- opening and closing -----------------------------------------------------------------------------

    def open(self) -> None:
        """Open the store; nothing happens when it is open.

        Raises:
            StoreLockedException: another process has it. StoreFormatException: the directory is not a store.
        """
        with self._lock:
            if self._backend is None:
                self._hold(self._opener())

    def _hold(self, backend: Backend) -> None:
        self._closer = weakref.finalize(self, _close_forgotten, backend, os.getpid())
        self._closer.atexit = False  # _close_all does that
        self._backend = backend
        _connections.add(self)

    def close(self) -> None:
        """Close the store; nothing happens when it is closed. Later calls raise StoreClosedException."""
        with self._lock:
            backend, self._backend = self._backend, None
            if self._closer is not None:
                self._closer.detach()
                self._closer = None
            _connections.discard(self)
            if backend is not None:
                backend.close()

    def is_open(self) -> bool:
        """Whether calls can be made."""
        return self._backend is not None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _open_backend(self) -> Backend:
        backend = self._backend
        if backend is None:
            if self._inherited is not None:
                raise StoreClosedException(
                    "this connection belongs to the parent process: open one after the fork, "
                    "when the parent's is closed"
                )
            raise StoreClosedException("this connection is closed: call open(), or make a new one")
        return backend

    def _forget_after_fork(self) -> None:
        self._lock = threading.Lock()  # another thread of the parent may have held it
        backend = self._backend
        if self._closer is not None:
            self._closer.detach()
            self._closer = None
        reconnect = getattr(backend, "reconnect_after_fork", None)
        if backend is not None and reconnect is not None:
            reconnect()
            self._hold(backend)
        else:
            self._inherited, self._backend = backend, None

    # -- what it leads to --------------------------------------------------------------------------------

    @property
    def admin(self) -> Admin:
        """Namespaces, schemas, regions, maintenance."""
        return Admin(self)

    def metrics(self) -> dict[str, float]:
        """The store's counters and gauges by name; units are in the names."""
        return self._open_backend().metrics()

    def table(self, name: Name, use_prefix: bool = True) -> Table:
        """A handle on a table; whether it exists shows at the first call."""
        return self.table_class(self._table_name(name) if use_prefix else to_bytes(name, "table name"), self)

    def _table_name(self, name: Name) -> bytes:
        raw = to_bytes(name, "table name")
        return raw if self.table_prefix is None else self.table_prefix + self.table_prefix_separator + raw

    def _full_name(self, name: Name) -> str:
        return canonical_table_name(self._table_name(name))

    # -- HappyBase's administration ----------------------------------------------------------------------

    def tables(self) -> list[bytes]:
        """Names of the tables; with a table prefix only those that have it, without it."""
        names = [name.encode("utf-8") for name in self._open_backend().list_tables()]
        if self.table_prefix is None:
            return names
        prefix = self._table_name(b"")
        return [name[len(prefix) :] for name in names if name.startswith(prefix)]

    def create_table(
        self, name: Name, families: Mapping[Any, Any], splits: Sequence[Name] | None = None
    ) -> None:
        """Create a table from ``{family: {option: value} | None}``.

        Options are those of ``ColumnFamilyDescriptor.with_options`` (max_versions, time_to_live in seconds,
        compression, bloom_filter_type, block_size, …) with HBase's defaults, but max_versions is 3 when not
        given. ``n`` keys in ``splits`` make ``n + 1`` regions.

        Raises:
            TableExistsException, NamespaceNotFoundException, DoNotRetryIOException (a bad schema).
            TypeError: families is not a mapping.
            IllegalArgumentException: no family, an unknown option, an empty or repeated split key.
        """
        full = self._full_name(name)
        described = described_families(full, families)
        keys = None if splits is None else check_split_keys(splits)
        self._open_backend().create_table(TableDescriptor(full, described), keys)

    def delete_table(self, name: Name, disable: bool = False) -> None:
        """Remove a table; an enabled one only with ``disable``.

        Raises:
            TableNotFoundException, TableNotDisabledException
        """
        backend, full = self._open_backend(), self._full_name(name)
        if disable and backend.is_table_enabled(full):
            backend.disable_table(full)
        backend.drop_table(full)

    def enable_table(self, name: Name) -> None:
        """Serve a disabled table again."""
        self._open_backend().enable_table(self._full_name(name))

    def disable_table(self, name: Name) -> None:
        """Stop serving a table."""
        self._open_backend().disable_table(self._full_name(name))

    def is_table_enabled(self, name: Name) -> bool:
        """Whether the table serves."""
        return self._open_backend().is_table_enabled(self._full_name(name))

    def compact_table(self, name: Name, major: bool = False) -> None:
        """Compact a table; returns when it is done."""
        self._open_backend().compact(self._full_name(name), major)


def described_families(table: str, families: Mapping[Any, Any]) -> list[ColumnFamilyDescriptor]:
    """The families of ``create_table``.

    Raises:
        WrongTypeException, IllegalArgumentException: see there.
    """
    if not isinstance(families, Mapping):
        raise WrongTypeException(
            f"'families' must be a dictionary, not {type(families).__name__}: {shown(families)}"
        )
    if not families:
        raise IllegalArgumentException(f"Table {shown(table)} cannot be created without a column family")
    return [
        ColumnFamilyDescriptor.from_options(family, options, THRIFT_MAX_VERSIONS)
        for family, options in families.items()
    ]


def _close_forgotten(backend: Backend, pid: int) -> None:
    """Close the store of a connection that nobody holds any more.

    In a thread of its own: the collector may run in a thread that holds one of the engine's locks, and
    closing needs them. The low-level call takes no lock, threading.Thread would.
    """
    if os.getpid() == pid:
        _thread.start_new_thread(backend.close, ())


def _close_all() -> None:
    with ExitStack() as stack:  # all of them, though one may fail
        for connection in list(_connections):
            stack.callback(connection.close)


atexit.register(_close_all)


def _after_fork_in_child() -> None:
    connections = list(_connections)
    _connections.clear()
    for connection in connections:
        connection._forget_after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
