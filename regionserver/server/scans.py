"""SCAN over the wire: the rows of one region, in chunks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from hyperbase.common.errors import NotServingRegionException
from hyperbase.common.model import Result, Scan
from hyperbase.common.rpc.call import PENDING, Call
from hyperbase.common.rpc.server import Handler
from hyperbase.common.wire.messages import Method
from hyperbase.common.wire.model_codec import (
    MAX_PIECE_BYTES,
    decode_scan,
    encode_results,
    message_bytes,
    result_pieces,
    weighed,
)
from regionserver.region.region import HeldScanner, Region
from regionserver.region.row_pieces import cut_rows
from regionserver.region.scanner import NO_LIMIT
from regionserver.server.streams import StreamTable

CHUNK_ROWS = 2048
INLINE_ROWS = 128  # a scan for no more rows is begun on the event loop
INLINE_BYTES = 128 * 1024  # read there, hidden rows counted; what is left is read by a thread

ReadableRegion = Callable[[Call, Any], Region]


class ScanService:
    """Opens scanners; ``readable`` finds the region of a call, or refuses."""

    def __init__(self, readable: ReadableRegion, streams: StreamTable) -> None:
        self._readable = readable
        self._streams = streams

    def handlers(self) -> dict[int, Handler]:
        """By method number."""
        return {Method.SCAN: self.scan}

    def scan(self, call: Call, arguments: Any) -> Any:
        """SCAN: a stream of chunks."""
        region_id, fields, credit = arguments
        region = self._readable(call, region_id)
        scan = decode_scan(fields)
        self._streams.admit(call)
        inline = (
            scan.limit is not None
            and scan.limit <= INLINE_ROWS
            and scan.filter is None
            and not region.scan_would_read_disk(scan.start)
        )
        source = RowSource(region, scan, INLINE_BYTES if inline else NO_LIMIT)
        self._streams.start(call, credit, source, inline=inline)
        return PENDING


class RowSource:
    """The chunks of one region's scanner."""

    def __init__(self, region: Region, scan: Scan, first_bytes: int = NO_LIMIT) -> None:
        self._region = region
        self._scan = scan
        self._scanner: HeldScanner = region.open_scanner(scan)
        self._left = scan.limit  # rows
        self._chunk_bytes = first_bytes
        self._ready: deque[list[Result]] = deque()  # of a chunk that is too large for one message

    def next_part(self) -> tuple[Any, bool]:
        """The next chunk; with the last one, whether a filter ended the whole scan."""
        if self._ready:
            return encode_results(self._ready.popleft()), False
        scanner = self._scanner
        if self._left != 0:
            rows = CHUNK_ROWS if self._left is None else min(CHUNK_ROWS, self._left)
            chunk = scanner.next_chunk(rows, self._chunk_bytes)
            self._chunk_bytes = NO_LIMIT
            if chunk is None:
                return (None, scanner.filter_done and scanner.returned_rows == 0), True
            if not chunk:  # nothing was let through: maybe nobody waits any more, or others do
                return None, False
            if self._left is not None:
                self._left -= len(chunk)
            if self._left != 0 and self._region.closed:
                raise NotServingRegionException(f"region {self._region.name} closed during a scan")
            return self._part(chunk)
        return (None, False), True

    def _part(self, chunk: list[Result]) -> tuple[Any, bool]:
        batch = self._scan.batch
        if batch is not None:
            chunk = cut_rows(chunk, batch)
        parts = list(_parts(chunk))
        self._ready.extend(parts[1:])
        first = encode_results(parts[0])
        if self._left == 0 and not self._ready:  # one message says all there is to say
            return (first, False), True
        return first, False

    def close(self) -> None:
        """Give up the read point."""
        self._scanner.close()


def _parts(chunk: Sequence[Result]) -> Any:
    """The chunk in parts that fit a message; rows that do not are cut."""
    part: list[Result] = []
    size = 0
    for result, weight in weighed(chunk):
        if part and size + weight > MAX_PIECE_BYTES:
            yield part
            part, size = [], 0
        if weight > MAX_PIECE_BYTES:
            *first, result = result_pieces(result)
            for piece in first:
                yield [piece]
            weight = message_bytes(result)
        part.append(result)
        size += weight
    if part:
        yield part
