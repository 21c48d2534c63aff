"""``python -m benchmarks [WORK ...]``: print the tables that docs/benchmarks.md quotes."""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import works
from benchmarks.report import Report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"of: {', '.join(works.ALL)} (default: all)")
    parser.add_argument("--rows", type=int, default=100_000, help="rows of 10 cells loaded (default 100000)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument(
        "--dir", type=Path, default=None, help="where to put the stores (default: a temporary one)"
    )
    options = parser.parse_args()
    unknown = [name for name in options.works if name not in works.ALL]
    if unknown:
        parser.error(f"unknown work {unknown[0]!r}: use {', '.join(works.ALL)}")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    print(
        f"commit {commit or '?'}, Python {platform.python_version()}, "
        f"{platform.machine()}, {works.cpu_count()} cores"
    )
    print(
        f"rows {options.rows}, rounds {options.rounds}, 10 columns x 100 B, 16-byte keys, seed {works.SEED}\n"
    )
    report = Report()
    for name in options.works or works.ALL:
        with tempfile.TemporaryDirectory(dir=options.dir) as directory:
            works.ALL[name](report, Path(directory), options.rows, options.rounds)
    print()
    print(report.table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
