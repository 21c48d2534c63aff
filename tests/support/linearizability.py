"""Whether what clients of one row saw can be explained by one order of their operations.

Such an order respects time: of two operations the one that had ended before the other began comes first. An
operation without an answer may have taken effect at any moment after it began, or never. The search is Wing
and Gong's with Lowe's memory: take any operation that is not behind the end of another, see whether its
answer fits the state, go on; a set of operations that led to a state once is not tried twice.

    G. Lowe, "Testing for linearizability", Concurrency and Computation 29(4), 2017

The row is a register: ``read``, ``write``, ``add`` (answers the sum) and ``swap`` (from an expected value to
another; answers whether it did).
"""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

READ, WRITE, ADD, SWAP = "read", "write", "add", "swap"
UNKNOWN = math.inf  # when an operation ended that was never answered
State = bytes | int | None


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of one client. ``answer`` has no meaning when the call was never answered."""

    kind: str
    argument: Any = None
    answer: Any = None
    begun: float = 0.0
    ended: float = UNKNOWN
    who: str = ""

    @property
    def answered(self) -> bool:
        """Whether the client knows the outcome."""
        return self.ended != UNKNOWN


def after(state: State, operation: Operation) -> tuple[bool, State]:
    """Whether the answer fits the state, and the state that follows."""
    kind, argument = operation.kind, operation.argument
    answer: Any
    if kind == READ:
        answer, following = state, state
    elif kind == WRITE:
        answer, following = operation.answer, argument
    elif kind == ADD:
        assert not isinstance(state, bytes)
        answer = following = (state or 0) + argument
    else:
        expected, new = argument
        answer = state == expected
        following = new if answer else state
    return not operation.answered or answer == operation.answer, following


class _Entry:
    """A call or its end, in a list doubly linked by time. Ends have no ``end``."""

    __slots__ = ("before", "bit", "end", "next", "operation", "twin")

    def __init__(self, bit: int, operation: Operation, end: _Entry | None) -> None:
        self.bit = bit
        self.operation = operation
        self.end = end
        self.twin = 0  # the bit of an earlier call that is the same and may be taken in its place
        self.before: _Entry = self
        self.next: _Entry | None = None


def _entries(history: Sequence[Operation]) -> _Entry:
    """The list; its first entry is no call. Calls come before ends of the same moment: they overlap."""
    timed: list[tuple[float, int, _Entry]] = []
    twins: dict[Any, int] = {}
    for number, operation in enumerate(sorted(history, key=lambda each: each.begun)):
        end = _Entry(0, operation, None) if operation.answered else None
        call = _Entry(1 << number, operation, end)
        timed.append((operation.begun, 0, call))
        if end is not None:
            timed.append((operation.ended, 1, end))
        else:  # of equal ones without an answer the first is as good as any
            same = (operation.kind, operation.argument)
            call.twin = twins.get(same, 0)
            twins[same] = call.bit
    head = last = _Entry(0, Operation(READ), None)
    for _, _, entry in sorted(timed, key=lambda each: each[:2]):
        last.next, entry.before = entry, last
        last = entry
    return head


def _lift(call: _Entry) -> None:
    for entry in (call, call.end):
        if entry is not None:
            entry.before.next = entry.next
            if entry.next is not None:
                entry.next.before = entry.before


def _put_back(call: _Entry) -> None:
    for entry in (call.end, call):
        if entry is not None:
            entry.before.next = entry
            if entry.next is not None:
                entry.next.before = entry


def is_linearizable(history: Sequence[Operation], initial: State = None) -> bool:
    """Whether there is such an order, beginning with ``initial``."""
    useful = [each for each in history if each.answered or each.kind != READ]
    head = _entries(useful)
    ends = sum(each.answered for each in useful)
    state, taken = initial, 0
    way: list[tuple[_Entry, State]] = []
    tried: set[tuple[int, State]] = set()
    entry = head.next
    while ends:
        assert entry is not None  # an answered operation's end is still in the list
        if entry.bit == 0:  # everything that may come before this end was tried
            if not way:
                return False
            call, state = way.pop()
            taken &= ~call.bit
            ends += call.end is not None
            _put_back(call)
            entry = call.next
            continue
        fits, following = after(state, entry.operation)
        idle = not entry.operation.answered and following == state  # it need not have happened
        if fits and not idle and not entry.twin & ~taken:
            key = (taken | entry.bit, following)
            if key not in tried:
                tried.add(key)
                way.append((entry, state))
                taken, state = key
                ends -= entry.end is not None
                _lift(entry)
                entry = head.next
                continue
        entry = entry.next
    return True


class Recorder:
    """Histories of rows, written down while they happen. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        self._rows: dict[bytes, list[Operation]] = defaultdict(list)
        self.answered = self.unknown = 0

    def call(
        self, who: str, row: bytes, kind: str, argument: Any, act: Callable[[], Any], *errors: type[Exception]
    ) -> Any:
        """Carry an operation out and write down how it went; ``None`` after one of ``errors``."""
        begun = self.clock()
        try:
            answer = act()
        except errors:
            self.note(row, Operation(kind, argument, None, begun, UNKNOWN, who))
            return None
        self.note(row, Operation(kind, argument, answer, begun, self.clock(), who))
        return answer

    def note(self, row: bytes, operation: Operation) -> None:
        """Write an operation down."""
        with self._lock:
            self._rows[row].append(operation)
            self.answered += operation.answered
            self.unknown += not operation.answered

    def rows(self) -> dict[bytes, list[Operation]]:
        """Every row's history so far."""
        with self._lock:
            return {row: list(history) for row, history in self._rows.items()}


def counter_bounds(history: Iterable[Operation]) -> tuple[int, int]:
    """The least and the most that additions can have made of a counter: nothing lost, nothing twice."""
    added = [each for each in history if each.kind == ADD]
    least = sum(each.argument for each in added if each.answered)
    return least, least + sum(each.argument for each in added if not each.answered)


def text_of(history: Iterable[Operation]) -> str:
    """For people, one operation a line."""
    return "\n".join(
        f"{each.begun:.4f} – {each.ended:.4f}  {each.who:<12} {each.kind} {each.argument!r}"
        + (f" → {each.answer!r}" if each.answered else "  unknown")
        for each in sorted(history, key=lambda each: each.begun)
    )
