"""Operations on one row: find its region, ask, and try again where that can help."""

from __future__ import annotations

from typing import Any

from hyperbase.client.network.commands import Call, Parts, Sleep, Steps
from hyperbase.client.network.locator import Locator
from hyperbase.client.network.regions import Place
from hyperbase.client.network.retries import Retries
from hyperbase.common.errors import HBaseIOException
from hyperbase.common.model import Result
from hyperbase.common.wire.model_codec import decode_result, decode_results, join_pieces


def call_row(
    locator: Locator, table: str, row: bytes, method: int, rest: tuple[Any, ...], retries: Retries
) -> Steps[Any]:
    """Call ``method(region, *rest)`` on the region of a row until there is an answer.

    A mutation's nonce is in ``rest``: it is the same at every attempt, and a daughter region knows what its
    parent applied.
    """
    while True:
        place: Place | None = None
        try:
            place = yield from locator.find(table, lambda regions: regions.of(row), retries)
            assert place is not None
            return (yield Call(place.where(), method, (place.id16, *rest), retries.deadline))
        except HBaseIOException as error:
            locator.failed(place, error)
            pause = retries.after(error)
        yield Sleep(pause)


def resume_row(
    locator: Locator,
    table: str,
    row: bytes,
    method: int,
    rest: tuple[Any, ...],
    retries: Retries,
    used: Place,
    error: HBaseIOException,
) -> Steps[Any]:
    """Go on after a first attempt that failed."""
    locator.failed(used, error)
    pause = retries.after(error)
    yield Sleep(pause)
    return (yield from call_row(locator, table, row, method, rest, retries))


def read_result(row: bytes, answer: Any) -> Result:
    """The Result of ROW or GET, which may have come in pieces."""
    if type(answer) is Parts:
        return join_pieces([piece for chunk in answer.items for piece in decode_results(chunk)])
    return decode_result(row, answer)
