"""``python -m benchmarks.network``: measure, print the section "Over the network", write it into the page."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import hyperbase
from benchmarks.network.data import WRITE
from benchmarks.network.hbase import HBase, HBaseUnavailable
from benchmarks.network.measures import MEASURES, Setting
from benchmarks.network.report import Measure, insert_section, short
from benchmarks.network.rounds import Arena, Results, Timing, run
from benchmarks.network.section import section_text
from benchmarks.network.server import EchoServer, Server, prepare, recreate
from benchmarks.network.works import GROUPS, Group

ROWS, QUICK_ROWS = 50_000, 5_000
HOME_VARIABLE = "HYPERBASE_BENCH_HBASE_HOME"
PAGE = Path("docs") / "benchmarks.md"


def main() -> int:
    options = _parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped by SIGTERM"))  # servers are stopped on the way
    started = time.monotonic()
    scratch = Path(tempfile.mkdtemp(prefix="hyperbase-bench-", dir=options.dir))
    timing = Timing(2, 0.5, 0.5, 3.0) if options.quick else Timing()
    timing = Timing(
        options.rounds or timing.rounds,
        options.seconds or timing.seconds,
        timing.warm_up_s,
        timing.java_warm_up_s,
    )
    rows = options.rows or (QUICK_ROWS if options.quick else ROWS)
    names = options.works or [*GROUPS, *MEASURES]
    failures: list[str] = []
    peer = _start_hbase(options, scratch) if any(name in GROUPS for name in names) else None
    try:
        groups = [GROUPS[name] for name in names if name in GROUPS]
        compared = _compare(groups, options, peer, timing, rows, scratch, failures)
    finally:
        if peer is not None:
            peer.stop()
    measures = _measure(names, Setting(scratch, rows, options.quick), failures)
    section = section_text(compared, measures, peer is not None, timing, rows, time.monotonic() - started)
    print(f"\n{section}")
    if options.json:
        options.json.write_text(_as_json(compared, measures))
    if options.write_docs:
        PAGE.write_text(insert_section(PAGE.read_text(), section))
        print(f"\nwritten into {PAGE}")
    if failures:
        print(f"\n{len(failures)} failed; the logs of all processes are kept in {scratch}", file=sys.stderr)
        return 1
    shutil.rmtree(scratch)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.network", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="small and short: whether it works, not how fast"
    )
    parser.add_argument("--works", type=lambda text: text.split(","), metavar="A,B", help="only these")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (default 5; 2 when quick)")
    parser.add_argument("--seconds", type=float, help="of each measurement (default 4; 0.5 when quick)")
    parser.add_argument(
        "--rows", type=int, help=f"rows that are read (default {ROWS}; {QUICK_ROWS} when quick)"
    )
    parser.add_argument(
        "--dir", type=Path, help="where data and logs go meanwhile (default: a temporary one)"
    )
    parser.add_argument("--location", help="a running Hyperbase for the works, instead of starting one")
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--peer-dir",
        type=Path,
        default=os.environ.get(HOME_VARIABLE),
        metavar="DIR",
        help=f"HBase's folder: lib/ and conf/, made when missing (default: ${HOME_VARIABLE})",
    )
    either.add_argument("--no-hbase", action="store_true", help="without HBase")
    parser.add_argument("--write-docs", action="store_true", help=f"write the section in {PAGE}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample of every round")
    options = parser.parse_args()
    unknown = [name for name in options.works or () if name not in GROUPS and name not in MEASURES]
    if unknown:
        parser.error(f"unknown work {unknown[0]!r}: use {', '.join([*GROUPS, *MEASURES])}")
    if options.write_docs and not PAGE.exists():
        parser.error(f"{PAGE} does not exist here: run from the top of the repository")
    return options


def _start_hbase(options: argparse.Namespace, scratch: Path) -> HBase | None:
    if options.no_hbase or not options.peer_dir:
        why = "--no-hbase" if options.no_hbase else f"neither --peer-dir nor ${HOME_VARIABLE} is given"
        print(f"HBase's columns stay empty: {why}", flush=True)
        return None
    try:
        return HBase(Path(options.peer_dir), scratch)
    except HBaseUnavailable as error:
        print(f"HBase's columns stay empty: {error}", flush=True)
        return None


def _compare(
    groups: Sequence[Group],
    options: argparse.Namespace,
    peer: HBase | None,
    timing: Timing,
    rows: int,
    scratch: Path,
    failures: list[str],
) -> list[tuple[Group, Results]]:
    if not groups:
        return []
    server = None if options.location else Server(scratch / "data", scratch / "server.log")
    location = options.location or server.location  # type: ignore[union-attr]
    echo = EchoServer(scratch / "echo.log")
    pids = ([server.pid] if server else []) + (peer.pids if peer else [])
    arena = Arena(location, pids, echo, peer, rows, scratch)
    compared = []
    try:
        connection = hyperbase.connect(location)
        prepare(connection, rows)
        if peer is not None:
            peer.prepare(rows)
        for group in groups:
            if group.writes:
                recreate(connection, WRITE)
                if peer is not None:
                    peer.fresh_table_for_writes()
            results = run(group, arena, timing, failures)
            compared.append((group, results))
            for contestant, samples in results.items():
                found = " ".join(short(sample.rate) for sample in samples)
                print(f"{contestant.work} x{contestant.clients} {contestant.side}: {found}", flush=True)
        connection.close()
    finally:
        echo.stop()
        if server is not None:
            server.stop()
    return compared


def _measure(names: Sequence[str], setting: Setting, failures: list[str]) -> list[Measure]:
    measures: list[Measure] = []

    def report(measure: Measure) -> None:
        measures.append(measure)
        print(f"{measure.title}: {measure.value}   {measure.aim}", flush=True)

    for name in names:
        if name in MEASURES:
            try:
                MEASURES[name](setting, report)
            except Exception as error:
                failures.append(f"{name}: {type(error).__name__}: {error}")
                print(f"FAILED {failures[-1]}", flush=True)
    return measures


def _as_json(compared: list[tuple[Group, Results]], measures: list[Measure]) -> str:
    works = [
        {**asdict(contestant), "group": group.name, "samples": [asdict(sample) for sample in samples]}
        for group, results in compared
        for contestant, samples in results.items()
    ]
    return json.dumps({"works": works, "measures": [asdict(one) for one in measures]}, indent=1)


if __name__ == "__main__":
    sys.exit(main())
