"""``hbase:meta`` as a table that anybody may read and nobody may write: the store alone keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from hyperbase.common.errors import ConstraintException
from hyperbase.common.model import (
    Action,
    Append,
    CheckAndMutate,
    Delete,
    Durability,
    Get,
    Increment,
    Put,
    RowMutations,
)
from hyperbase.embedded.table import EmbeddedTable, Outcome


class CatalogTable(EmbeddedTable):
    """See the module."""

    __slots__ = ()

    def _refuse(self) -> NoReturn:
        raise ConstraintException(
            f"{self.name} is written by the store alone: create, alter, split and the like change it"
        )

    def put_rows(
        self,
        rows: Sequence[tuple[bytes, Mapping[bytes, bytes]]],
        timestamp: int | None,
        durability: Durability,
    ) -> None:
        self._refuse()

    def put(self, put: Put) -> None:
        self._refuse()

    def delete(self, delete: Delete) -> None:
        self._refuse()

    def increment(self, increment: Increment) -> NoReturn:
        self._refuse()

    def append(self, append: Append) -> NoReturn:
        self._refuse()

    def mutate_row(self, mutations: RowMutations) -> NoReturn:
        self._refuse()

    def check_and_mutate(self, check: CheckAndMutate) -> NoReturn:
        self._refuse()

    def put_arrow(self, data: Any, row_key: str, timestamp: int | str | None, family: bytes | None) -> int:
        self._refuse()

    def run_batch(self, actions: Sequence[Action]) -> list[Outcome]:
        if any(not isinstance(action, Get) for action in actions):
            self._refuse()
        return super().run_batch(actions)
