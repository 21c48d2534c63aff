"""The checker itself: it must accept what one order explains and nothing else."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.linearizability import (
    ADD,
    READ,
    SWAP,
    UNKNOWN,
    WRITE,
    Operation,
    Recorder,
    State,
    after,
    counter_bounds,
    is_linearizable,
    text_of,
)


def read(answer: State, begun: float, ended: float) -> Operation:
    return Operation(READ, None, answer, begun, ended)


def write(value: State, begun: float, ended: float = UNKNOWN) -> Operation:
    return Operation(WRITE, value, None, begun, ended)


def add(number: int, answer: int | None, begun: float, ended: float = UNKNOWN) -> Operation:
    return Operation(ADD, number, answer, begun, ended)


def swap(expected: State, new: State, did: bool | None, begun: float, ended: float = UNKNOWN) -> Operation:
    return Operation(SWAP, (expected, new), did, begun, ended)


GOOD = {
    "nothing": [],
    "one after the other": [write(b"a", 0, 1), read(b"a", 2, 3)],
    "overlapping: before": [write(b"a", 0, 3), read(None, 1, 2)],
    "overlapping: after": [write(b"a", 0, 3), read(b"a", 1, 2)],
    "two writers, the later call first": [write(b"a", 0, 9), write(b"b", 1, 9), read(b"a", 10, 11)],
    "readers between two that overlap": [
        write(b"a", 0, 9),
        write(b"b", 1, 9),
        read(b"b", 2, 3),
        read(b"a", 4, 5),
    ],
    "never answered, never seen": [write(b"a", 0), read(None, 1, 2), read(None, 100, 101)],
    "never answered, seen late": [write(b"a", 0), read(None, 1, 2), read(b"a", 100, 101)],
    "never answered, over a newer one": [
        write(b"a", 0),
        write(b"b", 1, 2),
        read(b"b", 3, 4),
        read(b"a", 5, 6),
    ],
    "sums": [add(1, 1, 0, 1), add(2, 3, 2, 3), read(3, 4, 5)],
    "sums that overlap": [add(1, 3, 0, 9), add(2, 2, 1, 8), read(3, 10, 11)],
    "a sum never answered": [add(1, None, 0), add(1, None, 1), add(1, 2, 2, 3), read(3, 4, 5)],
    "swaps": [
        swap(None, b"a", True, 0, 1),
        swap(b"b", b"c", False, 2, 3),
        swap(b"a", b"c", True, 4, 5),
        read(b"c", 6, 7),
    ],
    "a swap that failed by one never answered": [
        swap(None, b"a", None, 0),
        swap(None, b"b", False, 1, 2),
        read(b"a", 3, 4),
    ],
}
BAD = {
    "a lost write": [write(b"a", 0, 1), read(None, 2, 3)],
    "a stale read": [write(b"a", 0, 1), write(b"b", 2, 3), read(b"a", 4, 5)],
    "back in time": [write(b"a", 0, 9), read(b"a", 1, 2), read(None, 3, 4)],
    "a value that nobody wrote": [write(b"a", 0, 1), read(b"b", 2, 3)],
    "seen before it began": [read(b"a", 0, 1), write(b"a", 2, 3)],
    "never answered, undone": [write(b"a", 0), read(b"a", 1, 2), read(None, 3, 4)],
    "a write applied twice": [
        write(b"a", 0, 1),
        write(b"b", 2, 3),
        read(b"b", 4, 5),
        read(b"a", 6, 7),
    ],
    "never answered, applied twice": [
        write(b"a", 0),
        read(b"a", 1, 2),
        write(b"b", 3, 4),
        read(b"b", 5, 6),
        read(b"a", 7, 8),
    ],
    "a sum counted twice": [add(1, 1, 0, 1), read(2, 2, 3)],
    "a sum never answered counted twice": [add(1, None, 0), read(2, 1, 2)],
    "the same sum for two": [add(1, 1, 0, 9), add(1, 1, 1, 8)],
    "a lost sum": [add(1, 1, 0, 1), add(1, 1, 2, 3)],
    "two swaps from one value": [swap(None, b"a", True, 0, 9), swap(None, b"b", True, 1, 8)],
    "a swap that should have been": [swap(None, b"a", False, 0, 1)],
    "two owners": [
        write(b"a", 0, 1),
        write(b"b", 2, 3),
        read(b"b", 4, 5),
        read(b"a", 6, 7),
        read(b"b", 8, 9),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_what_an_order_explains_is_accepted(name: str) -> None:
    assert is_linearizable(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_what_no_order_explains_is_refused(name: str) -> None:
    assert not is_linearizable(BAD[name])


def test_the_state_may_begin_with_anything() -> None:
    assert is_linearizable([read(7, 0, 1), add(1, 8, 2, 3)], 7)
    assert not is_linearizable([read(7, 0, 1)])


def orders(history: Sequence[Operation]) -> Iterator[Sequence[Operation]]:
    """Every order that respects time, with any of the unanswered left out."""
    answered = [each for each in history if each.answered]
    others = [each for each in history if not each.answered]
    for count in range(len(others) + 1):
        for some in itertools.combinations(others, count):
            for order in itertools.permutations([*answered, *some]):
                pairs = itertools.combinations(order, 2)
                if not any(later.ended < earlier.begun for earlier, later in pairs):
                    yield order


def explains(order: Sequence[Operation]) -> bool:
    state: State = None
    for operation in order:
        fits, state = after(state, operation)
        if not fits:
            return False
    return True


small = st.sampled_from([None, 1, 2])
calls = st.one_of(
    st.tuples(st.just(READ), st.none(), small),
    st.tuples(st.just(WRITE), st.sampled_from([1, 2]), st.none()),
    st.tuples(st.just(ADD), st.just(1), small),
    st.tuples(st.just(SWAP), st.tuples(small, st.sampled_from([1, 2])), st.booleans()),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    found = []
    for kind, argument, answer in draw(st.lists(calls, max_size=5)):
        begun = draw(st.integers(0, 12))
        ended = draw(st.one_of(st.just(UNKNOWN), st.integers(begun + 1, begun + 6)))
        found.append(Operation(kind, argument, answer, begun, ended))
    return found


@settings(max_examples=600, deadline=None)
@given(histories())
def test_it_says_what_trying_every_order_says(history: list[Operation]) -> None:
    assert is_linearizable(history) == any(map(explains, orders(history))), text_of(history)


def run_of(chance: random.Random, count: int, unanswered: float) -> list[Operation]:
    """What clients might see of a row that is as it should be: each effect somewhere within its call."""
    state: State = None
    effects = []
    for number in range(count):
        kind = chance.choice([READ, READ, WRITE, ADD, SWAP])
        if kind == ADD and isinstance(state, bytes):
            kind = READ
        argument = {
            READ: None,
            WRITE: chance.choice([number + 1000, None]),
            ADD: 1,
            SWAP: (state if chance.random() < 0.6 else -1, number + 1000),
        }[kind]
        before = state
        _, state = after(state, Operation(kind, argument))
        ended = UNKNOWN if chance.random() < unanswered else number + chance.random() * 4
        answer = answer_of(kind, argument, before, state)
        effects.append(Operation(kind, argument, answer, number - chance.random() * 4, ended))
    return effects


def answer_of(kind: str, argument: Any, before: State, state: State) -> Any:
    if kind == SWAP:
        return before == argument[0]
    return {READ: before, WRITE: None, ADD: state}[kind]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 80))
def test_what_really_happened_is_accepted(seed: int, count: int) -> None:
    history = run_of(random.Random(seed), count, 0.1)
    assert is_linearizable(history), text_of(history)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(10, 80))
def test_a_read_of_what_was_never_there_is_refused(seed: int, count: int) -> None:
    chance = random.Random(seed)
    history = run_of(chance, count, 0.05)
    at = chance.randrange(count)
    history.append(read(999_999, at, at + 0.5))
    assert not is_linearizable(history)


def test_many_unanswered_calls_cost_little() -> None:
    """Two hundred additions of which nobody knows; each read tells how many there were."""
    history = [add(1, None, number) for number in range(200)]
    history += [read(number // 2 or None, number + 0.2, number + 0.5) for number in range(0, 200, 2)]
    begun = time.process_time()
    assert is_linearizable(history)
    assert not is_linearizable([*history, read(201, 300, 301)])
    assert time.process_time() - begun < 20


def test_a_counter_is_bounded_by_what_was_answered() -> None:
    history = [add(1, 1, 0, 1), add(5, None, 2), add(2, 3, 3, 4), read(3, 5, 6)]
    assert counter_bounds(history) == (3, 8)


def test_a_recorder_tells_answers_from_silence() -> None:
    recorder = Recorder(iter(range(100)).__next__)

    def fail() -> None:
        raise TimeoutError

    assert recorder.call("one", b"r", WRITE, b"a", lambda: None) is None
    assert recorder.call("one", b"r", WRITE, b"b", fail, OSError) is None
    assert recorder.call("two", b"r", READ, None, lambda: b"b") == b"b"
    with pytest.raises(TimeoutError):
        recorder.call("two", b"r", READ, None, fail)
    (history,) = recorder.rows().values()
    assert [(each.kind, each.answered) for each in history] == [(WRITE, True), (WRITE, False), (READ, True)]
    assert is_linearizable(history)
    assert (recorder.answered, recorder.unknown) == (2, 1)
    assert "unknown" in text_of(history)
