"""Many reads or actions at once: split by region and server, asked in parallel, each with its own outcome.

What fails in a way that may pass is asked again, alone; the others keep their outcomes. A mutation keeps its
nonce over all attempts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from hyperbase.client.network.commands import Call, Calls, Parts, Sleep, Steps
from hyperbase.client.network.locator import Locator
from hyperbase.client.network.nonces import Nonces
from hyperbase.client.network.regions import Place, Regions
from hyperbase.client.network.retries import Retries, is_final, may_have_moved
from hyperbase.common.errors import (
    DoNotRetryIOException,
    HBaseIOException,
    NotServingRegionException,
    RetriesExhaustedException,
)
from hyperbase.common.model import (
    Action,
    Append,
    CheckAndMutate,
    Delete,
    Get,
    Increment,
    Mutation,
    Put,
    Result,
    RowMutations,
)
from hyperbase.common.wire.faults import decode_fault
from hyperbase.common.wire.messages import OK, Method
from hyperbase.common.wire.model_codec import (
    decode_result,
    decode_results,
    encode_action,
    encode_get,
    join_pieces,
)

FRAME_ROWS = 4096  # most of one request
FRAME_BYTES = 4 * 1024 * 1024  # of keys and values in one request, about

Outcome = Any  # Result | tuple[bool, Result | None] | Exception | None


def get_many(locator: Locator, table: str, gets: Sequence[Get], retries: Retries) -> Steps[list[Result]]:
    """One Result per Get, in order.

    Raises:
        HBaseIOException: of the first Get that failed.
    """
    out: list[Result] = []
    for begin in range(0, len(gets), FRAME_ROWS):
        part = gets[begin : begin + FRAME_ROWS]
        wire = [get.row if is_plain(get) else encode_get(get) for get in part]
        scatter = _Scatter(Method.GET_MANY, [get.row for get in part], wire, _read_results)
        for outcome in (yield from scatter.steps(locator, table, retries)):
            if isinstance(outcome, Exception):
                raise outcome
            out.append(outcome)
        retries.succeeded()
    return out


def is_plain(get: Get) -> bool:
    """Whether the Get asks for the newest version of every column, and nothing else."""
    return (
        get.columns is None
        and get.versions == 1
        and get.time_range is None
        and get.filter is None
        and get.store_limit is None
        and not get.store_offset
        and get.family_time_ranges is None
    )


def run_batch(
    locator: Locator, nonces: Nonces, table: str, actions: Sequence[Action], retries: Retries
) -> Steps[list[Outcome]]:
    """One outcome per action, in order."""
    out: list[Outcome] = []
    for part in _slices(actions):
        if retries.exhausted is not None:  # the other parts would wait as long, one after the other
            out += [retries.exhausted] * len(part)
            continue
        out += yield from _run_slice(locator, nonces, table, part, retries)
        retries.succeeded()
    return out


def _run_slice(
    locator: Locator, nonces: Nonces, table: str, actions: Sequence[Action], retries: Retries
) -> Steps[list[Outcome]]:
    outcomes: list[Outcome] = [None] * len(actions)
    numbers: list[int] = []
    sent: list[int] = []
    wire: list[Any] = []
    try:
        for index, action in enumerate(actions):
            try:
                fields = encode_action(action)
            except HBaseIOException as error:  # a filter that no server knows
                outcomes[index] = error
                continue
            nonce = None
            if not isinstance(action, Get):
                nonce = nonces.new()
                numbers.append(nonce[0])
            sent.append(index)
            wire.append((fields, nonce))
        chosen = [actions[index] for index in sent]
        rows = [action.row for action in chosen]
        scatter = _Scatter(
            Method.MULTI, rows, wire, lambda answer, item: _read_outcomes(chosen, answer, item)
        )
        for index, outcome in zip(sent, (yield from scatter.steps(locator, table, retries)), strict=True):
            outcomes[index] = outcome
    finally:
        for number in numbers:
            nonces.done(number)
    return outcomes


def _slices(actions: Sequence[Action]) -> Iterator[Sequence[Action]]:
    begin = size = 0
    for end, action in enumerate(actions, 1):
        size += _weight(action)
        if size >= FRAME_BYTES or end - begin >= FRAME_ROWS:
            yield actions[begin:end]
            begin, size = end, 0
    if begin < len(actions):
        yield actions[begin:]


def _weight(action: Action | Mutation) -> int:
    """About how many bytes the action is on the wire."""
    if isinstance(action, Put):
        return sum(len(cell[1]) + len(cell[3]) for cell in action.cells) + 16 * len(action.cells) + 64
    if isinstance(action, Append):
        return sum(len(cell[1]) + len(cell[2]) for cell in action.cells) + 64
    if isinstance(action, RowMutations):
        return sum(map(_weight, action.mutations)) + 64
    if isinstance(action, CheckAndMutate) and action.action is not None:
        return _weight(action.action) + len(action.value or b"") + 64
    if isinstance(action, Delete):
        return 32 * len(action.markers) + 64
    if isinstance(action, Increment):
        return 32 * len(action.amounts) + 64
    return 256


# What a group's answer says of its items: ``(outcome, whether more of it follows)`` for each.
# The items are those that no outcome was read for yet.
_Reader = Callable[[Any, "deque[int]"], Iterable[tuple[Outcome, bool]]]


def _read_results(chunk: Any, _: deque[int]) -> Iterable[tuple[Outcome, bool]]:
    return ((result, result.partial) for result in decode_results(chunk))


def _read_outcomes(
    actions: Sequence[Action], outcomes: Any, items: deque[int]
) -> Iterable[tuple[Outcome, bool]]:
    for kind, payload in outcomes:
        if not items:
            return
        action = actions[items[0]]
        if kind == OK and isinstance(action, Get):
            result = decode_result(action.row, payload)
            yield result, result.partial
            if result.partial:
                continue
        elif kind != OK:
            yield decode_fault(payload), False
        elif isinstance(action, (Put, Delete)):
            yield None, False
        elif isinstance(action, CheckAndMutate):
            yield read_check(action.row, payload), False
        else:
            yield decode_result(action.row, payload), False
        items.popleft()


def read_check(row: bytes, payload: Any) -> tuple[bool, Result | None]:
    """The answer of CHECK."""
    held, result = payload
    return bool(held), None if result is None else decode_result(row, result)


_Group = tuple[Place, list[int]]  # a region, and the items for it


class _Scatter:
    """The items of one request, and what became of them."""

    def __init__(self, method: int, rows: Sequence[bytes], wire: Sequence[Any], read: _Reader) -> None:
        self._method = int(method)
        self._rows = rows
        self._wire = wire
        self._read = read
        self._outcomes: list[Outcome] = [None] * len(rows)

    def steps(self, locator: Locator, table: str, retries: Retries) -> Steps[list[Outcome]]:
        """Ask until every item has an outcome."""
        waiting: list[int] = list(range(len(self._rows)))
        while waiting:
            trouble: HBaseIOException | None = None
            try:
                rows = [self._rows[item] for item in waiting]
                regions = yield from locator.regions(table, retries, rows)
            except HBaseIOException as error:
                trouble = error
                if isinstance(error, DoNotRetryIOException):
                    raise
            else:
                servers, homeless, trouble = self._by_server(waiting, regions)
                answers = yield Calls([self._call(*server, retries.deadline) for server in servers.items()])
                waiting, failed = self._take(locator, servers, answers)
                waiting += homeless
                trouble = failed or trouble
            if trouble is None:
                continue
            try:
                pause = retries.after(trouble)
            except RetriesExhaustedException as exhausted:
                for item in waiting:
                    self._outcomes[item] = exhausted
                break
            yield Sleep(pause)
        return self._outcomes

    def _by_server(
        self, waiting: Sequence[int], regions: Regions
    ) -> tuple[dict[str, list[_Group]], list[int], HBaseIOException | None]:
        """By address; the items of regions that nobody serves at the moment, and that as an error."""
        rows = self._rows
        groups: dict[bytes, _Group] = {}
        for item in waiting:
            place = regions.of(rows[item])
            group = groups.get(place.start_key)
            if group is None:
                group = groups[place.start_key] = (place, [])
            group[1].append(item)
        servers: dict[str, list[_Group]] = {}
        homeless: list[int] = []
        trouble: HBaseIOException | None = None
        for place, items in groups.values():
            if self._method == Method.GET_MANY:
                items.sort(key=rows.__getitem__)  # neighbours are in one block
            try:
                servers.setdefault(place.where(), []).append((place, items))
            except NotServingRegionException as error:
                homeless += items
                trouble = error
        return servers, homeless, trouble

    def _call(self, address: str, groups: Sequence[_Group], deadline: float | None) -> Call:
        wire = [(place.id16, [self._wire[item] for item in items]) for place, items in groups]
        return Call(address, self._method, (wire,), deadline)

    def _take(
        self, locator: Locator, servers: dict[str, list[_Group]], answers: Sequence[Any]
    ) -> tuple[list[int], HBaseIOException | None]:
        """Note the outcomes; returns the items to ask for again, and why."""
        again: list[int] = []
        trouble: HBaseIOException | None = None
        for groups, answer in zip(servers.values(), answers, strict=True):
            if isinstance(answer, HBaseIOException):
                found: dict[int, Any] = dict.fromkeys(range(len(groups)), answer)
            else:
                found = self._group_outcomes(groups, answer)
            for index, (place, items) in enumerate(groups):
                outcomes = found.get(index)
                for position, item in enumerate(items):
                    outcome = outcomes[position] if isinstance(outcomes, list) else outcomes
                    if isinstance(outcome, HBaseIOException) and not is_final(outcome):
                        again.append(item)
                        locator.failed(place, outcome)
                        if trouble is None or may_have_moved(outcome):
                            trouble = outcome
                    else:
                        self._outcomes[item] = outcome
        return again, trouble

    def _group_outcomes(self, groups: Sequence[_Group], answer: Any) -> dict[int, Any]:
        """By group: its error, or the list of its items' outcomes."""
        pieces: list[Any] = answer
        if type(answer) is Parts:
            pieces = [piece for part in (*answer.items, answer.end or ()) for piece in part]
        found: dict[int, Any] = {}
        unread = {index: deque(items) for index, (_, items) in enumerate(groups)}
        held: dict[int, list[Result]] = {}
        for index, kind, payload in pieces:
            if kind != OK:
                found[index] = decode_fault(payload)
                continue
            outcomes = found.setdefault(index, [])
            for outcome, more in self._read(payload, unread[index]):
                if more:
                    held.setdefault(index, []).append(outcome)
                elif index in held:
                    outcomes.append(join_pieces([*held.pop(index), outcome]))
                else:
                    outcomes.append(outcome)
        for index, (_, items) in enumerate(groups):
            outcomes = found.get(index)
            if not isinstance(outcomes, Exception) and len(outcomes or ()) != len(items):
                found[index] = DoNotRetryIOException(
                    "the server's answer has not one outcome for each action"
                )
        return found
