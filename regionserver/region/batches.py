"""Several actions on one region, submitted together: one sync, and an outcome for each.

Order is HBase's: Gets see the state before the batch, puts and deletes go as one group with one timestamp,
the rest follows one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hyperbase.common.errors import DoNotRetryIOException, HBaseIOException
from hyperbase.common.model import Action, CheckAndMutate, Delete, Durability, Get, Put, Result, RowMutations
from regionserver.region.commit import Commit
from regionserver.region.lowering import largest_key_value
from regionserver.region.mutations import CheckOutcome, delete_row, submit_check, submit_mutation
from regionserver.region.nonces import Nonce
from regionserver.region.region import Region
from regionserver.storage.edits import LoweredRow

UNSYNCED_STEPS = 256  # of a batch: until they are synced, a hot row cannot be folded and costs ever more

Outcome = Result | tuple[bool, Result | None] | Exception | None


def run_actions(region: Region, actions: Sequence[Action], nonces: Sequence[Nonce | None]) -> list[Outcome]:
    """Carry out the actions and wait until they are durable; what failed has its exception as outcome."""
    outcomes: list[Outcome] = [None] * len(actions)
    pending: list[tuple[int, Commit]] = []
    for index, action in enumerate(actions):
        if isinstance(action, Get):
            outcomes[index] = attempt(lambda get=action: region.get(get))  # type: ignore[misc]
    _refuse_with_oversized(region, actions, outcomes)
    _submit_simple(region, actions, nonces, outcomes, pending)
    for index, action in enumerate(actions):
        if isinstance(action, Get) or is_simple(action) or outcomes[index] is not None:
            continue
        submit = submit_check if isinstance(action, CheckAndMutate) else submit_mutation
        found = attempt(lambda a=action, s=submit, n=nonces[index]: s(region, a, n))  # type: ignore[misc]
        if isinstance(found, Commit):
            pending.append((index, found))
            if len(pending) % UNSYNCED_STEPS == 0:
                attempt(found.wait)
        else:
            outcomes[index] = found
    for index, commit in pending:
        outcomes[index] = _answer(actions[index], attempt(commit.wait))
    return outcomes


def is_simple(action: Action) -> bool:
    """A Put, or a Delete that needs no read."""
    return isinstance(action, Put) or (isinstance(action, Delete) and not action.needs_read)


def attempt(call: Callable[[], Any]) -> Any:
    """The call's answer, or the exception it raised: a batch reports per action."""
    try:
        return call()
    except HBaseIOException as error:
        return error


def _answer(action: Action, answer: Any) -> Outcome:
    if isinstance(answer, CheckOutcome):
        return answer.success, answer.result
    if answer is None and isinstance(action, RowMutations):
        return Result(action.row)
    found: Outcome = answer
    return found


def _refuse_with_oversized(region: Region, actions: Sequence[Action], outcomes: list[Outcome]) -> None:
    """A cell that is too large fails every put and delete of the batch, as HBase's server does it."""
    limit = region.lowering.max_key_value_bytes
    for action in actions:
        size = largest_key_value(action) if isinstance(action, Put) else 0
        if size > limit > 0:
            error = DoNotRetryIOException(
                f"Cell of row {action.row!r} with size {size} exceeds limit of {limit} bytes "
                "(max_key_value_bytes); no put and no delete of the batch in its region was applied"
            )
            for index, refused in enumerate(actions):
                if isinstance(refused, (Put, Delete)):
                    outcomes[index] = error
            return


def _submit_simple(
    region: Region,
    actions: Sequence[Action],
    nonces: Sequence[Nonce | None],
    outcomes: list[Outcome],
    pending: list[tuple[int, Commit]],
) -> None:
    """Puts and Deletes in one group for each durability."""
    groups: dict[Durability, list[tuple[int, LoweredRow]]] = {}
    for index, action in enumerate(actions):
        if not is_simple(action) or outcomes[index] is not None:
            continue
        assert isinstance(action, (Put, Delete))
        try:
            row = region.lowering.put(action) if isinstance(action, Put) else delete_row(region, action)
            region.check_range(action.row)
        except HBaseIOException as error:
            outcomes[index] = error
            continue
        groups.setdefault(action.durability, []).append((index, row))
    for durability, rows in groups.items():
        nonce = _group_nonce([nonces[index] for index, _ in rows])
        found = attempt(
            lambda g=rows, d=durability, n=nonce: region.submit_rows([row for _, row in g], d, n)  # type: ignore[misc]
        )
        for index, _ in rows:
            if isinstance(found, Commit):
                pending.append((index, found))
            else:
                outcomes[index] = found


def _group_nonce(nonces: Sequence[Nonce | None]) -> Nonce | None:
    known = [nonce for nonce in nonces if nonce is not None]
    if not known or len(known) != len(nonces):
        return None
    numbers = tuple(int(number) for _, number, _ in known if isinstance(number, int))
    return known[0][0], numbers, min(oldest for _, _, oldest in known)
