"""Batch: mutations of many rows, collected by row and sent together.

Sending applies all puts first and the deletes after them, as HBase's Thrift gateway does with
``mutateRows``. Each row is atomic, the batch is not: rows that are fine are written though others fail.
Threads: a Batch belongs to one thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from hyperbase.client.checks import column_specs, durability, row_data, stamp
from hyperbase.common.argument_checks import check_integer
from hyperbase.common.errors import (
    RetriesExhaustedWithDetailsException,
    WrongTypeException,
)
from hyperbase.common.model import MAX_ROW_LENGTH, ColumnSpec, Delete, check_row

if TYPE_CHECKING:
    from typing import Self

    from hyperbase.client.backend import TableBackend
    from hyperbase.client.table import Table

RowColumns = dict[ColumnSpec, None]  # an ordered set; None instead of it: the whole row


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
        self._timestamp = stamp(timestamp)
        if batch_size is not None:
            if transaction:
                raise WrongTypeException(
                    "'transaction' cannot be combined with 'batch_size': parts would be sent early"
                )
            check_integer(batch_size, "'batch_size'", 1)
        self._table = table
        self._batch_size = batch_size
        self._transaction = transaction
        self._wal = bool(wal)
        self._family_count: int | None = None
        self._reset()

    def _reset(self) -> None:
        self._puts: dict[bytes, dict[bytes, bytes]] = {}
        self._deletes: dict[bytes, RowColumns | None] = {}
        # Rows whose wal was chosen call by call; the last call decides for its row.
        self._put_wal: dict[bytes, bool] = {}
        self._delete_wal: dict[bytes, bool] = {}
        self._mutation_count = 0

    def put(self, row: bytes | str, data: Mapping[Any, Any], wal: bool | None = None) -> None:
        """Write ``{b"family:qualifier": value}`` to ``row`` when the batch is sent.

        ``data`` is copied. Of two values for one cell the later wins. ``wal`` overrides the batch's own.
        """
        if type(row) is not bytes or not 0 < len(row) <= MAX_ROW_LENGTH:
            row = check_row(row)
        cells = row_data(data)
        if not cells:
            return
        kept = self._puts.setdefault(row, cells)
        if kept is not cells:
            kept.update(cells)
        if wal is not None or self._put_wal:
            self._put_wal[row] = self._wal if wal is None else bool(wal)
        self._mutation_count += len(cells)
        if self._batch_size is not None and self._mutation_count >= self._batch_size:
            self.send()

    def delete(self, row: bytes | str, columns: Iterable[Any] | None = None, wal: bool | None = None) -> None:
        """Delete every version of ``columns`` (``b"family"``: all of it) or of the whole row."""
        row = check_row(row)
        if columns is None:
            self._deletes[row] = None
            self._mutation_count += self._families() if self._batch_size is not None else 1
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
        if self._batch_size is not None and self._mutation_count >= self._batch_size:
            self.send()

    def _families(self) -> int:
        """Deleting a row counts as one mutation per family: that is what is written."""
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
        if not self._puts and not self._deletes:
            return
        target = self._table._target()
        if self._puts:
            self._send_puts(target)
        if self._deletes:
            self._send_deletes(target)
        self._reset()

    def _send_puts(self, target: TableBackend) -> None:
        if not self._put_wal:
            target.put_rows(list(self._puts.items()), self._timestamp, durability(self._wal))
            return
        failures: list[tuple[bytes, Exception]] = []
        for wal in (True, False):
            rows = [item for item in self._puts.items() if self._put_wal.get(item[0], self._wal) is wal]
            if rows:
                try:
                    target.put_rows(rows, self._timestamp, durability(wal))
                except RetriesExhaustedWithDetailsException as error:
                    failures += error.failures
        if failures:
            raise RetriesExhaustedWithDetailsException(failures)

    def _send_deletes(self, target: TableBackend) -> None:
        deletes = [
            make_delete(row, columns, self._timestamp, self._delete_wal.get(row, self._wal))
            for row, columns in self._deletes.items()
        ]
        outcomes = target.run_batch(deletes)
        failures = [
            (delete.row, outcome)
            for delete, outcome in zip(deletes, outcomes, strict=True)
            if isinstance(outcome, Exception)
        ]
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
        if not (self._transaction and exc_type is not None):
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
