"""Where a cluster's ZooKeeper is: ``zk://host[:port][,host[:port]...][/root]``.

The port is 2181 if none is given, the root ``/hyperbase``; an IPv6 address stands in brackets.
"""

from __future__ import annotations

from dataclasses import dataclass

from hyperbase.common.errors import IllegalArgumentException

SCHEME = "zk://"
DEFAULT_PORT = 2181
DEFAULT_ROOT = "/hyperbase"


@dataclass(frozen=True, slots=True)
class ZooKeeperLocation:
    """The servers of one ensemble and the znode under which one cluster keeps its own."""

    hosts: tuple[tuple[str, int], ...]
    root: str = DEFAULT_ROOT

    @property
    def quorum(self) -> str:
        """``host:port,host:port``, as ZooKeeper's clients want it."""
        return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)

    def __str__(self) -> str:
        return f"{SCHEME}{self.quorum}{self.root}"

    @classmethod
    def parse(cls, url: str) -> ZooKeeperLocation:
        """Read such a URL.

        Raises:
            IllegalArgumentException: another form; the message names the part that is wrong.
        """
        if not url.startswith(SCHEME):
            raise IllegalArgumentException(
                f"not a cluster's URL: {url!r}. Write zk://host1:2181,host2:2181{DEFAULT_ROOT}"
            )
        quorum, slash, path = url.removeprefix(SCHEME).partition("/")
        for sign in "?#@":
            if sign in quorum + path:
                raise IllegalArgumentException(f"{sign!r} has no meaning in a cluster's URL: {url!r}")
        hosts = tuple(_parse_host(part, url) for part in quorum.split(","))
        for host in hosts:
            if hosts.count(host) > 1:
                raise IllegalArgumentException(f"{host[0]}:{host[1]} stands twice in {url!r}")
        return cls(hosts, _parse_root(path, url) if slash and path else DEFAULT_ROOT)


def _parse_host(text: str, url: str) -> tuple[str, int]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise IllegalArgumentException(f"not an IPv6 address in brackets: {text!r} in {url!r}")
        colon, port = rest[:1], rest[1:]
    else:
        host, colon, port = text.partition(":")
        if ":" in port:
            raise IllegalArgumentException(f"an IPv6 address needs brackets: {text!r} in {url!r}")
    if not host or any(sign.isspace() for sign in text):
        raise IllegalArgumentException(
            f"a ZooKeeper server has no name in {url!r}: write host:port, with commas between"
        )
    if not colon:
        return host, DEFAULT_PORT
    if not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65535):
        raise IllegalArgumentException(f"not a port (1 to 65535): {port!r} of {host} in {url!r}")
    return host, int(port)


def _parse_root(path: str, url: str) -> str:
    parts = path.rstrip("/").split("/")
    if any(part in ("", ".", "..") or not part.isprintable() or " " in part for part in parts):
        raise IllegalArgumentException(f"not a znode's path: {'/' + path!r} in {url!r}")
    if parts[0] == "zookeeper":
        raise IllegalArgumentException(f"/zookeeper is ZooKeeper's own; choose another root in {url!r}")
    return "/" + "/".join(parts)
