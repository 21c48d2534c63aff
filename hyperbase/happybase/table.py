"""HappyBase's Table: the client's, with the few habits of HappyBase that differ."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

from hyperbase.client.requests import Columns, Row, RowDict
from hyperbase.client.table import Table as ClientTable
from hyperbase.common.errors import WrongTypeException, shown
from hyperbase.common.model import FilterLike


class Table(ClientTable):
    """One table of a ``hyperbase.happybase.Connection``."""

    def rows(
        self,
        rows: Iterable[Row],
        columns: Columns | None = None,
        timestamp: int | None = None,
        include_timestamp: bool = False,
        versions: int | str | None = None,
    ) -> Any:
        """As ``hyperbase.Table.rows``; for no rows at all HappyBase returns ``{}``, not ``[]``."""
        if columns is not None and not isinstance(columns, (tuple, list)):
            raise WrongTypeException(f"'columns' must be a tuple or list, not {shown(columns)}")
        wanted = list(rows)
        return super().rows(wanted, columns, timestamp, include_timestamp, versions) if wanted else {}

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
        """As ``hyperbase.Table.scan``; ``sorted_columns`` gives an OrderedDict.

        Raises:
            NotImplementedError: the connection's ``compat`` is older than the argument.
        """
        compat = getattr(self.connection, "compat", "0.98")
        for name, given, since in (
            ("filter", filter is not None, "0.92"),
            ("sorted_columns", sorted_columns, "0.96"),
            ("reverse", reverse, "0.98"),
        ):
            if given and compat < since:
                raise NotImplementedError(
                    f"'{name}' needs compat {since} or newer, this connection has {compat}"
                )
        found = super().scan(
            row_start=row_start,
            row_stop=row_stop,
            row_prefix=row_prefix,
            columns=columns,
            filter=filter,
            timestamp=timestamp,
            include_timestamp=include_timestamp,
            batch_size=batch_size,
            scan_batching=scan_batching,
            limit=limit,
            sorted_columns=sorted_columns,
            reverse=reverse,
            versions=versions,
        )
        if sorted_columns:
            for row, data in found:
                yield row, OrderedDict(data)
        else:
            yield from found
