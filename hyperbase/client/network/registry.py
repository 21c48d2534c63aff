"""Who is in a cluster: what a server's REGISTRY, or ZooKeeper, tells a client."""

from __future__ import annotations

from typing import Any, NamedTuple

from hyperbase.common.errors import ConnectException, DoNotRetryIOException
from hyperbase.common.server_name import ServerName


class Registry(NamedTuple):
    """Addresses are ``host:port``; ``master`` and ``meta`` are empty while there is none."""

    cluster_id: str
    master: str
    meta: str
    servers: tuple[str, ...]

    @classmethod
    def of_answer(cls, answer: Any) -> Registry:
        """REGISTRY's answer.

        Raises:
            DoNotRetryIOException: it is none.
        """
        try:
            master, meta = (_address(answer.get(name) or "") for name in ("master", "meta"))
            servers = tuple(map(_address, answer["servers"]))
            return cls(str(answer["cluster_id"]), master, meta, servers)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DoNotRetryIOException(
                f"the server's answer to REGISTRY cannot be read: {error!r}"
            ) from error

    @property
    def one_process(self) -> bool:
        """Whether one server is all there is: it has every region, and nothing moves."""
        return self.servers == (self.master,) and self.meta == self.master


def _address(name: str) -> str:
    return ServerName.parse(name).address if name else ""


def other_cluster(address: str, found: str, wanted: str) -> ConnectException:
    """A server that was known serves another cluster now: its port was given away."""
    return ConnectException(f"{address} serves cluster {found} now, not {wanted}")
