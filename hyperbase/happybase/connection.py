"""HappyBase's Connection: the arguments of a Thrift connection, served by an embedded store."""

from __future__ import annotations

import os
import weakref
from functools import partial
from typing import TYPE_CHECKING

from hyperbase.client.connection import Connection as ClientConnection
from hyperbase.client.connection import Name
from hyperbase.client.location import local_path
from hyperbase.common.errors import IllegalArgumentException, shown
from hyperbase.happybase.table import Table

if TYPE_CHECKING:
    from hyperbase.client.backend import Backend

COMPAT_MODES = ("0.90", "0.92", "0.94", "0.96", "0.98")
THRIFT_TRANSPORTS = ("buffered", "framed")
THRIFT_PROTOCOLS = ("binary", "compact")

DEFAULT_HOST = "localhost"
DEFAULT_PORT = 9090
DEFAULT_TRANSPORT = "buffered"
DEFAULT_COMPAT = "0.98"
DEFAULT_PROTOCOL = "binary"
DEFAULT_STORE = "./data"
STORE_VARIABLE = "HYPERBASE_STORE"


class Connection(ClientConnection):
    """A connection as HappyBase makes them, to a store in this process.

    Args:
        host, port: as defaults say (or ``None``), unless ``store`` names the store.
        timeout, transport, protocol: checked as in HappyBase, without effect: nothing goes over a network.
        autoconnect: open the store now, not at ``open()``.
        table_prefix, table_prefix_separator: put before the name of every table.
        compat: HBase's version; old ones refuse some arguments of ``Table.scan``.
        store: the store's directory. Else the environment variable HYPERBASE_STORE, else ``./data``.

    Raises:
        IllegalArgumentException (a ValueError): an unknown mode, or a server is named and no store.
        TypeError: a prefix or separator that is no text. StoreLockedException: another process has the store.
    """

    table_class = Table

    def __init__(
        self,
        host: str | None = DEFAULT_HOST,
        port: int | str | None = DEFAULT_PORT,
        timeout: float | None = None,
        autoconnect: bool = True,
        table_prefix: Name | None = None,
        table_prefix_separator: Name = b"_",
        compat: str = DEFAULT_COMPAT,
        transport: str = DEFAULT_TRANSPORT,
        protocol: str = DEFAULT_PROTOCOL,
        store: str | os.PathLike[str] | None = None,
    ) -> None:
        _check_choice("transport", transport, THRIFT_TRANSPORTS)
        _check_choice("compat", compat, COMPAT_MODES)
        _check_choice("protocol", protocol, THRIFT_PROTOCOLS)
        self.host = host or DEFAULT_HOST
        self.port = port or DEFAULT_PORT
        self.timeout = timeout
        self.compat = compat
        self.store = choose_store(store, self.host, self.port)
        self.transport = Transport(self)
        super().__init__(
            partial(_open_store, self.store),
            autoconnect=autoconnect,
            table_prefix=table_prefix,
            table_prefix_separator=table_prefix_separator,
        )


class Transport:
    """Whether a connection is open: HappyBase programs close it here to drop the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = weakref.ref(connection)  # a strong one would keep both alive in a cycle

    def is_open(self) -> bool:
        """Whether calls can be made."""
        connection = self._connection()
        return connection is not None and connection.is_open()

    def open(self) -> None:
        """Open the connection."""
        connection = self._connection()
        if connection is not None:
            connection.open()

    def close(self) -> None:
        """Close the connection."""
        connection = self._connection()
        if connection is not None:
            connection.close()


def choose_store(store: str | os.PathLike[str] | None, host: str, port: int | str) -> str:
    """The directory to open: the argument, the environment, or the default if no server is asked for."""
    named = store or os.environ.get(STORE_VARIABLE)
    if named:
        return local_path(named)
    if host not in (DEFAULT_HOST, "127.0.0.1", "::1") or str(port) != str(DEFAULT_PORT):
        raise IllegalArgumentException(
            f"cannot connect to {host}:{port}: network connections arrive with the server. Today a store is "
            f"opened in this process: give store='./data', or set {STORE_VARIABLE}"
        )
    return local_path(DEFAULT_STORE)


def _open_store(path: str) -> Backend:
    from hyperbase.embedded import open_backend  # the engine is loaded when it is needed

    return open_backend(path, False, {})


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise IllegalArgumentException(f"'{name}' must be one of {', '.join(choices)}, not {shown(value)}")
