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
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median

import hyperbase
from benchmarks.network.data import WRITE
from benchmarks.network.hbase import HBase, HBaseUnavailable
from benchmarks.network.measures import MEASURES, Setting
from benchmarks.network.processes import machine_busy
from benchmarks.network.report import Measure, insert_section, short
from benchmarks.network.rounds import Arena, Results, Timing, run
from benchmarks.network.section import Circumstances, section_text
from benchmarks.network.server import EchoServer, Server, prepare, recreate
from benchmarks.network.works import GROUPS, Group

ROWS, QUICK_ROWS = 50_000, 5_000
HOME_VARIABLE = "HYPERBASE_BENCH_HBASE_HOME"
BUSY = 0.1  # of all cores, used by others: more, and the figures are no longer of what they name
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
    busy = [machine_busy()]
    if busy[0] > BUSY:
        print(f"WARNING: others keep the machine {busy[0]:.0%} busy; ratios mean nothing then", flush=True)
    peer = _start_hbase(options, scratch) if any(name in GROUPS for name in names) else None
    try:
        groups = [GROUPS[name] for name in names if name in GROUPS]
        compared = _compare(groups, options, peer, timing, rows, scratch, failures, busy)
    finally:
        if peer is not None:
            peer.stop()
    measures = _measure(names, Setting(scratch, rows, options.quick), failures)
    circumstances = Circumstances(
        timing,
        rows,
        time.monotonic() - started,
        busy,
        with_hbase=peer is not None,
        shared_hbase=peer is not None and peer.shared,
    )
    section = section_text(compared, measures, circumstances)
    print(f"\n{section}")
    if options.json:
        options.json.write_text(_as_json(compared, measures))
    if options.write_docs:
        failures += _write_page(section, busy, options.busy_ok)
    if failures:
        print(f"\n{len(failures)} failed; the logs of all processes are kept in {scratch}", file=sys.stderr)
        return 1
    shutil.rmtree(scratch)
    return 0


def _write_page(section: str, busy: list[float], busy_ok: bool) -> list[str]:
    """Put the section into the page; the reason when that would publish figures of a busy machine."""
    if median(busy) > BUSY and not busy_ok:
        reason = f"{PAGE} is left as it is: others kept the machine {median(busy):.0%} busy (see --busy-ok)"
        print(f"\n{reason}", file=sys.stderr)
        return [reason]
    PAGE.write_text(insert_section(PAGE.read_text(), section))
    print(f"\nwritten into {PAGE}")
    return []


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
    parser.add_argument("--busy-ok", action="store_true", help="write it even when others use the machine")
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
    busy: list[float],
) -> list[tuple[Group, Results]]:
    if not groups:
        return []
    compared = []
    with ExitStack() as running:
        pids = peer.pids if peer else []
        location = options.location
        if not location:
            server = Server(scratch / "data", scratch / "server.log")
            running.callback(server.stop)
            location, pids = server.location, [server.pid, *pids]
        echo = EchoServer(scratch / "echo.log")
        running.callback(echo.stop)
        arena = Arena(location, pids, echo, peer, rows, scratch, busy)
        connection = running.enter_context(hyperbase.connect(location))
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
