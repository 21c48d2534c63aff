"""The identity of a region: which rows of which table, since when, and its names and bytes.

Region name := <table> "," <start key> "," <region id> [ "_" <replica id, 4 hex digits> ] "." <encoded> "."
encoded     := hex MD5 of everything before the first "." above, 32 digits
meta        := "hbase:meta,,1.1588230740", encoded "1588230740"

Bytes       := "PBUF" message; the protobuf message RegionInfo of HBase
    1 region_id varint | 2 table_name {1 namespace bytes, 2 qualifier bytes} | 3 start_key bytes
    4 end_key bytes | 5 offline varint | 6 split varint | 7 replica_id varint
Unknown fields are skipped, as protobuf readers do; anything malformed is an IllegalArgumentException.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass, field

from hyperbase.common.errors import IllegalArgumentException
from hyperbase.common.names import (
    META_TABLE,
    canonical_table_name,
    join_table_name,
    split_table_name,
    to_string_binary,
)
from hyperbase.common.protobuf import PBUF_MAGIC, bytes_field, read_message, varint_field

META_ENCODED_NAME = "1588230740"
META_REGION_ID = 1


class RegionState(enum.Enum):
    """Where a region is in its life; persisted as its name in ``info:state``."""

    OFFLINE = "OFFLINE"
    OPENING = "OPENING"
    OPEN = "OPEN"
    CLOSING = "CLOSING"
    CLOSED = "CLOSED"
    SPLITTING = "SPLITTING"
    SPLIT = "SPLIT"
    FAILED_OPEN = "FAILED_OPEN"
    FAILED_CLOSE = "FAILED_CLOSE"
    MERGING = "MERGING"
    MERGED = "MERGED"
    SPLITTING_NEW = "SPLITTING_NEW"
    MERGING_NEW = "MERGING_NEW"
    ABNORMALLY_CLOSED = "ABNORMALLY_CLOSED"


@dataclass(frozen=True, slots=True)
class RegionInfo:
    """A contiguous row range of one table, ``start_key <= row < end_key``; ``b""`` is unbounded.

    Args:
        table: full name, ``"t"`` or ``"ns:t"``.
        region_id: ms since the epoch when the region was made; a merged region has its highest parent's + 1.
        offline, split: both set on a parent whose daughters serve its rows.

    Raises:
        IllegalArgumentException: illegal table name, ``start_key >= end_key``, or a number out of range.
    """

    table: str
    start_key: bytes
    end_key: bytes
    region_id: int
    offline: bool = False
    split: bool = False
    replica_id: int = 0
    region_name: bytes = field(init=False, repr=False, compare=False)
    encoded_name: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "table", canonical_table_name(self.table))
        if self.end_key and self.start_key >= self.end_key:
            raise IllegalArgumentException(
                f"a region's start key must be before its end key: "
                f"{to_string_binary(self.start_key)} >= {to_string_binary(self.end_key)}"
            )
        if not 0 <= self.region_id < 2**63:
            raise IllegalArgumentException(f"region_id must be in 0 .. 2**63 - 1, not {self.region_id}")
        if not 0 <= self.replica_id <= 0xFFFF:
            raise IllegalArgumentException(f"replica_id must be in 0 .. 65535, not {self.replica_id}")
        hashed = b"%b,%b,%d" % (self.table.encode("utf-8"), self.start_key, self.region_id)
        if self.replica_id:
            hashed += b"_%04X" % self.replica_id
        if self.is_meta and not self.replica_id:
            set_field(self, "encoded_name", META_ENCODED_NAME)
            set_field(self, "region_name", hashed + b"." + META_ENCODED_NAME.encode())
            return
        encoded = hashlib.md5(hashed, usedforsecurity=False).hexdigest()
        set_field(self, "encoded_name", encoded)
        set_field(self, "region_name", b"%b.%b." % (hashed, encoded.encode()))

    @property
    def id16(self) -> bytes:
        """The region's 16 bytes in logs and on the wire: its MD5; hbase:meta's short number, padded."""
        name = self.encoded_name
        return bytes.fromhex(name) if len(name) == 32 else name.encode().ljust(16, b"\0")

    @property
    def is_meta(self) -> bool:
        """Whether this is the region of ``hbase:meta``."""
        return self.table == META_TABLE

    @property
    def first(self) -> bool:
        """Whether no region of the table comes before."""
        return self.start_key == b""

    @property
    def last(self) -> bool:
        """Whether no region of the table comes after."""
        return self.end_key == b""

    @property
    def region_name_text(self) -> str:
        """The region name as logs and shells print it, keys escaped."""
        return to_string_binary(self.region_name)

    def contains(self, row: bytes) -> bool:
        """Whether ``row`` is in ``[start_key, end_key)``."""
        return self.start_key <= row and (not self.end_key or row < self.end_key)

    def sort_key(self) -> tuple[bytes, bytes, bool, bytes, int, int]:
        """Tables by name, regions by start key, then end key (unbounded last), region id and replica id."""
        table = self.table.encode("utf-8")
        return table, self.start_key, self.last, self.end_key, self.region_id, self.replica_id

    def to_bytes(self) -> bytes:
        """HBase's serialized form: ``PBUF`` and the protobuf message."""
        namespace, qualifier = split_table_name(self.table)
        table_name = bytes_field(1, namespace.encode("utf-8")) + bytes_field(2, qualifier.encode("utf-8"))
        return b"".join(
            (
                PBUF_MAGIC,
                varint_field(1, self.region_id),
                bytes_field(2, table_name),
                bytes_field(3, self.start_key),
                bytes_field(4, self.end_key),
                varint_field(5, int(self.offline)),
                varint_field(6, int(self.split)),
                varint_field(7, self.replica_id),
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> RegionInfo:
        """Read ``to_bytes``'s form, also when HBase wrote it.

        Raises:
            IllegalArgumentException: not such bytes, or cut short.
        """
        if not data.startswith(PBUF_MAGIC):
            raise IllegalArgumentException(
                f"not a serialized RegionInfo: no PBUF at the start of {data[:16]!r}"
            )
        numbers, texts = read_message(data[len(PBUF_MAGIC) :])
        if 1 not in numbers or 2 not in texts:
            raise IllegalArgumentException("serialized RegionInfo lacks its region_id or table_name")
        _, names = read_message(texts[2])
        if 1 not in names or 2 not in names:
            raise IllegalArgumentException("serialized RegionInfo lacks a part of its table name")
        try:
            table = join_table_name(names[1].decode("utf-8"), names[2].decode("utf-8"))
        except UnicodeDecodeError as error:
            raise IllegalArgumentException(
                "serialized RegionInfo holds a table name that is not UTF-8"
            ) from error
        return cls(
            table,
            texts.get(3, b""),
            texts.get(4, b""),
            numbers[1],
            offline=bool(numbers.get(5, 0)),
            split=bool(numbers.get(6, 0)),
            replica_id=numbers.get(7, 0),
        )


META_REGION = RegionInfo(META_TABLE, b"", b"", META_REGION_ID)
