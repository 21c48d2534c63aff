"""Settings, in one typed place: frozen dataclasses, each field with sentence, unit and reasoned default.

``StoreConfig`` is a store's, ``ServerConfig`` a server's, ``ClientConfig`` a client's. ``load_settings``
gathers them from defaults, file, environment and flags. Each is loaded when its name is first used: a client
does not wait for a server's.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperbase.common.config.checks import GIB, KIB, MIB
    from hyperbase.common.config.client_config import ClientConfig
    from hyperbase.common.config.server_config import ServerConfig
    from hyperbase.common.config.settings import Settings, load_settings
    from hyperbase.common.config.store_config import StoreConfig, derived_flush_size_bytes

__all__ = [
    "ClientConfig",
    "ServerConfig",
    "StoreConfig",
    "Settings",
    "load_settings",
    "derived_flush_size_bytes",
    "KIB",
    "MIB",
    "GIB",
]

_HOMES = {
    "ClientConfig": "client_config",
    "ServerConfig": "server_config",
    "StoreConfig": "store_config",
    "Settings": "settings",
    "load_settings": "settings",
    "derived_flush_size_bytes": "store_config",
    "KIB": "checks",
    "MIB": "checks",
    "GIB": "checks",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
