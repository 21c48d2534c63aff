"""A table on servers behind the client's ``TableBackend`` protocol, with blocking sockets.

The first attempt of the calls on one row goes straight to the socket when the region is known; only when it
fails is there a ``Retries`` and an operation to run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from hyperbase.client.network.puts import check_sizes, one_row, put_rows, read_one, resume_one
from hyperbase.client.network.regions import Place
from hyperbase.client.network.retries import Retries
from hyperbase.client.network.rows import call_row, read_result, resume_row
from hyperbase.client.network.scans import scan_chunks
from hyperbase.client.network.scatter import Outcome, get_many, is_plain, read_check, run_batch
from hyperbase.common.errors import HBaseIOException
from hyperbase.common.model import (
    Action,
    Append,
    CheckAndMutate,
    Delete,
    Durability,
    Get,
    Increment,
    Mutation,
    Put,
    Result,
    RowMutations,
    Scan,
)
from hyperbase.common.wire.messages import Method
from hyperbase.common.wire.model_codec import decode_result, encode_action, encode_get

if TYPE_CHECKING:
    import pyarrow as pa

    from hyperbase.client.network.backend import NetworkBackend

_PUT_ROWS, _GET_MANY, _MULTI = int(Method.PUT_ROWS), int(Method.GET_MANY), int(Method.MULTI)
_ROW, _GET, _MUTATE, _CHECK = int(Method.ROW), int(Method.GET), int(Method.MUTATE), int(Method.CHECK)


class NetworkTable:
    """See the module. Holds no state but the name: tables may come and go."""

    __slots__ = ("_backend", "name")

    def __init__(self, backend: NetworkBackend, name: str) -> None:
        self._backend = backend
        self.name = name

    def _retries(self, method: int, started: float | None = None) -> Retries:
        return Retries(self._backend.config, f"{Method(method).name} of {self.name}", started=started)

    def _call(self, row: bytes, method: int, rest: tuple[Any, ...]) -> Any:
        """Call a method on the region of a row, and try again where that can help."""
        backend = self._backend
        started = monotonic()
        place = backend.locator.known(self.name, row)
        if place is None:
            retries = self._retries(method, started)
            return backend.driver.run(call_row(backend.locator, self.name, row, method, rest, retries))
        try:
            return backend.driver.quick(place.where(), method, (place.id16, *rest), started)
        except HBaseIOException as error:
            retries = self._retries(method, started)
            steps = resume_row(
                backend.locator, self.name, row, method, rest, retries, used=place, error=error
            )
            return backend.driver.run(steps)

    # -- reading -----------------------------------------------------------------------------------------

    def row(self, row: bytes) -> Result:
        """The newest version of every column."""
        return read_result(row, self._call(row, _ROW, (row,)))

    def get(self, get: Get) -> Result:
        if is_plain(get):
            return self.row(get.row)
        return read_result(get.row, self._call(get.row, _GET, (encode_get(get),)))

    def get_many(self, gets: Sequence[Get]) -> list[Result]:
        backend = self._backend
        retries = self._retries(_GET_MANY)
        return backend.driver.run(get_many(backend.locator, self.name, gets, retries))

    def scan(self, scan: Scan) -> Iterator[list[Result]]:
        """Chunks of Results. Goes on after the last row when something breaks."""
        backend = self._backend
        return scan_chunks(backend.driver, backend.locator, self.name, scan)

    # -- writing -----------------------------------------------------------------------------------------

    def put_rows(
        self,
        rows: Sequence[tuple[bytes, Mapping[bytes, bytes]]],
        timestamp: int | None,
        durability: Durability,
    ) -> None:
        backend = self._backend
        place = backend.locator.known(self.name, rows[0][0]) if len(rows) == 1 else None
        if place is not None:
            self._put_one(rows[0], timestamp, durability, place)
            return
        retries = self._retries(_PUT_ROWS)
        steps = put_rows(backend.locator, backend.nonces, self.name, rows, timestamp, durability, retries)
        backend.driver.run(steps)

    def _put_one(
        self,
        row: tuple[bytes, Mapping[bytes, bytes]],
        timestamp: int | None,
        durability: Durability,
        place: Place,
    ) -> None:
        backend = self._backend
        nonces = backend.nonces
        check_sizes((row,), backend.config.max_key_value_bytes)
        started = monotonic()
        nonce = nonces.new()
        try:
            arguments = one_row(place, row, nonce, timestamp, durability)
            error = read_one(backend.driver.quick(place.where(), _PUT_ROWS, arguments, started))
        except HBaseIOException as failed:
            error = failed
        except BaseException:
            nonces.done(nonce[0])
            raise
        if error is None:
            nonces.done(nonce[0])
            return
        retries = self._retries(_PUT_ROWS, started)
        backend.driver.run(
            resume_one(
                backend.locator,
                nonces,
                self.name,
                row,
                timestamp,
                durability,
                retries,
                used=place,
                number=nonce[0],
                error=error,
            )
        )

    def _mutate(self, method: int, action: Mutation | RowMutations | CheckAndMutate) -> Any:
        nonces = self._backend.nonces
        fields = encode_action(action)
        nonce = nonces.new()
        try:
            return self._call(action.row, method, (fields, nonce))
        finally:
            nonces.done(nonce[0])

    def put(self, put: Put) -> None:
        self._mutate(_MUTATE, put)

    def delete(self, delete: Delete) -> None:
        self._mutate(_MUTATE, delete)

    def increment(self, increment: Increment) -> Result:
        return decode_result(increment.row, self._mutate(_MUTATE, increment))

    def append(self, append: Append) -> Result:
        return decode_result(append.row, self._mutate(_MUTATE, append))

    def mutate_row(self, mutations: RowMutations) -> Result:
        return decode_result(mutations.row, self._mutate(_MUTATE, mutations))

    def check_and_mutate(self, check: CheckAndMutate) -> tuple[bool, Result | None]:
        return read_check(check.row, self._mutate(_CHECK, check))

    def run_batch(self, actions: Sequence[Action]) -> list[Outcome]:
        backend = self._backend
        retries = self._retries(_MULTI)
        return backend.driver.run(run_batch(backend.locator, backend.nonces, self.name, actions, retries))

    # -- Arrow -------------------------------------------------------------------------------------------

    def scan_arrow(
        self, scan: Scan, layout: str, types: Mapping[bytes, str] | None, columns: Sequence[bytes] | None
    ) -> pa.RecordBatchReader:
        from hyperbase.client.network.arrow_scans import scan_arrow  # loads pyarrow

        backend = self._backend
        return scan_arrow(backend.driver, backend.locator, self.name, scan, layout, types or {}, columns)

    def put_arrow(self, data: Any, row_key: str, timestamp: int | str | None, family: bytes | None) -> int:
        from hyperbase.client.network.arrow_puts import put_arrow

        backend = self._backend
        return put_arrow(backend.driver, backend.locator, self.name, data, row_key, timestamp, family)
