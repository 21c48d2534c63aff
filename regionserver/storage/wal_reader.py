"""Reading the write-ahead log: every record in order, and a verdict on where the log ends.

Formats and the rule that tells a torn tail from damage: ``wal_format``. An I/O error while reading is raised
as it is, never taken for the end. Reads go in pieces of ``CHUNK_BYTES``; only a record longer than that
is held whole. A log may be read while it is written: what looks bad because it came later than the read
is read again before it is called damage.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import NamedTuple

from google_crc32c import extend as crc32c_extend
from google_crc32c import value as crc32c

from hyperbase.common.errors import DamagedWALException
from regionserver.storage.filesystem import FileSystem, RandomAccessFile
from regionserver.storage.wal_format import (
    HEADER,
    MAX_PAYLOAD_BYTES,
    RECORD_BODY,
    RECORD_HEADER_BYTES,
    RECORD_PREFIX,
    SALT_AT,
    SEALED_SUFFIX,
    TRAILER,
    TRAILER_PAYLOAD,
    ClosedSegment,
    SegmentHeader,
    WalRecord,
    decode_header,
    decode_seal,
    encode_seal,
    parse_name,
    segment_name,
)

CHUNK_BYTES = 4 << 20

# How a segment ends.
CLOSED = "trailer"
SEALED = "sealed"
TORN = "torn tail"
UNUSED = "unused"


class _Frame(NamedTuple):
    """A valid record: its fields, and its payload unless it was only checked."""

    kind: int
    durable_offset: int
    region: bytes
    sequence_id: int
    payload: bytes
    end: int


class SegmentReader:
    """One pass over one segment. After ``records()`` is exhausted, ``ending`` and ``end`` are set."""

    def __init__(self, fs: FileSystem, path: str) -> None:
        """Stand before the first record of ``path``; nothing is read yet."""
        self._fs = fs
        self.path = path
        named = parse_name(path.rpartition("/")[2])
        self.number = named[0] if named else None
        self.header: SegmentHeader | None = None
        self.ending: str | None = None
        self.end = 0  # offset behind the last record (and trailer)
        self.file_bytes = 0
        self.record_count = 0
        self.max_sequence_ids: dict[bytes, int] = {}
        self.last_durable_offset = 0
        self._window = b""
        self._window_at = 0

    def records(self) -> Iterator[WalRecord]:
        """Yield the records in log order.

        Raises:
            DamagedWALException: bytes that had been synced are not what was written. The records
                yielded before are sound.
            StoreFormatException: a version this program does not know.
            OSError: reading failed; nothing is known about the rest.
        """
        sealed = self._sealed_length()
        file = self._fs.open_reader(self.path)
        try:
            self.file_bytes = file.size
            if sealed is not None and file.size < sealed:
                raise self._damage(file.size, f"the file is shorter than its sealed length {sealed}")
            if self._read_header(file, sealed):
                yield from self._read_records(file, sealed)
        finally:
            file.close()

    def closed_segment(self) -> ClosedSegment:
        """Return what the log keeps of a segment that was read to its end."""
        return ClosedSegment(
            self.number or 0, self.path, self.file_bytes, self.record_count, self.max_sequence_ids
        )

    def _sealed_length(self) -> int | None:
        path = self.path + SEALED_SUFFIX
        try:
            data = self._fs.read(path)
        except FileNotFoundError:
            return None
        if self.number is None:
            raise self._damage(0, "a sealed log whose name has no segment number")
        return decode_seal(data, path, self.number)

    def _read_header(self, file: RandomAccessFile, sealed: int | None) -> bool:
        """Read the header; False when the segment is over already."""
        if sealed is not None and sealed < HEADER.size:
            self.ending = SEALED
            return False
        self.header = decode_header(_read_exactly(file, 0, min(HEADER.size, file.size)), self.path)
        if self.header is None:
            if sealed is not None or not _zeros_from(file, HEADER.size):
                raise self._damage(0, "the header is damaged")
            self.ending = UNUSED
            return False
        if self.number is not None and self.header.segment != self.number:
            raise self._damage(0, f"the header says it is segment {self.header.segment}")
        self.end = HEADER.size
        return True

    def _read_records(self, file: RandomAccessFile, sealed: int | None) -> Iterator[WalRecord]:
        limit = file.size if sealed is None else sealed
        path, newest = self.path, self.max_sequence_ids
        while self.end != sealed:
            offset = self.end
            frame = self._frame_at(file, offset, limit)
            if frame is None:
                frame = self._judge(file, offset, sealed)
                if frame is None:
                    self.ending = TORN
                    return
            self.end = frame.end
            if frame.kind == TRAILER:
                self._check_trailer(frame, offset)
                self.ending = CLOSED
                return
            self.record_count += 1
            self.last_durable_offset = frame.durable_offset
            if newest.get(frame.region, -1) < frame.sequence_id:
                newest[frame.region] = frame.sequence_id
            yield WalRecord(frame.kind, frame.region, frame.sequence_id, frame.payload, path, offset)
        self.ending = SEALED

    def _judge(self, file: RandomAccessFile, offset: int, sealed: int | None) -> _Frame | None:
        """The record at ``offset`` is bad. Return None when the log ends here; raise when it is damage.

        A frame is returned when the record has become whole meanwhile: somebody is still writing.
        """
        if sealed is not None:
            raise self._damage(offset, f"the record is damaged; the log is sealed up to {sealed}")
        proof = self._proof_behind(file, offset)
        if proof is None:
            return None
        self._window = b""
        again = self._frame_at(file, offset, file.size)
        if again is not None:
            return again
        raise self._damage(
            offset, f"the record is damaged; the record at {proof} shows that it had been synced"
        )

    def _check_trailer(self, frame: _Frame, offset: int) -> None:
        if len(frame.payload) != TRAILER_PAYLOAD.size:
            raise self._damage(offset, "the trailer has the wrong length")
        (count,) = TRAILER_PAYLOAD.unpack(frame.payload)
        if count != self.record_count:
            raise self._damage(offset, f"the trailer counts {count} records, {self.record_count} were read")

    def _frame_at(self, file: RandomAccessFile, offset: int, limit: int) -> _Frame | None:
        """Return the valid record at ``offset`` that ends by ``limit``; None when there is none."""
        if offset + RECORD_HEADER_BYTES > limit:
            return None
        head = self._bytes_at(file, offset, RECORD_HEADER_BYTES, limit)
        length, crc = RECORD_PREFIX.unpack_from(head)
        end = offset + RECORD_HEADER_BYTES + length
        if end > limit or not self._plausible(head, offset, length):
            return None
        if length > CHUNK_BYTES and _crc_of(file, offset + SALT_AT, end) != crc:
            return None  # checked in pieces first: a flipped length must not make us load the file
        body = self._bytes_at(file, offset + SALT_AT, RECORD_BODY.size + length, limit)
        if length <= CHUNK_BYTES and crc32c(body) != crc:
            return None
        _, kind, _, _, durable_offset, region, sequence_id = RECORD_BODY.unpack_from(body)
        return _Frame(kind, durable_offset, region, sequence_id, body[RECORD_BODY.size :], end)

    def _plausible(self, head: bytes, offset: int, length: int) -> bool:
        assert self.header is not None
        salt, kind, _, _, durable_offset, _, _ = RECORD_BODY.unpack_from(head, SALT_AT)
        if salt != self.header.salt or length > MAX_PAYLOAD_BYTES:
            return False
        return int(kind) > 0 and int(durable_offset) <= offset

    def _bytes_at(self, file: RandomAccessFile, offset: int, length: int, limit: int) -> bytes:
        begin = offset - self._window_at
        if begin < 0 or begin + length > len(self._window):
            self._window = _read_exactly(file, offset, min(max(length, CHUNK_BYTES), limit - offset))
            self._window_at = offset
            begin = 0
            if length > CHUNK_BYTES:
                data, self._window = self._window, b""
                return data
        return self._window[begin : begin + length]

    def _proof_behind(self, file: RandomAccessFile, bad: int) -> int | None:
        """Return the offset of a valid record behind ``bad`` that shows ``bad`` had been synced."""
        assert self.header is not None
        needle = self.header.salt.to_bytes(4, "big")
        at = bad + 1 + SALT_AT
        while at < file.size:
            chunk = _read_exactly(file, at, min(CHUNK_BYTES, file.size - at))
            found = chunk.find(needle)
            while found >= 0:
                candidate = at + found - SALT_AT
                if self._proves(file, candidate, bad):
                    return candidate
                found = chunk.find(needle, found + 1)
            if at + len(chunk) >= file.size:
                return None
            at += len(chunk) - 3  # a salt may lie across two chunks
        return None

    def _proves(self, file: RandomAccessFile, candidate: int, bad: int) -> bool:
        if candidate + RECORD_HEADER_BYTES > file.size:
            return False
        head = _read_exactly(file, candidate, RECORD_HEADER_BYTES)
        length, crc = RECORD_PREFIX.unpack_from(head)
        end = candidate + RECORD_HEADER_BYTES + length
        if end > file.size or not self._plausible(head, candidate, length):
            return False
        _, kind, _, _, durable_offset, _, _ = RECORD_BODY.unpack_from(head, SALT_AT)
        # The cheap question first: most records behind a torn one prove nothing.
        if kind != TRAILER and durable_offset <= bad:
            return False
        return _crc_of(file, candidate + SALT_AT, end) == int(crc)

    def _damage(self, offset: int, what: str) -> DamagedWALException:
        return DamagedWALException(
            f"{self.path} is damaged at offset {offset}: {what}. Restore the file from a copy, or set it "
            "aside knowing that its edits from there on are lost."
        )


class LogRecovery:
    """Reads all segments of a directory in order and, when told to, seals the end a crash left behind."""

    def __init__(self, fs: FileSystem, directory: str, *, seal: bool) -> None:
        """Prepare to read ``directory``.

        Args:
            seal: first make durable what is in the files, and end the torn segment for every later reader.
                Only for the one who owns the log; never on a read-only file system.
        """
        self._fs = fs
        self._directory = directory
        self._seal = seal
        self.segments: list[ClosedSegment] = []
        """What was read, oldest first; complete when ``records()`` is exhausted."""
        self.sealed = False
        """Every segment has its end for good; known when ``records()`` is exhausted."""

    def records(self) -> Iterator[WalRecord]:
        """Yield every record of every segment. Raises as ``SegmentReader.records``."""
        numbers = list_segments(self._fs, self._directory)
        if numbers and numbers[-1] - numbers[0] + 1 != len(numbers):
            missing = next(n for n in range(numbers[0], numbers[-1]) if n not in set(numbers))
            raise DamagedWALException(
                f"{self._directory}/{segment_name(missing)} is missing (offset 0): the log has a hole there"
            )
        unfinished: list[SegmentReader] = []
        for number in numbers:
            path = f"{self._directory}/{segment_name(number)}"
            if self._seal and not self._fs.exists(path + SEALED_SUFFIX):
                # A killed writer's last bytes may be in the page cache only. What we are about to
                # replay and seal must not vanish with the power.
                self._fs.sync_file(path)
            reader = SegmentReader(self._fs, path)
            for record in reader.records():
                _check_none_unfinished(unfinished, reader)
                yield record
            if reader.ending == CLOSED:
                _check_none_unfinished(unfinished, reader)
            elif reader.ending in (TORN, UNUSED):
                unfinished.append(reader)
            self.segments.append(reader.closed_segment())
        if self._seal:
            for reader in unfinished:
                self._write_seal(reader)
        self.sealed = self._seal or not unfinished

    def _write_seal(self, reader: SegmentReader) -> None:
        assert reader.number is not None
        path, data = reader.path + SEALED_SUFFIX, encode_seal(reader.number, reader.end)
        if not self._fs.create_if_absent(path, data) and self._fs.read(path) != data:
            raise DamagedWALException(
                f"{path}: another recovery sealed the log at another offset than {reader.end}"
            )


def _check_none_unfinished(unfinished: list[SegmentReader], later: SegmentReader) -> None:
    if unfinished:
        raise unfinished[0]._damage(
            unfinished[0].end, f"it ends without trailer or seal, but {later.path} has records"
        )


def read_log(fs: FileSystem, path: str) -> Iterator[WalRecord]:
    """Yield the records of one segment. Raises as ``SegmentReader.records``."""
    return SegmentReader(fs, path).records()


def read_logs(fs: FileSystem, directory: str, *, seal: bool = False) -> Iterator[WalRecord]:
    """Yield the records of all segments in ``directory``, in log order; nothing when it is missing.

    See ``LogRecovery`` for ``seal`` and for what is known about each segment afterwards.
    """
    return LogRecovery(fs, directory, seal=seal).records()


def list_segments(fs: FileSystem, directory: str) -> list[int]:
    """Return the numbers of the live segments in ``directory``, ascending."""
    parsed = map(parse_name, fs.list(directory))
    return sorted(found[0] for found in parsed if found is not None and found[1] is None)


def logs_of_servers(fs: FileSystem, directory: str) -> list[str]:
    """Return the paths of the logs of a cluster's servers below ``directory`` that still hold segments.

    Such a log is a directory named after its server, ``host,port,startcode``, or set aside, with a suffix.
    """
    paths = [f"{directory}/{name}" for name in fs.list(directory) if "," in name]
    return [path for path in paths if list_segments(fs, path)]


def next_segment(fs: FileSystem, directory: str, archive: str = "oldWALs") -> int:
    """Return the number for a new log: one above every segment in both directories; at least 1."""
    names = [*fs.list(directory), *fs.list(archive)]
    return 1 + max((found[0] for found in map(parse_name, names) if found is not None), default=0)


def describe_log(fs: FileSystem, path: str) -> Iterator[dict[str, object]]:
    """Yield facts about one segment for people: a header, each record, and how it ends.

    Each has ``fact``: "header" (segment, created_ms), "record" (offset, kind, region as hex, sequence_id,
    payload_bytes, payload) or "end" (offset, ending, records, file_bytes, message). Damage is a fact.
    """
    reader = SegmentReader(fs, path)
    message = ""
    first = True
    try:
        for record in reader.records():
            if first:
                yield _describe_header(reader)
                first = False
            yield {
                "fact": "record",
                "offset": record.offset,
                "kind": record.kind,
                "region": record.region.hex(),
                "sequence_id": record.sequence_id,
                "payload_bytes": len(record.payload),
                "payload": record.payload,
            }
    except DamagedWALException as error:
        message = str(error)
    if first and reader.header is not None:
        yield _describe_header(reader)
    yield {
        "fact": "end",
        "offset": reader.end,
        "ending": "damage" if message else reader.ending,
        "records": reader.record_count,
        "file_bytes": reader.file_bytes,
        "message": message,
    }


def _describe_header(reader: SegmentReader) -> dict[str, object]:
    assert reader.header is not None
    header = reader.header
    return {"fact": "header", "path": reader.path, "segment": header.segment, "created_ms": header.created_ms}


def _read_exactly(file: RandomAccessFile, offset: int, length: int) -> bytes:
    data = file.read_at(offset, length)
    if len(data) != length:
        raise OSError(errno.EIO, f"read {len(data)} of {length} bytes at offset {offset}: the file shrank")
    return data


def _crc_of(file: RandomAccessFile, begin: int, end: int) -> int:
    crc = 0
    for at in range(begin, end, CHUNK_BYTES):
        crc = crc32c_extend(crc, _read_exactly(file, at, min(CHUNK_BYTES, end - at)))
    return crc


def _zeros_from(file: RandomAccessFile, offset: int) -> bool:
    for at in range(offset, file.size, CHUNK_BYTES):
        chunk = _read_exactly(file, at, min(CHUNK_BYTES, file.size - at))
        if chunk.count(0) != len(chunk):
            return False
    return True
