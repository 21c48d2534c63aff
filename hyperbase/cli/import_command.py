"""``hyperbase import STORE TABLE FILE…``: rows of files into a table.

The row key is one column, or several joined by ``--separator``; ``#`` stands for the record's number in its
file, twelve digits wide. Every other column becomes a cell ``family:column``; a missing value becomes no
cell. A row that cannot be taken goes to ``FILE.rejects.jsonl`` and the rest goes on. Running the same
import again writes the same rows again: the table reads the same after it.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hyperbase.cli.console import CommandError, ExitCode, ProgressBar, say
from hyperbase.cli.readers import FORMATS, Chunk, ReadOptions, Reject, first_line, format_of, open_reader
from hyperbase.cli.rejects import RejectFile
from hyperbase.cli.values import ENCODERS, encode_text, parse_timestamp, parse_types
from hyperbase.common.errors import (
    HBaseIOException,
    IllegalArgumentException,
    RetriesExhaustedWithDetailsException,
)
from hyperbase.common.model import MAX_ROW_LENGTH, Put

if TYPE_CHECKING:
    from hyperbase.client.connection import Connection
    from hyperbase.client.table import Table

DEFAULT_FAMILY = "cf"
NUMBER_COLUMN = "#"
_QUALIFIED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*:(?!//)")


def add_parser(subparsers: Any) -> None:
    """Describe the command to argparse."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "import",
        help="load CSV, TSV, JSON, Parquet or Arrow files into a table",
        description=(__doc__ or "").replace("``", ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "store",
        metavar="STORE",
        help="directory of the store, made when missing; hyperbase://host:port or zk://host:port",
    )
    add("table", metavar="TABLE")
    add("files", metavar="FILE", nargs="+")
    add(
        "--row-key",
        required=True,
        metavar="COL[,COL…]",
        help="columns of the row key; # is the record's number",
    )
    add("--separator", default="|", help="between the parts of the row key (default: %(default)s)")
    add("--keep-key", action="store_true", help="store the columns of the row key as cells, too")
    add(
        "--family",
        help=f"family of all columns (default: {DEFAULT_FAMILY}, for columns not named family:name)",
    )
    add("--timestamp", metavar="COL", help="column with the cells' timestamp: milliseconds or ISO 8601")
    add(
        "--types",
        metavar="COL=TYPE,…",
        help=f"check columns, or store their binary form: {', '.join(ENCODERS)}",
    )
    add(
        "--create",
        default=True,
        action=argparse.BooleanOptionalAction,
        help="make table and family if missing",
    )
    add(
        "--batch-rows",
        type=int,
        default=1000,
        metavar="N",
        help="rows written together (default: %(default)s)",
    )
    add("--rejects", metavar="PATH", help="where rejected rows go (default: FILE.rejects.jsonl)")
    text = parser.add_argument_group("reading")
    text.add_argument(
        "--format", choices=FORMATS, help="default: by suffix; .dat and .txt are CSV, .gz is unpacked"
    )
    text.add_argument("--delimiter", help="of CSV columns")
    text.add_argument(
        "--columns", metavar="A,B,…", help="names of the CSV columns; the file has no line of names"
    )
    text.add_argument("--no-header", action="store_true", help="the CSV columns are called c1, c2, …")
    text.add_argument(
        "--skip-lines", type=int, default=0, metavar="N", help="leave out the first lines of a CSV"
    )
    text.add_argument(
        "--null", action="append", metavar="TEXT", help=r"no value, besides empty and \N; repeatable"
    )
    text.add_argument("--encoding", default="utf-8", help="of text files (default: %(default)s)")
    text.add_argument(
        "--records", metavar="NAME", help="member of the JSON object that holds the array of records"
    )
    text.add_argument("--flatten", action="store_true", help="nested JSON objects become columns outer.inner")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Import every file; the worst outcome is the exit code."""
    if args.batch_rows <= 0:
        raise CommandError(f"--batch-rows must be positive, not {args.batch_rows}")
    if args.rejects and len(args.files) > 1:
        raise CommandError("--rejects names one file, so it takes one FILE")
    options = _read_options(args)
    for path in args.files:  # nothing is written when one of the files cannot be read at all
        format_of(path, args.format)
        if not os.path.isfile(path):
            raise CommandError(f"{path}: no such file")
    import hyperbase

    with hyperbase.connect(args.store) as connection:
        target = ImportTarget(connection, args.table, args.family, args.create)
        importer = Importer(
            target,
            row_key=[part.strip() for part in args.row_key.split(",")],
            separator=args.separator,
            keep_key=args.keep_key,
            timestamp=args.timestamp,
            types=parse_types(args.types, ENCODERS),
        )
        rejected = 0
        for path in args.files:
            with RejectFile(args.rejects or path + ".rejects.jsonl") as rejects:
                importer.import_file(path, options, args.batch_rows, rejects)
                rejected += rejects.count
    return ExitCode.REJECTED if rejected else ExitCode.CLEAN


def _read_options(args: argparse.Namespace) -> ReadOptions:
    columns = None
    if args.columns is not None:
        columns = tuple(name.strip() for name in args.columns.split(","))
        if not all(columns) or len(set(columns)) != len(columns):
            raise CommandError(f"--columns {args.columns!r}: every column needs a name of its own")
    return ReadOptions(
        format=args.format,
        delimiter={"\\t": "\t", "tab": "\t"}.get(args.delimiter, args.delimiter),
        header=not args.no_header and columns is None,
        columns=columns,
        skip_lines=max(0, args.skip_lines),
        nulls=frozenset({"", "\\N", *(args.null or ())}),
        encoding=args.encoding,
        records=args.records,
        flatten=args.flatten,
    )


class ImportTarget:
    """The table that is written to; makes it and its families when allowed."""

    def __init__(self, connection: Connection, name: str, family: str | None, create: bool) -> None:
        self._connection = connection
        self._name = name
        self._family = family
        self._create = create
        self._families: set[str] | None = None
        if connection.admin.table_exists(name):
            self._families = {f.decode() for f in connection.admin.describe_table(name).family_names}
        elif not create:
            raise CommandError(f"no table {name!r} in this store; leave out --no-create to make it")

    @property
    def table(self) -> Table:
        """The table; exists once a column was asked for."""
        return self._connection.table(self._name)

    def column(self, name: str) -> bytes:
        """``family:qualifier`` for an input column; its family exists when this returns."""
        if self._family is None and _QUALIFIED.match(name):
            family, _, qualifier = name.partition(":")
        else:
            family, qualifier = self._family or DEFAULT_FAMILY, name
        if self._families is None or family not in self._families:
            self._make(family)
        return f"{family}:{qualifier}".encode("utf-8", "surrogateescape")

    def _make(self, family: str) -> None:
        from hyperbase.common.descriptors import ColumnFamilyDescriptor

        if not self._create:
            raise CommandError(
                f"table {self._name!r} has no family {family!r}; leave out --no-create to add it"
            )
        admin = self._connection.admin
        if self._families is None:
            self._connection.create_table(self._name, {family: {}})
            self._families = set()
        else:
            descriptor = admin.describe_table(self._name)
            admin.alter_table(descriptor.with_family(ColumnFamilyDescriptor(family.encode(), max_versions=3)))
        self._families.add(family)


class Importer:
    """Turns records into rows and writes them, a chunk at a time."""

    def __init__(
        self,
        target: ImportTarget,
        *,
        row_key: Sequence[str],
        separator: str = "|",
        keep_key: bool = False,
        timestamp: str | None = None,
        types: dict[str, str] | None = None,
    ) -> None:
        self._target = target
        self._row_key = row_key
        self._separator = separator.encode()
        self._timestamp = timestamp
        self._types = types or {}
        self._skip = {timestamp} if keep_key else {timestamp, *row_key}
        self._columns: dict[str, tuple[bytes, Callable[[Any], bytes]] | None] = {}
        self._number = 0

    def import_file(self, path: str, options: ReadOptions, batch_rows: int, rejects: RejectFile) -> int:
        """Import one file and say what came of it; returns the number of rows written."""
        reader = open_reader(path, options)
        cells = 0
        self._number = 0
        try:
            if reader.columns is not None:
                self._check_columns(path, reader.columns)
            with ProgressBar(os.path.basename(path), reader.total) as bar:
                for chunk in reader.chunks(batch_rows):
                    rows, written = self._write(chunk, rejects)
                    cells += written
                    bar.update(rows, chunk.done)
                seconds, rate = bar.seconds, bar.rate
        finally:
            reader.close()
        outcome = f"{path}: {bar.rows:,} rows, {cells:,} cells in {seconds:.2f} s ({rate:,.0f} rows/s)"
        if rejects.count:
            outcome += f"; {rejects.count:,} rejected, see {rejects.path}"
        say(outcome)
        return bar.rows

    def _check_columns(self, path: str, columns: Sequence[str]) -> None:
        wanted = [*self._row_key, *([self._timestamp] if self._timestamp else [])]
        for name in wanted:
            if name not in columns and name != NUMBER_COLUMN:
                raise CommandError(f"{path} has no column {name!r}; it has: {', '.join(map(str, columns))}")

    def _write(self, chunk: Chunk, rejects: RejectFile) -> tuple[int, int]:
        for reject in chunk.rejects:
            rejects.add(reject)
        rows: list[tuple[int, bytes, dict[bytes, bytes], int | None]] = []
        for line, record in chunk.records:
            self._number += 1
            try:
                rows.append((line, *self._row(record)))
            except (ValueError, TypeError) as error:
                rejects.add(Reject(line, first_line(error), record))
        failed = self._put(rows) if rows else {}
        if failed:
            records = dict(chunk.records)
            for line in sorted(failed):
                rejects.add(Reject(line, failed[line], records[line]))
        good = [data for line, _, data, _ in rows if line not in failed]
        return len(good), sum(map(len, good))

    def _row(self, record: dict[str, Any]) -> tuple[bytes, dict[bytes, bytes], int | None]:
        key = self._separator.join([self._key_part(record, name) for name in self._row_key])
        if not key:
            raise ValueError("the row key is empty")
        if len(key) > MAX_ROW_LENGTH:
            raise ValueError(f"the row key has {len(key):,} bytes; at most {MAX_ROW_LENGTH:,} are possible")
        stamp = None
        if self._timestamp is not None:
            value = record.get(self._timestamp)
            if value is None:
                raise ValueError(f"no timestamp: column {self._timestamp!r} has no value")
            stamp = parse_timestamp(value)
        data: dict[bytes, bytes] = {}
        columns = self._columns
        for name, value in record.items():
            if value is None:
                continue
            place = columns[name] if name in columns else self._place(name)
            if place is not None:
                data[place[0]] = self._encode(name, place[1], value)
        if not data:
            raise ValueError("no values besides the row key")
        return key, data, stamp

    def _key_part(self, record: dict[str, Any], name: str) -> bytes:
        if name == NUMBER_COLUMN and name not in record:
            return b"%012d" % self._number
        value = record.get(name)
        if value is None:
            raise ValueError(f"no row key: column {name!r} has no value")
        kind = self._types.get(name)
        return self._encode(name, ENCODERS[kind] if kind else encode_text, value)

    @staticmethod
    def _encode(name: str, encode: Callable[[Any], bytes], value: Any) -> bytes:
        try:
            return encode(value)
        except (ValueError, TypeError) as error:
            raise ValueError(f"column {name!r}: {first_line(error)}") from None

    def _place(self, name: str) -> tuple[bytes, Callable[[Any], bytes]] | None:
        """Where a column goes and how it is encoded; ``None``: it is not stored. Kept for the next record."""
        place = None
        if name not in self._skip:
            column = self._target.column(name)
            kind = self._types.get(name) or self._types.get(column.decode("utf-8", "replace"))
            place = (column, ENCODERS[kind] if kind else encode_text)
        self._columns[name] = place
        return place

    def _put(self, rows: list[tuple[int, bytes, dict[bytes, bytes], int | None]]) -> dict[int, str]:
        """Write; returns the reasons of what was refused, by line."""
        table = self._target.table
        if self._timestamp is not None:
            return self._put_with_stamps(table, rows)
        batch = table.batch()
        for _, key, data, _ in rows:
            batch.put(key, data)
        try:
            batch.send()
        except RetriesExhaustedWithDetailsException as error:
            reasons = {key: first_line(cause) for key, cause in error.failures}
            return {line: reasons[key] for line, key, _, _ in rows if key in reasons}
        except IllegalArgumentException:  # one cell is too large: it was the end of the whole batch
            return self._put_with_stamps(table, rows)
        return {}

    @staticmethod
    def _put_with_stamps(
        table: Table, rows: list[tuple[int, bytes, dict[bytes, bytes], int | None]]
    ) -> dict[int, str]:
        puts = []
        for _, key, data, stamp in rows:
            put = Put(key, stamp)
            for column, value in data.items():
                put.add(column, value)
            puts.append(put)
        failed = {}
        for (line, _, _, _), put, outcome in zip(rows, puts, table.run_batch(puts), strict=True):
            if isinstance(outcome, HBaseIOException):  # perhaps for the sake of another row: alone, then
                try:
                    table.put(put)
                except HBaseIOException as error:
                    failed[line] = first_line(error)
            elif isinstance(outcome, Exception):
                raise outcome
        return failed
