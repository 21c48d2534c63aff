"""The identity of a server process: where it listens, and since when; written ``host,port,startcode``."""

from __future__ import annotations

from typing import NamedTuple

from hyperbase.common.errors import IllegalArgumentException


class ServerName(NamedTuple):
    """One process; another one on the same address has another start code (ms since the epoch)."""

    host: str
    port: int
    startcode: int

    def __str__(self) -> str:
        return f"{self.host},{self.port},{self.startcode}"

    @property
    def address(self) -> str:
        """``host:port``, as in ``info:server`` of hbase:meta."""
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> ServerName:
        """Read ``host,port,startcode``.

        Raises:
            IllegalArgumentException: another form.
        """
        try:
            host, port, startcode = text.rsplit(",", 2)
            return cls(host, int(port), int(startcode))
        except ValueError as error:
            raise IllegalArgumentException(f"not a server name host,port,startcode: {text!r}") from error
