"""Every setting of a client that talks to servers: sentence, unit, reasoned default, HBase's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from hyperbase.common.config.checks import MIB, CheckedSettings
from hyperbase.common.config.server_config import check_keepalive
from hyperbase.common.errors import IllegalArgumentException


@dataclass(frozen=True, slots=True)
class ClientConfig(CheckedSettings):
    """How a client connects, waits and tries again.

    Raises:
        IllegalArgumentException: a value of the wrong type or range, or two that contradict each other.
    """

    MAY_BE_ZERO: ClassVar[frozenset[str]] = frozenset({"max_key_value_bytes", "max_retries"})
    CHOICES: ClassVar[Mapping[str, tuple[str, ...]]] = {"compression": ("auto", "off", "zstd")}

    # Seconds one server has to accept a connection and introduce itself. HBase: 10; another may be asked.
    connect_timeout_s: float = 5.0
    # Seconds an operation may take, every retry included. HBase hbase.client.operation.timeout: 1200; a
    # program that waits for minutes is taken for dead, and a region moves in seconds.
    operation_timeout_s: float = 60.0
    # Milliseconds before the first retry; each further one waits about twice as long. HBase
    # hbase.client.pause: 100; a region of a local server is back sooner.
    retry_delay_ms: int = 20
    # Most milliseconds between two tries.
    retry_delay_max_ms: int = 3_000
    # Retries of one operation, within its time; 0 is none. HBase hbase.client.retries.number: 15; the time is
    # meant to be the limit that is met first.
    max_retries: int = 50
    # Most sockets to one server. One carries many requests at a time; threads that wait take one each.
    max_sockets_per_server: int = 64
    # Chunks of a scan that may be on their way at a time: enough to hide the network, little to hold.
    scan_credit_chunks: int = 4
    # Seconds of silence after which the server is asked whether it is there.
    keepalive_interval_s: float = 5.0
    # Seconds of silence after which a connection is given up: three unanswered questions. A cluster's server
    # that stopped loses its regions after about 10 s: its clients should look for them then.
    keepalive_timeout_s: float = 15.0
    # Largest cell of a plain put, key included, in bytes: a batch with a larger one is refused before any of
    # it is sent; 0 leaves it to the server. HBase hbase.client.keyvalue.maxsize: 10 MiB.
    max_key_value_bytes: int = 10 * MIB
    # Largest frame that is taken or sent, in bytes; the smaller one of both sides counts.
    max_frame_bytes: int = 64 * MIB
    # "auto": where it pays; "zstd": whenever the server can; "off": never.
    compression: str = "auto"

    def check_together(self) -> None:
        """See ``CheckedSettings``."""
        check_keepalive(self.keepalive_interval_s, self.keepalive_timeout_s)
        if self.retry_delay_max_ms < self.retry_delay_ms:
            raise IllegalArgumentException(
                f"retry_delay_max_ms ({self.retry_delay_max_ms}) must not be below retry_delay_ms "
                f"({self.retry_delay_ms})"
            )
