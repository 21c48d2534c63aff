"""Medians, spreads and ratios; the Markdown of the section; and where it goes in the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.network.data import CELLS
from benchmarks.network.team import Sample
from benchmarks.network.works import ECHO, HAPPYBASE, HYPERBASE, JAVA, Contestant, Group, Line

BEGIN = "<!-- benchmarks.network: begin -->"
END = "<!-- benchmarks.network: end -->"
NONE = "–"

Results = Mapping[Contestant, Sequence[Sample]]


@dataclass(frozen=True)
class Measure:
    """A figure of ours that has an aim of its own."""

    title: str
    value: str
    aim: str
    met: bool | None  # None: no aim


@dataclass(frozen=True)
class Ratio:
    """Ours by theirs, round by round."""

    middle: float
    low: float
    high: float


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Median and range of the rounds' ratios: what disturbs one round disturbs both of its sides."""
    found = [a / b for a, b in zip(ours, theirs, strict=True)]
    return Ratio(median(found), min(found), max(found))


def short(number: float) -> str:
    """Three digits or so: 812, 9.7 k, 48 k, 5.21 M."""
    for limit, divisor, form in ((1e6, 1e6, "{:.2f} M"), (1e4, 1e3, "{:.0f} k"), (1e3, 1e3, "{:.1f} k")):
        if number >= limit:
            return form.format(number / divisor)
    return f"{number:.3g}"


def verdict(met: bool | None) -> str:
    return NONE if met is None else "yes" if met else "**no**"


def comparison_table(groups: Iterable[tuple[Group, Results]]) -> str:
    """One line for each ``Line``: every side's median, the ratio with its range, the aim."""
    rows = [
        "| work | hyperbase | echo | HBase, Java | HBase, HappyBase | of the echo | × HBase Java (range) "
        "| reach | reached |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    rows += [
        _comparison(line, group, results)
        for group, results in groups
        for line in group.lines
        if results.get(line.ours)
    ]
    return "\n".join(rows)


def _comparison(line: Line, group: Group, results: Results) -> str:
    ours = rates(results, line.ours)
    plain = line.ours == group.contestant(HYPERBASE)  # the echo and HappyBase do what this contestant does
    echo = rates(results, group.contestant(ECHO)) if plain else []
    happybase = rates(results, group.contestant(HAPPYBASE)) if plain else []
    java = rates(results, line.java)
    share = ratio(ours, echo) if echo else None
    times = ratio(ours, java) if java else None
    mine = f"{short(median(ours))} {line.unit}"
    if line.reach_cells_per_s:
        mine += f", {short(median(ours) * CELLS)} cells/s"
    cells = [
        line.title,
        mine,
        _median(echo),
        _median(java),
        _median(happybase),
        f"{share.middle:.2f}" if share else NONE,
        f"{times.middle:.2f} ({times.low:.2f}–{times.high:.2f})" if times else NONE,
        _aim(line),
        verdict(reached(line, median(ours), times, share)),
    ]
    return f"| {' | '.join(cells)} |"


def _aim(line: Line) -> str:
    aim = f"≥ {line.reach:g}×"
    if line.reach_cells_per_s:
        aim += f", ≥ {short(line.reach_cells_per_s)} cells/s"
    if line.echo_share:
        aim += f", ≥ {line.echo_share:g} of the echo"
    return aim


def reached(line: Line, rate: float, times: Ratio | None, share: Ratio | None) -> bool | None:
    """Whether every aim that could be looked at is reached; ``None`` when one of them could not."""
    verdicts: list[bool | None] = [None if times is None else times.middle >= line.reach]
    if line.reach_cells_per_s:
        verdicts.append(rate * CELLS >= line.reach_cells_per_s)
    if line.echo_share:
        verdicts.append(None if share is None else share.middle >= line.echo_share)
    if False in verdicts:
        return False
    return None if None in verdicts else True


def rates(results: Results, contestant: Contestant | None) -> list[float]:
    return [sample.rate for sample in results.get(contestant, ())] if contestant is not None else []


def _median(found: Sequence[float]) -> str:
    return short(median(found)) if found else NONE


def latency_table(groups: Iterable[tuple[Group, Results]]) -> str:
    """Time of one call as its client sees it, of the works that count calls."""
    rows = [
        "| p50 / p99 of a call, µs | hyperbase | echo | HBase, Java | HBase, HappyBase |",
        "|---|---|---|---|---|",
    ]
    for group, results in groups:
        line = group.lines[0]
        if line.unit != "/s":
            continue
        cells = [line.title]
        for side in (HYPERBASE, ECHO, JAVA, HAPPYBASE):
            samples = results.get(group.contestant(side) or line.ours, ())
            cells.append(times_us(samples) if samples else NONE)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) if len(rows) > 2 else ""


def times_us(samples: Sequence[Sample]) -> str:
    return f"{median(s.p50_us for s in samples):.0f} / {median(s.p99_us for s in samples):.0f}"


def measure_table(measures: Iterable[Measure]) -> str:
    rows = [f"| {m.title} | {m.value} | {m.aim} | {verdict(m.met)} |" for m in measures]
    return "\n".join(["| measure | hyperbase | aim | reached |", "|---|---|---|---|", *rows]) if rows else ""


def insert_section(page: str, section: str) -> str:
    """The page with the section between its markers; at the end when it has none.

    Raises:
        ValueError: one marker without the other, or in the wrong order.
    """
    block = f"{BEGIN}\n{section.strip()}\n{END}"
    begin, end = page.find(BEGIN), page.find(END)
    if begin == end == -1:
        return f"{page.rstrip()}\n\n{block}\n"
    if begin == -1 or end < begin:
        raise ValueError(f"the page must have {BEGIN!r} and then {END!r}, or neither")
    return page[:begin] + block + page[end + len(END) :]
