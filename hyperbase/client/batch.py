"""Batch: mutations of many rows, collected by row and sent together.

Sending applies all puts first and the deletes after them, as HBase's Thrift gateway does with
``mutateRows``. Each row is atomic, the batch is not: rows that are fine are written though others fail.
Threads: a Batch belongs to one thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from hyperbase.client.checks import column_specs, durability, row_data, stamp
from hyperbase.common.argument_checks import check_integer
from hyperbase.common.errors import RetriesExhaustedWithDetailsException, WrongTypeException
from hyperbase.common.model import MAX_ROW_LENGTH, ColumnSpec, Delete, Durability, check_row

if TYPE_CHECKING:
    from typing import Self

    from hyperbase.client.backend import TableBackend
    from hyperbase.client.table import Table

RowColumns = dict[ColumnSpec, None]  # an ordered set; None instead of it: the whole row


class BatchContents:
    """What a batch has collected, by row. Blocking and asyncio batches share it."""

    def __init__(self, timestamp: int | None, batch_size: int | None, transaction: bool, wal: bool) -> None:
        self.timestamp = stamp(timestamp)
        if batch_size is not None:
            if transaction:
                raise WrongTypeException(
                    "'transaction' cannot be combined with 'batch_size': parts would be sent early"
                )
            check_integer(batch_size, "'batch_size'", 1)
        self.batch_size = batch_size
        self.transaction = transaction
        self._wal = bool(wal)
        self.clear()

    def clear(self) -> None:
        """Start anew."""
        self.puts: dict[bytes, dict[bytes, bytes]] = {}
        self._deletes: dict[bytes, RowColumns | None] = {}
        # Rows whose wal was chosen call by call; the last call decides for its row.
        self._put_wal: dict[bytes, bool] = {}
        self._delete_wal: dict[bytes, bool] = {}
        self._mutation_count = 0

    def __bool__(self) -> bool:
        return bool(self.puts or self._deletes)

    @property
    def full(self) -> bool:
        """There are as many mutations as are sent at a time."""
        return self.batch_size is not None and self._mutation_count >= self.batch_size

    def put(self, row: bytes | str, data: Mapping[Any, Any], wal: bool | None) -> None:
        """See ``Batch.put``."""
        if type(row) is not bytes or not 0 < len(row) <= MAX_ROW_LENGTH:
            row = check_row(row)
        cells = row_data(data)
        if not cells:
            return
        kept = self.puts.setdefault(row, cells)
        if kept is not cells:
            kept.update(cells)
        if wal is not None or self._put_wal:
            self._put_wal[row] = self._wal if wal is None else bool(wal)
        self._mutation_count += len(cells)

    def delete(
        self, row: bytes | str, columns: Iterable[Any] | None, wal: bool | None, family_count: int
    ) -> None:
        """See ``Batch.delete``. Deleting a row counts as one mutation per family: that is what is written."""
        row = check_row(row)
        if columns is None:
            self._deletes[row] = None
            self._mutation_count += family_count
        else:
            specs = column_specs(columns)
            if not specs:
                return
            kept = self._deletes.setdefault(row, {})
            if kept is not None:  # the whole row covers its columns
                kept.update(dict.fromkeys(specs))
            self._mutation_count += len(specs)
        if wal is not None or self._delete_wal:
            self._delete_wal[row] = self._wal if wal is None else bool(wal)

    def put_groups(self) -> list[tuple[list[tuple[bytes, dict[bytes, bytes]]], Durability]]:
        """The puts, by durability."""
        if not self._put_wal:
            return [(list(self.puts.items()), durability(self._wal))] if self.puts else []
        groups = []
        for wal in (True, False):
            rows = [item for item in self.puts.items() if self._put_wal.get(item[0], self._wal) is wal]
            if rows:
                groups.append((rows, durability(wal)))
        return groups

    def deletes(self) -> list[Delete]:
        """The deletes."""
        return [
            make_delete(row, columns, self.timestamp, self._delete_wal.get(row, self._wal))
            for row, columns in self._deletes.items()
        ]


def failures_of(deletes: Sequence[Delete], outcomes: Sequence[Any]) -> list[tuple[bytes, Exception]]:
    """The rows whose delete failed."""
    return [
        (delete.row, outcome)
        for delete, outcome in zip(deletes, outcomes, strict=True)
        if isinstance(outcome, Exception)
    ]


class Batch:
    """Collect puts and deletes; ``send`` writes them. ``Table.batch`` makes one.

    As a context manager it sends at the end of the block, also after an exception, unless
    ``transaction`` is set: then an exception discards what was collected.
    """

    def __init__(
        self,
        table: Table,
        timestamp: int | None = None,
        batch_size: int | None = None,
        transaction: bool = False,
        wal: bool = True,
    ) -> None:
        self._contents = BatchContents(timestamp, batch_size, transaction, wal)
        self._table = table
        self._family_count: int | None = None

    def put(self, row: bytes | str, data: Mapping[Any, Any], wal: bool | None = None) -> None:
        """Write ``{b"family:qualifier": value}`` to ``row`` when the batch is sent.

        ``data`` is copied. Of two values for one cell the later wins. ``wal`` overrides the batch's own.
        """
        contents = self._contents
        contents.put(row, data, wal)
        if contents.full:
            self.send()

    def delete(self, row: bytes | str, columns: Iterable[Any] | None = None, wal: bool | None = None) -> None:
        """Delete every version of ``columns`` (``b"family"``: all of it) or of the whole row."""
        contents = self._contents
        contents.delete(row, columns, wal, self._families() if columns is None else 1)
        if contents.full:
            self.send()

    def _families(self) -> int:
        if self._contents.batch_size is None:
            return 1
        if self._family_count is None:
            self._family_count = len(self._table._family_names())
        return self._family_count

    def send(self) -> None:
        """Write what was collected, and start anew. After a failure the batch still holds everything.

        Raises:
            RetriesExhaustedWithDetailsException: some rows were refused, the other rows of that step are
                written; deletes are not sent when a put was refused.
            IllegalArgumentException: a cell is too large; nothing was written (of rows that choose their
                ``wal``, those that are logged go first and on their own).
            TableNotFoundException, TableNotEnabledException, StoreClosedException: nothing was written.
        """
        contents = self._contents
        if not contents:
            return
        target = self._table._target()
        self._send_puts(target)
        deletes = contents.deletes()
        if deletes:
            failures = failures_of(deletes, target.run_batch(deletes))
            if failures:
                raise RetriesExhaustedWithDetailsException(failures)
        contents.clear()

    def _send_puts(self, target: TableBackend) -> None:
        groups = self._contents.put_groups()
        failures: list[tuple[bytes, Exception]] = []
        for rows, level in groups:
            try:
                target.put_rows(rows, self._contents.timestamp, level)
            except RetriesExhaustedWithDetailsException as error:
                if len(groups) == 1:
                    raise
                failures += error.failures
        if failures:
            raise RetriesExhaustedWithDetailsException(failures)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not (self._contents.transaction and exc_type is not None):
            self.send()


def make_delete(row: bytes, columns: Iterable[ColumnSpec] | None, timestamp: int | None, wal: bool) -> Delete:
    """Every version up to ``timestamp`` (now) of the columns, whole families among them, or of the row."""
    delete = Delete(row, timestamp, durability(wal))
    for family, qualifier in columns or ():
        if qualifier is None:
            delete.add_family(family)
        else:
            delete.add_columns(family + b":" + qualifier)
    return delete
