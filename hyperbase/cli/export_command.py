"""``hyperbase export STORE TABLE FILE``: a table into a Parquet, Arrow, CSV or JSON lines file, by suffix.

``--layout wide`` (the default) writes one row per row key: column ``row``, then one column per
``family:qualifier``, newest version. ``--layout cells`` writes one row per cell, every version with its
timestamp. Columns are found by a pass over the table before, which also finds those that are text;
``--columns`` names them and saves the pass.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hyperbase.cli.console import CommandError, ExitCode, ProgressBar, human_bytes, say
from hyperbase.cli.values import parse_types
from hyperbase.cli.writers import FileSink, is_text, output_format
from hyperbase.client.network.address import is_server_url
from hyperbase.common.model import Scan

if TYPE_CHECKING:
    import pyarrow as pa

    from hyperbase.client.table import Table

MAX_COLUMNS = 10_000  # a wide file of more columns helps nobody: --layout cells holds them all


def add_parser(subparsers: Any) -> None:
    """Describe the command to argparse."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "export",
        help="write a table to a Parquet, Arrow, CSV or JSON lines file",
        description=(__doc__ or "").replace("``", ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("store", metavar="STORE", help="directory of the store, hyperbase://host:port or zk://host:port")
    add("table", metavar="TABLE")
    add("file", metavar="FILE", help="name ending in .parquet, .arrow, .feather, .csv, .tsv or .jsonl")
    add("--columns", metavar="F:Q,…", help="only these columns, in this order")
    add("--types", metavar="F:Q=TYPE,…", help="decode the values of columns: int64, float64, string, …")
    add("--layout", choices=("wide", "cells"), default="wide", help="default: %(default)s")
    add("--start", default="", metavar="ROW", help="first row key")
    add("--stop", default="", metavar="ROW", help="row key to stop before")
    add("--prefix", metavar="TEXT", help="only row keys that begin so")
    add(
        "--filter", metavar="EXPR", help="filter in HBase's language: \"PrefixFilter('a') AND PageFilter(9)\""
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Export; tells rows, bytes and speed."""
    output_format(args.file)
    remote = is_server_url(args.store)
    if not remote and not os.path.isdir(args.store):
        raise CommandError(f"{args.store}: no such store")
    folder = os.path.dirname(args.file) or "."
    if not os.path.isdir(folder):
        raise CommandError(f"{folder}: no such directory")
    if args.prefix is not None and (args.start or args.stop):
        raise CommandError("--prefix cannot be combined with --start or --stop")
    types = {name.encode(): kind for name, kind in parse_types(args.types).items()}
    import hyperbase

    with hyperbase.connect(args.store, read_only=not remote) as connection:
        if not connection.admin.table_exists(args.table):
            known = ", ".join(connection.admin.list_tables()) or "none"
            raise CommandError(f"no table {args.table!r} in {args.store}; it has: {known}")
        export = Export(connection.table(args.table), args, types)
        rows, seconds = export.write(args.file)
    size = human_bytes(os.path.getsize(args.file))
    what = "rows" if args.layout == "wide" else "cells"
    say(
        f"{args.file}: {rows:,} {what}, {size} in {seconds:.2f} s ({rows / max(seconds, 1e-9):,.0f} {what}/s)"
    )
    return ExitCode.CLEAN


@dataclass(slots=True)
class Contents:
    """What a first pass found: rows, cells, the columns, and whether everything in them is text."""

    rows: int = 0
    cells: int = 0
    columns: dict[bytes, bool] = field(default_factory=dict)  # family:qualifier → its values are text
    text_rows: bool = True
    text_qualifiers: bool = True
    text_values: bool = True
    last_row: bytes | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        """Take one batch of the cells layout into account."""
        import pyarrow.compute as pc

        if not batch.num_rows:
            return
        row, value = batch.column("row"), batch.column("value")
        self.cells += batch.num_rows
        starts = pc.sum(pc.not_equal(row.slice(1), row.slice(0, len(row) - 1))).as_py() or 0
        self.rows += starts + (row[0].as_py() != self.last_row)
        self.last_row = row[-1].as_py()
        self.text_rows = self.text_rows and is_text(row)
        self.text_qualifiers = self.text_qualifiers and is_text(batch.column("qualifier"))
        all_text = is_text(value)
        self.text_values = self.text_values and all_text
        import pyarrow as pa

        table = pa.table({"f": batch.column("family"), "q": batch.column("qualifier")})
        for pair in table.group_by(["f", "q"]).aggregate([]).to_pylist():
            name = pair["f"] + b":" + pair["q"]
            text = self.columns.get(name, True)
            if text and not all_text:
                same = pc.and_(pc.equal(table["f"], pair["f"]), pc.equal(table["q"], pair["q"]))
                text = is_text(value.filter(same.combine_chunks()))
            self.columns[name] = text


class Export:
    """One table, one range of rows, one layout."""

    def __init__(self, table: Table, args: argparse.Namespace, types: dict[bytes, str]) -> None:
        self._table = table
        self._args = args
        self._types = types
        names = [name.strip() for name in (args.columns or "").split(",") if name.strip()]
        self._columns = [name.encode() for name in names] or None
        for name in self._columns or ():
            if b":" not in name and args.layout == "wide":
                raise CommandError(f"--columns {name.decode()!r}: write family:qualifier")

    def _scan(self, columns: list[bytes] | None, versions: int | str = 1) -> Scan:
        args = self._args
        bounds: dict[str, Any] = {"prefix": args.prefix}
        if args.prefix is None:
            bounds = {"start": args.start, "stop": args.stop}
        return Scan(columns=columns, filter=args.filter, versions=versions, cache_blocks=False, **bounds)

    def _find_contents(self, versions: int | str) -> Contents:
        contents = Contents()
        with ProgressBar("finding columns", 0) as bar:
            scan = self._scan(self._columns, versions)
            for batch in self._table.scan_arrow(scan, layout="cells"):
                before = contents.rows
                contents.add(batch)
                bar.update(contents.rows - before, 0)
        return contents

    def write(self, path: str) -> tuple[int, float]:
        """Write the file; returns its rows and the seconds it took, the first pass included."""
        started = time.perf_counter()
        batches, total = self._cells() if self._args.layout == "cells" else self._wide()
        rows = 0
        with ProgressBar(os.path.basename(path), total) as bar:
            schema = next(batches).schema
            with FileSink(path, schema) as sink:
                for batch in batches:
                    sink.write(batch)
                    rows += batch.num_rows
                    bar.update(batch.num_rows, rows)
        return rows, time.perf_counter() - started

    def _wide(self) -> tuple[Iterator[pa.RecordBatch], int]:
        if self._columns is not None:
            contents = Contents(text_rows=False, columns=dict.fromkeys(self._columns, False))
            columns = self._columns
        else:
            contents = self._find_contents(1)
            columns = sorted(contents.columns)
            if len(columns) > MAX_COLUMNS:
                raise CommandError(
                    f"{len(columns):,} columns are too many for a wide file: use --layout cells or --columns"
                )
        unknown = sorted(set(self._types) - set(columns))
        if unknown and columns:
            raise CommandError(f"--types: the table has no column {unknown[0].decode('utf-8', 'replace')!r}")
        texts = {name for name, text in contents.columns.items() if text and name not in self._types}
        types = {**dict.fromkeys(texts, "string"), **self._types}
        if not columns:
            return iter([_empty_batch()]), 0
        reader = self._table.scan_arrow(self._scan(columns), types={n: types[n] for n in types})
        return _with_text(reader, {"row"} if contents.text_rows else set()), contents.rows

    def _cells(self) -> tuple[Iterator[pa.RecordBatch], int]:
        contents = self._find_contents("all")
        text = {"family"}
        text |= {"row"} if contents.text_rows else set()
        text |= {"qualifier"} if contents.text_qualifiers else set()
        text |= {"value"} if contents.text_values else set()
        reader = self._table.scan_arrow(self._scan(self._columns, "all"), layout="cells")
        return _with_text(reader, text), contents.cells


def _empty_batch() -> pa.RecordBatch:
    import pyarrow as pa

    return pa.RecordBatch.from_arrays([pa.array([], pa.string())], names=["row"])


def _with_text(reader: pa.RecordBatchReader, names: set[str]) -> Iterator[pa.RecordBatch]:
    """First an empty batch that shows the schema, then the batches, with the named columns as text."""
    import pyarrow as pa

    fields = [pa.field(f.name, pa.string() if f.name in names else f.type) for f in reader.schema]
    schema = pa.schema(fields)
    yield pa.RecordBatch.from_arrays([pa.array([], f.type) for f in fields], schema=schema)
    for batch in reader:
        columns = [c.cast(f.type) for c, f in zip(batch.columns, fields, strict=True)]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)
