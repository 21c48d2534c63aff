"""How a store or cluster is doing: its servers, their regions, what each carries, what is under way.

A server's name is ``host,port,startcode``, its start in milliseconds. ``to_dict`` gives plain values for
msgpack, ``from_dict`` reads them back and leaves out what a newer version has added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from hyperbase.common.region_info import RegionInfo


def _known(kind: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    names = {item.name for item in fields(kind)}
    return {name: value for name, value in data.items() if name in names}


@dataclass(frozen=True, slots=True)
class RegionStatus:
    """One open region. Sizes are in bytes; requests count since the region was opened."""

    name: bytes
    store_count: int = 0
    store_file_count: int = 0
    store_file_bytes: int = 0
    uncompressed_bytes: int = 0
    memstore_bytes: int = 0
    read_requests: int = 0
    write_requests: int = 0
    locality: float = 1.0  # share of the files' bytes that are on the server itself

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RegionStatus:
        """The inverse of ``to_dict``."""
        return cls(**_known(cls, data))

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One region server and its open regions, in their order."""

    name: str
    regions: tuple[RegionStatus, ...] = ()
    requests_per_second: float = 0.0
    used_memory_bytes: int = 0
    max_memory_bytes: int = 0

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ServerStatus:
        """The inverse of ``to_dict``."""
        known = _known(cls, data)
        known["regions"] = tuple(RegionStatus.from_dict(each) for each in known.get("regions", ()))
        return cls(**known)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "regions": [region.to_dict() for region in self.regions]}

    @property
    def host_port(self) -> str:
        """``host:port``."""
        host, port, _ = split_server_name(self.name)
        return f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """The whole of it."""

    version: str
    cluster_id: str
    master: str  # a server's name
    servers: tuple[ServerStatus, ...] = ()
    backup_masters: tuple[str, ...] = ()
    dead_servers: tuple[str, ...] = ()
    regions_in_transition: tuple[str, ...] = ()  # one line of text each

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ClusterStatus:
        """The inverse of ``to_dict``."""
        known = _known(cls, data)
        known["servers"] = tuple(ServerStatus.from_dict(each) for each in known.get("servers", ()))
        for name in ("backup_masters", "dead_servers", "regions_in_transition"):
            known[name] = tuple(known.get(name, ()))
        return cls(**known)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **asdict(self),
            "servers": [server.to_dict() for server in self.servers],
            "backup_masters": list(self.backup_masters),
            "dead_servers": list(self.dead_servers),
            "regions_in_transition": list(self.regions_in_transition),
        }


@dataclass(frozen=True, slots=True)
class RegionPlace:
    """Where a region is in its life, and where that is."""

    region: RegionInfo
    state: str  # a name of RegionState
    server: str = ""  # who has it, or is to open or close it; empty: nobody
    reason: str = ""  # why it is not open, where that is known

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RegionPlace:
        """The inverse of ``to_dict``."""
        return cls(**{**_known(cls, data), "region": RegionInfo.from_bytes(data["region"])})

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "region": self.region.to_bytes(),
            "state": self.state,
            "server": self.server,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class ProcedureStatus:
    """A change that a cluster's master carries out, step by step."""

    number: int
    kind: str
    about: str  # what it changes
    step: str
    since_ms: int  # when this master took it up, ms since the epoch
    note: str = ""  # what it waits for

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ProcedureStatus:
        """The inverse of ``to_dict``."""
        return cls(**_known(cls, data))

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def split_server_name(name: str) -> tuple[str, str, str]:
    """``"host,16020,1700000000000"`` → its three parts; those that are missing are empty."""
    host, _, rest = name.partition(",")
    port, _, startcode = rest.partition(",")
    return host, port, startcode
