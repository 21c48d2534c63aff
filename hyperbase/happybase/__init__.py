"""HappyBase's API on Hyperbase: ``import hyperbase.happybase as happybase``.

``Connection(host, port)`` reaches a server, port 16000 by default. With ``store``, or the environment
variable HYPERBASE_STORE, it opens a directory in this process, and no server is needed: connections of one
process to one directory share its store, so pools and threads work.
"""

from hyperbase import __version__
from hyperbase.client.network.address import DEFAULT_PORT
from hyperbase.happybase.batch import Batch
from hyperbase.happybase.connection import (
    DEFAULT_COMPAT,
    DEFAULT_HOST,
    DEFAULT_PROTOCOL,
    DEFAULT_TRANSPORT,
    Connection,
)
from hyperbase.happybase.pool import ConnectionPool, NoConnectionsAvailable
from hyperbase.happybase.table import Table

__all__ = [
    "DEFAULT_COMPAT",
    "DEFAULT_HOST",
    "DEFAULT_PORT",
    "DEFAULT_PROTOCOL",
    "DEFAULT_TRANSPORT",
    "Batch",
    "Connection",
    "ConnectionPool",
    "NoConnectionsAvailable",
    "Table",
    "__version__",
]
