"""Input files as a stream of records: CSV, TSV, JSON lines, JSON arrays, Parquet, Arrow and Feather.

A reader yields chunks of at most ``batch_rows`` records and never holds more than a chunk (and, for
Parquet, one batch of a row group) in memory. A record is ``(line, {column: value})``; ``line`` is the line it
starts on in a text file and the row's number, from 1, in a binary one. ``None`` as a value means "no value".
Input that is broken in one place becomes a ``Reject``; what cannot be read at all raises CommandError.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

from hyperbase.cli.console import CommandError
from hyperbase.cli.json_stream import JsonElements, JsonError

Record = tuple[int, dict[str, Any]]
_SUFFIXES = {
    ".csv": "csv",
    ".dat": "csv",
    ".txt": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".geojson": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
FORMATS = ("csv", "tsv", "jsonl", "json", "parquet", "arrow")
MAX_FIELD_BYTES = 64 * 1024 * 1024  # of one CSV field: a missing quote must not swallow a whole file


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that was not taken: where it was, why, and what it held."""

    line: int
    reason: str
    record: Any


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some records, what was broken between them, and how much of ``Reader.total`` is behind them."""

    records: list[Record]
    done: int
    rejects: list[Reject] = field(default_factory=list)


class Reader(Protocol):
    """One input file."""

    total: int  # the amount of work, in the unit of ``Chunk.done``

    @property
    def columns(self) -> list[str] | None:
        """The columns' names; ``None`` when only the records know."""

    def chunks(self, batch_rows: int) -> Iterator[Chunk]: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How to read text: see ``hyperbase import --help``."""

    format: str | None = None
    delimiter: str | None = None
    header: bool = True
    columns: tuple[str, ...] | None = None
    skip_lines: int = 0
    nulls: frozenset[str] = frozenset({"", "\\N"})
    encoding: str = "utf-8"
    records: str | None = None  # the member of a JSON object that holds the array of records
    flatten: bool = False


def format_of(path: str, given: str | None = None) -> str:
    """The format by option or by suffix (``.gz`` looked through)."""
    if given is not None:
        return given
    name = path[:-3] if path.endswith(".gz") else path
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in _SUFFIXES:
        raise CommandError(f"{path}: unknown suffix {suffix!r}; say what it is with --format")
    return _SUFFIXES[suffix]


def open_reader(path: str, options: ReadOptions) -> Reader:
    """Open ``path`` in its format. Raises CommandError when it cannot be read."""
    kind = format_of(path, options.format)
    if os.path.isdir(path):
        raise CommandError(f"{path} is a directory, a file is wanted")
    if path.endswith(".gz") and kind in ("parquet", "arrow"):
        raise CommandError(f"{path}: unpack it first; {kind} files are read at random places")
    if kind in ("csv", "tsv"):
        return CsvReader(path, options, options.delimiter or ("\t" if kind == "tsv" else ","))
    if kind in ("json", "jsonl"):
        return JsonReader(path, options, lines=kind == "jsonl")
    return ParquetReader(path) if kind == "parquet" else ArrowReader(path)


class _TextFile:
    """A text file, perhaps gzipped, and how many of its bytes on disk are behind us."""

    def __init__(self, path: str, encoding: str) -> None:
        self.total = os.path.getsize(path)
        self._raw = open(path, "rb")  # noqa: SIM115 (closed in close)
        plain: Any = gzip.GzipFile(fileobj=self._raw) if path.endswith(".gz") else self._raw
        # A BOM is not part of the first column's name. Bytes that are no UTF-8 pass through unchanged.
        name = "utf-8-sig" if encoding.lower().replace("-", "") == "utf8" else encoding
        try:
            self.text = io.TextIOWrapper(plain, name, errors="surrogateescape", newline="")
        except LookupError:
            self._raw.close()
            raise CommandError(f"unknown encoding {encoding!r}") from None

    def position(self) -> int:
        return self._raw.tell()

    def close(self) -> None:
        self.text.close()
        self._raw.close()


class CsvReader:
    """Comma- or tab-separated text with quotes as RFC 4180 has them; values stay the text they are."""

    def __init__(self, path: str, options: ReadOptions, delimiter: str) -> None:
        if len(delimiter) != 1:
            raise CommandError(f"--delimiter must be one character, not {delimiter!r}")
        csv.field_size_limit(MAX_FIELD_BYTES)
        self._path = path
        self._nulls = options.nulls
        self._file = _TextFile(path, options.encoding)
        self.total = self._file.total
        self._skipped = sum(1 for _ in islice(self._file.text, options.skip_lines))
        self._rows = csv.reader(self._file.text, delimiter=delimiter, strict=True)
        self._pending: list[tuple[int, list[str]]] = []
        try:
            self.columns: list[str] = self._find_columns(options)
        except (csv.Error, UnicodeError) as error:
            self.close()
            raise CommandError(f"{path}: cannot read the first line: {error}") from None
        except CommandError:
            self.close()
            raise

    def _find_columns(self, options: ReadOptions) -> list[str]:
        if options.columns is not None:
            return list(options.columns)
        first = next((row for row in self._rows if row), None)
        if first is None:
            raise CommandError(f"{self._path} is empty: not even a line of column names")
        if not options.header:
            self._pending.append((self._skipped + 1, first))
            return [f"c{number}" for number in range(1, len(first) + 1)]
        doubles = sorted({name for name in first if first.count(name) > 1})
        if doubles or not all(first):
            what = f"column {doubles[0]!r} twice" if doubles else "a column without a name"
            raise CommandError(
                f"{self._path}: the first line has {what}; name them with --columns and skip it"
            )
        return first

    def chunks(self, batch_rows: int) -> Iterator[Chunk]:
        """See ``Reader``."""
        records: list[Record] = []
        rejects: list[Reject] = []
        width = len(self.columns)
        nulls = self._nulls
        for line, row in self._lines(rejects):
            if len(row) != width:
                rejects.append(Reject(line, f"{len(row)} fields where {width} are expected", row))
            else:
                values = {
                    name: None if value in nulls else value
                    for name, value in zip(self.columns, row, strict=True)
                }
                records.append((line, values))
            if len(records) + len(rejects) >= batch_rows:
                yield Chunk(records, self._file.position(), rejects[:])
                records = []
                rejects.clear()
        yield Chunk(records, self._file.position(), rejects[:])

    def _lines(self, rejects: list[Reject]) -> Iterator[tuple[int, list[str]]]:
        yield from self._pending
        rows = self._rows
        while True:
            line = self._skipped + rows.line_num + 1
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                rejects.append(Reject(line, f"not well-formed: {error}", None))
                continue
            except UnicodeError as error:
                raise CommandError(f"{self._path}, line {line}: {error}; give its --encoding") from None
            except (EOFError, gzip.BadGzipFile) as error:
                raise CommandError(f"{self._path}, line {line}: {error}") from None
            if row:
                yield line, row

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class JsonReader:
    """JSON lines, an array of objects, or an object one member of which is that array."""

    columns: None = None

    def __init__(self, path: str, options: ReadOptions, *, lines: bool) -> None:
        self._path = path
        self._flatten = options.flatten
        self._file = _TextFile(path, options.encoding)
        self.total = self._file.total
        self._elements = JsonElements(self._file.text, lines=lines, member=options.records)

    def chunks(self, batch_rows: int) -> Iterator[Chunk]:
        """See ``Reader``."""
        records: list[Record] = []
        rejects: list[Reject] = []
        try:
            for line, value, error in self._elements:
                if error is not None:
                    rejects.append(Reject(line, error, value))
                elif not isinstance(value, dict):
                    rejects.append(Reject(line, f"an object is wanted, not {type(value).__name__}", value))
                else:
                    records.append((line, _flat(value) if self._flatten else value))
                if len(records) + len(rejects) >= batch_rows:
                    yield Chunk(records, self._file.position(), rejects)
                    records, rejects = [], []
        except (JsonError, UnicodeError, EOFError, gzip.BadGzipFile) as broken:
            raise CommandError(f"{self._path}: {broken}") from None
        yield Chunk(records, self._file.position(), rejects)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _flat(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as ``outer.inner`` members; lists stay."""
    out: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            out.update(_flat(value, f"{prefix}{name}."))
        else:
            out[prefix + name] = value
    return out


def _batch_records(names: Sequence[str], batch: Any, first: int) -> list[Record]:
    """A record batch as records, numbered from ``first``."""
    lists = [column.to_pylist() for column in batch.columns]
    return [
        (number, dict(zip(names, values, strict=True)))
        for number, values in enumerate(zip(*lists, strict=True), first)
    ]


class ParquetReader:
    """A Parquet file, a batch of a row group at a time."""

    def __init__(self, path: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            self._file = pq.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            raise CommandError(f"{path} cannot be read as Parquet: {first_line(error)}") from None
        self._path = path
        self.total = self._file.metadata.num_rows
        self.columns: list[str] = list(self._file.schema_arrow.names)

    def chunks(self, batch_rows: int) -> Iterator[Chunk]:
        """See ``Reader``."""
        import pyarrow as pa

        done = 0
        try:
            for batch in self._file.iter_batches(batch_size=batch_rows):
                records = _batch_records(self.columns, batch, done + 1)
                done += len(records)
                yield Chunk(records, done)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise CommandError(f"{self._path}, after row {done:,}: {first_line(error)}") from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ArrowReader:
    """An Arrow IPC file (Feather) or stream, a record batch at a time."""

    def __init__(self, path: str) -> None:
        import pyarrow as pa

        self._path = path
        self._source = pa.memory_map(path) if os.path.getsize(path) else pa.BufferReader(b"")
        try:
            self._reader: Any = pa.ipc.open_file(self._source)
            self._stream = False
            self.total = self._reader.num_record_batches
        except pa.ArrowException as not_a_file:
            try:
                self._source.seek(0)
                self._reader = pa.ipc.open_stream(self._source)
                self._stream = True
                self.total = 0
            except (pa.ArrowException, OSError):
                self._source.close()
                raise CommandError(f"{path} cannot be read as Arrow: {first_line(not_a_file)}") from None
        self.columns: list[str] = list(self._reader.schema.names)

    def _batches(self) -> Iterator[Any]:
        if self._stream:
            yield from self._reader
        else:
            for index in range(self.total):
                yield self._reader.get_batch(index)

    def chunks(self, batch_rows: int) -> Iterator[Chunk]:
        """See ``Reader``."""
        import pyarrow as pa

        first = 1
        try:
            for index, batch in enumerate(self._batches()):
                for start in range(0, batch.num_rows, batch_rows):
                    records = _batch_records(self.columns, batch.slice(start, batch_rows), first)
                    first += len(records)
                    yield Chunk(records, index + (start + batch_rows >= batch.num_rows))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise CommandError(f"{self._path}, after row {first - 1:,}: {first_line(error)}") from None

    def close(self) -> None:
        """Close the file."""
        self._source.close()


def first_line(error: BaseException) -> str:
    """The first line of an error's message: users see one line."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
