"""Medians and ratios, as lines while they are measured and as one table at the end."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median


class Report:
    """Rows of the final table."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str, str, str]] = []

    def add(self, work: str, ours: str, peer: str, ratio: str) -> None:
        """One line of the table, printed at once too."""
        self._rows.append((work, ours, peer, ratio))
        print(f"{work:<52} {ours:>18}   {peer:>24}   {ratio}", flush=True)

    def rate(
        self, work: str, ours: Sequence[float], peer_name: str, peer: Sequence[float], unit: str
    ) -> None:
        """Rates of interleaved rounds (higher is better): medians, and the median of the rounds' ratios."""
        ratios = [a / b for a, b in zip(ours, peer, strict=True)]
        self.add(
            work,
            f"{_short(median(ours))} {unit}",
            f"{peer_name} {_short(median(peer))}",
            f"{median(ratios):.2f}x",
        )

    def table(self) -> str:
        """Markdown."""
        lines = ["| work | hyperbase | peer | ratio |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(row)} |" for row in self._rows]
        return "\n".join(lines)


def _short(number: float) -> str:
    if number >= 1e6:
        return f"{number / 1e6:.2f} M"
    if number >= 1e4:
        return f"{number / 1e3:.0f} k"
    if number >= 1e3:
        return f"{number / 1e3:.1f} k"
    return f"{number:.3g}"


def microseconds(samples: Sequence[float], percent: float) -> float:
    """A percentile of times in seconds, in µs."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] * 1e6
