"""The two forms of a scan's record batches: a row for each cell, or a row for each row key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from hyperbase.client.arrow_types import ColumnType, column_type
from hyperbase.common.errors import IllegalArgumentException
from hyperbase.common.model import Scan, split_column

CELLS_SCHEMA = pa.schema(
    [
        pa.field("row", pa.binary(), nullable=False),
        pa.field("family", pa.binary(), nullable=False),
        pa.field("qualifier", pa.binary(), nullable=False),
        pa.field("timestamp", pa.int64(), nullable=False),
        pa.field("type", pa.uint8(), nullable=False),
        pa.field("value", pa.binary(), nullable=False),
    ]
)

Column = tuple[bytes, bytes]  # family, qualifier


def check_cells(types: Mapping[bytes, str]) -> None:
    """Raises IllegalArgumentException: the cells layout has no types to choose."""
    if types:
        raise IllegalArgumentException('types are for layout="wide": the values of cells are bytes')


def check_wide(scan: Scan) -> None:
    """Raises IllegalArgumentException: what a raw scan shows has no wide form."""
    if scan.raw:
        raise IllegalArgumentException('a raw scan shows markers and versions: use layout="cells"')


def columns_of_cells(batch: pa.RecordBatch) -> set[Column]:
    """The columns that a batch of cells has."""
    pairs = pa.table({"f": batch.column("family"), "q": batch.column("qualifier")})
    return {(pair["f"], pair["q"]) for pair in pairs.group_by(["f", "q"]).aggregate([]).to_pylist()}


@dataclass(frozen=True, slots=True)
class WideColumns:
    """The columns of a wide table, with their types."""

    columns: list[Column]
    types: list[ColumnType]
    schema: pa.Schema

    @classmethod
    def of(cls, names: Sequence[bytes], types: Mapping[bytes, str]) -> WideColumns:
        """From ``family:qualifier`` names. Raises IllegalArgumentException for an unknown type."""
        checked = {name: column_type(kind) for name, kind in types.items()}
        chosen = [checked.get(name) or column_type("binary") for name in names]
        fields = [pa.field("row", pa.binary(), nullable=False)]
        fields += [
            pa.field(name.decode("utf-8", "backslashreplace"), kind.arrow)
            for name, kind in zip(names, chosen, strict=True)
        ]
        pairs = [(family, qualifier or b"") for family, qualifier in map(split_column, names)]
        return cls(pairs, chosen, pa.schema(fields))

    def batch(self, rows: pa.Array, values: Iterable[pa.Array]) -> pa.RecordBatch:
        """A batch with the values decoded.

        Raises:
            IllegalArgumentException: a value that is not of its column's type.
        """
        arrays = [rows]
        for array, kind, field in zip(values, self.types, list(self.schema)[1:], strict=True):
            arrays.append(kind.column(array, rows, field.name))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)
