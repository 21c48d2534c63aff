"""BufferedMutator: writes that are collected and sent in the background, for programs that load much.

    with hyperbase.BufferedMutator(connection, "t") as mutator:
        for row, value in source:
            mutator.mutate(Put(row).add(b"cf:a", value))

A buffer is sent when it holds ``write_buffer_bytes``, when its oldest mutation is ``flush_interval_s`` old,
and by ``flush`` and ``close``. Buffers are sent one after the other, so mutations of a row keep their order.
What was handed to ``mutate`` is durable once a later ``flush`` or ``close`` has returned, and not before.

Invariant: at most twice ``write_buffer_bytes`` are held (one mutation more at most): above, ``mutate`` waits.
Threads: any number may share a mutator; one thread of its own sends. A forked child makes its own.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from hyperbase.client.requests import check_action
from hyperbase.client.table import Table
from hyperbase.common.errors import (
    IllegalArgumentException,
    IllegalStateException,
    RetriesExhaustedWithDetailsException,
)
from hyperbase.common.model import Delete, Durability, Put

if TYPE_CHECKING:
    from typing import Self

    from hyperbase.client.connection import Connection

WRITE_BUFFER_BYTES = 2 * 1024 * 1024  # HBase hbase.client.write.buffer
MAX_RAISED_FAILURES = 10_000  # kept for the next flush; the rest is only counted

Mutations = Put | Delete | Iterable[Put | Delete]
ErrorCallback = Callable[[RetriesExhaustedWithDetailsException, "BufferedMutator"], None]
Failures = list[tuple[bytes, Exception]]


class BufferedMutator:
    """See the module.

    Args:
        target: a Table, or a Connection with ``table`` as the table's name (its prefix is put before it).
        write_buffer_bytes: how much is sent at a time.
        flush_interval_s: how long a mutation waits at most before it is sent; ``None``: until the buffer is
            full.
        on_error: called in the sending thread with what failed, after every retry, and the mutator, to which
            it may hand mutations again. Without it ``flush`` and ``close`` raise what failed.

    Raises:
        IllegalArgumentException: a size or time that is not positive.
    """

    def __init__(
        self,
        target: Table | Connection,
        table: bytes | str | None = None,
        *,
        write_buffer_bytes: int = WRITE_BUFFER_BYTES,
        flush_interval_s: float | None = None,
        on_error: ErrorCallback | None = None,
    ) -> None:
        for name, number in (
            ("write_buffer_bytes", write_buffer_bytes),
            ("flush_interval_s", flush_interval_s),
        ):
            if number is not None and not number > 0:
                raise IllegalArgumentException(f"{name} must be positive, not {number!r}")
        self._table = _table_of(target, table)
        self._write_buffer_bytes = write_buffer_bytes
        self._flush_interval_s = flush_interval_s
        self._on_error = on_error
        self._changed = threading.Condition()
        self._buffer: list[Put | Delete] = []
        self._buffer_bytes = 0
        self._oldest_at = 0.0  # when the buffer's first mutation came
        self._ready: deque[tuple[list[Put | Delete], int]] = deque()  # full buffers with their bytes
        self._held_bytes = 0  # in the buffer, in those that are ready and in the one being sent
        self._handed = 0  # buffers that were ever ready
        self._sent = 0  # of these, those that are done
        self._closed = False
        self._failures: Failures = []
        self._callback_error: BaseException | None = None
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> bytes:
        """The table's full name."""
        return self._table.name

    def mutate(self, mutations: Mutations) -> None:
        """Take one or several mutations; waits while twice the buffer's size is on its way.

        Raises:
            IllegalArgumentException: a Put without cells; nothing was taken.
            IllegalStateException: the mutator is closed.
        """
        given = [mutations] if isinstance(mutations, (Put, Delete)) else list(mutations)
        for mutation in given:
            if not isinstance(mutation, (Put, Delete)):
                raise TypeError(f"a BufferedMutator takes Put and Delete, not {type(mutation).__name__}")
            check_action(mutation)
        with self._changed:
            for mutation in given:
                while self._is_full() and not self._closed:
                    self._changed.wait()
                self._check_open()
                self._take(mutation)

    def _is_full(self) -> bool:
        if threading.current_thread() is self._thread:
            return False  # on_error: nobody else could make room
        return self._held_bytes >= 2 * self._write_buffer_bytes

    def _take(self, mutation: Put | Delete) -> None:
        size = _size(mutation)
        if not self._buffer:
            self._oldest_at = time.monotonic()
            if self._flush_interval_s is not None:
                self._start()
                self._changed.notify_all()  # the thread waits for this buffer's time from now on
        self._buffer.append(mutation)
        self._buffer_bytes += size
        self._held_bytes += size
        if self._buffer_bytes >= self._write_buffer_bytes:
            self._hand_over()

    def _hand_over(self) -> None:
        """The buffer is to be sent."""
        if self._buffer:
            self._ready.append((self._buffer, self._buffer_bytes))
            self._handed += 1
            self._buffer, self._buffer_bytes = [], 0
            self._start()
            self._changed.notify_all()

    def flush(self) -> None:
        """Send everything taken so far, and wait until it is durable.

        Raises:
            RetriesExhaustedWithDetailsException: what failed since the last call, without ``on_error``.
            Whatever ``on_error`` raised.
        """
        with self._changed:
            self._check_open()
        self._flush()

    def close(self) -> None:
        """Flush, and take no more; a second call does nothing. Raises what ``flush`` does."""
        with self._changed:
            if self._closed:
                return
        try:
            self._flush()
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise IllegalStateException("this BufferedMutator is closed: make a new one")

    def _flush(self) -> None:
        if threading.current_thread() is self._thread:
            raise IllegalStateException("on_error cannot wait for the thread that called it")
        with self._changed:
            self._hand_over()
            upto = self._handed
            while self._sent < upto:
                self._changed.wait()
            failures, self._failures = self._failures, []
            callback_error, self._callback_error = self._callback_error, None
        if callback_error is not None:
            raise callback_error
        if failures:
            raise RetriesExhaustedWithDetailsException(failures)

    # -- the sending thread ------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._send_all, name="hyperbase-mutator", daemon=True)
            self._thread.start()

    def _send_all(self) -> None:
        """Send buffers until the mutator is closed."""
        while (taken := self._next()) is not None:
            mutations, size = taken
            try:
                failures = _send(self._table, mutations)
                if failures:
                    self._report(failures)
            finally:
                with self._changed:
                    self._sent += 1
                    self._held_bytes -= size
                    self._changed.notify_all()

    def _next(self) -> tuple[list[Put | Delete], int] | None:
        """Wait for a buffer; ``None``: there will be none."""
        with self._changed:
            while not self._ready:
                if self._closed:
                    return None
                left = self._time_left()
                if left is not None and left <= 0:
                    self._hand_over()
                else:
                    self._changed.wait(left)
            return self._ready.popleft()

    def _time_left(self) -> float | None:
        if self._flush_interval_s is None or not self._buffer:
            return None
        return self._oldest_at + self._flush_interval_s - time.monotonic()

    def _report(self, failures: Failures) -> None:
        if self._on_error is None:
            with self._changed:
                room = MAX_RAISED_FAILURES - len(self._failures)
                self._failures += failures[: max(0, room)]
            return
        try:
            self._on_error(RetriesExhaustedWithDetailsException(failures), self)
        except BaseException as error:
            with self._changed:
                self._callback_error = error


def _table_of(target: Table | Connection, name: bytes | str | None) -> Table:
    if isinstance(target, Table):
        if name is not None:
            raise TypeError("a Table says everything: no name can be given beside it")
        return target
    if name is None:
        raise TypeError("a Connection has many tables: BufferedMutator(connection, 'table')")
    return target.table(name)


def _size(mutation: Put | Delete) -> int:
    """About how many bytes the mutation takes on its way."""
    if isinstance(mutation, Put):
        return 64 + sum(64 + len(cell[1]) + len(cell[3]) for cell in mutation.cells)
    return 64 + 64 * len(mutation.markers)


def _send(table: Table, mutations: Sequence[Put | Delete]) -> Failures:
    """Write the mutations; returns what failed."""
    try:
        target = table._target()
        rows = _plain_rows(mutations)
        if rows is not None:
            target.put_rows(rows, None, Durability.USE_DEFAULT)
            return []
        outcomes = target.run_batch(mutations)
    except RetriesExhaustedWithDetailsException as error:
        return error.failures
    except Exception as error:  # whatever it was, the thread goes on and the caller hears of it
        return [(mutation.row, error) for mutation in mutations]
    return [
        (mutation.row, outcome)
        for mutation, outcome in zip(mutations, outcomes, strict=True)
        if isinstance(outcome, Exception)
    ]


def _plain_rows(mutations: Sequence[Put | Delete]) -> list[tuple[bytes, dict[bytes, bytes]]] | None:
    """The mutations as plain puts, the fastest way, when they are all of that kind."""
    rows = []
    for mutation in mutations:
        if not isinstance(mutation, Put) or mutation.ttl_ms is not None or mutation.durability:
            return None
        data = {}
        for family, qualifier, stamp, value in mutation.cells:
            if stamp is not None:
                return None
            data[family + b":" + qualifier] = value
        rows.append((mutation.row, data))
    return rows
