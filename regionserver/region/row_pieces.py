"""Rows in pieces: what ``Scan.batch`` asks for."""

from __future__ import annotations

from collections.abc import Sequence

from hyperbase.common.model import Result


def cut_rows(results: Sequence[Result], batch: int) -> list[Result]:
    """Results of at most ``batch`` cells; all but a row's last are partial."""
    out: list[Result] = []
    for result in results:
        count = len(result.names)
        if count <= batch:
            out.append(result)
            continue
        stamps = result.timestamp_list()
        for begin in range(0, count, batch):
            end = begin + batch
            out.append(
                Result(
                    result.row,
                    result.names[begin:end],
                    result.values[begin:end],
                    stamps[begin:end],
                    None if result.types is None else result.types[begin:end],
                    partial=end < count,
                )
            )
    return out
