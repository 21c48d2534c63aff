"""The section "Over the network" of docs/benchmarks.md: what ran where, and the tables."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from benchmarks.network import hbase
from benchmarks.network.report import NONE, Measure, comparison_table, latency_table, measure_table
from benchmarks.network.rounds import Results, Timing
from benchmarks.network.works import Group


@dataclass(frozen=True)
class Circumstances:
    """Under what the figures came about."""

    timing: Timing
    rows: int
    took_s: float
    busy: Sequence[float]  # the share of the cores that others used, before each measurement
    with_hbase: bool = False
    shared_hbase: bool = False


def section_text(
    compared: Sequence[tuple[Group, Results]], measures: Sequence[Measure], circumstances: Circumstances
) -> str:
    """Markdown."""
    timing = circumstances.timing
    command = " ".join(["python -m benchmarks.network", *sys.argv[1:]])
    parts = [
        "## Over the network",
        f"`{command}`: {timing.rounds} interleaved rounds of {timing.seconds:g} s, medians; it took "
        f"{circumstances.took_s / 60:.0f} minutes. {_describe(circumstances)}",
        f"Clients and servers share the machine. Rows of 10 columns × 100 B, {circumstances.rows:,} of them "
        "to read, in one StoreFile, cached by both sides, without compression. Hyperbase syncs every write "
        "before it is acknowledged; HBase on a local file system does not. `benchmarks/network/README.md` "
        "describes the works.",
        comparison_table(compared) if compared else "",
        latency_table(compared),
        measure_table(measures),
    ]
    return "\n\n".join(part for part in parts if part)


def _describe(circumstances: Circumstances) -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    cores = len(os.sched_getaffinity(0))
    software = [f"Python {platform.python_version()}"]
    software += [f"{name} {_version(name)}" for name in ("pyarrow", "uvloop")]
    if circumstances.with_hbase:
        origin = " (one that ran already)" if circumstances.shared_hbase else ""
        software += [f"HBase {hbase.VERSION}{origin}", _java_version(), f"HappyBase {_version('happybase')}"]
    else:
        software.append("no HBase")
    return (
        f"Measured on {date.today()} at commit {described.stdout.strip() or '?'}, {cores} cores "
        f"({_processor()}), {', '.join(software)}. Others used "
        f"{median(circumstances.busy):.0%} of the cores, {max(circumstances.busy):.0%} at most."
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return NONE


def _java_version() -> str:
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    return f"JDK {said.split(chr(34))[1]}" if said.count('"') > 1 else "a JDK"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
