"""``hyperbase demo [DIR]``: a real data set and what the store does with it, step by step.

Every step's line of code is the very text that is run. The data is described in ``demo_unicode``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import textwrap
import time
import unicodedata
from typing import TYPE_CHECKING, Any

from hyperbase.cli.console import ExitCode, ProgressBar, human_bytes, human_seconds, say

if TYPE_CHECKING:
    import datetime

    from hyperbase.client.connection import Connection
    from hyperbase.client.table import Table

DEFAULT_DIRECTORY = "hyperbase-demo"
TABLE = "unicode"
BATCH_ROWS = 1000
EVENTS_BEFORE_KILL = 2000
LINE_WIDTH, LINES = 100, 3  # of what a step returned


def add_parser(subparsers: Any) -> None:
    """Describe the command to argparse."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "demo",
        help="load the Unicode Character Database and show what the store can do",
        description="Load the Unicode Character Database, today's and that of 2002, into an embedded store, "
        "and show gets, scans, versions, aggregation, deletes, compaction and a kill -9.",
    )
    parser.add_argument(
        "directory", nargs="?", default=DEFAULT_DIRECTORY, metavar="DIR", help="default: ./%(default)s"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """The whole demo; 1 when an acknowledged row was lost."""
    import hyperbase

    directory: str = args.directory
    started = time.perf_counter()
    with hyperbase.connect(directory) as db:
        _prepare(db)
        table = db.table(TABLE)
        _load(db, table)
        steps = Steps(db, table)
        _flush(steps, directory)
        _reads(steps)
        _writes(steps)
        _compaction(steps, directory)
    lost = _kill_and_reopen(directory)
    say(f"\nThe whole demo took {time.perf_counter() - started:.1f} s.")
    _what_next(directory)
    return ExitCode.DAMAGE if lost else ExitCode.CLEAN


def _prepare(db: Connection) -> None:
    from hyperbase.cli import demo_unicode, demo_writer

    for name in (TABLE, demo_writer.TABLE):
        if db.admin.table_exists(name):
            say(f"Table {name!r} of an earlier demo is dropped.")
            db.delete_table(name, disable=True)
    db.create_table(
        TABLE, {family: {"max_versions": 3, "compression": "ZSTD"} for family in demo_unicode.FAMILIES}
    )
    db.create_table(demo_writer.TABLE, {demo_writer.FAMILY: {}})


def _load(db: Connection, table: Table) -> None:
    """The edition of 2002, a flush, today's edition."""
    from hyperbase.cli import demo_unicode

    say("Loading the Unicode Character Database, a row per character …")
    _load_edition(table, "3.2.0", demo_unicode.OLD_DATE, old=True)
    db.admin.flush(TABLE)
    _load_edition(table, unicodedata.unidata_version, demo_unicode.current_date(), old=False)


def _load_edition(table: Table, version: str, date: datetime.date, *, old: bool) -> None:
    """Load one edition; its cells have the timestamp of its date."""
    from hyperbase.cli import demo_unicode

    batch = table.batch(timestamp=demo_unicode.milliseconds(date))
    cells = waiting = 0
    with ProgressBar(f"Unicode {version}", sys.maxunicode) as bar:
        for code, key, before, now in demo_unicode.rows():
            data = before if old else now
            if not data:
                continue
            batch.put(key, data)
            cells += len(data)
            waiting += 1
            if waiting == BATCH_ROWS:
                batch.send()
                bar.update(waiting, code)
                waiting = 0
        batch.send()
        bar.update(waiting, sys.maxunicode)
        seconds, rate = bar.seconds, bar.rate
    say(
        f"  version {version:<6} with the timestamp of {date}: {bar.rows:,} rows, {cells:,} cells "
        f"in {seconds:.1f} s, {rate:,.0f} rows/s, every batch on disk"
    )


class Steps:
    """Runs lines of code, showing each, its time and its outcome."""

    def __init__(self, db: Connection, table: Table) -> None:
        import datetime

        import hyperbase
        from hyperbase.cli import demo_unicode

        self.names: dict[str, Any] = {
            "db": db,
            "t": table,
            "in_2005": demo_unicode.milliseconds(datetime.date(2005, 1, 1)),
            **{name: getattr(hyperbase, name) for name in ("Get", "Put", "Scan", "Delete")},
        }

    def title(self, text: str) -> None:
        """A heading."""
        say(f"\n{text}")

    def step(self, code: str, name: str = "_") -> Any:
        """Run an expression exactly as it is shown; its value is also kept under ``name``."""
        shown = code if name == "_" else f"{name} = {code}"
        started = time.perf_counter()
        value = eval(code, self.names)
        seconds = time.perf_counter() - started
        say(f"  >>> {shown}")
        first, *more = _wrap(_describe(value))
        say(f"      {human_seconds(seconds):>8}  {first}")
        for line in more:
            say(f"                {line}")
        self.names[name] = value
        return value

    def note(self, text: str) -> None:
        """What a step showed."""
        say(f"                {text}")


def _wrap(text: str) -> list[str]:
    """At most ``LINES`` lines; what is longer is cut and ends in ``…``."""
    return textwrap.wrap(text, LINE_WIDTH, max_lines=LINES, placeholder=" …", break_on_hyphens=False)


def _describe(value: Any) -> str:
    if value is None:
        return "done"
    if isinstance(value, list) and value and isinstance(value[0], str):
        return ", ".join(value)
    if isinstance(value, list):
        return f"{len(value):,} rows, the first: {value[0]}" if value else "nothing"
    if isinstance(value, int):
        return f"{value:,}"
    if hasattr(value, "num_rows"):
        return f"an Arrow table of {value.num_rows:,} rows and {value.num_columns} columns"
    if "__repr__" not in vars(type(value)):
        return f"a {type(value).__name__}"
    return repr(value) if value else f"{value!r}: nothing"


def _reads(steps: Steps) -> None:
    steps.title("One row: U+00BD, one half")
    steps.step('t.row(b"0000BD")')
    steps.title("Rows by prefix: everything from U+2600 to U+26FF")
    steps.step('list(t.scan(row_prefix=b"0026", columns=[b"name:name"]))')
    steps.title("Rows by filter, looked for in the whole table: names with SNOWMAN")
    found = steps.step('list(t.scan(columns=[b"name:name"], filter="ValueFilter(=, \'substring:SNOWMAN\')"))')
    steps.note(", ".join(f"{chr(int(key, 16))} {data[b'name:name'].decode()}" for key, data in found))
    _versions(steps)
    steps.title("Count the rows")
    steps.step('sum(1 for _ in t.scan(filter="FirstKeyOnlyFilter() AND KeyOnlyFilter()"))')
    steps.title("Count characters by category, in Apache Arrow")
    steps.step(
        't.scan_arrow(columns=[b"prop:category"], types={b"prop:category": "string"}).read_all()', "table"
    )
    by = steps.step(
        'table.group_by("prop:category").aggregate([("row", "count")])'
        '.sort_by([("row_count", "descending")]).slice(0, 10).to_pylist()'
    )
    steps.note("top ten: " + ", ".join(f"{r['prop:category']} {r['row_count']:,}" for r in by))


def _versions(steps: Steps) -> None:
    steps.title("What the database said in 2002, and what it says now: U+00AD, soft hyphen")
    steps.step('t.row(b"0000AD", columns=[b"prop"], include_timestamp=True, versions=2)')
    steps.step(
        't.get(Get(b"0000AD", columns=[b"prop:category"], time_range=(0, in_2005))).value(b"prop:category")'
    )
    steps.step('t.row(b"0000AD", columns=[b"prop:category"])')
    steps.title("How many characters had Unicode in 2002? How many changed their category since?")
    steps.step('sum(1 for _ in t.scan(columns=[b"prop:category"], timestamp=in_2005))')
    steps.step(
        'sum(len(set(v[b"prop:category"])) == 2 for _, v in t.scan(columns=[b"prop:category"], versions=2))'
    )


def _writes(steps: Steps) -> None:
    steps.title("Counters are atomic")
    steps.step('t.counter_inc(b"01F600", b"num:likes")')
    steps.step('[t.counter_inc(b"01F600", b"num:likes") for _ in range(1000)][-1]')
    steps.title(
        "A delete is a marker: it masks what is older, even what is written later with an older stamp"
    )
    steps.step('t.row(b"01F600", columns=[b"name:name"])')
    steps.step('t.delete(b"01F600", columns=[b"name:name"])')
    steps.step('t.row(b"01F600", columns=[b"name:name"])')
    steps.step('t.put(b"01F600", {b"name:name": b"written late"}, timestamp=in_2005)')
    steps.step('t.row(b"01F600", columns=[b"name:name"])')
    steps.step('Scan(prefix=b"01F600", columns=[b"name"], raw=True, versions="all")', "everything")
    steps.step("[cell.type.name for row in t.scan_results(everything) for cell in row.cells]")
    steps.step('t.put(b"01F600", {b"name:name": b"GRINNING FACE"})')
    steps.step('t.row(b"01F600", columns=[b"name:name"])')


def _flush(steps: Steps, directory: str) -> None:
    say("\nIn what follows, t = db.table('unicode'); the key of a row is its code point.")
    steps.title("Flush: from memory to StoreFiles, one a family, which are Arrow files")
    steps.step('db.admin.flush("unicode")')
    _note_files(steps, directory)


def _compaction(steps: Steps, directory: str) -> None:
    steps.title("Major compaction: of all files of a family one is made, and what is dead is dropped")
    steps.step('db.admin.flush("unicode")')
    _note_files(steps, directory)
    steps.step('db.admin.major_compact("unicode")')
    _note_files(steps, directory)
    steps.step("[cell.type.name for row in t.scan_results(everything) for cell in row.cells]")
    steps.note("the delete marker and what it masked are gone for good")


def _note_files(steps: Steps, directory: str) -> None:
    sizes = storefiles(os.path.join(directory, "data", "default", TABLE))
    steps.note(f"{len(sizes)} StoreFiles, {human_bytes(sum(sizes.values()))}")


def storefiles(directory: str) -> dict[str, int]:
    """StoreFiles below a store's directory that hold something: path → bytes."""
    sizes = {}
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:  # the janitor is at work
                if file.read(6) == b"ARROW1":
                    sizes[path] = os.path.getsize(path)
    return sizes


def _kill_and_reopen(directory: str) -> int:
    """Kill a writing child with SIGKILL; returns how many acknowledged rows are missing or wrong."""
    import subprocess

    import hyperbase
    from hyperbase.cli import demo_writer

    say("\nKill -9: a child process writes rows and prints each number once the store has acknowledged it")
    command = [sys.executable, "-m", "hyperbase.cli.demo_writer", directory]
    say(f"  $ python -m hyperbase.cli.demo_writer {directory}")
    acknowledged = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            acknowledged.append(int(line))
            if len(acknowledged) == EVENTS_BEFORE_KILL:
                child.kill()  # SIGKILL: no handler, no flush, no goodbye. What is in the pipe still counts
        code = child.wait()
    say(f"      {len(acknowledged):,} rows were acknowledged when signal {-code} ended it.")
    say(f'  >>> db = hyperbase.connect("{directory}"); found = dict(db.table("events").scan())')
    started = time.perf_counter()
    with hyperbase.connect(directory) as db:
        found = dict(db.table(demo_writer.TABLE).scan())
    seconds = time.perf_counter() - started
    lost = [n for n in acknowledged if found.get(demo_writer.event_row(n)) != demo_writer.event_cells(n)]
    torn = [key for key, data in found.items() if data != demo_writer.event_cells(int(key))]
    say(
        f"      {human_seconds(seconds):>8}  {len(found):,} rows found; of those acknowledged {len(lost):,} "
        f"are missing, {len(torn):,} rows are incomplete."
    )
    return len(lost) + len(torn) + (not acknowledged)


def _what_next(directory: str) -> None:
    command = os.path.join(os.path.dirname(sys.executable), "hyperbase")
    python = sys.executable
    with contextlib.suppress(ValueError):  # another drive
        command, python = (min(os.path.relpath(p), p, key=len) for p in (command, python))
    say(
        f"""
Type next:
  {python} -i -c 'import hyperbase; t = hyperbase.connect("{directory}").table("unicode")'
  >>> t.row("01F600")
and, the store being closed again:
  {command} export {directory} unicode unicode.parquet
  {command} check {directory}
  {command} import {directory} mytable FILE.csv --row-key COLUMN
"""
    )
