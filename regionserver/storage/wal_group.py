"""The write-ahead log's group commit: what appends collect, a leader makes durable and waiters wait for."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Protocol

from regionserver.storage.filesystem import LogFile
from regionserver.storage.wal_format import HEADER, ClosedSegment


class Durable(Protocol):
    """What a record's owner wants to hear; called once, by the syncing thread. Must not raise."""

    def durable(self) -> None:
        """The record and every one before it are durable."""

    def failed(self, error: BaseException) -> None:
        """The log failed before the record was known to be durable; it may or may not come back."""


@dataclass(slots=True)
class WalMetrics:
    """Counts since the log was opened."""

    appends: int = 0
    appended_bytes: int = 0  # framed
    syncs: int = 0
    sync_seconds: float = 0.0  # write and fdatasync
    slow_syncs: int = 0  # longer than slow_sync_s
    rolls: int = 0
    failed_rolls: int = 0


@dataclass(frozen=True, slots=True)
class SegmentInfo:
    """One segment of the live log."""

    number: int
    path: str
    size_bytes: int
    record_count: int
    closed: bool


class Segment:
    """A segment being written. ``offset`` counts what is pending too, ``durable`` only what is synced."""

    __slots__ = (
        "created",
        "durable",
        "file",
        "finished",
        "limit",
        "max_sequence_ids",
        "number",
        "offset",
        "path",
        "pending",
        "record_count",
        "salt",
        "taken",
    )

    def __init__(self, number: int, path: str, file: LogFile, salt: int, limit: int, created: float) -> None:
        self.number, self.path, self.file, self.salt, self.limit = number, path, file, salt, limit
        self.created = created
        self.offset = self.taken = self.durable = HEADER.size
        self.pending: list[bytes] = []
        self.record_count = 0  # of what groups took
        self.max_sequence_ids: dict[bytes, int] = {}
        self.finished = False

    @property
    def has_records(self) -> bool:
        """Whether anything was appended."""
        return self.offset > HEADER.size

    def take(self, finish: bool) -> Part:
        """Return what is pending as a part of a group. Called with the log's lock held."""
        chunks = self.pending
        size = sum(map(len, chunks))
        self.record_count += len(chunks) // 2  # each record is a prefix and a body
        self.taken += size
        self.offset = self.taken
        self.pending = []
        return Part(self, chunks, size, self.taken, finish)

    def closed(self) -> ClosedSegment:
        """Return what the log keeps of it once its trailer is durable."""
        return ClosedSegment(self.number, self.path, self.offset, self.record_count, self.max_sequence_ids)

    def info(self, closed: bool) -> SegmentInfo:
        """Return what ``WriteAheadLog.segments`` tells about it."""
        count = self.record_count + len(self.pending) // 2
        return SegmentInfo(self.number, self.path, self.offset, count, closed)


@dataclass(slots=True)
class Part:
    """What a group adds to one segment; ``end`` is where the segment ends after it."""

    segment: Segment
    chunks: list[bytes]
    size: int
    end: int
    finish: bool


@dataclass(slots=True)
class Group:
    """What one leader makes durable. It outlives a leader that was interrupted."""

    parts: list[Part]
    commits: list[Durable]
    last: int
    synced: bool = False
    told: int = 0


@dataclass(slots=True, eq=False)
class Waiter:
    """A thread in ``sync`` that does not lead; its lock is released when it may go on."""

    position: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    leads: bool = False
