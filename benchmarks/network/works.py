"""What is measured: groups of contestants that take turns, and the lines of the table that compare them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HYPERBASE, ASYNC, ECHO, JAVA, HAPPYBASE = "hyperbase", "hyperbase-async", "echo", "hbase-java", "happybase"
OUR_SIDES = (HYPERBASE, ASYNC)
HBASE_SIDES = (JAVA, HAPPYBASE)


@dataclass(frozen=True)
class Contestant:
    """``clients`` processes of one side doing one work."""

    side: str
    work: str
    clients: int = 1


@dataclass(frozen=True)
class Line:
    """One line of the table: a contestant of ours beside HBase's Java client."""

    title: str
    unit: str
    ours: Contestant
    java: Contestant
    reach: float  # times HBase's Java client
    reach_cells_per_s: float = 0.0
    echo_share: float = 0.0  # of the echo's round trips; 0 is no aim


@dataclass(frozen=True)
class Group:
    """Contestants measured in turn, in the same rounds."""

    name: str
    contestants: Sequence[Contestant]
    lines: Sequence[Line]
    writes: bool = False  # begins with an empty table

    def contestant(self, side: str) -> Contestant | None:
        return next((one for one in self.contestants if one.side == side), None)


def _four(work: str, clients: int = 1) -> list[Contestant]:
    return [Contestant(side, work, clients) for side in (HYPERBASE, ECHO, JAVA, HAPPYBASE)]


def _group(
    work: str,
    title: str,
    reach: float,
    *,
    unit: str = "/s",
    clients: int = 1,
    writes: bool = False,
    echo_share: float = 0.0,
) -> Group:
    contestants = _four(work, clients)
    line = Line(title, unit, contestants[0], contestants[2], reach, echo_share=echo_share)
    return Group(work if clients == 1 else f"{work}_{clients}", contestants, [line], writes)


def _groups() -> list[Group]:
    eight = _group("single_put", "single put, 8 clients", 2, clients=8, writes=True)
    writers = Contestant(ASYNC, "single_put")
    java_8 = Contestant(JAVA, "single_put", 8)
    scan = _group("full_scan", "full scan, as rows", 3, unit="rows/s")
    java_scan = Contestant(JAVA, "full_scan")
    wide, cells = Contestant(HYPERBASE, "scan_arrow"), Contestant(HYPERBASE, "scan_arrow_cells")
    return [
        _group("batch_put", "batch put, 100 rows", 3, unit="rows/s", writes=True),
        _group("single_put", "single put, 1 client", 1.8, writes=True),
        Group(
            eight.name,
            [*eight.contestants, writers],
            [*eight.lines, Line("single put, 32 asyncio writers, × 8 clients", "/s", writers, java_8, 4)],
            writes=True,
        ),
        _group("get", "get row, 1 client", 6, echo_share=0.5),
        _group("get", "get row, 8 clients", 4, clients=8),
        _group("multi_get", "multi-get of 100 sorted keys", 5, unit="rows/s"),
        Group(
            scan.name,
            [*scan.contestants, wide, cells],
            [
                *scan.lines,
                Line("full scan, into Arrow, wide", "rows/s", wide, java_scan, 15, 5e6),
                Line("full scan, into Arrow, cells", "rows/s", cells, java_scan, 15, 5e6),
            ],
        ),
        _group("scan_100", "scan of 100 rows from a random key", 6),
        _group("increment", "increment", 1.8, writes=True),
    ]


GROUPS: dict[str, Group] = {group.name: group for group in _groups()}
