"""Batch for asyncio: as ``hyperbase.Batch``, with coroutines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from hyperbase.client.batch import BatchContents, failures_of
from hyperbase.common.errors import RetriesExhaustedWithDetailsException

if TYPE_CHECKING:
    from typing import Self

    from hyperbase.client.aio.table import Table


class Batch:
    """Collect puts and deletes; ``send`` writes them, puts first. ``async with`` sends at the end.

    ``put`` and ``delete`` wait only when ``batch_size`` is reached and the batch is sent.
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

    async def put(self, row: bytes | str, data: Mapping[Any, Any], wal: bool | None = None) -> None:
        """Write ``{b"family:qualifier": value}`` to ``row`` when the batch is sent."""
        contents = self._contents
        contents.put(row, data, wal)
        if contents.full:
            await self.send()

    async def delete(
        self, row: bytes | str, columns: Iterable[Any] | None = None, wal: bool | None = None
    ) -> None:
        """Delete every version of ``columns`` (``b"family"``: all of it) or of the whole row."""
        contents = self._contents
        count = 1
        if columns is None and contents.batch_size is not None:
            if self._family_count is None:
                self._family_count = await self._table._family_count()
            count = self._family_count
        contents.delete(row, columns, wal, count)
        if contents.full:
            await self.send()

    async def send(self) -> None:
        """Write what was collected, and start anew. After a failure the batch still holds everything.

        Raises:
            RetriesExhaustedWithDetailsException: some rows were refused, the other rows of that step are
                written; deletes are not sent when a put was refused.
        """
        contents = self._contents
        failures: list[tuple[bytes, Exception]] = []
        groups = contents.put_groups()
        for rows, level in groups:
            try:
                await self._table._put_rows(rows, contents.timestamp, level)
            except RetriesExhaustedWithDetailsException as error:
                if len(groups) == 1:
                    raise
                failures += error.failures
        deletes = contents.deletes()
        if deletes and not failures:
            failures = failures_of(deletes, await self._table.run_batch(deletes))
        if failures:
            raise RetriesExhaustedWithDetailsException(failures)
        contents.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not (self._contents.transaction and exc_type is not None):
            await self.send()
