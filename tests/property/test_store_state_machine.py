"""A store driven at random by Hypothesis beside the plain lists of ``tests.support.model_store``.

A step is an operation: writes of every kind, reads with every option, flush, compactions, split, merge,
close, crash, disable, alter. After each, what the store shows must be what the model shows. A failing run is
shrunk by Hypothesis and printed step by step, together with the command that repeats it.

``HYPERBASE_PROPERTY_STEPS`` sets how many steps are run at least (20,000 when not set),
``HYPERBASE_PROPERTY_SEED`` the first seed (0). A seed gives about 4,000 steps, always the same ones.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from regionserver.storage import memstore
from tests.support.store_machine import Machine
from tests.support.store_operations import ALL_FAMILIES, PAYLOADS, PLAIN_FAMILIES, ROWS, payloads

STEPS = int(os.environ.get("HYPERBASE_PROPERTY_STEPS", "20000"))
SEED = int(os.environ.get("HYPERBASE_PROPERTY_SEED", "0"))
RUNS = 20  # of one seed
RUN_STEPS = 200  # of one store; more would not fit Hypothesis' limit for one example
HOT_ROW_EDITS = memstore.HOT_ROW_EDITS

number = st.integers(0, PAYLOADS - 1)
row = st.sampled_from(ROWS)
tick = st.sampled_from((2, 3, 40))
pick = st.integers(0, 2**16 - 1)
MAINTENANCE = {
    "flush": 8, "minor": 5, "major": 3, "split": 2, "merge": 2, "reopen": 2, "crash": 2, "disable": 1,
    "alter": 1,
}  # fmt: skip
maintenance = st.sampled_from([kind for kind, weight in MAINTENANCE.items() for _ in range(weight)])


class StoreStateMachine(RuleBasedStateMachine):
    """Each rule is one operation on the store and on the model; ``Machine`` compares the two."""

    machine: Machine | None = None
    steps = 0  # of all runs
    seed = SEED

    @initialize(
        hot_row_edits=st.sampled_from((10**9, 5, 2)),
        families=st.sampled_from((PLAIN_FAMILIES, PLAIN_FAMILIES, ALL_FAMILIES)),
    )
    def open(self, hot_row_edits: int, families: tuple[bytes, ...]) -> None:
        memstore.HOT_ROW_EDITS = hot_row_edits
        self.machine = Machine(hot_row_edits, families)

    def teardown(self) -> None:
        memstore.HOT_ROW_EDITS = HOT_ROW_EDITS
        if self.machine is not None:
            self.machine.close()

    def _run(self, kind: str, given: dict[str, Any], number: int | None = None) -> None:
        assert self.machine is not None
        StoreStateMachine.steps += 1
        if number is not None:
            given = {**given, **payloads(kind, self.machine.families, self.seed)[number]}
        note((kind, given))
        self.machine.run(kind, given)

    @rule(number=number, row=row, tick=tick)
    def put(self, number: int, row: bytes, tick: int) -> None:
        self._run("put", {"row": row, "tick": tick}, number)

    @rule(number=number, tick=tick)
    def put_hot_row(self, number: int, tick: int) -> None:
        self._run("put", {"row": ROWS[0], "tick": tick}, number)

    @rule(number=number, tick=tick)
    def puts(self, number: int, tick: int) -> None:
        self._run("puts", {"tick": tick}, number)

    @rule(number=number, row=row, tick=tick)
    def delete(self, number: int, row: bytes, tick: int) -> None:
        self._run("delete", {"row": row, "tick": tick}, number)

    @rule(number=number, row=row, tick=tick)
    def mutate_row(self, number: int, row: bytes, tick: int) -> None:
        self._run("mutate", {"row": row, "tick": tick}, number)

    @rule(number=number, row=row, tick=tick)
    def increment(self, number: int, row: bytes, tick: int) -> None:
        self._run("increment", {"row": row, "tick": tick}, number)

    @rule(number=number, row=row, tick=tick)
    def append(self, number: int, row: bytes, tick: int) -> None:
        self._run("append", {"row": row, "tick": tick}, number)

    @rule(number=number, row=row, tick=tick)
    def check_and_mutate(self, number: int, row: bytes, tick: int) -> None:
        self._run("check", {"row": row, "tick": tick}, number)

    @rule(number=number, row=row, tick=tick)
    def get(self, number: int, row: bytes, tick: int) -> None:
        self._run("get", {"row": row, "tick": tick}, number)

    @rule(number=number, tick=tick)
    def scan(self, number: int, tick: int) -> None:
        self._run("scan", {"tick": tick}, number)

    @rule(kind=maintenance, row=row, pick=pick, tick=tick)
    def maintain(self, kind: str, row: bytes, pick: int, tick: int) -> None:
        self._run(kind, {"row": row, "pick": pick, "tick": tick, "versions": 2 + pick % 3})

    @rule(ms=st.sampled_from((300, 900, 2500)))
    def let_time_pass(self, ms: int) -> None:
        self._run("sleep", {"tick": ms})


def run_round(number: int) -> None:
    """Some stores, each for ``RUN_STEPS``. The seed alone decides: no example database, no clock."""
    StoreStateMachine.seed = number
    configured = settings(
        max_examples=RUNS,
        stateful_step_count=RUN_STEPS + 1,  # opening is one
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(seed(number)(StoreStateMachine), settings=configured)
    except Exception as error:
        error.add_note(
            f"repeat with: HYPERBASE_PROPERTY_SEED={number} HYPERBASE_PROPERTY_STEPS=1 "
            "python -m pytest tests/property/test_store_state_machine.py"
        )
        raise


def test_the_store_shows_what_the_model_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    # Hypothesis shrinks for five minutes otherwise; what it has after one is short enough to read.
    monkeypatch.setattr("hypothesis.internal.conjecture.engine.MAX_SHRINKING_SECONDS", 60, raising=False)
    StoreStateMachine.steps = 0
    number = SEED
    while StoreStateMachine.steps < STEPS:
        run_round(number)
        number += 1
    print(f"{StoreStateMachine.steps} steps, seeds {SEED} to {number - 1}")
    assert StoreStateMachine.steps >= STEPS
