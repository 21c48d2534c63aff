"""HappyBase's Connection: the arguments of a Thrift connection, for a Hyperbase server or a directory."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from hyperbase.client.connection import Connection as ClientConnection
from hyperbase.client.connection import Name
from hyperbase.client.location import local_path
from hyperbase.client.network.address import DEFAULT_PORT, is_server_url, join_address, parse_servers
from hyperbase.client.network.opening import server_opener
from hyperbase.common.errors import IllegalArgumentException, shown
from hyperbase.happybase.table import Table

if TYPE_CHECKING:
    from hyperbase.client.backend import Backend

COMPAT_MODES = ("0.90", "0.92", "0.94", "0.96", "0.98")
THRIFT_TRANSPORTS = ("buffered", "framed")
THRIFT_PROTOCOLS = ("binary", "compact")

DEFAULT_HOST = "localhost"
THRIFT_PORT = 9090  # HappyBase's default
DEFAULT_TRANSPORT = "buffered"
DEFAULT_COMPAT = "0.98"
DEFAULT_PROTOCOL = "binary"
STORE_VARIABLE = "HYPERBASE_STORE"


class Connection(ClientConnection):
    """A connection as HappyBase makes them: to a server, or to a store in this process.

    Args:
        host, port: the server, unless ``store`` says otherwise. HappyBase's own default port, 9090, is that
            of HBase's Thrift gateway; here it means the server's, 16000, as ``None`` does.
        timeout: milliseconds an operation may take, retries included; 60 s when ``None``.
        transport, protocol: checked as in HappyBase, without effect: nothing speaks Thrift.
        autoconnect: connect now, not at ``open()``.
        table_prefix, table_prefix_separator: put before the name of every table.
        compat: HBase's version; old ones refuse some arguments of ``Table.scan``.
        store: a store's directory, to open it in this process, or servers as ``hyperbase://host:port``, or
            a cluster as ``zk://host:port/hyperbase``. Else the environment variable HYPERBASE_STORE.

    Raises:
        IllegalArgumentException (a ValueError): an unknown mode, or no such port, store or timeout.
        TypeError: a prefix or separator that is no text. ConnectException: no server is there.
        StoreLockedException: another process has the directory open.
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
        self.store, opener = choose_store(store, self.host, self.port, timeout)
        self.transport = Transport(self)
        super().__init__(
            opener,
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


def choose_store(
    store: str | os.PathLike[str] | None, host: str, port: int | str, timeout: float | None
) -> tuple[str, Callable[[], Backend]]:
    """The directory or URL that the argument, the environment, or host and port name, and what opens it."""
    named = store or os.environ.get(STORE_VARIABLE)
    if named and not is_server_url(named):
        directory = local_path(named)
        return directory, partial(_open_store, directory)
    url = str(named) if named else server_url(host, port)
    settings: dict[str, float] = {}
    if timeout is not None:
        if not timeout > 0:
            raise IllegalArgumentException(f"'timeout' must be a positive number of ms, not {timeout!r}")
        settings["operation_timeout_s"] = timeout / 1000
    return url, server_opener(url, False, settings)


def server_url(host: str, port: int | str) -> str:
    """The URL of a server as HappyBase programs name it."""
    number = DEFAULT_PORT if str(port) == str(THRIFT_PORT) else port
    url = "hyperbase://" + join_address(f"[{host}]" if ":" in host else host, int(number))
    parse_servers(url)
    return url


def _open_store(path: str) -> Backend:
    from hyperbase.embedded import open_backend  # the engine is loaded when it is needed

    return open_backend(path, False, {})


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise IllegalArgumentException(f"'{name}' must be one of {', '.join(choices)}, not {shown(value)}")
