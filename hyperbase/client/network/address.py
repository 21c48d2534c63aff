"""Addresses of servers: ``hyperbase://host[:port][,host[:port]…]``."""

from __future__ import annotations

import re

from hyperbase.common.errors import IllegalArgumentException

SCHEME = "hyperbase"
DEFAULT_PORT = 16000

_URL = re.compile(r"hyperbase://", re.IGNORECASE)
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]/?#@\s]+)(?::([0-9]{1,5}))?")


def is_server_url(location: object) -> bool:
    """Whether a location names servers."""
    return isinstance(location, str) and _URL.match(location) is not None


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
