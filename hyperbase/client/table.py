"""Table: everything one does with the rows of one table.

Two styles over one engine. The HappyBase style takes and gives dicts (``put``, ``row``, ``scan``, ``batch``,
counters); there ``timestamp`` of a read means "cells older than this", ``[0, timestamp)``, and of a write
"at this". The HBase style takes ``Get``, ``Scan``, ``RowMutations`` and gives ``Result``. Rows and columns
are bytes; text is taken as UTF-8. Timestamps are milliseconds since the epoch.

Every call raises TableNotFoundException, TableNotEnabledException, NoSuchColumnFamilyException and
StoreClosedException when they apply. Threads: a Table may be shared; each iterator belongs to one thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hyperbase.client.arrow import as_reader, check_layout, column_types, wide_columns
from hyperbase.client.arrow import make_scan as arrow_scan
from hyperbase.client.batch import Batch
from hyperbase.client.checks import durability, row_data, stamp
from hyperbase.client.requests import (
    Columns,
    Row,
    RowDict,
    cells_of,
    check_action,
    counter_step,
    counts_of,
    families_dict,
    make_cells_get,
    make_delete,
    make_get,
    make_scan,
    pack_counter,
    region_dict,
    row_maker,
)
from hyperbase.common.argument_checks import check_items, check_kind
from hyperbase.common.errors import (
    RetriesExhaustedWithDetailsException,
    TableNotFoundException,
    WrongTypeException,
)
from hyperbase.common.model import (
    MAX_ROW_LENGTH,
    Action,
    Append,
    CheckAndMutate,
    Column,
    Delete,
    FilterLike,
    Get,
    Increment,
    Put,
    Result,
    RowMutations,
    Scan,
    check_row,
    to_bytes,
)
from hyperbase.common.names import canonical_table_name

if TYPE_CHECKING:
    import pyarrow as pa

    from hyperbase.client.backend import Backend, TableBackend
    from hyperbase.client.connection import Connection


class Table:
    """One table of a connection. ``Connection.table`` makes one without looking whether it exists."""

    def __init__(self, name: bytes, connection: Connection) -> None:
        self.name = name  # full name in bytes, prefix included
        self.connection = connection
        self._full_name = canonical_table_name(name)
        # One tuple, replaced whole: threads that find it stale after a reopening cannot mix two of them.
        self._binding: tuple[Backend, TableBackend] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} name={self.name!r}>"

    def _target(self) -> TableBackend:
        """The backend's handle; found anew when the connection was reopened."""
        binding = self._binding
        if binding is None or binding[0] is not self.connection._backend:
            backend = self.connection._open_backend()
            self._binding = binding = (backend, backend.table(self._full_name))
        return binding[1]

    # -- the table itself --------------------------------------------------------------------------------

    def families(self) -> dict[bytes, dict[str, Any]]:
        """``{family: options}``: name (with a colon), max_versions, time_to_live in seconds, compression, …

        Texts are bytes, as HappyBase has them.
        """
        return families_dict(self.connection._open_backend().describe_table(self._full_name))

    def _family_names(self) -> Sequence[bytes]:
        return self.connection._open_backend().describe_table(self._full_name).family_names

    def regions(self) -> list[dict[str, Any]]:
        """One dict per region in key order: start_key, end_key, id, name, version, server_name, port.

        A table that does not exist has none, as HBase's gateway answers.
        """
        try:
            located = self.connection._open_backend().region_locations(self._full_name)
        except TableNotFoundException:
            return []
        return [region_dict(region, server) for region, server in located]

    # -- reading, HappyBase style ------------------------------------------------------------------------

    def row(
        self,
        row: Row,
        columns: Columns | None = None,
        timestamp: int | None = None,
        include_timestamp: bool = False,
        versions: int | str | None = None,
    ) -> RowDict:
        """Read one row; a row that does not exist is ``{}``.

        Args:
            columns: list or tuple of ``b"family:qualifier"`` or ``b"family"``; all when ``None``.
            timestamp: only cells older than this.
            versions: a number or ``"all"``: each column maps to a list, newest first.

        Returns:
            ``{column: value}``; values are ``(value, timestamp)`` with ``include_timestamp``.
        """
        if columns is None and timestamp is None and versions is None:
            if type(row) is not bytes or not 0 < len(row) <= MAX_ROW_LENGTH:
                row = check_row(row)
            result = self._target().row(row)
            return result.to_dict_with_timestamps() if include_timestamp else result.to_dict()
        get = make_get(row, columns, timestamp, versions)
        return row_maker(include_timestamp, versions)(self._target().get(get))

    def rows(
        self,
        rows: Iterable[Row],
        columns: Columns | None = None,
        timestamp: int | None = None,
        include_timestamp: bool = False,
        versions: int | str | None = None,
    ) -> list[tuple[bytes, RowDict]]:
        """Read several rows: ``[(row, as row() gives it)]`` in the order asked for, missing rows left out."""
        gets = [make_get(row, columns, timestamp, versions) for row in check_items(rows, "rows")]
        if not gets:
            return []
        make = row_maker(include_timestamp, versions)
        return [(result.row, make(result)) for result in self._target().get_many(gets) if result]

    def cells(
        self,
        row: Row,
        column: Column,
        versions: int | None = None,
        timestamp: int | None = None,
        include_timestamp: bool = False,
    ) -> list[Any]:
        """Versions of one column, newest first: ``[value]`` or ``[(value, timestamp)]``.

        ``versions`` is the most to return (all the family keeps when ``None``), ``timestamp`` an exclusive
        upper bound.
        """
        result = self._target().get(make_cells_get(row, column, versions, timestamp))
        return cells_of(result, include_timestamp)

    def scan(
        self,
        row_start: Row | None = None,
        row_stop: Row | None = None,
        row_prefix: Row | None = None,
        columns: Columns | None = None,
        filter: FilterLike | None = None,
        timestamp: int | None = None,
        include_timestamp: bool = False,
        batch_size: int = 1000,
        scan_batching: int | None = None,
        limit: int | None = None,
        sorted_columns: bool = False,
        reverse: bool = False,
        versions: int | str | None = None,
    ) -> Iterator[tuple[bytes, RowDict]]:
        """Yield ``(row, {column: value})`` in key order, from ``row_start`` up to and without ``row_stop``.

        A generator: arguments are checked at the first ``next``, ``close()`` ends it early. Rows are whole,
        the scan is not a snapshot of the table.

        Args:
            row_prefix: rows with this prefix; not together with a start or stop.
            columns: ``b"family:qualifier"`` or ``b"family"``; all when ``None``.
            filter: a filter object or filter text.
            timestamp: only cells older than this.
            batch_size: kept for HappyBase; chunks are bounded by bytes whatever it says.
            scan_batching: most cells of one item; longer rows come in several.
            limit: most items to yield.
            sorted_columns: columns are in cell order with or without it.
            reverse: from ``row_start`` (the higher key) down to and without ``row_stop``.
            versions: as in ``row``.
        """
        query = make_scan(
            row_start,
            row_stop,
            row_prefix,
            columns,
            filter,
            timestamp,
            batch_size,
            scan_batching,
            limit,
            reverse,
            versions,
        )
        make = row_maker(include_timestamp, versions)
        for chunk in _chunks(self._target().scan(query), limit):
            yield from [(result.row, make(result)) for result in chunk]

    # -- writing, HappyBase style ------------------------------------------------------------------------

    def put(
        self,
        row: Row | Put,
        data: Mapping[Any, Any] | None = None,
        timestamp: int | None = None,
        wal: bool = True,
    ) -> None:
        """Write ``{b"family:qualifier": value}`` to one row, all or nothing; durable when it returns.

        Nothing happens when ``data`` is empty. A ``None`` value is stored as empty bytes. ``wal=False``
        keeps the write in memory until the next flush. A ``Put`` stands for all the arguments.
        """
        if type(row) is not bytes or not 0 < len(row) <= MAX_ROW_LENGTH:
            if isinstance(row, Put):
                return self._put_object(row, data)
            row = check_row(row)
        cells = row_data(data)  # type: ignore[arg-type]  # None is refused there by name
        at = None if timestamp is None else stamp(timestamp)
        if not cells:
            return None
        try:
            self._target().put_rows([(row, cells)], at, durability(wal))
        except RetriesExhaustedWithDetailsException as error:
            raise error.failures[0][1] from None  # one row: its own error says it all
        return None

    def _put_object(self, put: Put, data: object) -> None:
        if data is not None:
            raise WrongTypeException("a Put says everything: no data can be given beside it")
        check_action(put)
        self._target().put(put)

    def delete(
        self,
        row: Row | Delete,
        columns: Iterable[Column] | None = None,
        timestamp: int | None = None,
        wal: bool = True,
    ) -> None:
        """Delete every version up to ``timestamp`` (default: now) of the columns, or of the whole row.

        ``b"family"`` among the columns is the whole family. A ``Delete`` stands for all the arguments.
        Deleting what does not exist is fine.
        """
        if isinstance(row, Delete):
            if columns is not None or timestamp is not None:
                raise WrongTypeException(
                    "a Delete says everything: no columns or timestamp can be given beside it"
                )
            self._target().delete(row)
            return
        delete = make_delete(row, columns, timestamp, wal)
        if delete is not None:
            self._target().delete(delete)

    def batch(
        self,
        timestamp: int | None = None,
        batch_size: int | None = None,
        transaction: bool = False,
        wal: bool = True,
    ) -> Batch:
        """Collect mutations of many rows: see ``Batch``.

        Args:
            timestamp: of every put and delete; the store's clock when ``None``.
            batch_size: send on its own after so many cells; else ``send`` or the end of a ``with`` block.
            transaction: an exception in the ``with`` block discards what was collected.
        """
        return Batch(self, timestamp, batch_size, transaction, wal)

    def counter_get(self, row: Row, column: Column) -> int:
        """The counter's value; one that does not exist is created as 0."""
        return self.counter_inc(row, column, 0)

    def counter_set(self, row: Row, column: Column, value: int = 0) -> None:
        """Store a counter: 8 bytes, big-endian, signed."""
        self.put(row, {to_bytes(column, "column"): pack_counter(value)})

    def counter_inc(self, row: Row, column: Column, value: int = 1) -> int:
        """Add ``value`` atomically and return the new value; a missing counter counts from 0."""
        (count,) = counts_of(
            self._target().increment(Increment(row).add(column, counter_step(value)))
        ).values()
        return count

    def counter_dec(self, row: Row, column: Column, value: int = 1) -> int:
        """Subtract ``value`` atomically and return the new value."""
        return self.counter_inc(row, column, -counter_step(value))

    # -- HBase style -------------------------------------------------------------------------------------

    def get(self, get: Get) -> Result:
        """One row as a Result; empty (false) when nothing matches."""
        return self._target().get(check_kind(get, Get))

    def get_many(self, gets: Iterable[Get]) -> list[Result]:
        """One Result per Get, in the order given, empty ones included."""
        return self._target().get_many([check_kind(get, Get) for get in check_items(gets, "gets")])

    def scan_results(self, scan: Scan) -> Iterator[Result]:
        """Yield the Results of a Scan, in key order."""
        for chunk in _chunks(self._target().scan(check_kind(scan, Scan)), None):
            yield from chunk

    def exists(self, row: Row | Get) -> bool:
        """Whether the row, or anything a Get asks for, exists."""
        # One cell of each family is enough to know, however wide the row is.
        return bool(self._target().get(row if isinstance(row, Get) else Get(row, store_limit=1)))

    def increment(
        self, row: Row | Increment, amounts: Mapping[Column, int] | None = None
    ) -> dict[bytes, int]:
        """Add to several counters of one row at once; returns ``{column: new value}``.

        Raises:
            IllegalArgumentException: no columns. DoNotRetryIOException: a cell is not 8 bytes wide; then
                no counter changed.
        """
        increment = row if isinstance(row, Increment) else Increment(row, amounts)
        check_action(increment)
        return counts_of(self._target().increment(increment))

    def append(
        self, row: Row | Append, values: Mapping[Column, bytes | str] | None = None
    ) -> dict[bytes, bytes]:
        """Append bytes to several values of one row at once; returns ``{column: new value}``."""
        append = row if isinstance(row, Append) else Append(row, values)
        check_action(append)
        return self._target().append(append).to_dict()

    def mutate_row(self, mutations: RowMutations) -> Result:
        """Apply mutations of one row atomically, in order; the Result holds new counts and values."""
        for mutation in check_kind(mutations, RowMutations).mutations:
            check_action(mutation)
        return self._target().mutate_row(mutations)

    def run_batch(
        self, actions: Iterable[Action]
    ) -> list[Result | tuple[bool, Result | None] | Exception | None]:
        """Run Get, Put, Delete, Increment, Append, RowMutations and CheckAndMutate objects.

        One outcome per action, in order: a Result, ``None`` for a Put or Delete, ``(bool, Result | None)``
        for a CheckAndMutate, or the exception of the action that failed while the others were applied.
        Rows may be served in any order: a Get need not see a Put of its own batch. A cell that is too large
        fails every Put and Delete of the batch that goes to its region.
        """
        todo = list(check_items(actions, "actions"))
        for action in todo:
            check_action(action)
        return self._target().run_batch(todo) if todo else []

    def check_and_mutate(self, check: CheckAndMutate) -> tuple[bool, Result | None]:
        """Apply the action if the condition holds, atomically: ``(held, Result of increment or append)``."""
        check_action(check_kind(check, CheckAndMutate))
        return self._target().check_and_mutate(check)

    # -- Arrow -------------------------------------------------------------------------------------------

    def scan_arrow(
        self,
        start: Scan | Row | None = None,
        stop: Row | None = None,
        *,
        layout: str = "wide",
        types: Mapping[Column, str] | None = None,
        **arguments: Any,
    ) -> pa.RecordBatchReader:
        """Scan into Arrow record batches, read as they are consumed.

        Args:
            start, stop, arguments: a ``Scan``, or the arguments of ``Scan`` or of ``scan()``;
                ``timestamp`` is ``scan()``'s exclusive bound.
            layout: ``"wide"``: a row per row key, column ``row`` and one per HBase column;
                ``"cells"``: a row per cell with row, column, timestamp and value.
            types: ``{b"family:qualifier": "int64"}``: how the values of a wide column are decoded;
                bytes otherwise. ``string``, ``int64``, ``float64``, ``bool``, ``timestamp[ms]``, ``date32``
                and the like read text; ``counter``, ``int64_be``, ``float64_be`` and the like HBase's
                big-endian form, which ``int64``, ``float64`` and ``bool`` read too where a value is no such
                text. docs/arrow.md has them all.

        Columns that are not named in full are found by a first pass over the range. A wide value that is
        not of its type is an IllegalArgumentException naming row, column and value.
        """
        scan = arrow_scan(start, stop, arguments)
        return self._target().scan_arrow(scan, check_layout(layout), column_types(types), wide_columns(scan))

    def to_pandas(self, start: Scan | Row | None = None, stop: Row | None = None, **arguments: Any) -> Any:
        """``scan_arrow`` as one pandas DataFrame, whole in memory. Needs pandas."""
        return self.scan_arrow(start, stop, **arguments).read_all().to_pandas()

    def to_polars(self, start: Scan | Row | None = None, stop: Row | None = None, **arguments: Any) -> Any:
        """``scan_arrow`` as one polars DataFrame, whole in memory. Needs polars."""
        import polars

        return polars.from_arrow(self.scan_arrow(start, stop, **arguments).read_all())

    def put_arrow(
        self,
        data: Any,
        row_key: str = "row",
        timestamp: int | str | None = None,
        family: bytes | str | None = None,
    ) -> int:
        """Write the rows of an Arrow table, of batches or of a stream (pandas and polars too).

        Args:
            row_key: the Arrow column that holds the row keys.
            timestamp: of every cell, or the name of the Arrow column that holds it; else the store's clock.
            family: puts the other columns into this family; else each is named ``family:qualifier``.

        Returns:
            How many rows were written. Each row is atomic, the whole is not.

        Binary values are stored as they are, text as UTF-8, others as text; null is no cell. 16 MB of cells
        or more become StoreFiles, all of a region's rows visible at once. docs/arrow.md tells more.
        """
        for name, column in (("row_key", row_key), ("timestamp", timestamp)):
            if isinstance(column, str):
                to_bytes(column, name)  # refuses what no Arrow column can be called
        check_kind(row_key, str, "the name of the row key's column")
        at = timestamp if isinstance(timestamp, str) else stamp(timestamp)
        into = None if family is None else to_bytes(family, "family")
        return self._target().put_arrow(as_reader(data), row_key, at, into)


def _chunks(chunks: Iterator[list[Result]], limit: int | None) -> Iterator[list[Result]]:
    """Pass chunks on until ``limit`` Results; whatever happens, the backend's scanner is closed."""
    try:
        for chunk in chunks:
            if limit is not None:
                if len(chunk) >= limit:
                    yield chunk[:limit]
                    return
                limit -= len(chunk)
            yield chunk
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
