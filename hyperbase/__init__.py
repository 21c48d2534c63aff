"""Hyperbase: a wide-column store with HBase's data model, in your process.

    import hyperbase

    with hyperbase.connect("./data") as db:
        db.create_table("t", {"cf": {}})
        table = db.table("t")
        table.put(b"r1", {b"cf:a": b"1"})
        table.row(b"r1")  # {b"cf:a": b"1"}

Importing this package is cheap: what a name needs is loaded when the name is first used.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperbase import aio
    from hyperbase.client.admin import Admin
    from hyperbase.client.batch import Batch
    from hyperbase.client.buffered_mutator import BufferedMutator
    from hyperbase.client.connection import Connection
    from hyperbase.client.table import Table
    from hyperbase.common import errors, filters
    from hyperbase.common.descriptors import (
        ColumnFamilyDescriptor,
        NamespaceDescriptor,
        TableDescriptor,
    )
    from hyperbase.common.model import (
        Append,
        Cell,
        CellType,
        CheckAndMutate,
        CompareOperator,
        Delete,
        Durability,
        Get,
        Increment,
        Put,
        Result,
        RowMutations,
        Scan,
        TimeRange,
    )
    from hyperbase.common.region_info import RegionInfo
    from hyperbase.happybase.pool import ConnectionPool

__version__ = "0.1.0"

__all__ = [
    "connect",
    "Admin",
    "Batch",
    "BufferedMutator",
    "Connection",
    "ConnectionPool",
    "Table",
    "Append",
    "Cell",
    "CellType",
    "CheckAndMutate",
    "CompareOperator",
    "Delete",
    "Durability",
    "Get",
    "Increment",
    "Put",
    "Result",
    "RowMutations",
    "Scan",
    "TimeRange",
    "ColumnFamilyDescriptor",
    "NamespaceDescriptor",
    "RegionInfo",
    "TableDescriptor",
    "aio",
    "errors",
    "filters",
    "__version__",
]

_HOMES = {
    "Admin": "hyperbase.client.admin",
    "Batch": "hyperbase.client.batch",
    "BufferedMutator": "hyperbase.client.buffered_mutator",
    "Connection": "hyperbase.client.connection",
    "ConnectionPool": "hyperbase.happybase.pool",
    "Table": "hyperbase.client.table",
    "ColumnFamilyDescriptor": "hyperbase.common.descriptors",
    "NamespaceDescriptor": "hyperbase.common.descriptors",
    "TableDescriptor": "hyperbase.common.descriptors",
    "RegionInfo": "hyperbase.common.region_info",
}
_MODULES = {"aio": "hyperbase.aio", "errors": "hyperbase.common.errors", "filters": "hyperbase.filters"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value: Any = import_module(_MODULES[name])
    elif name in __all__:
        value = getattr(import_module(_HOMES.get(name, "hyperbase.common.model")), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def connect(
    path: str | os.PathLike[str],
    read_only: bool = False,
    memstore_limit_bytes: int | None = None,
    memstore_flush_size_bytes: int | None = None,
    block_cache_bytes: int | None = None,
    *,
    table_prefix: bytes | str | None = None,
    table_prefix_separator: bytes | str = b"_",
    **settings: Any,
) -> Connection:
    """Connect to servers, or open the store in a directory, which is created when it does not exist.

    Args:
        path: ``hyperbase://host:port``, or several servers, ``hyperbase://host:port,host:port``; a cluster's
            ZooKeeper, ``zk://host:port,host:port/hyperbase``; or a directory, or its ``file://`` URL.
        read_only: of a directory: change nothing on disk; several processes may read at once.
        memstore_limit_bytes, memstore_flush_size_bytes, block_cache_bytes, settings: fields of
            ``hyperbase.common.config.StoreConfig`` for a directory, of ``ClientConfig`` (only ``settings``)
            for servers; what is not given has the default.
        table_prefix, table_prefix_separator: see ``Connection``.

    Raises:
        IllegalArgumentException: a URL of another kind, an unknown setting, or one out of range.
        StoreLockedException: another process has the store open. StoreFormatException: not a store.
        ConnectException: no server, or no ZooKeeper, is there.
        PleaseHoldException: there is no cluster at ZooKeeper's root, or it does not serve yet.
    """
    from hyperbase.client.connection import Connection
    from hyperbase.client.network.address import is_server_url

    given = {
        "memstore_limit_bytes": memstore_limit_bytes,
        "memstore_flush_size_bytes": memstore_flush_size_bytes,
        "block_cache_bytes": block_cache_bytes,
        **settings,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    opener: Callable[[], Any]
    if is_server_url(path):
        from hyperbase.client.network.opening import server_opener

        opener = server_opener(str(path), read_only, chosen)
    else:
        opener = _directory_opener(path, read_only, chosen)
    return Connection(opener, table_prefix=table_prefix, table_prefix_separator=table_prefix_separator)


def _directory_opener(
    path: str | os.PathLike[str], read_only: bool, settings: dict[str, Any]
) -> Callable[[], Any]:
    from hyperbase.client.location import local_path

    directory = local_path(path)

    def opener() -> Any:
        from hyperbase.embedded import open_backend

        return open_backend(directory, read_only, settings)

    return opener
