"""HappyBase's API on Hyperbase: ``import hyperbase.happybase as happybase``, and no server is needed.

A Connection opens the directory named by ``store``, by the environment variable HYPERBASE_STORE, or
``./data``. Connections of one process to one directory share its store, so pools and threads work.
"""

from hyperbase import __version__
from hyperbase.happybase.batch import Batch
from hyperbase.happybase.connection import (
    DEFAULT_COMPAT,
    DEFAULT_HOST,
    DEFAULT_PORT,
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
