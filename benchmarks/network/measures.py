"""What is measured of our server alone: reads beside flushes and compactions, memory, idle connections."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hyperbase
from benchmarks.network.data import BATCH, READ, WRITE, Source, key
from benchmarks.network.measure import percentile, read_samples, within
from benchmarks.network.processes import open_sockets, wait_until_quiet
from benchmarks.network.report import Measure
from benchmarks.network.rounds import MINIMUM_WARM_UP_OPS
from benchmarks.network.server import Server, load, recreate
from benchmarks.network.team import Worker

MIB = 1 << 20
ROW_BYTES = 1400  # ten cells of 100 B with keys, names and timestamps
_RSS_BASE_MB = 150  # interpreter, libraries, buffers: what a server holds beside its MemStores and cache


@dataclass(frozen=True)
class Setting:
    """Where and how much."""

    directory: Path
    rows: int
    quick: bool

    def scaled(self, amount: int) -> int:
        return max(1, amount // 10) if self.quick else amount


Report = Callable[[Measure], None]


@contextmanager
def _server(setting: Setting, name: str, **settings: int) -> Iterator[Server]:
    server = Server(setting.directory / name, setting.directory / f"{name}.log", settings)
    try:
        yield server
    finally:
        server.stop()


def _worker(setting: Setting, server: Server, work: str, client: int = 0) -> Worker:
    command = [sys.executable, "-m", "benchmarks.network.worker", "hyperbase", server.location, work]
    command += [str(client), str(setting.rows), "1", str(MINIMUM_WARM_UP_OPS)]
    worker = Worker(command, setting.directory / f"{server.directory.name}-{work}.log")
    worker.wait_ready()
    return worker


# -- reads beside other work -------------------------------------------------------------------------------


def read_latency(setting: Setting, report: Report) -> None:
    """p99 of gets while nothing else happens, during flushes, during a major compaction, and under load."""
    with _server(setting, "latency") as server, server.connect() as connection:
        recreate(connection, READ)
        recreate(connection, WRITE)
        load(connection, READ, setting.rows, flushes=4)
        reader = _worker(setting, server, "get")
        try:
            quiet = _observe(setting, reader, 1 if setting.quick else 5, lambda: [])
            base = percentile([duration for _, duration in quiet[0]], 99)
            report(Measure("p99 of gets, idle", f"{base * 1e6:.0f} µs", "", None))
            flushes = _observe(setting, reader, 0, lambda: _flush_windows(setting, connection))
            _report_p99(report, "p99 of gets during flushes", within(*flushes), base)
            wait_until_quiet([server.pid])
            compaction = _observe(setting, reader, 0, lambda: [_window(connection.admin.major_compact, READ)])
            _report_p99(report, "p99 of gets during a major compaction", within(*compaction), base)
        finally:
            reader.close()
    with (
        _server(setting, "load", memstore_flush_size_bytes=8 * MIB) as server,
        server.connect() as connection,
    ):
        recreate(connection, READ)
        recreate(connection, WRITE)
        load(connection, READ, setting.rows)
        reader, writer = _worker(setting, server, "get"), _worker(setting, server, "batch_put")
        try:
            wait_until_quiet([server.pid])
            seconds = 2.0 if setting.quick else 10.0
            written: list[dict[str, Any]] = []

            def write() -> list[tuple[float, float]]:
                writer.go(seconds)
                written.append(writer.figures(seconds))
                return []

            samples, _ = _observe(setting, reader, 0, write)
            rate = written[0]["ops"] / written[0]["seconds"]
            title = f"p99 of gets beside a writer process ({rate / 1000:.0f} k rows/s, flushes of 8 MiB)"
            _report_p99(report, title, [duration for _, duration in samples], base)
        finally:
            reader.close()
            writer.close()


def _observe(
    setting: Setting, reader: Worker, rest_s: float, work: Callable[[], list[tuple[float, float]]]
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """The reader's samples while ``work`` ran, and the windows that ``work`` returned."""
    path = setting.directory / "samples"
    samples: list[tuple[float, float]] = []
    slice_s = 1.0
    windows: list[tuple[float, float]] = []

    def run() -> None:
        windows.extend(work())
        time.sleep(rest_s)

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        reader.go(slice_s, path)
        reader.figures(slice_s)
        samples += read_samples(str(path))
    thread.join()
    return samples, windows


def _window(call: Callable[[Any], Any], argument: Any) -> tuple[float, float]:
    begin = time.monotonic()
    call(argument)
    return begin, time.monotonic()


def _flush_windows(setting: Setting, connection: Any) -> list[tuple[float, float]]:
    """Fills a MemStore and flushes it, several times; the windows hold the flushes, not the filling."""
    source = Source(1, setting.rows)
    table = connection.table(WRITE)
    windows = []
    for _ in range(2 if setting.quick else 5):
        for _ in range(setting.scaled(20_000) // BATCH):
            with table.batch() as batch:
                for _ in range(BATCH):
                    batch.put(*source.new_row())
        windows.append(_window(connection.admin.flush, WRITE))
    return windows


def _report_p99(report: Report, title: str, durations: list[float], base: float) -> None:
    if not durations:
        report(Measure(title, "nothing was read meanwhile", "≤ 5×, ≤ 2 ms", None))
        return
    p99 = percentile(durations, 99)
    value = f"{p99 * 1e6:.0f} µs, {p99 / base:.1f}× ({len(durations)} gets)"
    report(Measure(title, value, "≤ 5×, ≤ 2 ms", p99 <= 5 * base and p99 <= 0.002))


# -- memory ------------------------------------------------------------------------------------------------


def memory(setting: Setting, report: Report) -> None:
    """Resident memory while ten times as much is loaded as the limits allow to be held."""
    limit, cache = 32 * MIB, 16 * MIB
    limits = {
        "memstore_limit_bytes": limit,
        "memstore_flush_size_bytes": limit // 2,
        "block_cache_bytes": cache,
    }
    rows = setting.scaled(10 * (limit + cache) // ROW_BYTES)
    with _server(setting, "memory", **limits) as server, server.connect() as connection:
        recreate(connection, WRITE)
        empty = server.rss_mb()
        half, peak = _load_watching(server, connection, rows)
        own_peak = server.peak_rss_mb()
    aim = (limit + cache) // MIB + _RSS_BASE_MB
    title = f"server RSS, loading {rows * ROW_BYTES // MIB} MiB with limits of {(limit + cache) // MIB} MiB"
    value = (
        f"{own_peak:.0f} MB at most ({empty:.0f} empty; with workers {half:.0f} at half, {peak:.0f} at most)"
    )
    report(Measure(title, value, f"≤ {aim} MB", own_peak <= aim))


def _load_watching(server: Server, connection: Any, rows: int) -> tuple[float, float]:
    """The most MB that server and workers held: in the first half of the load, and in all of it."""
    source = Source(0, rows)
    table = connection.table(WRITE)
    half = peak = 0.0
    for begin in range(0, rows, BATCH):
        with table.batch() as batch:
            for _ in range(BATCH):
                batch.put(*source.new_row())
        if begin // BATCH % 10 == 0:
            peak = max(peak, server.rss_mb())
            if begin < rows // 2:
                half = peak
    return half, peak


def idle_connections(setting: Setting, report: Report) -> None:
    """What 1,000 connections that ask nothing cost the server."""
    wanted = setting.scaled(1000)
    with _server(setting, "idle") as server, server.connect() as connection:
        recreate(connection, READ)
        connection.table(READ).put(*Source(0, 1).row(0))
        time.sleep(1)
        before, sockets = server.rss_mb(), open_sockets(server.pid)
        opened = []
        try:
            for _ in range(wanted):
                one = hyperbase.connect(server.location)
                opened.append(one)
                one.table(READ).row(key(0))
            time.sleep(2)
            cost = server.rss_mb() - before
            if open_sockets(server.pid) - sockets < wanted:
                raise AssertionError(f"the server has not got {wanted} connections: they share sockets")
        finally:
            for one in opened:
                one.close()
    aim_mb = 50 * wanted / 1000
    report(Measure(f"{wanted} idle connections", f"{cost:.1f} MB", f"≤ {aim_mb:g} MB", cost <= aim_mb))


MEASURES: dict[str, Callable[[Setting, Report], None]] = {
    "read_latency": read_latency,
    "memory": memory,
    "idle_connections": idle_connections,
}
