"""A store driven at random beside the plain lists of ``tests.support.model_store``.

An episode is a list of operations made from a seed: writes of every kind, reads with every option, flush,
compactions, split, merge, close, crash, disable, alter. After each, what the store shows must be what the
model shows. A failing episode is cut down to the operations that matter, which are printed together with
the command that repeats it.

``HYPERBASE_PROPERTY_STEPS`` sets how many operations are run (20,000 when not set),
``HYPERBASE_PROPERTY_SEED`` the first seed.
"""

from __future__ import annotations

import os
import time

import pytest

from regionserver.storage import memstore
from tests.support.store_machine import Machine
from tests.support.store_operations import EPISODE, Op, make_episode

STEPS = int(os.environ.get("HYPERBASE_PROPERTY_STEPS", "20000"))
FIRST_SEED = int(os.environ.get("HYPERBASE_PROPERTY_SEED", "0"))
BLOCKS = 10
SHRINK_S = 20.0


def failure_of(hot_row_edits: int, families: list[bytes], ops: list[Op]) -> BaseException | None:
    """Run an episode; what went wrong, if anything did."""
    before, memstore.HOT_ROW_EDITS = memstore.HOT_ROW_EDITS, hot_row_edits
    machine = Machine(hot_row_edits, families)
    try:
        machine.run(ops)
    except Exception as error:  # whatever it is, it is a finding
        return error
    finally:
        machine.close()
        memstore.HOT_ROW_EDITS = before
    return None


def cut_down(hot_row_edits: int, families: list[bytes], ops: list[Op]) -> list[Op]:
    """Fewer operations that fail too: ever smaller pieces are left out as long as time allows."""
    deadline = time.monotonic() + SHRINK_S
    size = max(1, len(ops) // 2)
    while size and time.monotonic() < deadline:
        at = len(ops) - size
        while at > -size and time.monotonic() < deadline:
            fewer = ops[: max(at, 0)] + ops[max(at, 0) + size :]
            if fewer and failure_of(hot_row_edits, families, fewer) is not None:
                ops = fewer
            at -= size
        size //= 2
    return ops


@pytest.mark.parametrize("block", range(BLOCKS))
def test_the_store_shows_what_the_model_shows(block: int) -> None:
    episodes = max(1, STEPS // EPISODE // BLOCKS)
    for seed in range(FIRST_SEED + block * episodes, FIRST_SEED + (block + 1) * episodes):
        hot_row_edits, families, ops = make_episode(seed)
        error = failure_of(hot_row_edits, families, ops)
        if error is not None:
            ops = cut_down(hot_row_edits, families, ops)
            error = failure_of(hot_row_edits, families, ops) or error
            listing = "\n".join(f"    {op!r}," for op in ops)
            pytest.fail(
                f"seed {seed}, rows hot at {hot_row_edits} edits: {type(error).__name__}: {error}\n"
                f"repeat with: HYPERBASE_PROPERTY_SEED={seed} HYPERBASE_PROPERTY_STEPS={EPISODE} "
                f"python -m pytest tests/property/test_store_state_machine.py\noperations:\n{listing}"
            )
