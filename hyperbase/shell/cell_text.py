"""A cell as get and scan print it: its column, timestamp, and value or kind of delete marker."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING

from hyperbase.common.errors import IllegalArgumentException
from hyperbase.common.model import CellType
from hyperbase.common.names import META_TABLE, to_string_binary
from hyperbase.common.region_info import RegionInfo
from hyperbase.shell.converters import Converter

if TYPE_CHECKING:
    from hyperbase.shell.session import Session

MARKERS = {
    CellType.DELETE: "Delete",
    CellType.DELETE_COLUMN: "DeleteColumn",
    CellType.DELETE_FAMILY: "DeleteFamily",
    CellType.DELETE_FAMILY_VERSION: "DeleteFamilyVersion",
}
_REGION_COLUMNS = ("info:regioninfo", "info:splitA", "info:splitB", "info:merge")


def region_text(info: RegionInfo) -> str:
    """A region as HBase prints one."""
    text = (
        f"{{ENCODED => {info.encoded_name}, NAME => '{info.region_name_text}', "
        f"STARTKEY => '{to_string_binary(info.start_key)}', ENDKEY => '{to_string_binary(info.end_key)}'"
    )
    text += ", OFFLINE => true" if info.offline else ""
    text += ", SPLIT => true" if info.split else ""
    text += f", REPLICA_ID => {info.replica_id}" if info.replica_id else ""
    return text + "}"


class CellPrinter:
    """Prints the cells of one get or scan.

    Args:
        table: full name; ``hbase:meta`` has values that print as what they stand for.
        converters: by column, for its values. everything: for row, column and value.
        max_length: characters of a cell's text, None for all.
    """

    def __init__(
        self,
        session: Session,
        table: str,
        converters: Mapping[bytes, Converter],
        everything: Converter | None = None,
        max_length: int | None = None,
    ) -> None:
        self._session = session
        self._meta = table == META_TABLE
        self._converters = converters
        self._plain = everything or to_string_binary
        self._max_length = max_length

    def row(self, row: bytes) -> str:
        """A row key."""
        return self._plain(row)

    def column(self, name: bytes) -> str:
        """``family:qualifier``, each printed by itself."""
        family, _, qualifier = name.partition(b":")
        return f"{self._plain(family)}:{self._plain(qualifier)}"

    def cell(self, name: bytes, stamp: int, kind: int, value: bytes) -> str:
        """``timestamp=…, value=…``, or ``type=…`` for a delete marker."""
        text = f"timestamp={self._session.timestamp(stamp)}, "
        if kind != CellType.PUT:
            text += f"type={MARKERS[CellType(kind)]}"
        else:
            text += f"value={self._value(name, value)}"
        return text if self._max_length is None else text[: self._max_length]

    def _value(self, name: bytes, value: bytes) -> str:
        if self._meta:
            column = name.decode("utf-8", "replace")
            if column.startswith(_REGION_COLUMNS):
                try:
                    return region_text(RegionInfo.from_bytes(value))
                except IllegalArgumentException:
                    return to_string_binary(value)
            if column == "info:serverstartcode" and len(value) == 8:
                return str(struct.unpack(">q", value)[0])
        return self._converters.get(name, self._plain)(value)
