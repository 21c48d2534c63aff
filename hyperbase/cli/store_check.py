"""The checks of ``hyperbase check``: the files (``regionserver.region.check``), then the regions' chains.

The store is opened read-only for the chains, which replays the log in memory and changes no byte; while it is
open nobody else writes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from hyperbase.common.errors import StoreFormatException, StoreLockedException
from hyperbase.common.region_info import RegionInfo

if TYPE_CHECKING:
    from hyperbase.client.connection import Connection
    from regionserver.region.check import StoreReport


@dataclass(slots=True)
class CheckResult:
    """What was looked at, and every problem, one line each."""

    files: StoreReport
    table_count: int = 0
    problems: list[str] = field(default_factory=list)


def check(directory: str) -> CheckResult:
    """Check the store in ``directory``.

    Raises:
        StoreLockedException: a writer has it open. StoreFormatException: it is no store.
    """
    import hyperbase
    from regionserver.region.check import report_store

    problems: list[str] = []
    tables = 0
    try:
        with hyperbase.connect(directory, read_only=True) as connection:
            files = report_store(directory)
            for name in connection.admin.list_tables():
                tables += 1
                problems += table_problems(connection, name)
    except (StoreLockedException, StoreFormatException):
        raise
    except OSError as error:  # it cannot even be opened: say so, and look at the files all the same
        files = report_store(directory)
        problems.append(f"the store does not open: {type(error).__name__}: {' '.join(str(error).split())}")
    return CheckResult(files, tables, [*files.problems, *problems])


def table_problems(connection: Connection, name: str) -> list[str]:
    """What is wrong with the regions of one table."""
    regions = [region for region in connection.admin.regions(name) if not region.offline]
    return [f"table {name!r}: {problem}" for problem in chain_problems(regions)]


def chain_problems(regions: list[RegionInfo]) -> list[str]:
    """Regions cover every row exactly once: from ``b""`` to ``b""``, each beginning where the last ended."""
    if not regions:
        return ["it has no region"]
    problems = []
    ordered = sorted(regions, key=lambda region: region.start_key)
    if ordered[0].start_key:
        problems.append(f"no region holds the rows before {ordered[0].start_key!r}")
    for left, right in pairwise(ordered):
        if left.end_key == right.start_key:
            continue
        overlap = not left.end_key or left.end_key > right.start_key
        what = "two regions hold" if overlap else "no region holds"
        low, high = sorted((left.end_key, right.start_key))
        problems.append(f"{what} the rows from {low!r} to {high!r}")
    if ordered[-1].end_key:
        problems.append(f"no region holds the rows from {ordered[-1].end_key!r}")
    return problems
