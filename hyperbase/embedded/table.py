"""A table of an embedded store behind the client's ``TableBackend`` protocol: find the region, call it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from hyperbase.common.errors import (
    DoNotRetryIOException,
    HBaseIOException,
    IllegalArgumentException,
    NotServingRegionException,
    RetriesExhaustedWithDetailsException,
)
from hyperbase.common.model import (
    Action,
    Append,
    CheckAndMutate,
    Delete,
    Durability,
    Get,
    Increment,
    Mutation,
    Put,
    Result,
    RowMutations,
    Scan,
)
from hyperbase.embedded.store import EmbeddedStore, TableEntry
from regionserver.region.commit import Commit
from regionserver.region.lowering import largest_key_value, log_records
from regionserver.region.mutations import CheckOutcome, delete_row, submit_check, submit_mutation
from regionserver.region.region import Region
from regionserver.region.row_pieces import cut_rows
from regionserver.storage.edits import LoweredRow

if TYPE_CHECKING:
    import pyarrow as pa

UNSYNCED_RECORDS = 16  # of one call: what waits for the disk is held in memory twice
UNSYNCED_STEPS = 256  # of a batch: until they are synced, a hot row cannot be folded and costs ever more

T = TypeVar("T")
Outcome = Result | tuple[bool, Result | None] | Exception | None


class EmbeddedTable:
    """See the module. Holds no state but the name: tables may come and go."""

    __slots__ = ("_store", "name")

    def __init__(self, store: EmbeddedStore, name: str) -> None:
        self._store = store
        self.name = name

    # -- reading -----------------------------------------------------------------------------

    def row(self, row: bytes) -> Result:
        """The newest version of every column."""
        entry = self._store.enabled_entry(self.name)
        try:
            return entry.region_of(row).latest(row)
        except NotServingRegionException as error:
            return self._again(entry, error, lambda now: now.region_of(row).latest(row))

    def _again(
        self, entry: TableEntry, error: NotServingRegionException, call: Callable[[TableEntry], T]
    ) -> T:
        """Repeat a call on the table's new regions after one closed (split, merge, alter)."""
        while True:
            self._store.wait_for_change(self.name, entry, error)
            entry = self._store.enabled_entry(self.name)
            try:
                return call(entry)
            except NotServingRegionException as next_error:
                error = next_error

    def _call(self, call: Callable[[TableEntry], T]) -> T:
        entry = self._store.enabled_entry(self.name)
        try:
            return call(entry)
        except NotServingRegionException as error:
            return self._again(entry, error, call)

    def get(self, get: Get) -> Result:
        return self._call(lambda entry: entry.region_of(get.row).get(get))

    def get_many(self, gets: Sequence[Get]) -> list[Result]:
        return [self.get(get) for get in gets]

    def scan(self, scan: Scan) -> Iterator[list[Result]]:
        """Chunks of Results. Goes on after the last row when a region closes under it."""
        self._store.enabled_entry(self.name)
        return _ScanRun(self._store, self.name, scan).chunks()

    # -- writing -----------------------------------------------------------------------------

    def put_rows(
        self,
        rows: Sequence[tuple[bytes, Mapping[bytes, bytes]]],
        timestamp: int | None,
        durability: Durability,
    ) -> None:
        if not rows:
            return
        entry = self._store.enabled_entry(self.name)
        if len(entry.regions) == 1:
            region = entry.regions[0]
            lower = region.lowering.dict_row
            try:
                lowered = [lower(row, data, timestamp) for row, data in rows]
            except IllegalArgumentException:
                raise  # as HBase's client, which looks at every row before it sends the first
            except HBaseIOException:
                pass
            else:
                for part in log_records(lowered):
                    self._submit_group(entry, region, part, durability).wait()
                return
        self._put_by_region(entry, rows, timestamp, durability)

    def _submit_group(
        self, entry: TableEntry, region: Region, rows: Sequence[LoweredRow], durability: Durability
    ) -> Commit:
        try:
            return region.submit_rows(rows, durability)
        except NotServingRegionException as error:
            commits: list[Commit] = []  # the rows may now belong to two regions: go one by one
            while True:
                self._store.wait_for_change(self.name, entry, error)
                entry = self._store.enabled_entry(self.name)
                try:
                    for row in rows[len(commits) :]:
                        owner = entry.region_of(row[0])
                        lowered = owner.lowering.relower(row, region.lowering)
                        commits.append(owner.submit_rows([lowered], durability))
                except NotServingRegionException as next_error:
                    error = next_error
                else:
                    for commit in commits[:-1]:
                        commit.wait()
                    return commits[-1]

    def _put_by_region(
        self,
        entry: TableEntry,
        rows: Sequence[tuple[bytes, Mapping[bytes, bytes]]],
        timestamp: int | None,
        durability: Durability,
    ) -> None:
        """Rows of several regions, or some of a family that is not there: the good ones are written."""
        groups: dict[Region, list[LoweredRow]] = {}
        failures: list[tuple[bytes, Exception]] = []
        for row, data in rows:
            region = entry.region_of(row)
            try:
                groups.setdefault(region, []).append(region.lowering.dict_row(row, data, timestamp))
            except IllegalArgumentException:
                raise
            except HBaseIOException as error:
                failures.append((row, error))
        commits: deque[Commit] = deque()
        for region, group in groups.items():
            for part in log_records(group) if group else ():
                commits.append(self._submit_group(entry, region, part, durability))
                if len(commits) > UNSYNCED_RECORDS:
                    commits.popleft().wait()
        for commit in commits:
            commit.wait()
        if failures and len(rows) == 1:
            raise failures[0][1]
        if failures:
            raise RetriesExhaustedWithDetailsException(failures)

    def _mutate(self, mutation: Mutation | RowMutations) -> Any:
        commit: Commit = self._call(lambda entry: submit_mutation(entry.region_of(mutation.row), mutation))
        return commit.wait()

    def put(self, put: Put) -> None:
        self._mutate(put)

    def delete(self, delete: Delete) -> None:
        self._mutate(delete)

    def increment(self, increment: Increment) -> Result:
        result: Result = self._mutate(increment)
        return result

    def append(self, append: Append) -> Result:
        result: Result = self._mutate(append)
        return result

    def mutate_row(self, mutations: RowMutations) -> Result:
        return self._mutate(mutations) or Result(mutations.row)

    def check_and_mutate(self, check: CheckAndMutate) -> tuple[bool, Result | None]:
        commit = self._call(lambda entry: submit_check(entry.region_of(check.row), check))
        outcome: CheckOutcome = commit.wait()
        return outcome.success, outcome.result

    def run_batch(self, actions: Sequence[Action]) -> list[Outcome]:
        """Submit all actions, then wait: one sync for the batch. Gets see the state before it."""
        outcomes: list[Outcome] = [None] * len(actions)
        pending: list[tuple[int, Commit]] = []
        for index, action in enumerate(actions):
            if isinstance(action, Get):
                outcomes[index] = self._attempt(lambda get=action: self.get(get))  # type: ignore[misc]
        self._refuse_with_oversized(actions, outcomes)
        self._submit_simple(actions, outcomes, pending)
        for index, action in enumerate(actions):
            if isinstance(action, (Get, Put)) or (isinstance(action, Delete) and not action.needs_read):
                continue
            if outcomes[index] is not None:
                continue
            submit = submit_check if isinstance(action, CheckAndMutate) else submit_mutation
            found = self._attempt(
                lambda act=action, sub=submit: self._call(lambda e: sub(e.region_of(act.row), act))  # type: ignore[misc]
            )
            if isinstance(found, Commit):
                pending.append((index, found))
                if len(pending) % UNSYNCED_STEPS == 0:
                    self._attempt(found.wait)
            else:
                outcomes[index] = found
        for index, commit in pending:
            answer = self._attempt(commit.wait)
            if isinstance(answer, CheckOutcome):
                answer = (answer.success, answer.result)
            outcomes[index] = answer
            if isinstance(actions[index], RowMutations) and answer is None:
                outcomes[index] = Result(actions[index].row)
        return outcomes

    def _refuse_with_oversized(self, actions: Sequence[Action], outcomes: list[Outcome]) -> None:
        """A cell that is too large fails every put and delete of its region, as HBase's server does it."""
        limit = self._store.config.max_key_value_bytes
        largest = [largest_key_value(action) if isinstance(action, Put) else 0 for action in actions]
        if not 0 < limit < max(largest, default=0):
            return
        entry = self._store.enabled_entry(self.name)
        refused = {
            entry.region_of(action.row): DoNotRetryIOException(
                f"Cell of row {action.row!r} with size {size} exceeds limit of {limit} bytes "
                "(max_key_value_bytes); no put and no delete of the batch in its region was applied"
            )
            for action, size in zip(actions, largest, strict=True)
            if size > limit
        }
        for index, action in enumerate(actions):
            if isinstance(action, (Put, Delete)):
                outcomes[index] = refused.get(entry.region_of(action.row))

    def _submit_simple(
        self, actions: Sequence[Action], outcomes: list[Outcome], pending: list[tuple[int, Commit]]
    ) -> None:
        """Puts and Deletes, region by region, each region's in one group with one timestamp."""
        entry = self._store.enabled_entry(self.name)
        groups: dict[tuple[Region, Durability], list[tuple[int, LoweredRow]]] = {}
        for index, action in enumerate(actions):
            if outcomes[index] is not None:
                continue
            if isinstance(action, Put) or (isinstance(action, Delete) and not action.needs_read):
                region = entry.region_of(action.row)
                try:
                    row = (
                        region.lowering.put(action) if isinstance(action, Put) else delete_row(region, action)
                    )
                except HBaseIOException as error:
                    outcomes[index] = error
                    continue
                groups.setdefault((region, action.durability), []).append((index, row))
        for (region, durability), rows in groups.items():
            indexes = iter(rows)
            for part in log_records([row for _, row in rows]):
                found = self._attempt(
                    lambda r=region, g=part, d=durability: self._submit_group(entry, r, g, d)  # type: ignore[misc]
                )
                for index, _ in islice(indexes, len(part)):
                    if isinstance(found, Commit):
                        pending.append((index, found))
                    else:
                        outcomes[index] = found

    @staticmethod
    def _attempt(call: Callable[[], Any]) -> Any:
        """The call's answer, or the exception it raised: a batch reports per action."""
        try:
            return call()
        except HBaseIOException as error:
            return error

    # -- Arrow -------------------------------------------------------------------------------

    def scan_arrow(
        self, scan: Scan, layout: str, types: Mapping[bytes, str] | None, columns: Sequence[bytes] | None
    ) -> pa.RecordBatchReader:
        from hyperbase.embedded.arrow_scan import scan_arrow

        return scan_arrow(self._store, self.name, scan, layout, types or {}, columns)

    def put_arrow(self, data: Any, row_key: str, timestamp: int | str | None, family: bytes | None) -> int:
        from hyperbase.embedded.arrow_load import put_arrow

        return put_arrow(self._store, self.name, data, row_key, timestamp, family)


class _ScanRun:
    """One scan over the table's regions, in order."""

    def __init__(self, store: EmbeddedStore, table: str, scan: Scan) -> None:
        self._store = store
        self._table = table
        self._scan = scan
        self._last_row: bytes | None = None  # everything up to here was returned

    def chunks(self) -> Iterator[list[Result]]:
        scan = self._scan
        left = scan.limit
        if left == 0:
            return
        entry = self._store.enabled_entry(self._table)
        region: Region | None = self._first_region(entry)
        while region is not None:
            scanner = None
            try:
                scanner = region.open_scanner(self._remaining())
                while True:
                    chunk = scanner.next_chunk(2048 if left is None else min(2048, left))
                    if chunk is None:
                        break
                    if not chunk:
                        continue
                    self._last_row = chunk[-1].row
                    if left is not None:
                        left -= len(chunk)
                    yield chunk if scan.batch is None else cut_rows(chunk, scan.batch)
                    if left == 0:
                        return
                    if region.closed:
                        raise NotServingRegionException(f"region {region.name} closed during a scan")
                if scanner.filter_done and scanner.returned_rows == 0:
                    return
            except NotServingRegionException as error:
                if self._store.tables.get(self._table) is entry:
                    self._store.wait_for_change(self._table, entry, error)
                entry = self._store.enabled_entry(self._table)
                region = self._resume_region(entry)
                continue
            finally:
                if scanner is not None:
                    scanner.close()
            region = self._next_region(entry, region)

    def _remaining(self) -> Scan:
        """The scan from after the last row on."""
        if self._last_row is None:
            return self._scan
        rest = _copy_scan(self._scan)
        rest.start, rest.start_inclusive = self._last_row, False
        return rest

    def _first_region(self, entry: TableEntry) -> Region | None:
        scan = self._scan
        if scan.reverse and not scan.start:
            return entry.regions[-1]
        region = entry.region_of(scan.start)
        if scan.reverse and not scan.start_inclusive and region.info.start_key == scan.start:
            return self._next_region(entry, region)
        return region

    def _resume_region(self, entry: TableEntry) -> Region | None:
        if self._last_row is None:
            return self._first_region(entry)
        region = entry.region_of(self._last_row)
        if self._scan.reverse and region.info.start_key == self._last_row:
            return self._next_region(entry, region)
        return region

    def _next_region(self, entry: TableEntry, region: Region) -> Region | None:
        scan = self._scan
        if scan.reverse:
            low = region.info.start_key
            if not low or (scan.stop and low <= scan.stop):
                return None
            position = entry.starts.index(low) - 1
            return entry.regions[position]
        high = region.info.end_key
        if not high or (scan.stop and (high > scan.stop or (high == scan.stop and not scan.stop_inclusive))):
            return None
        current = self._store.tables.get(self._table)
        return (current if current is not None and current.enabled else entry).region_of(high)


def _copy_scan(scan: Scan) -> Scan:
    copied = Scan.__new__(Scan)
    for cls in (Scan, *Scan.__mro__[1:]):
        for slot in getattr(cls, "__slots__", ()):
            setattr(copied, slot, getattr(scan, slot))
    return copied
