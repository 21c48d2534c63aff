"""The checks of ``hyperbase check``: the files (``regionserver.region.check``), then the regions' chains.

The store is opened read-only for the chains, which replays the log in memory and changes no byte; while it is
open nobody else writes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hyperbase.common.errors import StoreFormatException, StoreLockedException

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
    from master.hbck import chain_problems

    regions = [region for region in connection.admin.regions(name) if not region.offline]
    return [f"table {name!r}: {problem}" for problem in chain_problems(regions)]
