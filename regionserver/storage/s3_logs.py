"""A log in S3: its groups are objects of their own, numbered from 1; the first gap is its end.

Log  := ``.s3-logs/<identity>/<number>``, the identity of 32 hex digits, the number of 10 decimal digits
Name := an object at the log's path that holds b"hyperbase log <identity>\\n"

Each group is created with ``put_new``, so a log grows at its first gap or not at all. Whoever has to end it
puts an empty object into that gap; a group that was first belongs to the log, and the next gap is tried. Then
the writer's groups are refused. What is behind the first gap or empty object is not part of the log. A log
that was closed gets such an end from whoever recovers it.

The name only points to the groups, so a log is moved by writing one small object and deleting another,
whatever it holds.
"""

from __future__ import annotations

import errno
import itertools
import secrets
from bisect import bisect_right
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from regionserver.storage.s3_objects import Objects

LOG_DIRECTORY = ".s3-logs"
_AHEAD = 64
_MAGIC = b"hyperbase log "
NAME_BYTES = len(_MAGIC) + 32 + 1


class S3Log:
    """One log, whatever its name is at present."""

    def __init__(self, objects: Objects, identity: str) -> None:
        self._objects = objects
        self.identity = identity

    @classmethod
    def new(cls, objects: Objects) -> S3Log:
        """A log that nobody knows yet."""
        return cls(objects, secrets.token_hex(16))

    @classmethod
    def named(cls, objects: Objects, name: bytes) -> S3Log | None:
        """The log that an object's contents point to; None: it is no log's name."""
        if len(name) != NAME_BYTES or not name.startswith(_MAGIC):
            return None
        return cls(objects, name[len(_MAGIC) : -1].decode("ascii", "replace"))

    @property
    def name(self) -> bytes:
        """What the object at the log's path holds."""
        return _MAGIC + self.identity.encode() + b"\n"

    @property
    def directory(self) -> str:
        """The key that the groups are below."""
        return f"{LOG_DIRECTORY}/{self.identity}"

    def key(self, number: int) -> str:
        """The key of a group."""
        return f"{self.directory}/{number:010d}"

    def append(self, number: int, group: bytes) -> None:
        """Make the group durable. ``ESTALE``: somebody has ended the log."""
        if not self._objects.put_new(self.key(number), group):
            raise OSError(errno.ESTALE, "the log was ended by another process", self.key(number))

    def groups(self) -> tuple[list[int], bool]:
        """Return the bytes of each group up to the first gap, and whether the log was ended there."""
        sizes: list[int] = []
        for key, size in self._objects.list_below(self.directory):
            if key != self.key(len(sizes) + 1):
                break
            if size == 0:
                return sizes, True
            sizes.append(size)
        return sizes, False

    def end(self) -> None:
        """Let nothing be added any more."""
        barred = False
        while True:
            sizes, ended = self.groups()
            if ended:
                return
            # Who writes is faster than who ends, and could stay ahead for ever: an end further on stops him.
            barred = barred or self._objects.put_new(self.key(len(sizes) + _AHEAD), b"")
            if self._objects.put_new(self.key(len(sizes) + 1), b""):
                return

    def delete(self) -> None:
        """Delete all groups."""
        self._objects.delete([key for key, _ in self._objects.list_below(self.directory)])


class S3LogReader:
    """A ``RandomAccessFile`` over the groups that a log had when it was opened."""

    def __init__(
        self,
        objects: Objects,
        log: S3Log,
        threads: ThreadPoolExecutor,
        path: str,
        closed: Callable[[str], None],
    ) -> None:
        self._objects = objects
        self._log = log
        self._threads = threads
        self._path = path
        self._closed: Callable[[str], None] | None = closed
        self._begins = [0, *itertools.accumulate(log.groups()[0])]  # the last one is the end

    @property
    def size(self) -> int:
        """Bytes in the log when it was opened."""
        return self._begins[-1]

    def read_at(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset``; fewer only at the end. Groups are read side by side."""
        if self._closed is None:
            raise ValueError(f"read of a closed file: {self._path}")
        stop = min(offset + length, self.size)
        wanted = []
        index = bisect_right(self._begins, offset) - 1
        while offset < stop:
            begin, end = self._begins[index], min(self._begins[index + 1], stop)
            wanted.append((self._log.key(index + 1), offset - begin, end - offset))
            offset, index = end, index + 1
        if len(wanted) == 1:
            return self._objects.read_range(*wanted[0])
        return b"".join(self._threads.map(lambda part: self._objects.read_range(*part), wanted))

    def close(self) -> None:
        """Give the handle back; a second call does nothing."""
        closed, self._closed = self._closed, None
        if closed is not None:
            closed(self._path)

    def __del__(self) -> None:
        if getattr(self, "_closed", None) is not None:
            self.close()
