"""Every setting of a server: sentence, unit, reasoned default, HBase's name where there is one.

Limits answer at once with an exception that HBase's clients know; none of them makes a request hang.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from hyperbase.common.config.checks import KIB, MIB, CheckedSettings
from hyperbase.common.config.store_config import StoreConfig
from hyperbase.common.errors import IllegalArgumentException

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True, slots=True)
class ServerConfig(CheckedSettings):
    """How one server listens, what it admits, how long it waits, and what it writes to its log.

    Raises:
        IllegalArgumentException: a value of the wrong type or range, or two that contradict each other.
    """

    MAY_BE_ZERO: ClassVar[frozenset[str]] = frozenset(
        {
            "port",
            "rest_port",
            "thrift_port",
            "console_port",
            "info_port",
            "compression_threshold_bytes",
            "drain_timeout_s",
            "log_max_bytes",
        }
    )
    MAY_BE_EMPTY: ClassVar[frozenset[str]] = frozenset({"advertised_host", "log_file", "zookeeper_url"})
    CHOICES: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "log_level": LOG_LEVELS,
        "log_format": ("text", "json"),
    }

    # The store's directory, made when missing. In the current directory, so that two projects do not meet.
    data_dir: str = "./hyperbase-data"
    # Address to listen on. Loopback: there is no authentication yet, so others are let in on request only.
    bind: str = "127.0.0.1"
    # Name or address that clients are told to connect to, kept in hbase:meta; empty: the address listened on
    # or, where that is every address, this machine's name. HBase hbase.regionserver.hostname.
    advertised_host: str = ""
    # Port of the native protocol; 0 is any free one. HBase hbase.master.port: 16000. A region server of a
    # cluster takes 16020 unless one is set, HBase hbase.regionserver.port.
    port: int = 16_000
    # Port of the REST gateway; 0 is off. HBase hbase.rest.port: 8080.
    rest_port: int = 8080
    # Port of the Thrift gateway; 0 is off. HBase hbase.regionserver.thrift.port: 9090.
    thrift_port: int = 9090
    # Port of the web console; 0 is off. HBase hbase.master.info.port: 16010.
    console_port: int = 16_010

    # ZooKeeper of the cluster that a master or region server belongs to: zk://host:2181,host:2181/root. One
    # process with all roles needs none. HBase hbase.zookeeper.quorum.
    zookeeper_url: str = ""
    # Seconds without a sign of life after which others take over what a server holds. HBase
    # zookeeper.session.timeout: 90; a recovery is to begin sooner, and a lapse of ZooKeeper only makes
    # clients wait.
    zookeeper_session_timeout_s: float = 10.0
    # ZooKeeper's tick in seconds (its tickTime), never less than the ensemble's: leases end so much earlier.
    # ZooKeeper tickTime: 2000 ms.
    zookeeper_tick_s: float = 2.0
    # Port of a cluster's server where /health tells how it does; 0 is any free one. HBase
    # hbase.regionserver.info.port: 16030.
    info_port: int = 16_030

    # Largest frame that is taken or sent, in bytes. HBase hbase.ipc.max.request.size: 256 MiB; clients here
    # cut batches and answers to a few MiB, and the largest cell is 10 MiB.
    max_frame_bytes: int = 64 * MIB
    # Most open connections; a further one is turned away at once. HBase: no limit.
    max_connections: int = 10_000
    # Most requests being worked on or waiting, all connections together. HBase: 10 for each handler.
    max_requests_in_flight: int = 10_000
    # Most requests of one connection, so that one client leaves room for others.
    max_requests_per_connection: int = 1_000
    # Most requests for hbase:meta, counted apart: who looks for a region never waits behind writes.
    max_meta_requests: int = 1_000
    # Most administrative requests, counted apart: a busy server can still be told what to do.
    max_admin_requests: int = 100
    # Most requests of other servers, counted apart: writes between servers cannot block each other.
    max_server_requests: int = 1_000
    # Most open scanners, all connections together.
    max_scanners: int = 10_000
    # Most open scanners of one connection.
    max_scanners_per_connection: int = 1_000
    # Most bytes of unfinished requests and unread answers in memory; above, the connection that holds most is
    # ended. HBase hbase.ipc.server.max.callqueue.size: 1 GiB; half of it beside the 256 MiB of MemStores and
    # 128 MiB of cache that a store has by default.
    max_inflight_bytes: int = 512 * MIB
    # A scanner nobody asked for this many seconds is closed. HBase hbase.client.scanner.timeout.period: 60.
    scanner_lease_s: float = 60.0

    # Threads that do what may wait for the disk. HBase hbase.regionserver.handler.count: 30; under one
    # interpreter lock more threads than cores only wait for each other.
    handler_threads: int = 4
    # Threads for administrative work, which may take minutes and must not hold up reads.
    admin_threads: int = 4
    # Seconds a stopping server lets running requests finish; 0 does not wait. Requests take milliseconds.
    drain_timeout_s: float = 10.0
    # Seconds a new connection has to introduce itself; scanners of ports and half-open sockets go after it.
    handshake_timeout_s: float = 10.0
    # Seconds of silence after which the other side is asked whether it is there.
    keepalive_interval_s: float = 15.0
    # Seconds of silence after which a connection is closed: three unanswered questions.
    keepalive_timeout_s: float = 45.0
    # Frames from this many bytes on are compressed when both sides can; 0 is never. Below, it costs more
    # time than a fast network takes.
    compression_threshold_bytes: int = 64 * KIB

    # Least severe records that are written: DEBUG, INFO, WARNING, ERROR or CRITICAL. INFO is an operator's
    # timeline: flushes, compactions, splits.
    log_level: str = "INFO"
    # "text": one line of key=value pairs for each record; "json": one object. Text is what people read first.
    log_format: str = "text"
    # File the log goes to; empty is standard error, where service managers and containers collect it.
    log_file: str = ""
    # A log file is rotated at this many bytes; 0 is never. HBase hbase.log.maxfilesize: 256 MB.
    log_max_bytes: int = 64 * MIB
    # Rotated log files that are kept. HBase hbase.log.maxbackupindex: 20.
    log_backups: int = 5

    # The store behind it: table [store].
    store: StoreConfig = StoreConfig()  # noqa: RUF009  (it is frozen)

    def check_together(self) -> None:
        """See ``CheckedSettings``."""
        check_keepalive(self.keepalive_interval_s, self.keepalive_timeout_s)
        if self.max_inflight_bytes < self.max_frame_bytes:
            raise IllegalArgumentException(
                f"max_inflight_bytes ({self.max_inflight_bytes}) must not be below max_frame_bytes "
                f"({self.max_frame_bytes}): a frame of that size could never be taken"
            )
        if self.zookeeper_session_timeout_s <= 2 * self.zookeeper_tick_s:
            raise IllegalArgumentException(
                f"zookeeper_session_timeout_s ({self.zookeeper_session_timeout_s:g}) must exceed two ticks "
                f"(zookeeper_tick_s is {self.zookeeper_tick_s:g}): ZooKeeper grants no less, and a lease is "
                "shorter by one"
            )
        ports = ("port", "rest_port", "thrift_port", "console_port")
        for index, name in enumerate(ports):
            for other in ports[:index]:
                if getattr(self, name) and getattr(self, name) == getattr(self, other):
                    raise IllegalArgumentException(
                        f"{other} and {name} must differ, both are {getattr(self, name)}"
                    )


def check_keepalive(interval_s: float, timeout_s: float) -> None:
    """Raise IllegalArgumentException when a connection would be closed before its peer was ever asked."""
    if timeout_s <= interval_s:
        raise IllegalArgumentException(
            f"keepalive_timeout_s ({timeout_s:g}) must exceed keepalive_interval_s ({interval_s:g}): "
            "the other side would have no time to answer"
        )
