"""ARROW_PUT: what a client streams up becomes rows of a table.

The client may send so many DATA messages ahead as it was given credit for (ITEMs that are numbers). A
thread takes them off a bounded queue, as a reader of record batches, and loads them; the answer is the number
of rows.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pyarrow as pa

from hyperbase.common.authorization import WRITE, Authorizer
from hyperbase.common.errors import (
    CallCancelledException,
    CallTimeoutException,
    HBaseIOException,
    IllegalArgumentException,
)
from hyperbase.common.names import canonical_table_name
from hyperbase.common.rpc.call import PENDING, Call
from hyperbase.common.rpc.server import Handler
from hyperbase.common.wire.messages import Method
from regionserver.server.work import Completions, WorkPool

AHEAD = 4  # messages on their way to the loading thread


class Loader(Protocol):
    """A table that takes Arrow data."""

    def put_arrow(
        self, data: Any, row_key: str, timestamp: int | str | None, family: bytes | None
    ) -> int: ...


class ArrowPutService:
    """Takes uploads; ``table`` gives the table to load into."""

    def __init__(
        self,
        table: Callable[[str], Loader],
        uploads: WorkPool,
        completions: Completions,
        authorize: Authorizer,
    ) -> None:
        self._table = table
        self._uploads = uploads
        self._open: set[_Upload] = set()
        self._completions = completions
        self._authorize = authorize

    def handlers(self) -> dict[int, Handler]:
        """By method number."""
        return {Method.ARROW_PUT: self.arrow_put}

    def arrow_put(self, call: Call, arguments: Any) -> Any:
        """ARROW_PUT: the client sends IPC streams of one or more batches with one schema, then nil."""
        name, row_key, timestamp, family = arguments
        if type(row_key) is not str or not isinstance(timestamp, (int, str, type(None))):
            raise IllegalArgumentException("malformed request: row_key is text, timestamp a number or text")
        if family is not None and type(family) is not bytes:
            raise IllegalArgumentException("malformed request: a family is bytes")
        table_name = canonical_table_name(name)
        self._authorize(call.principal, WRITE, table_name)
        upload = _Upload(call, self._completions)
        call.deadline = None  # as long as the client goes on sending
        call.on_data = upload.put
        call.on_cancel = upload.cancel
        self._uploads.run(
            call, lambda: self._table(table_name).put_arrow(upload.reader(), row_key, timestamp, family)
        )
        self._open.add(upload)
        call.item(AHEAD)
        return PENDING

    def end_idle(self, now: float, lease_s: float) -> None:
        """End the uploads that wait for a client that has sent nothing for the lease: they hold threads."""
        for upload in list(self._open):
            if upload.call.done:
                self._open.discard(upload)
            elif upload.idle and now - upload.heard_at > lease_s:
                upload.call.give_up(
                    CallTimeoutException(f"the upload was idle for more than {lease_s:g} s and was ended")
                )


class _Upload:
    """DATA messages on their way to the thread that loads them."""

    def __init__(self, call: Call, completions: Completions) -> None:
        self.call = call
        self.heard_at = call.connection.server.now()
        self._completions = completions
        self._queue: queue.SimpleQueue[bytes | BaseException | None] = queue.SimpleQueue()
        self._waiting = 0  # the loop's count of what was sent and not taken

    def put(self, data: Any) -> None:
        """A DATA message came; on the loop."""
        self.heard_at = self.call.connection.server.now()
        self._waiting += 1
        if data is not None and type(data) is not bytes:
            self._queue.put(IllegalArgumentException("malformed request: DATA is bytes or nil"))
        elif self._waiting > 2 * AHEAD:
            self._queue.put(
                IllegalArgumentException("the client sends more DATA than it was given credit for")
            )
        else:
            self._queue.put(data)

    @property
    def idle(self) -> bool:
        """Everything that was sent is taken."""
        return not self._waiting

    def cancel(self) -> None:
        """The client is gone: what was not loaded is not."""
        self._queue.put(CallCancelledException("the upload was cancelled"))

    def _took(self) -> None:
        self._waiting -= 1
        self.heard_at = self.call.connection.server.now()
        self.call.item(1)

    def _messages(self) -> Iterator[bytes]:
        while True:
            data = self._queue.get()
            if isinstance(data, BaseException):
                raise data
            if data is None:
                return
            self._completions.post(self._took)
            yield data

    def reader(self) -> pa.RecordBatchReader:
        """The upload as a reader. In the loading thread."""
        messages = self._messages()
        first = next(messages, None)
        if first is None:
            return pa.RecordBatchReader.from_batches(pa.schema([]), [])
        schema, batches = _open(first)

        def rest() -> Iterator[pa.RecordBatch]:
            yield from batches
            for message in messages:
                yield from _open(message)[1]

        return pa.RecordBatchReader.from_batches(schema, rest())


def _open(message: bytes) -> tuple[pa.Schema, list[pa.RecordBatch]]:
    try:
        with pa.ipc.open_stream(message) as stream:
            batches = list(stream)
        for batch in batches:
            batch.validate(full=True)  # offsets that point elsewhere must not reach the engine
        return stream.schema, batches
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        if isinstance(error, HBaseIOException):
            raise
        raise IllegalArgumentException(f"DATA is no Arrow IPC stream: {error}") from error
