"""Settings, in one typed place: frozen dataclasses, each field with sentence, unit and reasoned default.

``StoreConfig`` is a store's, ``ServerConfig`` a server's, ``ClientConfig`` a client's. ``load_settings``
gathers them from defaults, file, environment and flags.
"""

from __future__ import annotations

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
