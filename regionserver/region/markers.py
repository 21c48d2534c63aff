"""Marker records: what happened to a region (it opened, was flushed, split, …), noted in the log.

They are for people (``hyperbase wal FILE``) and for tools that follow the log. Nothing is decided by them:
replay passes over them, nobody waits for their sync (the next group takes them along), and one that cannot
be appended is left out.

Payload := msgpack map {"version": 1, "event": text, "region": region name, "sequence_id": integer,
                        "details": map of text to anything}
A marker's record carries at most the region's flushed sequence id, so it never keeps a segment from being
archived. The ``sequence_id`` inside says how far the region had come.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgpack

from hyperbase.common.errors import HBaseIOException, StoreFormatException
from hyperbase.common.names import to_string_binary
from regionserver.storage.wal_format import MARKER

if TYPE_CHECKING:
    from regionserver.region.region import Region

logger = logging.getLogger(__name__)

PAYLOAD_VERSION = 1  # Persisted: numbers are never reused.

# Persisted. A reader shows an event it does not know as it stands there.
OPEN, CLOSE, FLUSH, BULK, SPLIT, MERGE = "open", "close", "flush", "bulk", "split", "merge"


@dataclass(frozen=True, slots=True)
class Marker:
    """What a marker record says."""

    event: str
    region: bytes  # the region's full name
    sequence_id: int  # the region's newest edit at that moment
    details: Mapping[str, Any]

    def encode(self) -> bytes:
        """The record's payload."""
        payload: bytes = msgpack.packb(
            {
                "version": PAYLOAD_VERSION,
                "event": self.event,
                "region": self.region,
                "sequence_id": self.sequence_id,
                "details": dict(self.details),
            }
        )
        return payload

    @classmethod
    def decode(cls, payload: bytes) -> Marker:
        """Read a payload.

        Raises:
            StoreFormatException: it is no marker of a version that is known here.
        """
        try:
            fields = msgpack.unpackb(payload, strict_map_key=False)
            if fields["version"] == PAYLOAD_VERSION:
                return cls(fields["event"], fields["region"], fields["sequence_id"], fields["details"])
            found = f"version {fields['version']}"
        except (ValueError, KeyError, TypeError, msgpack.UnpackException) as error:
            found = f"{type(error).__name__}: {error}"
        raise StoreFormatException(f"a log marker of {len(payload)} bytes cannot be read here: {found}")

    def __str__(self) -> str:
        """One line for people: ``split t,,1700.ab12. at 40: daughters=[...]``."""
        told = " ".join(f"{name}={_shown(value)}" for name, value in self.details.items())
        line = f"{self.event} {to_string_binary(self.region)} at {self.sequence_id}"
        return f"{line}: {told}" if told else line


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return to_string_binary(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_shown, value))}]"
    return str(value)


def note_event(region: Region, event: str, **details: Any) -> None:
    """Append a marker to the log, if the store has one that takes records. Waits for nothing, never fails."""
    wal = region.services.wal
    if wal is None or wal.failed is not None:
        return
    marker = Marker(event, region.info.region_name, region.next_sequence_id - 1, details)
    try:
        wal.append(region.id16, region.manifest.flushed_sequence_id, marker.encode(), MARKER)
    except HBaseIOException as error:  # what it would have told has happened all the same
        logger.warning("marker left out of the log region=%s event=%s error=%s", region.name, event, error)
