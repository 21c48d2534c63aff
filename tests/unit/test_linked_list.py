"""The linked list's checker: each way to lose or double a row must show."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.linked_list import PREV, TAG, Row, Verification, ring, row_of, verify

Table = dict[bytes, dict[bytes, bytes]]


def table_of(*rings: list[list[Row]]) -> Table:
    """What is there after every batch."""
    return {key: dict(cells) for batches in rings for batch in batches for key, cells in batch}


def made(seed: int, width: int = 4, wrap: int = 5) -> list[list[Row]]:
    return list(ring(random.Random(seed), width, wrap))


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
def test_whole_rings_are_whole(seed: int, width: int, wrap: int, count: int) -> None:
    chance = random.Random(seed)
    rings = [list(ring(chance, width, wrap)) for _ in range(count)]
    table = table_of(*rings)
    assert verify(table.items()).is_whole(width * wrap * count)
    assert not verify(table.items()).is_whole(width * wrap * count + 1)


def test_a_ring_is_one_ring() -> None:
    table = table_of(made(1, 5, 7))
    start = key = next(iter(table))
    steps = 1
    while (key := table[key][PREV]) != start:
        steps += 1
    assert steps == 35


def drop(table: Table, key: bytes) -> None:
    del table[key]


def lose_family(table: Table, key: bytes) -> None:
    del table[key][TAG]


def lose_reference(table: Table, key: bytes) -> None:
    del table[key][PREV]


def swap_value(table: Table, key: bytes) -> None:
    table[key][TAG] = b"other"


def add_row(table: Table, key: bytes) -> None:
    table[key[::-1]] = row_of(key[::-1], table[key][PREV])[1]


@pytest.mark.parametrize(
    ("damage", "shown"),
    [
        (drop, Verification(undefined=1, unreferenced=1, referenced=18)),
        (lose_family, Verification(lost_families=1, referenced=20)),
        (lose_reference, Verification(lost_families=1, unreferenced=1, referenced=19)),
        (swap_value, Verification(wrong_values=1, referenced=20)),
        (add_row, Verification(extra=1, unreferenced=1, referenced=20)),
    ],
)
def test_what_is_wrong_shows(damage: Callable[[Table, bytes], None], shown: Verification) -> None:
    table = table_of(made(2))
    key = random.Random(3).choice(list(table))
    damage(table, key)
    found = verify(table.items())
    assert not found.is_whole(20)
    keys, found.keys = found.keys, []
    assert keys
    assert found == shown


def test_the_last_batch_undone_shows() -> None:
    """The first batch as it was before the ring was closed: a write that came back to life."""
    batches = made(4)
    found = verify(table_of(batches, batches[:1]).items())
    assert (found.undefined, found.unreferenced, found.referenced) == (0, 4, 16)
