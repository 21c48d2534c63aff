"""Plain puts of many rows: one request for each server, one group with one nonce for each region.

A group whose outcome is unknown is sent again with its number. When its region was split meanwhile, each part
gets a number of its own and names the group's (``also``): a daughter that inherited the group's number has
applied the part already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from hyperbase.client.network.commands import Call, Calls, Sleep, Steps
from hyperbase.client.network.locator import Locator
from hyperbase.client.network.nonces import Nonces
from hyperbase.client.network.regions import Place, Regions
from hyperbase.client.network.retries import Retries, is_final, may_have_moved, outcome_unknown
from hyperbase.client.network.scatter import FRAME_BYTES, FRAME_ROWS
from hyperbase.common.errors import (
    DoNotRetryIOException,
    HBaseIOException,
    IllegalArgumentException,
    NotServingRegionException,
    RetriesExhaustedException,
    RetriesExhaustedWithDetailsException,
)
from hyperbase.common.model import MAX_ROW_LENGTH, Durability
from hyperbase.common.wire.faults import decode_fault
from hyperbase.common.wire.messages import OK, Method
from hyperbase.common.wire.model_codec import encode_rows

RowData = tuple[bytes, Mapping[bytes, bytes]]
Failures = list[tuple[bytes, Exception]]

KEY_VALUE_OVERHEAD = 20  # HBase's KeyValue: lengths, timestamp and type around its parts
MAX_CHECKED_NAME = 65_536  # columns with longer names are left to the server
_PUT_ROWS = int(Method.PUT_ROWS)


def put_rows(
    locator: Locator,
    nonces: Nonces,
    table: str,
    rows: Sequence[RowData],
    timestamp: int | None,
    durability: Durability,
    retries: Retries,
) -> Steps[None]:
    """Write the rows.

    Raises:
        RetriesExhaustedWithDetailsException: some were refused, the others are written.
        HBaseIOException: the one row's error, or why none was written.
    """
    check_sizes(rows, retries.config.max_key_value_bytes)
    failures: Failures = []
    written = 0
    fatal: HBaseIOException | None = None
    for part in _slices(rows):
        if retries.exhausted is not None:  # the other parts would wait as long, one after the other
            failures += [(row, retries.exhausted) for row, _ in part]
            continue
        run = _PutRun(nonces, part, timestamp, int(durability))
        yield from run.steps(locator, table, retries)
        failures += run.failures
        written += run.written
        fatal = fatal or run.fatal
        retries.succeeded()
    if not failures:
        return
    if len(rows) == 1:
        raise failures[0][1]
    if fatal is not None and not written:
        raise fatal
    raise RetriesExhaustedWithDetailsException(failures)


def check_sizes(rows: Sequence[RowData], limit_bytes: int) -> None:
    """Refuse them all when one has a cell that no server takes, as HBase's client does."""
    limit_bytes -= KEY_VALUE_OVERHEAD
    if limit_bytes <= 0 or sum(map(len, chain.from_iterable(data.values() for _, data in rows))) < (
        limit_bytes - MAX_ROW_LENGTH - MAX_CHECKED_NAME
    ):
        return
    for row, data in rows:
        for name, value in data.items():
            size = len(row) + len(name) - 1 + len(value)
            if size > limit_bytes:
                raise IllegalArgumentException(
                    f"KeyValue size too large: {size + KEY_VALUE_OVERHEAD} bytes with its key, at most "
                    f"{limit_bytes + KEY_VALUE_OVERHEAD} (max_key_value_bytes); nothing was written"
                )


def one_row(
    place: Place, row: RowData, nonce: tuple[int, int], timestamp: int | None, durability: Durability
) -> tuple[Any, ...]:
    """The arguments of PUT_ROWS for one row: the first attempt of the shortest way."""
    key, data = row
    group = (place.id16, (tuple(data),), ((key, 0, tuple(data.values())),), nonce)
    return (group,), timestamp, int(durability)


def read_one(answer: Any) -> HBaseIOException | None:
    """Why the row of ``one_row`` was not written."""
    if len(answer) == 1:
        _, kind, payload = answer[0]
        return None if kind == OK else decode_fault(payload)
    return DoNotRetryIOException("the server's answer lacks the outcome of some rows")


def resume_one(
    locator: Locator,
    nonces: Nonces,
    table: str,
    row: RowData,
    timestamp: int | None,
    durability: Durability,
    retries: Retries,
    used: Place,
    number: int,
    error: HBaseIOException,
) -> Steps[None]:
    """Go on after a first attempt that failed, with the number it had."""
    run = _PutRun(nonces, [row], timestamp, int(durability))
    run.begin(used, number)
    yield from run.steps(locator, table, retries, error)
    if run.failures:
        raise run.failures[0][1]


def _slices(rows: Sequence[RowData]) -> Iterator[Sequence[RowData]]:
    """The rows in parts that fit a frame."""
    for begin in range(0, len(rows), FRAME_ROWS):
        part = rows[begin : begin + FRAME_ROWS] if len(rows) > FRAME_ROWS else rows
        size = sum(map(len, chain.from_iterable(data.values() for _, data in part)))
        if size <= FRAME_BYTES:
            yield part
            continue
        first = weight = 0
        for index, (_, data) in enumerate(part):
            row_bytes = sum(map(len, data.values()))
            if index > first and weight + row_bytes > FRAME_BYTES:
                yield part[first:index]
                first, weight = index, 0
            weight += row_bytes
        yield part[first:]


class _Group:
    """Rows of one region that are written together."""

    __slots__ = ("also", "number", "place", "rows", "uncertain", "wire")

    def __init__(self, place: Place, rows: Sequence[RowData], number: int, also: tuple[int, ...]) -> None:
        self.place = place
        self.rows = rows
        self.number = number
        self.also = also  # the numbers of groups that this one is a part of, and that may have been applied
        self.uncertain = False  # it may have been applied
        self.wire = encode_rows(rows)


class _PutRun:
    """One request's rows, until each is written or refused."""

    def __init__(
        self, nonces: Nonces, rows: Sequence[RowData], timestamp: int | None, durability: int
    ) -> None:
        self._nonces = nonces
        self._rows = rows
        self._timestamp = timestamp
        self._durability = durability
        self._numbers: list[int] = []
        self._first: list[_Group] = []
        self.failures: Failures = []  # in the order of the rows
        self.written = 0
        self.fatal: HBaseIOException | None = None  # the reason of a whole group

    def begin(self, place: Place, number: int) -> None:
        """All rows were sent to one region already, with this number."""
        self._numbers.append(number)
        self._first = [_Group(place, self._rows, number, ())]

    def steps(
        self,
        locator: Locator,
        table: str,
        retries: Retries,
        trouble: HBaseIOException | None = None,
    ) -> Steps[None]:
        """Write, and try again where that can help; ``trouble`` is what ``begin``'s attempt ended with."""
        groups = self._first
        fresh: Sequence[RowData] = () if groups else self._rows
        if trouble is not None:
            groups = [group for group in groups if self._settle(locator, group, trouble)]
        try:
            while groups or fresh:
                if trouble is None:
                    try:
                        wanted = chain(fresh, *(group.rows for group in groups))
                        regions = yield from locator.regions(table, retries, (row for row, _ in wanted))
                    except HBaseIOException as error:
                        trouble = error
                    else:
                        groups = self._placed(groups, fresh, regions)
                        fresh = ()
                        servers, homeless, trouble = _by_server(groups)
                        calls = [self._call(*server, retries.deadline) for server in servers.items()]
                        groups, failed = self._take(locator, servers, (yield Calls(calls)))
                        groups += homeless
                        trouble = failed or trouble
                if trouble is None:
                    continue
                try:
                    pause = retries.after(trouble)
                except RetriesExhaustedException as exhausted:
                    for rows in (fresh, *(group.rows for group in groups)):
                        self._fail(rows, exhausted)
                    break
                trouble = None
                yield Sleep(pause)
        finally:
            for number in self._numbers:
                self._nonces.done(number)
        if len(self.failures) > 1:
            order = {row: index for index, (row, _) in enumerate(self._rows)}
            self.failures.sort(key=lambda failure: order.get(failure[0], 0))

    def _placed(self, groups: Sequence[_Group], fresh: Sequence[RowData], regions: Regions) -> list[_Group]:
        """The groups as the table's regions are now."""
        out = [self._new_group(place, rows, ()) for place, rows in _by_region(fresh, regions)]
        for group in groups:
            place = regions.of(group.rows[0][0])
            if place.id16 == group.place.id16:
                group.place = place
                out.append(group)
                continue
            parts = _by_region(group.rows, regions)
            if len(parts) == 1:  # one daughter has all of the rows, and knows the group's number
                group.place = place
                out.append(group)
                continue
            also = (*group.also, group.number) if group.uncertain else group.also
            out += [self._new_group(where, rows, also) for where, rows in parts]
        return out

    def _new_group(self, place: Place, rows: Sequence[RowData], also: tuple[int, ...]) -> _Group:
        number, _ = self._nonces.new()
        self._numbers.append(number)
        return _Group(place, rows, number, also)

    def _call(self, address: str, groups: Sequence[_Group], deadline: float | None) -> Call:
        oldest = self._nonces.oldest()
        wire = []
        for group in groups:
            wire.append((group.place.id16, *group.wire, (group.number, oldest, *group.also)))
        return Call(address, _PUT_ROWS, (wire, self._timestamp, self._durability), deadline)

    def _take(
        self, locator: Locator, servers: Mapping[str, Sequence[_Group]], answers: Sequence[Any]
    ) -> tuple[list[_Group], HBaseIOException | None]:
        """Note what became of the groups; returns those to send again, and why."""
        again: list[_Group] = []
        trouble: HBaseIOException | None = None
        for groups, answer in zip(servers.values(), answers, strict=True):
            outcomes: list[HBaseIOException | None]
            if isinstance(answer, HBaseIOException):
                outcomes = [answer] * len(groups)
            else:
                missing = DoNotRetryIOException("the server's answer lacks the outcome of some rows")
                outcomes = [missing] * len(groups)
                for index, kind, payload in answer:
                    outcomes[index] = None if kind == OK else decode_fault(payload)
            for group, error in zip(groups, outcomes, strict=True):
                if self._settle(locator, group, error):
                    again.append(group)
                    if trouble is None or (error is not None and may_have_moved(error)):
                        trouble = error
        return again, trouble

    def _settle(self, locator: Locator, group: _Group, error: HBaseIOException | None) -> bool:
        """Whether the group is to be sent again."""
        if error is None:
            self.written += len(group.rows)
        elif isinstance(error, RetriesExhaustedWithDetailsException):
            self.failures += error.failures
            self.written += len(group.rows) - len(error.failures)
        elif is_final(error):
            self._fail(group.rows, error)
            self.fatal = self.fatal or error
        else:
            locator.failed(group.place, error)
            group.uncertain = group.uncertain or outcome_unknown(error)
            return True
        return False

    def _fail(self, rows: Sequence[RowData], error: HBaseIOException) -> None:
        self.failures += [(row, error) for row, _ in rows]


def _by_region(rows: Sequence[RowData], regions: Regions) -> list[tuple[Place, Sequence[RowData]]]:
    if len(regions.places) == 1:
        return [(regions.places[0], rows)] if rows else []
    found: dict[bytes, tuple[Place, list[RowData]]] = {}
    for item in rows:
        place = regions.of(item[0])
        group = found.get(place.start_key)
        if group is None:
            group = found[place.start_key] = (place, [])
        group[1].append(item)
    return list(found.values())


def _by_server(
    groups: Sequence[_Group],
) -> tuple[dict[str, list[_Group]], list[_Group], HBaseIOException | None]:
    """By address; the groups whose region nobody serves at the moment, and that as an error."""
    servers: dict[str, list[_Group]] = {}
    homeless: list[_Group] = []
    trouble: HBaseIOException | None = None
    for group in groups:
        try:
            servers.setdefault(group.place.where(), []).append(group)
        except NotServingRegionException as error:
            homeless.append(group)
            trouble = error
    return servers, homeless, trouble
