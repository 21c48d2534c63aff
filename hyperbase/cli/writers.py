"""Output files for ``hyperbase export``: Parquet, Arrow, CSV and JSON lines, a record batch at a time.

A sink writes to ``PATH.part`` and takes the final name when it is complete: a killed export leaves no file
that looks whole. Parquet and Arrow keep the types they are given; in CSV and JSON lines bytes that are no
text appear as HBase's shell shows them (``\\x00\\x01``).
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any, Protocol

from hyperbase.cli.console import CommandError
from hyperbase.cli.values import printable

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP_ROWS = 1 << 17
ROW_GROUP_BYTES = 32 << 20
_SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}


class _Encoder(Protocol):
    def write(self, batch: pa.RecordBatch) -> None: ...

    def close(self) -> None: ...


def output_format(path: str) -> str:
    """The format by suffix. Raises CommandError for a suffix nothing is known of."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in _SUFFIXES:
        raise CommandError(f"{path}: the suffix must be one of .parquet .arrow .feather .csv .tsv .jsonl")
    return _SUFFIXES[suffix]


class FileSink:
    """A file being written; a context manager that drops the unfinished file after an exception."""

    def __init__(self, path: str, schema: pa.Schema) -> None:
        self.path = path
        self._part = path + ".part"
        kind = output_format(path)
        encoders: dict[str, Any] = {"parquet": _Parquet, "arrow": _Arrow, "jsonl": _JsonLines}
        self._encoder: _Encoder
        if kind in encoders:
            self._encoder = encoders[kind](self._part, schema)
        else:
            self._encoder = _Csv(self._part, schema, "\t" if kind == "tsv" else ",")

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a batch of the schema."""
        self._encoder.write(batch)

    def __enter__(self) -> FileSink:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            self._encoder.close()
            if kind is None:
                os.replace(self._part, self.path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._part)


class _Parquet:
    """Batches are gathered to row groups that are worth a reader's while."""

    def __init__(self, path: str, schema: pa.Schema) -> None:
        import pyarrow.parquet as pq

        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0
        self._bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._rows >= ROW_GROUP_ROWS or self._bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            table = pa.Table.from_batches(self._waiting, self._schema)
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._waiting, self._rows, self._bytes = [], 0, 0

    def close(self) -> None:
        self._flush()
        self._writer.close()


class _Arrow:
    def __init__(self, path: str, schema: pa.Schema) -> None:
        import pyarrow as pa

        self._file = pa.OSFile(path, "wb")
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        self._writer = pa.ipc.new_file(self._file, schema, options=options)

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def close(self) -> None:
        self._writer.close()
        self._file.close()


class _Csv:
    def __init__(self, path: str, schema: pa.Schema, delimiter: str) -> None:
        import pyarrow as pa
        from pyarrow import csv

        fields = [pa.field(f.name, pa.string() if pa.types.is_binary(f.type) else f.type) for f in schema]
        self._schema = pa.schema(fields)
        options = csv.WriteOptions(delimiter=delimiter)
        self._writer = csv.CSVWriter(path, self._schema, write_options=options)

    def write(self, batch: pa.RecordBatch) -> None:
        import pyarrow as pa

        columns = [readable(column) for column in batch.columns]
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


class _JsonLines:
    """An object a line; a column without a value is left out."""

    def __init__(self, path: str, schema: pa.Schema) -> None:
        self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115 (closed in close)
        self._names = schema.names

    def write(self, batch: pa.RecordBatch) -> None:
        lists = [readable(column).to_pylist() for column in batch.columns]
        for values in zip(*lists, strict=True):
            record = {n: v for n, v in zip(self._names, values, strict=True) if v is not None}
            self._file.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")

    def close(self) -> None:
        self._file.close()


def readable(column: pa.Array) -> pa.Array:
    """A binary column as text, what is no text escaped; other columns as they are."""
    import pyarrow as pa

    if not pa.types.is_binary(column.type):
        return column
    if is_text(column):
        return column.cast(pa.string())
    return pa.array([None if v is None else printable(v) for v in column.to_pylist()], pa.string())


def is_text(column: pa.Array) -> bool:
    """Every value is UTF-8 without zero bytes, which counters are full of and texts never have."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        column.cast(pa.string())
    except pa.ArrowInvalid:
        return False
    return not pc.any(pc.match_substring(column, b"\0")).as_py()
