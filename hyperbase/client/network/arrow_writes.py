"""Arrow uploads, as far as they need no socket: record batches as messages of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

MESSAGE_BYTES = 4 * 1024 * 1024


def messages_of(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[bytes]:
    """IPC streams of one batch each, large batches in slices; at least one, for the schema's sake."""
    count = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        step = max(1, int(batch.num_rows * min(1.0, MESSAGE_BYTES / max(1, batch.nbytes))))
        for begin in range(0, batch.num_rows, step):
            count += 1
            yield _stream([batch.slice(begin, step)], schema)
    if not count:
        yield _stream([], schema)


def _stream(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data
