"""``hyperbase cluster demo``: a cluster on this machine, kill -9 of a region server and of the active master.

Programs write all the time and note what was acknowledged, and when. In the end all of it has to be there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hyperbase.cli.console import CommandError, ExitCode, human_seconds, say
from hyperbase.cli.demo_command import storefiles

if TYPE_CHECKING:
    from hyperbase.client.connection import Connection
    from hyperbase.client.table import Table

TABLE = "events"
REGIONS = 12
LOADED_ROWS = 60_000
WRITERS = 4
SETTLE_ROWS = 2_000  # written before something is killed, and after everything has recovered
PATIENCE_S = 60.0


def add_parser(commands: Any) -> None:
    """Describe the command to argparse."""
    parser = commands.add_parser(
        "demo",
        help="start a cluster, kill parts of it while programs write, show that nothing is lost",
        description="Start a cluster, load a table, kill a region server and the active master with kill -9 "
        "while programs write, and show how long it took and that nothing acknowledged is missing.",
    )
    parser.add_argument("--dir", metavar="DIR", help="keep it there; default: a temporary directory")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """The whole demo; 1 when an acknowledged row is missing or something did not recover."""
    began = time.perf_counter()
    with _directory(args.dir) as directory:
        url = _start(directory)
        try:
            lost = _show(directory, url)
        finally:
            _step("Stop: region servers flush what they have, then masters, then ZooKeeper")
            _command(directory, "stop")
        lost += _open_again(directory)
    say(f"\nThe whole demo took {time.perf_counter() - began:.1f} s.")
    return ExitCode.DAMAGE if lost else ExitCode.CLEAN


@contextlib.contextmanager
def _directory(given: str | None) -> Iterator[str]:
    if given is not None:
        yield os.path.abspath(given)
        return
    directory = tempfile.mkdtemp(prefix="hyperbase-cluster-demo-")
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _step(text: str) -> None:
    say(f"\n{text}")


def _command(directory: str, *words: str) -> str:
    """Run a command of ``hyperbase cluster``, shown as a person types it; what it said."""
    say(f"  $ hyperbase cluster {' '.join(words)} --dir {directory}")
    command = [sys.executable, "-m", "hyperbase.cli", "cluster", *words, "--dir", directory]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    for line in done.stdout.splitlines() if "--json" not in words else ():
        say(f"    {line}")
    if done.returncode:
        raise CommandError(f"hyperbase cluster {words[0]} failed: {done.stderr.strip()}", ExitCode.DAMAGE)
    say(f"    took {human_seconds(time.perf_counter() - began)}")
    return done.stdout


def _start(directory: str) -> str:
    _step("A cluster: ZooKeeper, two masters, three region servers, each a process of its own")
    _command(directory, "start", "--regionservers", "3", "--masters", "2")
    url: str = _status(directory)["url"]
    return url


def _status(directory: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "hyperbase.cli", "cluster", "status", "--json", "--dir", directory]
    status: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
    return status


def _show(directory: str, url: str) -> int:
    """Everything while the cluster runs; returns how many acknowledged rows are missing."""
    import hyperbase

    say(f'\n  >>> db = hyperbase.connect("{url}")')
    with hyperbase.connect(url, retry_delay_max_ms=200) as db:
        _load(db)
        with _Writers(db.table(TABLE)) as writers:
            writers.wait_for_rows(SETTLE_ROWS)
            _kill_region_server(directory, db, writers)
            writers.wait_for_rows(SETTLE_ROWS)
            _kill_master(directory, db, writers)
            writers.wait_for_rows(SETTLE_ROWS)
        return _count(db, writers)


def _load(db: Connection) -> None:
    import pyarrow as pa

    _step(f"A table of {REGIONS} regions, and {LOADED_ROWS:,} rows from Apache Arrow, cut by region")
    if db.admin.table_exists(TABLE):
        db.delete_table(TABLE, disable=True)
    db.create_table(TABLE, {"e": {}}, splits=[_row(region, 0)[:2] for region in range(1, REGIONS)])
    keys = [_row(number % REGIONS, -1 - number) for number in range(LOADED_ROWS)]
    data = pa.table({"row": keys, "e:text": [b"loaded %d" % number for number in range(LOADED_ROWS)]})
    began = time.perf_counter()
    rows = db.table(TABLE).put_arrow(data)
    say(f"    {rows:,} rows in {human_seconds(time.perf_counter() - began)}")
    held: dict[str, int] = {}
    for _, server in db.admin.region_locations(TABLE):
        held[server] = held.get(server, 0) + 1
    say(f"    regions by server: {', '.join(f'{name} {count}' for name, count in sorted(held.items()))}")


def _kill_region_server(directory: str, db: Connection, writers: _Writers) -> None:
    _step(f"kill -9 of a region server, while {WRITERS} threads write to all regions")
    server = db.admin.region_locations(TABLE)[REGIONS // 2][1]
    killed = _kill(next(one for one in _status(directory)["processes"] if one["name"] == server))
    writers.wait_for_all_regions(killed)
    recovered_s = writers.all_regions_at - killed
    say(
        f"    {recovered_s:.2f} s after the kill every region had acknowledged a write again; "
        f"the longest wait of a write was {writers.longest_since(killed):.2f} s"
    )


def _kill_master(directory: str, db: Connection, writers: _Writers) -> None:
    _step("kill -9 of the active master: reads and writes need none; changes of tables go to the next one")
    killed = _kill(next(one for one in _status(directory)["processes"] if one["state"] == "active"))
    writers.wait_for_all_regions(killed)
    db.create_table("by_the_next_master", {"f": {}})
    changed_s = time.perf_counter() - killed
    say(
        f"    {changed_s:.2f} s after the kill the next master had made a table; "
        f"the longest wait of a write was {writers.longest_since(killed):.2f} s"
    )


def _kill(process: dict[str, Any]) -> float:
    """Kill it; returns when that was."""
    say(f"  $ kill -9 {process['pid']}    # {process['role']} {process['name']}")
    os.kill(int(process["pid"]), signal.SIGKILL)
    return time.perf_counter()


def _count(db: Connection, writers: _Writers) -> int:
    _step("Is everything there that was acknowledged?")
    began = time.perf_counter()
    found = {row: data[b"e:text"] for row, data in db.table(TABLE).scan()}
    lost = [number for number in writers.acknowledged if found.get(_row_of(number)) != _text(number)]
    loaded: int = sum(text.startswith(b"loaded") for text in found.values())
    say(
        f"    {len(found):,} rows read in {human_seconds(time.perf_counter() - began)}: {loaded:,} of the "
        f"{LOADED_ROWS:,} that were loaded; of {len(writers.acknowledged):,} acknowledged writes "
        f"{len(lost):,} are missing"
    )
    for error in writers.errors:
        say(f"    a write failed: {error}")
    return len(lost) + (LOADED_ROWS - loaded) + len(writers.errors)


def _open_again(directory: str) -> int:
    import hyperbase

    data = os.path.join(directory, "data")
    _step("The directory is a store like any other now, opened in this process")
    say(f'  >>> hyperbase.connect("{data}", read_only=True)')
    began = time.perf_counter()
    with hyperbase.connect(data, read_only=True) as db:
        rows = sum(1 for _ in db.table(TABLE).scan(filter="FirstKeyOnlyFilter() AND KeyOnlyFilter()"))
    files = len(storefiles(os.path.join(data, "data", "default", TABLE)))
    say(f"    {rows:,} rows in {files} StoreFiles, counted in {human_seconds(time.perf_counter() - began)}")
    return 0 if rows >= LOADED_ROWS else 1


def _row(region: int, number: int) -> bytes:
    """A row of the region: negative numbers are the loaded ones."""
    return b"%02d-%s%09d" % (region, b"L" if number < 0 else b"W", abs(number))


def _row_of(number: int) -> bytes:
    return _row(number % REGIONS, number)


def _text(number: int) -> bytes:
    return b"written %d" % number


class _Writers:
    """Threads that put rows into all regions, in turn, for as long as the ``with`` statement lasts."""

    def __init__(self, table: Table) -> None:
        self.acknowledged: list[int] = []
        self.errors: list[Exception] = []
        self.all_regions_at = 0.0
        self._table = table
        self._waits: list[tuple[float, float]] = []  # (when a put was acknowledged, how long it took)
        self._latest = [0.0] * REGIONS  # when the last put began that a region has acknowledged
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(n,)) for n in range(WRITERS)]

    def __enter__(self) -> _Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self, number: int) -> None:
        while not self._stop.is_set():
            began = time.perf_counter()
            try:
                self._table.put(_row_of(number), {b"e:text": _text(number)})
            except Exception as error:
                self.errors.append(error)
                return
            now = time.perf_counter()
            self.acknowledged.append(number)
            self._waits.append((now, now - began))
            region = number % REGIONS
            self._latest[region] = max(self._latest[region], began)
            number += WRITERS

    def wait_for_rows(self, rows: int) -> None:
        """Until so many more were written."""
        goal = len(self.acknowledged) + rows
        self._wait_until(lambda: len(self.acknowledged) >= goal, "writes do not go on")

    def wait_for_all_regions(self, since: float) -> None:
        """Until every region has acknowledged a write that began after that."""
        self._wait_until(lambda: min(self._latest) > since, "some regions take no writes")
        self.all_regions_at = time.perf_counter()

    def longest_since(self, since: float) -> float:
        """The longest time, in seconds, that a write took which was acknowledged after that."""
        return max((took for at, took in self._waits if at >= since), default=0.0)

    def _wait_until(self, condition: Any, what: str) -> None:
        until = time.perf_counter() + PATIENCE_S
        while not condition():
            if self.errors or time.perf_counter() >= until:
                why = f": {self.errors[0]}" if self.errors else f" after {PATIENCE_S:g} s"
                raise CommandError(what + why, ExitCode.DAMAGE)
            time.sleep(0.005)
