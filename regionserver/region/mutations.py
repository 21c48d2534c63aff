"""Row operations that read before they write: deletes of the newest version, increments, appends,
check-and-mutate, row mutations. Each runs under the region's lock from its read to its log append.

Source: the behaviour of HBase 2.6, but for the stamps of increments and appends (see DESIGN notes in
ARCHITECTURE.md): ``max(now, the old cell's)``.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hyperbase.common.errors import DoNotRetryIOException, IllegalArgumentException, ReadOnlyException
from hyperbase.common.model import (
    Append,
    CheckAndMutate,
    CompareOperator,
    Delete,
    Durability,
    Get,
    Increment,
    Mutation,
    Put,
    Result,
    RowMutations,
    TimeRange,
)
from regionserver.region.commit import Commit
from regionserver.region.lowering import KEY_VALUE_OVERHEAD, RawCell
from regionserver.region.nonces import Nonce
from regionserver.region.region import Region
from regionserver.storage.cells import DELETE, PUT
from regionserver.storage.edits import GENERAL, LoweredRow

_COUNTER = struct.Struct(">q")
_WRAP = 1 << 64


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """What check-and-mutate answers."""

    success: bool
    result: Result | None


def submit_mutation(region: Region, mutation: Mutation | RowMutations, nonce: Nonce | None = None) -> Commit:
    """Apply one mutation; ``Commit.wait()`` gives its Result, ``None`` for a Put or Delete."""
    if isinstance(mutation, Put):
        return region.submit_rows([region.lowering.put(mutation)], mutation.durability, nonce)
    if isinstance(mutation, Delete) and not mutation.needs_read:
        return region.submit_rows([delete_row(region, mutation)], mutation.durability, nonce)
    return _submit(region, [mutation], (), nonce)


def submit_check(region: Region, check: CheckAndMutate, nonce: Nonce | None = None) -> Commit:
    """``Commit.wait()`` gives a ``CheckOutcome``."""
    if check.action is None:
        raise DoNotRetryIOException("CheckAndMutate has nothing to do: end it with then(mutation)")
    return _submit(region, [check.action], [check], nonce, checked=True)


def mutate_rows(
    region: Region,
    mutations: Sequence[Mutation | RowMutations],
    conditions: Sequence[CheckAndMutate] = (),
) -> Commit:
    """Several rows of one region, all or none, in one log record, when every condition holds.

    ``Commit.wait()`` gives a ``CheckOutcome``.
    """
    return _submit(region, mutations, conditions, None, checked=True)


def _general(row: bytes, cells: Sequence[RawCell]) -> LoweredRow:
    return row, GENERAL, tuple(cells), None, 0


def delete_row(region: Region, delete: Delete) -> LoweredRow:
    """A Delete whose markers need no read, lowered."""
    return _general(delete.row, region.lowering.delete_cells(delete))


def _submit(
    region: Region,
    mutations: Sequence[Mutation | RowMutations],
    conditions: Sequence[CheckAndMutate],
    nonce: Nonce | None,
    checked: bool = False,
) -> Commit:
    if region.services.wal is None:
        raise ReadOnlyException("the store was opened read-only")
    prepared = [_prepare(region, mutation) for mutation in mutations]
    region.services.admit(region)
    with region.lock:
        region.check_rows([row for row, _ in prepared])
        now = region.stamp([_general(row, ()) for row, _ in prepared])
        if nonce is not None:
            client, number, _ = nonce
            assert isinstance(number, int)
            known, answer = region.nonces.seen(client, number)
            if known:
                return region.answered(_answer_value(answer, checked))
        for condition in conditions:
            if not _holds(region, condition):
                return region.answered(CheckOutcome(False, None))
        rows: list[LoweredRow] = []
        result: Result | None = None
        durability = Durability.SKIP_WAL
        default = region.descriptor.durability or Durability.SYNC_WAL
        for row, steps in prepared:
            cells, answer_cells = _apply_steps(region, row, steps, now)
            if answer_cells is not None:
                result = _result(row, answer_cells)
            rows.append(_general(row, cells))
            # The strictest one wins; the default has to be resolved before it can be compared.
            durability = max([durability, *(step.durability or default for step in steps)])
        outcome: Any = CheckOutcome(True, result) if checked else result
        answer = None if result is None else [result.row, list(result.names), list(result.values)]
        return region.append(rows, now, durability, nonce, outcome, answer)


def _answer_value(answer: Any, checked: bool) -> Any:
    result = None if answer is None else Result(answer[0], tuple(answer[1]), tuple(answer[2]))
    return CheckOutcome(True, result) if checked else result


def _prepare(region: Region, mutation: Mutation | RowMutations) -> tuple[bytes, list[Mutation]]:
    """Refuse what can be refused before anything is read or written."""
    steps = list(mutation.mutations) if isinstance(mutation, RowMutations) else [mutation]
    if not steps:
        raise DoNotRetryIOException("RowMutations holds no mutation")
    lowering = region.lowering
    for step in steps:
        if isinstance(step, Put):
            lowering.put_cells(step)
        elif isinstance(step, Delete):
            lowering.delete_cells(step)
        elif isinstance(step, Increment):
            if not step.amounts:
                _raise_no_columns("Increment")
            for family, _, _ in step.amounts:
                lowering.check_family(family)
        elif isinstance(step, Append):
            if not step.cells:
                _raise_no_columns("Append")
            for family, _, _ in step.cells:
                lowering.check_family(family)
        else:
            raise TypeError(f"not a mutation: {step!r}")
    return mutation.row, steps


def _raise_no_columns(what: str) -> None:
    """An Increment or Append without a column."""
    raise IllegalArgumentException(f"Invalid arguments to {what}, zero columns specified")


def _apply_steps(
    region: Region, row: bytes, steps: Sequence[Mutation], now: int
) -> tuple[list[RawCell], list[RawCell] | None]:
    """The cells that the steps write, and those an increment or append answers (``None``: no answer)."""
    cells: list[RawCell] = []
    answers: list[RawCell] | None = None
    for step in steps:
        if isinstance(step, Put):
            cells += region.lowering.put_cells(step)
        elif isinstance(step, Delete):
            cells += _resolve_newest(region, row, region.lowering.delete_cells(step))
        elif isinstance(step, Increment):
            added = _increment(region, step, now)
            cells += added
            answers = (answers or []) + added
        elif isinstance(step, Append):
            added = _append(region, step, now)
            cells += added
            answers = (answers or []) + (added if step.return_results else [])
    return cells, answers


def _result(row: bytes, cells: Sequence[RawCell]) -> Result:
    return Result(
        row,
        [cell[0] + b":" + cell[1] for cell in cells],
        [cell[4] for cell in cells],
        [cell[2] or 0 for cell in cells],
    )


def _resolve_newest(region: Region, row: bytes, cells: list[RawCell]) -> list[RawCell]:
    """Give each DELETE without a timestamp that of the k-th newest version, k counting its repeats."""
    wanted = Counter((cell[0], cell[1]) for cell in cells if cell[3] == DELETE and cell[2] is None)
    if not wanted:
        return cells
    stamps: dict[tuple[bytes, bytes], list[int]] = {}
    for (family, qualifier), count in wanted.items():
        found = region.get_newest(Get(row, columns=[family + b":" + qualifier], versions=count))
        stamps[family, qualifier] = list(found.timestamp_list())
    resolved: list[RawCell] = []
    for cell in cells:
        column = (cell[0], cell[1])
        if cell[3] == DELETE and cell[2] is None and stamps.get(column):
            cell = (cell[0], cell[1], stamps[column].pop(0), cell[3], cell[4], cell[5])
        resolved.append(cell)
    return resolved


def _current(
    region: Region, row: bytes, columns: Sequence[tuple[bytes, bytes]], span: TimeRange | None
) -> dict[bytes, tuple[bytes, int]]:
    names = [family + b":" + qualifier for family, qualifier in columns]
    return region.get_newest(Get(row, columns=names, time_range=span)).to_dict_with_timestamps()


def _increment(region: Region, step: Increment, now: int) -> list[RawCell]:
    found = _current(region, step.row, [(f, q) for f, q, _ in step.amounts], step.time_range)
    cells: list[RawCell] = []
    for family, qualifier, amount in step.amounts:
        value, stamp = found.get(family + b":" + qualifier, (None, now))
        before = 0
        if value is not None:
            if len(value) != 8:
                raise DoNotRetryIOException(f"Field is not a long, it's {len(value)} bytes wide")
            before = _COUNTER.unpack(value)[0]
        total = (before + amount + (_WRAP >> 1)) % _WRAP - (_WRAP >> 1)
        cells.append((family, qualifier, max(now, stamp), PUT, _COUNTER.pack(total), step.ttl_ms or 0))
    return cells


def _append(region: Region, step: Append, now: int) -> list[RawCell]:
    found = _current(region, step.row, [(f, q) for f, q, _ in step.cells], step.time_range)
    limit = region.services.config.max_key_value_bytes
    cells: list[RawCell] = []
    for family, qualifier, suffix in step.cells:
        value, stamp = found.get(family + b":" + qualifier, (b"", now))
        size = KEY_VALUE_OVERHEAD + len(step.row) + len(family) + len(qualifier) + len(value) + len(suffix)
        if 0 < limit < size:
            raise DoNotRetryIOException(
                f"Cell with size {size} exceeds limit of {limit} bytes in region {region.name}"
            )
        cells.append((family, qualifier, max(now, stamp), PUT, value + suffix, step.ttl_ms or 0))
    return cells


def _holds(region: Region, check: CheckAndMutate) -> bool:
    """GIVEN op STORED; an absent or empty cell satisfies only the not-exists check."""
    if check.column is None:
        get = Get(check.row, filter=check.filter, time_range=check.time)
        return bool(region.get_newest(get))
    region.lowering.check_family(check.column[0])
    name = check.column[0] + b":" + check.column[1]
    found = region.get_newest(Get(check.row, columns=[name], time_range=check.time))
    stored = found.values[0] if found else None
    given, op = check.value, check.op
    if not given:  # every operator but NOT_EQUAL then means "absent or empty"
        return bool(stored) == (op is CompareOperator.NOT_EQUAL)
    if stored is None:
        return False
    return {
        CompareOperator.LESS: given < stored,
        CompareOperator.LESS_OR_EQUAL: given <= stored,
        CompareOperator.EQUAL: given == stored,
        CompareOperator.NOT_EQUAL: given != stored,
        CompareOperator.GREATER_OR_EQUAL: given >= stored,
        CompareOperator.GREATER: given > stored,
    }.get(op or CompareOperator.NO_OP, False)
