"""From a URL and settings to a client: what ``hyperbase.connect`` and ``hyperbase.aio.connect`` share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from hyperbase.client.network.address import parse_source
from hyperbase.common.config import ClientConfig
from hyperbase.common.errors import IllegalArgumentException
from hyperbase.common.schema_options import unknown_option

if TYPE_CHECKING:
    from hyperbase.client.network.backend import NetworkBackend


def client_config(settings: Mapping[str, Any]) -> ClientConfig:
    """The settings of a client.

    Raises:
        IllegalArgumentException: an unknown one, one of a store's, or one out of range.
    """
    known = [field.name for field in fields(ClientConfig)]
    for name in settings:
        if name not in known:
            raise _unknown(name, known)
    return ClientConfig(**settings)


def _unknown(name: str, known: list[str]) -> IllegalArgumentException:
    from hyperbase.common.config import StoreConfig

    if name in {field.name for field in fields(StoreConfig)}:
        return IllegalArgumentException(
            f"{name} is a setting of the server, or of a store opened by its directory: a client of a server "
            "cannot change it"
        )
    return unknown_option(name, known, "a client")


def server_opener(url: str, read_only: bool, settings: Mapping[str, Any]) -> Callable[[], NetworkBackend]:
    """What opens a blocking client of the servers in a URL."""
    if read_only:
        raise IllegalArgumentException(
            "read_only is for a store opened by its directory: a server decides who may write"
        )
    source = parse_source(url)
    config = client_config(settings)

    def opener() -> NetworkBackend:
        from hyperbase.client.network.backend import NetworkBackend

        backend = NetworkBackend(source, config)
        try:
            backend.connect()
        except BaseException:
            backend.close()
            raise
        return backend

    return opener
