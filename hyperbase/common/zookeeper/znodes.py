"""The cluster's znodes: their paths, and HBase's own bytes in them.

<root>/hbaseid                         ClusterId         the store's identity
<root>/running                         ClusterUp         there while the cluster is to run
<root>/master              ephemeral   Master            the active master; its czxid is the master's epoch
<root>/backup-masters/<server> ephemeral Master          masters that wait
<root>/rs/<server>         ephemeral   RegionServerInfo  a region server that is alive
<root>/removed/<server>                decimal           who is being recovered: ms its lease may last
<root>/meta-region-server              MetaRegionServer  where hbase:meta is

Value   := 0xFF | length u32 | writer id, UTF-8 | salt (8 bytes) | "PBUF" | message
           length covers writer id and salt; big-endian. A value without 0xFF in front is all message.
ServerName       := 1 host text | 2 port varint | 3 start code varint
ClusterId        := 1 cluster_id text
ClusterUp        := 1 start date text
Master           := 1 ServerName | 2 rpc_version varint | 3 info_port varint
MetaRegionServer := 1 ServerName | 2 rpc_version varint | 3 state varint (of ``STATES``)
RegionServerInfo := 1 info_port varint | 2 VersionInfo | 1000 session timeout, ms, varint (ours)
VersionInfo      := 1 version | 2 url | 3 revision | 4 user | 5 date | 6 checksum, all text, all required
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from hyperbase.common.errors import IllegalArgumentException
from hyperbase.common.protobuf import PBUF_MAGIC, bytes_field, read_message, varint_field
from hyperbase.common.region_info import RegionState
from hyperbase.common.server_name import ServerName

VALUE_MAGIC = 0xFF
VALUE_HEADER = struct.Struct(">BI")
SALT_SIZE = 8
SESSION_TIMEOUT_FIELD = 1000
assert VALUE_HEADER.size == 5

# Persisted: HBase's numbers of region states in znodes. 1 and 4 (PENDING_*) are old.
STATES = {
    0: RegionState.OFFLINE,
    1: RegionState.OPENING,
    2: RegionState.OPENING,
    3: RegionState.OPEN,
    4: RegionState.CLOSING,
    5: RegionState.CLOSING,
    6: RegionState.CLOSED,
    7: RegionState.SPLITTING,
    8: RegionState.SPLIT,
    9: RegionState.FAILED_OPEN,
    10: RegionState.FAILED_CLOSE,
    11: RegionState.MERGING,
    12: RegionState.MERGED,
    13: RegionState.SPLITTING_NEW,
    14: RegionState.MERGING_NEW,
    15: RegionState.ABNORMALLY_CLOSED,
}
STATE_NUMBERS = {state: number for number, state in STATES.items()}


@dataclass(frozen=True, slots=True)
class ZnodePaths:
    """Where each fact stands under the cluster's root."""

    root: str

    @property
    def cluster_id(self) -> str:
        """The store's identity."""
        return f"{self.root}/hbaseid"

    @property
    def running(self) -> str:
        """There while the cluster is to run."""
        return f"{self.root}/running"

    @property
    def master(self) -> str:
        """The active master's lock."""
        return f"{self.root}/master"

    @property
    def backup_masters(self) -> str:
        """Above the masters that wait."""
        return f"{self.root}/backup-masters"

    @property
    def servers(self) -> str:
        """Above the region servers that are alive."""
        return f"{self.root}/rs"

    @property
    def removed(self) -> str:
        """Above the servers whose recovery goes on."""
        return f"{self.root}/removed"

    @property
    def meta(self) -> str:
        """Where hbase:meta is."""
        return f"{self.root}/meta-region-server"

    def backup_master(self, server: ServerName) -> str:
        """A master that waits."""
        return f"{self.backup_masters}/{server}"

    def server(self, server: ServerName) -> str:
        """A region server."""
        return f"{self.servers}/{server}"

    def removed_server(self, server: ServerName) -> str:
        """A server that is being recovered."""
        return f"{self.removed}/{server}"

    def world_readable(self, path: str) -> bool:
        """Whether all may read it where access is limited; the list is HBase's."""
        return path in (self.root, self.cluster_id, self.master, self.servers, self.meta)


@dataclass(frozen=True, slots=True)
class MasterInfo:
    """What a master says of itself."""

    server: ServerName
    info_port: int = 0
    rpc_version: int = 0

    def to_bytes(self, writer: str) -> bytes:
        """The znode's value, as HBase writes it."""
        message = bytes_field(1, _server_message(self.server))
        message += varint_field(2, self.rpc_version) + varint_field(3, self.info_port)
        return wrap(writer, message)

    @classmethod
    def from_bytes(cls, value: bytes) -> MasterInfo:
        """Raises IllegalArgumentException: not such bytes."""
        numbers, texts = read_message(unwrap(value))
        return cls(_read_server(texts, "Master"), numbers.get(3, 0), numbers.get(2, 0))


@dataclass(frozen=True, slots=True)
class MetaLocation:
    """Where hbase:meta is, and whether it is open there."""

    server: ServerName
    state: RegionState = RegionState.OPEN
    rpc_version: int = 0

    def to_bytes(self, writer: str) -> bytes:
        """The znode's value, as HBase writes it."""
        message = bytes_field(1, _server_message(self.server)) + varint_field(2, self.rpc_version)
        return wrap(writer, message + varint_field(3, STATE_NUMBERS[self.state]))

    @classmethod
    def from_bytes(cls, value: bytes) -> MetaLocation:
        """Raises IllegalArgumentException: not such bytes, or a state nobody knows."""
        numbers, texts = read_message(unwrap(value))
        number = numbers.get(3, STATE_NUMBERS[RegionState.OPEN])
        if number not in STATES:
            raise IllegalArgumentException(f"hbase:meta's znode holds an unknown region state: {number}")
        return cls(_read_server(texts, "MetaRegionServer"), STATES[number], numbers.get(2, 0))


@dataclass(frozen=True, slots=True)
class RegionServerInfo:
    """What a region server says of itself; its name is its znode's."""

    info_port: int = 0
    version: str = ""
    session_timeout_ms: int = 0  # 0: not known, as in HBase's own

    def to_bytes(self, writer: str) -> bytes:
        """The znode's value, as HBase writes it, with one field more."""
        version = b"".join(bytes_field(number, b"") for number in range(2, 7))
        message = varint_field(1, self.info_port)
        message += bytes_field(2, bytes_field(1, self.version.encode()) + version)
        return wrap(writer, message + varint_field(SESSION_TIMEOUT_FIELD, self.session_timeout_ms))

    @classmethod
    def from_bytes(cls, value: bytes) -> RegionServerInfo:
        """Raises IllegalArgumentException: not such bytes."""
        numbers, texts = read_message(unwrap(value))
        _, version = read_message(texts.get(2, b""))
        timeout = numbers.get(SESSION_TIMEOUT_FIELD, 0)
        return cls(numbers.get(1, 0), _text(version.get(1, b"")), timeout)


def cluster_id_value(writer: str, cluster_id: str) -> bytes:
    """``hbaseid``'s value, or ``running``'s with its start date: both are one text."""
    return wrap(writer, bytes_field(1, cluster_id.encode()))


def read_cluster_id(value: bytes) -> str:
    """Read ``cluster_id_value``'s form.

    Raises:
        IllegalArgumentException: not such bytes.
    """
    _, texts = read_message(unwrap(value))
    if 1 not in texts:
        raise IllegalArgumentException("the cluster id's znode holds no cluster id")
    return _text(texts[1])


def wrap(writer: str, message: bytes) -> bytes:
    """A znode's value. ``writer`` tells who wrote it: ``master:16000``; the salt tells two writes apart."""
    name = writer.encode()
    header = VALUE_HEADER.pack(VALUE_MAGIC, len(name) + SALT_SIZE)
    return header + name + os.urandom(SALT_SIZE) + PBUF_MAGIC + message


def unwrap(value: bytes) -> bytes:
    """The message in a znode's value.

    Raises:
        IllegalArgumentException: no such value; it is shown.
    """
    message = value
    if value[:1] == bytes([VALUE_MAGIC]):
        if len(value) < VALUE_HEADER.size:
            raise IllegalArgumentException(f"a znode's value is cut short: {value!r}")
        _, length = VALUE_HEADER.unpack_from(value)
        if not SALT_SIZE <= length <= len(value) - VALUE_HEADER.size:
            raise IllegalArgumentException(f"a znode's value has no writer of {length} bytes: {value[:64]!r}")
        message = value[VALUE_HEADER.size + length :]
    if not message.startswith(PBUF_MAGIC):
        raise IllegalArgumentException(f"a znode's value holds no PBUF message: {value[:64]!r}")
    return message[len(PBUF_MAGIC) :]


def _server_message(server: ServerName) -> bytes:
    numbers = varint_field(2, server.port) + varint_field(3, server.startcode)
    return bytes_field(1, server.host.encode()) + numbers


def _read_server(texts: dict[int, bytes], what: str) -> ServerName:
    if 1 not in texts:
        raise IllegalArgumentException(f"{what} names no server")
    numbers, names = read_message(texts[1])
    if 1 not in names:
        raise IllegalArgumentException(f"{what} names a server without host")
    return ServerName(_text(names[1]), numbers.get(2, 0), numbers.get(3, 0))


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise IllegalArgumentException(f"a znode holds text that is not UTF-8: {data[:64]!r}") from error
