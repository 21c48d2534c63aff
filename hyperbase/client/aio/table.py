"""Table: the methods of ``hyperbase.Table`` as coroutines and asynchronous iterators."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from hyperbase.client.aio.batch import Batch
from hyperbase.client.aio.scans import scan_chunks
from hyperbase.client.arrow import as_reader, check_layout, column_types, wide_columns
from hyperbase.client.arrow import make_scan as arrow_scan
from hyperbase.client.checks import durability, row_data, stamp
from hyperbase.client.network.puts import check_sizes, one_row, put_rows, read_one, resume_one
from hyperbase.client.network.regions import Place
from hyperbase.client.network.retries import Retries
from hyperbase.client.network.rows import call_row, read_result, resume_row
from hyperbase.client.network.scatter import Outcome, get_many, is_plain, read_check, run_batch
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
    HBaseIOException,
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
    Durability,
    FilterLike,
    Get,
    Increment,
    Mutation,
    Put,
    Result,
    RowMutations,
    Scan,
    check_row,
    to_bytes,
)
from hyperbase.common.names import canonical_table_name
from hyperbase.common.wire.messages import Method
from hyperbase.common.wire.model_codec import decode_result, encode_action, encode_get

if TYPE_CHECKING:
    import pyarrow as pa

    from hyperbase.client.aio.connection import Connection
    from hyperbase.client.network.arrow_reads import ArrowRequest

_PUT_ROWS, _GET_MANY, _MULTI = int(Method.PUT_ROWS), int(Method.GET_MANY), int(Method.MULTI)
_ROW, _GET, _MUTATE, _CHECK = int(Method.ROW), int(Method.GET), int(Method.MUTATE), int(Method.CHECK)


class Table:
    """One table of a connection. ``Connection.table`` makes one without looking whether it exists.

    Arguments, answers and errors are those of ``hyperbase.Table``. Any number of calls may be in flight;
    cancelling the task that awaits one takes the call back: a mutation may still have been applied.
    """

    def __init__(self, name: bytes, connection: Connection) -> None:
        self.name = name  # full name in bytes, prefix included
        self.connection = connection
        self._full_name = canonical_table_name(name)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} name={self.name!r}>"

    def _retries(self, method: int, started: float | None = None) -> Retries:
        what = f"{Method(method).name} of {self._full_name}"
        return Retries(self.connection.config, what, started=started)

    # -- the table itself --------------------------------------------------------------------------------

    async def families(self) -> dict[bytes, dict[str, Any]]:
        """``{family: options}``."""
        return families_dict(await self.connection.admin.describe_table(self._full_name))

    async def _family_count(self) -> int:
        return len((await self.connection.admin.describe_table(self._full_name)).family_names)

    async def regions(self) -> list[dict[str, Any]]:
        """One dict per region in key order."""
        try:
            located = await self.connection.admin.region_locations(self._full_name)
        except TableNotFoundException:
            return []
        return [region_dict(region, server) for region, server in located]

    # -- calls on one row --------------------------------------------------------------------------------

    async def _call(self, row: bytes, method: int, rest: tuple[Any, ...]) -> Any:
        """Call a method on the region of a row, and try again where that can help."""
        connection = self.connection
        started = time.monotonic()
        place = connection.locator.known(self._full_name, row)
        if place is None:
            retries = self._retries(method, started)
            return await connection.driver.run(
                call_row(connection.locator, self._full_name, row, method, rest, retries)
            )
        try:
            return await connection.driver.quick(place.where(), method, (place.id16, *rest))
        except HBaseIOException as error:
            retries = self._retries(method, started)
            steps = resume_row(
                connection.locator, self._full_name, row, method, rest, retries, used=place, error=error
            )
        return await connection.driver.run(steps)

    async def _latest(self, row: bytes) -> Result:
        return read_result(row, await self._call(row, _ROW, (row,)))

    async def _get(self, get: Get) -> Result:
        if is_plain(get):
            return await self._latest(get.row)
        return read_result(get.row, await self._call(get.row, _GET, (encode_get(get),)))

    async def _mutate(self, method: int, action: Mutation | RowMutations | CheckAndMutate) -> Any:
        nonces = self.connection.nonces
        fields = encode_action(action)
        nonce = nonces.new()
        try:
            return await self._call(action.row, method, (fields, nonce))
        finally:
            nonces.done(nonce[0])

    # -- reading, HappyBase style ------------------------------------------------------------------------

    async def row(
        self,
        row: Row,
        columns: Columns | None = None,
        timestamp: int | None = None,
        include_timestamp: bool = False,
        versions: int | str | None = None,
    ) -> RowDict:
        """Read one row; a row that does not exist is ``{}``."""
        if columns is None and timestamp is None and versions is None:
            if type(row) is not bytes or not 0 < len(row) <= MAX_ROW_LENGTH:
                row = check_row(row)
            result = await self._latest(row)
            return result.to_dict_with_timestamps() if include_timestamp else result.to_dict()
        get = make_get(row, columns, timestamp, versions)
        return row_maker(include_timestamp, versions)(await self._get(get))

    async def rows(
        self,
        rows: Iterable[Row],
        columns: Columns | None = None,
        timestamp: int | None = None,
        include_timestamp: bool = False,
        versions: int | str | None = None,
    ) -> list[tuple[bytes, RowDict]]:
        """Read several rows, missing ones left out."""
        gets = [make_get(row, columns, timestamp, versions) for row in check_items(rows, "rows")]
        if not gets:
            return []
        make = row_maker(include_timestamp, versions)
        return [(result.row, make(result)) for result in await self.get_many(gets) if result]

    async def cells(
        self,
        row: Row,
        column: Column,
        versions: int | None = None,
        timestamp: int | None = None,
        include_timestamp: bool = False,
    ) -> list[Any]:
        """Versions of one column, newest first."""
        return cells_of(await self._get(make_cells_get(row, column, versions, timestamp)), include_timestamp)

    async def scan(
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
    ) -> AsyncGenerator[tuple[bytes, RowDict], None]:
        """Yield ``(row, {column: value})`` in key order. ``aclose()`` frees the scanner at once."""
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
        count = 0
        async with aclosing(self.scan_results(query)) as results:
            async for result in results:
                yield result.row, make(result)
                count += 1
                if count == limit:
                    return

    # -- writing, HappyBase style ------------------------------------------------------------------------

    async def put(
        self,
        row: Row | Put,
        data: Mapping[Any, Any] | None = None,
        timestamp: int | None = None,
        wal: bool = True,
    ) -> None:
        """Write ``{b"family:qualifier": value}`` to one row, all or nothing; durable when it returns."""
        if type(row) is not bytes or not 0 < len(row) <= MAX_ROW_LENGTH:
            if isinstance(row, Put):
                await self._put_object(row, data)
                return
            row = check_row(row)
        cells = row_data(data)  # type: ignore[arg-type]  # None is refused there by name
        at = None if timestamp is None else stamp(timestamp)
        if not cells:
            return
        place = self.connection.locator.known(self._full_name, row)
        if place is not None:
            await self._put_one((row, cells), at, durability(wal), place)
            return
        try:
            await self._put_rows([(row, cells)], at, durability(wal))
        except RetriesExhaustedWithDetailsException as error:
            raise error.failures[0][1] from None  # one row: its own error says it all

    async def _put_object(self, put: Put, data: object) -> None:
        if data is not None:
            raise WrongTypeException("a Put says everything: no data can be given beside it")
        check_action(put)
        await self._mutate(_MUTATE, put)

    async def _put_one(
        self, row: tuple[bytes, Mapping[bytes, bytes]], at: int | None, level: Durability, place: Place
    ) -> None:
        """The first attempt goes straight to the link; see ``NetworkTable``."""
        connection = self.connection
        nonces = connection.nonces
        check_sizes((row,), connection.config.max_key_value_bytes)
        started = time.monotonic()
        nonce = nonces.new()
        try:
            arguments = one_row(place, row, nonce, at, level)
            error = read_one(await connection.driver.quick(place.where(), _PUT_ROWS, arguments))
        except HBaseIOException as failed:
            error = failed
        except BaseException:
            nonces.done(nonce[0])
            raise
        if error is None:
            nonces.done(nonce[0])
            return
        retries = self._retries(_PUT_ROWS, started)
        await connection.driver.run(
            resume_one(
                connection.locator,
                nonces,
                self._full_name,
                row,
                at,
                level,
                retries,
                used=place,
                number=nonce[0],
                error=error,
            )
        )

    async def _put_rows(
        self, rows: Sequence[tuple[bytes, Mapping[bytes, bytes]]], at: int | None, level: Durability
    ) -> None:
        connection = self.connection
        await connection.driver.run(
            put_rows(
                connection.locator,
                connection.nonces,
                self._full_name,
                rows,
                at,
                level,
                self._retries(_PUT_ROWS),
            )
        )

    async def delete(
        self,
        row: Row | Delete,
        columns: Iterable[Column] | None = None,
        timestamp: int | None = None,
        wal: bool = True,
    ) -> None:
        """Delete every version up to ``timestamp`` (default: now) of the columns, or of the whole row."""
        if isinstance(row, Delete):
            if columns is not None or timestamp is not None:
                raise WrongTypeException(
                    "a Delete says everything: no columns or timestamp can be given beside it"
                )
            delete: Delete | None = row
        else:
            delete = make_delete(row, columns, timestamp, wal)
        if delete is not None:
            await self._mutate(_MUTATE, delete)

    def batch(
        self,
        timestamp: int | None = None,
        batch_size: int | None = None,
        transaction: bool = False,
        wal: bool = True,
    ) -> Batch:
        """Collect mutations of many rows: ``async with table.batch() as batch: await batch.put(…)``."""
        return Batch(self, timestamp, batch_size, transaction, wal)

    async def counter_get(self, row: Row, column: Column) -> int:
        """The counter's value; one that does not exist is created as 0."""
        return await self.counter_inc(row, column, 0)

    async def counter_set(self, row: Row, column: Column, value: int = 0) -> None:
        """Store a counter: 8 bytes, big-endian, signed."""
        await self.put(row, {to_bytes(column, "column"): pack_counter(value)})

    async def counter_inc(self, row: Row, column: Column, value: int = 1) -> int:
        """Add ``value`` atomically and return the new value; a missing counter counts from 0."""
        increment = Increment(row).add(column, counter_step(value))
        result = decode_result(increment.row, await self._mutate(_MUTATE, increment))
        (count,) = counts_of(result).values()
        return count

    async def counter_dec(self, row: Row, column: Column, value: int = 1) -> int:
        """Subtract ``value`` atomically and return the new value."""
        return await self.counter_inc(row, column, -value)

    # -- HBase style -------------------------------------------------------------------------------------

    async def get(self, get: Get) -> Result:
        """Read one row."""
        return await self._get(check_kind(get, Get))

    async def get_many(self, gets: Iterable[Get]) -> list[Result]:
        """One Result per Get, in the order given, empty ones included."""
        wanted = [check_kind(get, Get) for get in check_items(gets, "gets")]
        connection = self.connection
        return await connection.driver.run(
            get_many(connection.locator, self._full_name, wanted, self._retries(_GET_MANY))
        )

    async def scan_results(self, scan: Scan) -> AsyncGenerator[Result, None]:
        """Yield the Results of a Scan, in key order."""
        connection = self.connection
        chunks = scan_chunks(connection.driver, connection.locator, self._full_name, check_kind(scan, Scan))
        async with aclosing(chunks):
            async for chunk in chunks:
                for result in chunk:
                    yield result

    async def exists(self, row: Row | Get) -> bool:
        """Whether the row, or anything a Get asks for, exists."""
        return bool(await self._get(row if isinstance(row, Get) else Get(row, store_limit=1)))

    async def increment(
        self, row: Row | Increment, amounts: Mapping[Column, int] | None = None
    ) -> dict[bytes, int]:
        """Add to several counters of one row at once; returns ``{column: new value}``."""
        increment = row if isinstance(row, Increment) else Increment(row, amounts)
        check_action(increment)
        return counts_of(decode_result(increment.row, await self._mutate(_MUTATE, increment)))

    async def append(
        self, row: Row | Append, values: Mapping[Column, bytes | str] | None = None
    ) -> dict[bytes, bytes]:
        """Append bytes to several values of one row at once; returns ``{column: new value}``."""
        append = row if isinstance(row, Append) else Append(row, values)
        check_action(append)
        return decode_result(append.row, await self._mutate(_MUTATE, append)).to_dict()

    async def mutate_row(self, mutations: RowMutations) -> Result:
        """Apply mutations of one row atomically, in order."""
        check_action(check_kind(mutations, RowMutations))
        return decode_result(mutations.row, await self._mutate(_MUTATE, mutations))

    async def run_batch(self, actions: Iterable[Action]) -> list[Outcome]:
        """One outcome per action, in order."""
        todo = list(check_items(actions, "actions"))
        for action in todo:
            check_action(action)
        connection = self.connection
        return await connection.driver.run(
            run_batch(connection.locator, connection.nonces, self._full_name, todo, self._retries(_MULTI))
        )

    async def check_and_mutate(self, check: CheckAndMutate) -> tuple[bool, Result | None]:
        """Apply the action if the condition holds, atomically."""
        check_action(check_kind(check, CheckAndMutate))
        return read_check(check.row, await self._mutate(_CHECK, check))

    # -- Arrow -------------------------------------------------------------------------------------------

    async def scan_arrow(
        self,
        start: Scan | Row | None = None,
        stop: Row | None = None,
        *,
        layout: str = "wide",
        types: Mapping[Column, str] | None = None,
        **arguments: Any,
    ) -> AsyncGenerator[pa.RecordBatch, None]:
        """Yield Arrow record batches; arguments as of ``hyperbase.Table.scan_arrow``."""
        from hyperbase.client.aio.arrow import scan_arrow  # loads pyarrow

        request = _arrow_request(start, stop, layout, types, arguments)
        connection = self.connection
        batches = scan_arrow(connection.driver, connection.locator, self._full_name, request)
        async with aclosing(batches):
            async for batch in batches:
                yield batch

    async def read_arrow(
        self, start: Scan | Row | None = None, stop: Row | None = None, **arguments: Any
    ) -> pa.Table:
        """``scan_arrow`` as one Arrow table, whole in memory."""
        import pyarrow as pa

        from hyperbase.client.aio.arrow import prepare, scan_arrow

        layout, types = arguments.pop("layout", "wide"), arguments.pop("types", None)
        request = _arrow_request(start, stop, layout, types, arguments)
        connection = self.connection
        await prepare(connection.driver, connection.locator, self._full_name, request)
        batches = scan_arrow(connection.driver, connection.locator, self._full_name, request)
        return pa.Table.from_batches([batch async for batch in batches], request.schema)

    async def to_pandas(
        self, start: Scan | Row | None = None, stop: Row | None = None, **arguments: Any
    ) -> Any:
        """``read_arrow`` as a pandas DataFrame. Needs pandas."""
        return (await self.read_arrow(start, stop, **arguments)).to_pandas()

    async def to_polars(
        self, start: Scan | Row | None = None, stop: Row | None = None, **arguments: Any
    ) -> Any:
        """``read_arrow`` as a polars DataFrame. Needs polars."""
        import polars

        return polars.from_arrow(await self.read_arrow(start, stop, **arguments))

    async def put_arrow(
        self,
        data: Any,
        row_key: str = "row",
        timestamp: int | str | None = None,
        family: bytes | str | None = None,
    ) -> int:
        """Write the rows of an Arrow table, of batches or of a stream; returns how many were written."""
        from hyperbase.client.aio.arrow import put_arrow

        at = timestamp if isinstance(timestamp, str) else stamp(timestamp)
        into = family.encode("utf-8") if isinstance(family, str) else family
        connection = self.connection
        return await put_arrow(
            connection.driver, connection.locator, self._full_name, as_reader(data), row_key, at, into
        )


def _arrow_request(
    start: Scan | Row | None,
    stop: Row | None,
    layout: str,
    types: Mapping[Column, str] | None,
    arguments: Mapping[str, Any],
) -> ArrowRequest:
    from hyperbase.client.network.arrow_reads import ArrowRequest

    scan = arrow_scan(start, stop, arguments)
    return ArrowRequest(scan, check_layout(layout), column_types(types) or {}, wide_columns(scan))
