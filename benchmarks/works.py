"""The works: each measures both sides in interleaved rounds and adds lines to the report."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.peers import COLUMNS, Hyperbase, Peer, RocksDB, Rows, SQLite, make_rows
from benchmarks.report import Report, microseconds

SEED = 20020327
PAYLOAD = random.Random(SEED).randbytes(1 << 20)
BATCH = 100
CELLS = len(COLUMNS)


def cpu_count() -> int:
    return len(os.sched_getaffinity(0))


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _load(peer: Peer, rows: Rows) -> None:
    for begin in range(0, len(rows), BATCH):
        peer.put_batch(rows[begin : begin + BATCH])


def batch_put(report: Report, directory: Path, rows: int, rounds: int) -> None:
    """Batches of 100 rows, one durable sync each; the flushes and compactions that the load causes count."""
    rates: dict[str, list[float]] = {"hyperbase": [], "rocksdb": [], "sqlite": []}
    makers: list[Callable[[Path], Peer]] = [Hyperbase, RocksDB, SQLite]
    data = make_rows(range(rows), PAYLOAD)
    for number in range(rounds):
        for make in makers[number % 3 :] + makers[: number % 3]:
            peer = make(directory / f"{make.__name__}-{number}")
            seconds = _timed(lambda peer=peer: (_load(peer, data), peer.flush()))  # type: ignore[misc]
            rates[peer.name].append(rows / seconds)
            peer.close()
    for other in ("rocksdb", "sqlite"):
        report.rate(
            "batch put of 100 rows, flush included", rates["hyperbase"], other, rates[other], "rows/s"
        )


def single_put(report: Report, directory: Path, rows: int, rounds: int) -> None:
    """One durable put at a time, by one thread and by many."""
    count = 2000
    data = make_rows(range(count * 2), PAYLOAD)
    ours = Hyperbase(directory / "h")
    rocks = RocksDB(directory / "r")
    one: list[float] = []
    peer: list[float] = []
    many: dict[int, list[float]] = {16: [], 64: []}
    syncs: list[float] = []
    for _ in range(rounds):
        one.append(count / _timed(lambda: [ours.table.put(k, v) for k, v in data[:count]]))
        peer.append(count / _timed(lambda: [rocks.put_batch([item]) for item in data[:count]]))
        for threads, rates in many.items():
            before = ours.db.metrics()
            rates.append(_threaded(ours, data, threads))
            after = ours.db.metrics()
            if threads == 16:
                syncs.append((after["syncCount"] - before["syncCount"]) / len(data))
    report.rate("single durable put, 1 thread", one, "rocksdb", peer, "rows/s")
    for threads, rates in many.items():
        report.rate(f"single durable put, {threads} threads", rates, "1 thread", one, "rows/s")
    report.add("syncs a put at 16 threads", f"{median(syncs):.3f}", "at most 0.25", "")
    ours.close()
    rocks.close()


def _threaded(peer: Hyperbase, data: Rows, threads: int) -> float:
    def write(part: Rows) -> None:
        for key, columns in part:
            peer.table.put(key, columns)

    workers = [threading.Thread(target=write, args=(data[n::threads],)) for n in range(threads)]

    def run() -> None:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    return len(data) / _timed(run)


def slow_sync(report: Report, directory: Path, rows: int, rounds: int) -> None:
    """Group commit when the disk takes 2 ms to sync."""
    from hyperbase.client.connection import Connection
    from hyperbase.embedded.backend import EmbeddedBackend
    from hyperbase.embedded.store import EmbeddedStore, make_config
    from regionserver.storage.local_filesystem import LocalFileSystem

    root = directory / "s"
    root.mkdir()
    store = EmbeddedStore(
        LocalFileSystem(str(root)), make_config({}), root=str(root), sync_hook=lambda: time.sleep(0.002)
    )
    ours = Hyperbase.__new__(Hyperbase)
    ours.db = Connection(lambda: EmbeddedBackend(store, store.close))
    ours.db.create_table("bench", {"cf": {}})
    ours.table = ours.db.table("bench")
    data = make_rows(range(1600), PAYLOAD)
    one = [_threaded(ours, data[:200], 1) for _ in range(rounds)]
    many = [_threaded(ours, data, 16) for _ in range(rounds)]
    report.rate("single durable put, 2 ms sync, 16 threads", many, "1 thread", one, "rows/s")
    ours.close()


def get_row(report: Report, directory: Path, rows: int, rounds: int) -> None:
    """``row()`` from the MemStore, from cached blocks, and with nothing cached by us."""
    data = make_rows(range(min(rows, 20_000)), PAYLOAD)  # fits a MemStore and, decoded, the block cache
    ours, rocks = Hyperbase(directory / "h"), RocksDB(directory / "r")
    _load(ours, data)
    _load(rocks, data)
    keys = [key for key, _ in data]
    random.Random(SEED).shuffle(keys)
    keys = keys[:5000]
    _compare_gets(report, "row() from MemStore", ours, rocks, keys, rounds)
    ours.flush()
    rocks.flush()
    ours.compact()
    rocks.compact()
    for peer in (ours, rocks):
        for key in keys:
            peer.row(key)
    _compare_gets(report, "row() from a cached StoreFile", ours, rocks, keys, rounds)
    ours.close()
    rocks.close()
    for compression in ("NONE", "LZ4", "ZSTD"):
        cold = Hyperbase(directory / compression, compression, block_cache_bytes=0)
        _load(cold, data)
        cold.compact()
        samples = []
        for key in keys:
            started = time.perf_counter()
            cold.row(key)
            samples.append(time.perf_counter() - started)
        limit = {"NONE": 150, "LZ4": 150, "ZSTD": 220}[compression]
        p50 = microseconds(samples, 50)
        report.add(f"row() uncached, {compression}, p50", f"{p50:.0f} us", f"at most {limit} us", "")
        cold.close()


def _compare_gets(report: Report, work: str, ours: Peer, peer: Peer, keys: list[bytes], rounds: int) -> None:
    rates: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for store, found in zip((ours, peer), rates, strict=True):
            found.append(len(keys) / _timed(partial(_read_all, store, keys)))
    report.rate(work, rates[0], "rocksdb", rates[1], "rows/s")


def _read_all(peer: Peer, keys: list[bytes]) -> None:
    for key in keys:
        peer.row(key)


def scan(report: Report, directory: Path, rows: int, rounds: int) -> None:
    """Everything as Python rows, and as Arrow record batches."""
    data = make_rows(range(rows), PAYLOAD)
    ours, rocks = Hyperbase(directory / "h"), RocksDB(directory / "r")
    _load(ours, data)
    _load(rocks, data)
    for peer in (ours, rocks):
        peer.flush()
        peer.compact()
    cells = rows * CELLS

    def arrow(layout: str) -> int:
        columns = list(COLUMNS) if layout == "wide" else None
        return sum(batch.num_rows for batch in ours.table.scan_arrow(columns=columns, layout=layout))

    python: list[float] = []
    peer_rates: list[float] = []
    wide: list[float] = []
    narrow: list[float] = []
    for _ in range(rounds):
        python.append(cells / _timed(ours.scan))
        peer_rates.append(cells / _timed(rocks.scan))
        wide.append(cells / _timed(lambda: arrow("wide")))
        narrow.append(cells / _timed(lambda: arrow("cells")))
    report.rate("scan() as Python rows", python, "rocksdb", peer_rates, "cells/s")
    report.rate("scan_arrow(), wide", wide, "rocksdb", peer_rates, "cells/s")
    report.rate("scan_arrow(), cells", narrow, "rocksdb", peer_rates, "cells/s")
    ours.close()
    rocks.close()


def bulk_load(report: Report, directory: Path, rows: int, rounds: int) -> None:
    """``put_arrow`` of a table in memory, durable."""
    import pyarrow as pa

    data = make_rows(range(rows), PAYLOAD)
    columns = {"row": pa.array([key for key, _ in data], pa.binary())}
    for column in COLUMNS:
        columns[column.decode()] = pa.array([values[column] for _, values in data], pa.binary())
    table = pa.table(columns)
    rates = []
    for number in range(rounds):
        ours = Hyperbase(directory / f"h{number}")
        rates.append(rows * CELLS / _timed(partial(ours.table.put_arrow, table, row_key="row")))
        ours.close()
    report.add("put_arrow", f"{median(rates) / 1e6:.2f} M cells/s", "at least 1 M", "")


def replay(report: Report, directory: Path, rows: int, rounds: int) -> None:
    """Opening after kill -9: the log of one MemStore is replayed."""
    rows = min(rows, 40_000)
    rates = []
    for number in range(min(rounds, 3)):
        target = directory / f"k{number}"
        code = (
            "import os, sys; from pathlib import Path\n"
            "from benchmarks.peers import Hyperbase, make_rows\n"
            "from benchmarks.works import PAYLOAD, _load\n"
            f"peer = Hyperbase(Path({str(target)!r}))\n"
            f"_load(peer, make_rows(range({rows}), PAYLOAD)); os.kill(os.getpid(), 9)\n"
        )
        subprocess.run([sys.executable, "-c", code], check=False)
        started = time.perf_counter()
        ours = Hyperbase(target)
        rates.append(rows * CELLS / (time.perf_counter() - started))
        ours.close()
    report.add("log replay (whole open)", f"{median(rates) / 1e3:.0f} k cells/s", "at least 400 k", "")


def compaction(report: Report, directory: Path, rows: int, rounds: int) -> None:
    """Major compaction in its worker process, and the latency of reads meanwhile and during flushes."""
    data = make_rows(range(rows), PAYLOAD)
    ours = Hyperbase(directory / "h")
    for part in range(4):
        _load(ours, data[part::4])
        ours.flush()
    keys = [key for key, _ in data]
    random.Random(SEED).shuffle(keys)
    quiet = _latencies(ours, keys, lambda: time.sleep(2))
    raw_bytes = rows * CELLS * 127
    seconds: list[float] = []
    busy = _latencies(ours, keys, lambda: seconds.append(_timed(ours.compact)))
    rate = raw_bytes / 1e6 / seconds[0]
    report.add("major compaction, wall clock", f"{rate:.0f} MB/s raw", "at least 80", "")
    base = microseconds(quiet, 99)
    _report_p99(report, "p99 of row() during major compaction", busy, base)
    fresh = make_rows(range(rows, rows + min(rows, 50_000)), PAYLOAD)
    _load(ours, fresh)
    during = _latencies(ours, keys, ours.flush)
    _report_p99(report, "p99 of row() during flush", during, base)
    ours.close()


def _report_p99(report: Report, work: str, samples: list[float], base: float) -> None:
    p99 = microseconds(samples, 99)
    report.add(work, f"{p99:.0f} us", f"quiet {base:.0f} us", f"{p99 / base:.1f}x")


def _latencies(peer: Hyperbase, keys: list[bytes], work: Callable[[], object]) -> list[float]:
    """Times of single gets in this thread while ``work`` runs in another."""
    thread = threading.Thread(target=work)
    samples: list[float] = []
    thread.start()
    position = 0
    while thread.is_alive():
        key = keys[position % len(keys)]
        position += 1
        started = time.perf_counter()
        peer.row(key)
        samples.append(time.perf_counter() - started)
        if position % 20 == 0:
            time.sleep(0.0005)
    thread.join()
    return samples


def memory(report: Report, directory: Path, rows: int, rounds: int) -> None:
    """RSS while loading 20 times the MemStore limit and block cache."""
    limit, cache = 32 << 20, 16 << 20
    count = 20 * (limit + cache) // 1400
    code = (
        "import re, sys; from pathlib import Path\n"
        "from benchmarks.peers import Hyperbase, make_rows\n"
        "from benchmarks.works import PAYLOAD, _load\n"
        f"settings = dict(memstore_limit_bytes={limit}, block_cache_bytes={cache})\n"
        f"peer = Hyperbase(Path({str(directory / 'm')!r}), **settings)\n"
        f"for begin in range(0, {count}, 1000):\n"
        "    _load(peer, make_rows(range(begin, begin + 1000), PAYLOAD))\n"
        "status = open('/proc/self/status').read()\n"
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]) // 1024); peer.close()\n"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    allowed = (limit + cache >> 20) + 150
    report.add(
        f"peak RSS loading {count * CELLS / 1e6:.1f} M cells",
        f"{out.strip()} MB",
        f"at most {allowed} MB",
        "",
    )


def reopen(report: Report, directory: Path, rows: int, rounds: int) -> None:
    """Opening a store of 10 M cells (at least; ten times ``rows`` by default) after a clean close."""
    import pyarrow as pa

    count = max(rows * 10, 1_000_000)
    ours = Hyperbase(directory / "o")
    step = 200_000
    for begin in range(0, count, step):
        data = make_rows(range(begin, min(begin + step, count)), PAYLOAD)
        columns = {"row": pa.array([key for key, _ in data], pa.binary())}
        for column in COLUMNS:
            columns[column.decode()] = pa.array([values[column] for _, values in data], pa.binary())
        ours.table.put_arrow(pa.table(columns), row_key="row")
    ours.close()
    seconds, first = [], []
    for _ in range(rounds):
        started = time.perf_counter()
        ours = Hyperbase(directory / "o")
        seconds.append(time.perf_counter() - started)
        assert ours.row(data[0][0])
        first.append(time.perf_counter() - started)
        ours.close()
    cells = f"{count * CELLS / 1e6:.0f} M cells"
    report.add(
        f"open after a clean close, {cells}", f"{median(seconds) * 1000:.0f} ms", "at most 1000 ms", ""
    )
    report.add("the same, first row read included", f"{median(first) * 1000:.0f} ms", "", "")


ALL: dict[str, Callable[[Report, Path, int, int], None]] = {
    "batch_put": batch_put,
    "single_put": single_put,
    "slow_sync": slow_sync,
    "get_row": get_row,
    "scan": scan,
    "bulk_load": bulk_load,
    "replay": replay,
    "compaction": compaction,
    "memory": memory,
    "reopen": reopen,
}
