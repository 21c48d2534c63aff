"""Arrow over the wire: ARROW_SCAN and ARROW_COLUMNS.

Record batches are made from the region's blocks by threads, mostly outside of the interpreter, and travel as
IPC streams of one batch, each with its count of rows and the row where the rest begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from hyperbase.common.errors import IllegalArgumentException
from hyperbase.common.rpc.call import PENDING, Call
from hyperbase.common.rpc.server import Handler
from hyperbase.common.wire.messages import GOES_ON, Method
from hyperbase.common.wire.model_codec import decode_scan
from regionserver.region.region_arrow import ArrowPart, Column, arrow_parts, shown_columns
from regionserver.server.scans import ReadableRegion
from regionserver.server.streams import StreamTable
from regionserver.server.work import WorkPool

FRAGMENT_BYTES = 32 * 1024 * 1024  # most bytes of a stream in one message; larger ones are cut
PART_BYTES = 16 * 1024 * 1024  # of a batch in one message; larger ones are sliced


class ArrowService:
    """Streams record batches of regions."""

    def __init__(self, readable: ReadableRegion, streams: StreamTable, reads: WorkPool) -> None:
        self._readable = readable
        self._streams = streams
        self._reads = reads

    def handlers(self) -> dict[int, Handler]:
        """By method number."""
        return {Method.ARROW_SCAN: self.arrow_scan, Method.ARROW_COLUMNS: self.arrow_columns}

    def arrow_scan(self, call: Call, arguments: Any) -> Any:
        """ARROW_SCAN: a stream of record batches."""
        region_id, fields, columns, credit = arguments
        region = self._readable(call, region_id)
        scan = decode_scan(fields)
        scan.batch = None  # a row of Results in parts is a row
        wanted = None if columns is None else _columns(columns)
        self._streams.admit(call)
        self._streams.start(call, credit, ArrowSource(arrow_parts(region, scan, wanted)))
        return PENDING

    def arrow_columns(self, call: Call, arguments: Any) -> Any:
        """ARROW_COLUMNS: the columns that a scan shows."""
        region_id, fields = arguments
        region = self._readable(call, region_id)
        scan = decode_scan(fields)
        self._reads.run(
            call, lambda: sorted(family + b":" + name for family, name in shown_columns(region, scan))
        )
        return PENDING


class ArrowSource:
    """The parts of a stream of record batches."""

    def __init__(self, parts: Any) -> None:
        self._parts = parts
        self._slices: list[tuple[bytes, int, bytes]] = []

    def next_part(self) -> tuple[Any, bool]:
        """``[IPC stream, rows, next row]``, at the end nil."""
        while not self._slices:  # a part may have no rows
            part = next(self._parts, None)
            if part is None:
                return None, True
            self._slices = list(_messages(part))
            self._slices.reverse()
        return self._slices.pop(), False

    def close(self) -> None:
        """End the threads that read ahead."""
        self._parts.close()


def _messages(part: ArrowPart) -> Any:
    """The part in messages; all rows of but the last are counted with the last: the part is one step."""
    batch, rows, next_row = part
    count = max(1, -(-batch.nbytes // PART_BYTES))
    step = max(1, -(-batch.num_rows // count))
    for begin in range(0, batch.num_rows, step):
        last = begin + step >= batch.num_rows
        stream = _ipc(batch.slice(begin, step))
        while len(stream) > FRAGMENT_BYTES:  # one row may be larger than a message
            yield stream[:FRAGMENT_BYTES], GOES_ON, None
            stream = stream[FRAGMENT_BYTES:]
        yield stream, rows if last else 0, next_row if last else None


def _ipc(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _columns(names: Sequence[Any]) -> list[Column]:
    columns = []
    for name in names:
        if type(name) is not bytes or b":" not in name:
            raise IllegalArgumentException(f"malformed request: {name!r} is no family:qualifier"[:200])
        family, _, qualifier = name.partition(b":")
        columns.append((family, qualifier))
    return columns
