"""Addresses: ``hyperbase://host[:port][,…]`` of servers, ``zk://…`` of a cluster's ZooKeeper."""

from __future__ import annotations

import re

from hyperbase.common.errors import IllegalArgumentException
from hyperbase.common.zookeeper.location import ZooKeeperLocation

SCHEME = "hyperbase"
DEFAULT_PORT = 16000

_URL = re.compile(r"hyperbase://", re.IGNORECASE)
_ZOOKEEPER = re.compile(r"zk://", re.IGNORECASE)
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]/?#@\s]+)(?::([0-9]{1,5}))?")


def is_server_url(location: object) -> bool:
    """Whether a location names servers, or a cluster's ZooKeeper."""
    return isinstance(location, str) and (_URL.match(location) or _ZOOKEEPER.match(location)) is not None


def parse_source(url: str) -> list[str] | ZooKeeperLocation:
    """Whom to ask where things are.

    Raises:
        IllegalArgumentException: no such URL.
    """
    if _ZOOKEEPER.match(url):
        return ZooKeeperLocation.parse(url[:5].lower() + url[5:])
    return parse_servers(url)


def parse_servers(url: str) -> list[str]:
    """The servers of a URL as ``host:port``; ``[…]`` around an IPv6 address is left out.

    Raises:
        IllegalArgumentException: no such URL.
    """
    match = _URL.match(url)
    rest = url[match.end() :].rstrip("/") if match else ""
    addresses = []
    for part in rest.split(","):
        found = _HOST_PORT.fullmatch(part.strip())
        if found is None or not 0 < int(found[2] or DEFAULT_PORT) < 65536:
            raise IllegalArgumentException(
                f"cannot connect to {url!r}: {part!r} is no server; write hyperbase://host:port, "
                "several with commas between them"
            )
        addresses.append(join_address(found[1].strip("[]"), int(found[2] or DEFAULT_PORT)))
    return addresses


def join_address(host: str, port: int) -> str:
    """``host:port`` as hbase:meta has it."""
    return f"{host}:{port}"


def split_address(address: str) -> tuple[str, int]:
    """The host and port of ``host:port``."""
    host, _, port = address.rpartition(":")
    return host, int(port)
