"""Rows of regions over the wire: ROW, GET, GET_MANY, PUT_ROWS, MUTATE, CHECK and MULTI.

Handlers run on the event loop. What is quick (reads, submitting a mutation) is done there; a mutation's
answer comes when its group of the log is on disk. What may wait (memory is full, a batch of many kinds) goes
to threads. Scans are in ``scans.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar

from hyperbase.common.authorization import READ, WRITE, Authorizer
from hyperbase.common.errors import (
    AccessDeniedException,
    HBaseIOException,
    IllegalArgumentException,
    NotServingRegionException,
    RetriesExhaustedWithDetailsException,
    WrongRowIOException,
)
from hyperbase.common.model import (
    MAX_ROW_LENGTH,
    MAX_TIMESTAMP,
    Action,
    CheckAndMutate,
    Delete,
    Durability,
    Get,
    Mutation,
    Put,
    Result,
    RowMutations,
    check_row,
)
from hyperbase.common.region_info import META_REGION
from hyperbase.common.rpc.call import PENDING, Call, as_fault
from hyperbase.common.rpc.server import Handler
from hyperbase.common.wire.messages import OK, Method, Priority
from hyperbase.common.wire.model_codec import (
    MAX_PIECE_BYTES,
    check_rows,
    decode_action,
    decode_get,
    encode_result,
    encode_results,
    message_bytes,
    result_pieces,
    weighed,
)
from regionserver.region.batches import run_actions
from regionserver.region.commit import Commit
from regionserver.region.engine import Engine
from regionserver.region.mutations import CheckOutcome, submit_check, submit_mutation
from regionserver.region.nonces import Nonce
from regionserver.region.region import Region
from regionserver.server.streams import StreamTable
from regionserver.server.syncs import Syncs
from regionserver.server.work import Completions, WorkPool
from regionserver.storage.edits import LoweredRow
from regionserver.storage.store_file import BlockNotCachedError

T = TypeVar("T")

_GET_FILTER = 5  # its place in an encoded Get
INLINE_GETS = 32  # of one GET_MANY done on the loop; more go to a thread
_META_ID = META_REGION.id16
_ADMIN, _REGISTRY, _COMMAND = int(Method.ADMIN), int(Method.REGISTRY), int(Method.COMMAND)
_META_CLASS, _ADMIN_CLASS, _USER_CLASS = int(Priority.META), int(Priority.ADMIN), int(Priority.USER)
_SERVER_CLASS = int(Priority.SERVER)


def priority_of(method: int, arguments: Any) -> int:
    """The class of a call: reads of hbase:meta, changes of tables and commands have limits of their own."""
    if method == _ADMIN:
        return _ADMIN_CLASS
    if method == _COMMAND:
        return _SERVER_CLASS
    if method == _REGISTRY or (arguments and arguments[0] == _META_ID):
        return _META_CLASS
    return _USER_CLASS


class RegionService:
    """See the module."""

    def __init__(
        self,
        engine: Engine,
        server_name: str,
        completions: Completions,
        reads: WorkPool,
        writes: WorkPool,
        authorize: Authorizer,
        streams: StreamTable,
        syncs: Syncs,
    ) -> None:
        self._streams = streams
        self._syncs = syncs
        self._regions = engine.regions
        self._server_name = server_name
        self._completions = completions
        self._reads = reads
        self._writes = writes
        self._authorize = authorize

    def handlers(self) -> dict[int, Handler]:
        """By method number."""
        return {
            Method.ROW: self.row,
            Method.GET: self.get,
            Method.GET_MANY: self.get_many,
            Method.PUT_ROWS: self.put_rows,
            Method.MUTATE: self.mutate,
            Method.CHECK: self.check,
            Method.MULTI: self.multi,
        }

    # -- regions -----------------------------------------------------------------------------------------

    def readable(self, call: Call, region_id: Any) -> Region:
        """The open region, if the call may read it.

        Raises:
            NotServingRegionException, AccessDeniedException
        """
        region = self._find(region_id)
        self._authorize(call.principal, READ, region.info.table)
        return region

    def writable(self, call: Call, region_id: Any) -> Region:
        """The open region, if the call may write to it."""
        region = self._find(region_id)
        if region_id == _META_ID:
            raise AccessDeniedException(
                "hbase:meta is written by the master only: change tables with the admin"
            )
        self._authorize(call.principal, WRITE, region.info.table)
        return region

    def _find(self, region_id: Any) -> Region:
        if type(region_id) is not bytes or len(region_id) != 16:
            raise IllegalArgumentException("malformed request: a region is named by 16 bytes")
        region = self._regions.get(region_id)
        if region is not None:
            return region
        raise NotServingRegionException(
            f"{self._server_name} does not serve region {region_id.hex()}: it moved, split or is still "
            "opening. Refresh its location from hbase:meta and retry."
        )

    # -- reads -------------------------------------------------------------------------------------------

    def row(self, call: Call, arguments: Any) -> Any:
        """ROW: the newest version of every column."""
        region_id, row = arguments
        region = self.readable(call, region_id)
        if type(row) is not bytes or not 0 < len(row) <= MAX_ROW_LENGTH:
            row = check_row(row)
        _check_range(region, row)
        try:
            return self._answer(call, region.latest(row, load=False))
        except BlockNotCachedError:
            return self._read_in_thread(call, lambda: region.latest(row))

    def get(self, call: Call, arguments: Any) -> Any:
        """GET: one row as a query shows it."""
        region_id, fields = arguments
        region = self.readable(call, region_id)
        get = decode_get(fields)
        _check_range(region, get.row)
        if get.filter is not None:  # may take its time
            return self._read_in_thread(call, lambda: region.get(get))
        try:
            return self._answer(call, region.get(get, load=False))
        except BlockNotCachedError:
            return self._read_in_thread(call, lambda: region.get(get))

    def _read_in_thread(self, call: Call, read: Callable[[], Result]) -> Any:
        """A read that waits for the disk."""

        def done(result: Result) -> None:
            payload = self._answer(call, result)
            if payload is not PENDING:
                call.reply(payload)

        self._reads.run(call, read, done)
        return PENDING

    @staticmethod
    def _answer(call: Call, result: Result) -> Any:
        """The payload, or pieces of it where it is too large for one message."""
        if len(result.values) > 1 and message_bytes(result) > MAX_PIECE_BYTES:
            for piece in result_pieces(result):
                call.item(encode_results([piece]))
            call.end(None)
            return PENDING
        return encode_result(result)

    def get_many(self, call: Call, arguments: Any) -> Any:
        """GET_MANY: groups of gets, each of one region."""
        (groups,) = arguments
        work = [(index, region_id, gets) for index, (region_id, gets) in enumerate(groups)]

        def read(load: bool) -> Iterator[Any]:  # a group when the one before it is on its way
            return (self._get_group(call, index, region_id, gets, load) for index, region_id, gets in work)

        if sum(len(gets) for _, _, gets in work) <= INLINE_GETS and not any(
            type(get) is not bytes and get[_GET_FILTER] is not None for _, _, gets in work for get in gets
        ):
            try:
                *first, last = _answer_parts(read(False))
                for part in first:
                    call.item(part)
                call.reply(last)
                return PENDING
            except BlockNotCachedError:
                pass
        self._streams.answer(call, _Parts(lambda: _answer_parts(read(True))))
        return PENDING

    def _get_group(self, call: Call, index: int, region_id: Any, gets: Any, load: bool) -> Any:
        try:
            region = self.readable(call, region_id)
            results = []
            for get in gets:
                if type(get) is bytes:
                    check_row(get)
                    _check_range(region, get)
                    results.append(region.latest(get, load))
                else:
                    query: Get = _decoded(decode_get, get)
                    _check_range(region, query.row)
                    results.append(region.get(query, load))
            return index, OK, results
        except HBaseIOException as error:
            return (index, *as_fault(error))

    # -- plain puts --------------------------------------------------------------------------------------

    def put_rows(self, call: Call, arguments: Any) -> Any:
        """PUT_ROWS: groups of rows, each of one region; answered when all of them are durable."""
        groups, timestamp, durability = arguments
        level = Durability(durability)
        if timestamp is not None and not (type(timestamp) is int and 0 <= timestamp < MAX_TIMESTAMP):
            raise IllegalArgumentException(f"Timestamp cannot be negative. ts={timestamp!r}"[:100])
        answers = _GroupAnswers(call, len(groups))
        for index, (region_id, tables, rows, nonce) in enumerate(groups):
            try:
                region = self.writable(call, region_id)
                check_rows(tables, rows)
                lowered, failures = _lower(region, tables, rows, timestamp)
                self._submit_group(call, answers, index, region, lowered, failures, level, nonce)
            except HBaseIOException as error:
                answers.done(index, as_fault(error))
        return PENDING

    def _submit_group(
        self,
        call: Call,
        answers: _GroupAnswers,
        index: int,
        region: Region,
        rows: list[LoweredRow],
        failures: list[tuple[bytes, Exception]],
        durability: Durability,
        nonce: Any,
    ) -> None:
        if not rows:
            answers.settle(index, None, failures)
            return
        number, also = _nonce(call, nonce)

        def settle(commit: Commit) -> None:
            self._completions.post(answers.settle, index, commit.error, failures)

        def submit() -> Commit:
            return region.submit_rows(rows, durability, number, also)

        if region.would_wait([row[0] for row in rows]):
            self._writes.run(
                call,
                lambda: self._guarded(
                    lambda: submit().add_done_callback(settle),
                    lambda error: answers.done(index, as_fault(error)),
                ),
                lambda _: None,
            )
        else:
            self._syncs.when_durable(submit(), settle)

    def _guarded(self, work: Callable[[], None], failed: Callable[[HBaseIOException], None]) -> None:
        """Work in a thread whose failure concerns one group of a call only."""
        try:
            work()
        except HBaseIOException as error:
            self._completions.post(failed, error)

    # -- single mutations --------------------------------------------------------------------------------

    def mutate(self, call: Call, arguments: Any) -> Any:
        """MUTATE: one Put, Delete, Increment, Append or RowMutations."""
        region_id, fields, nonce = arguments
        region = self.writable(call, region_id)
        action = decode_action(fields)
        if not isinstance(action, (Mutation, RowMutations)):
            raise IllegalArgumentException("malformed request: not a mutation")
        _check_range(region, action.row)
        number, _ = _nonce(call, nonce)
        reads = not isinstance(action, Put) and not (isinstance(action, Delete) and not action.needs_read)
        self._submit(
            call, region, action.row, lambda: submit_mutation(region, action, number), encode_result, reads
        )
        return PENDING

    def check(self, call: Call, arguments: Any) -> Any:
        """CHECK: one CheckAndMutate."""
        region_id, fields, nonce = arguments
        region = self.writable(call, region_id)
        action = decode_action(fields)
        if not isinstance(action, CheckAndMutate):
            raise IllegalArgumentException("malformed request: not a check-and-mutate")
        _check_range(region, action.row)
        number, _ = _nonce(call, nonce)
        self._submit(
            call,
            region,
            action.row,
            lambda: submit_check(region, action, number),
            _encode_outcome,
            reads=True,
            in_thread=action.filter is not None,  # it may take its time
        )
        return PENDING

    def _submit(
        self,
        call: Call,
        region: Region,
        row: bytes,
        submit: Callable[[], Commit],
        encode: Callable[[Any], Any],
        reads: bool,
        in_thread: bool = False,
    ) -> None:
        """Submit a mutation; its answer comes when it is durable. ``reads``: it reads the row before."""
        post = self._completions.post

        def done(commit: Commit) -> None:
            post(answer, commit)

        def answer(commit: Commit) -> None:
            if commit.error is not None:
                call.fail(commit.error)
            else:
                call.reply(encode(commit.result))

        if in_thread or region.would_wait((row,)) or (reads and region.would_read_disk(row)):
            self._writes.run(call, lambda: submit().add_done_callback(done), lambda _: None)
        else:
            self._syncs.when_durable(submit(), done)

    # -- batches -----------------------------------------------------------------------------------------

    def multi(self, call: Call, arguments: Any) -> Any:
        """MULTI: groups of actions of any kind, each of one region; every action has its outcome."""
        (groups,) = arguments
        prepared = [(index, region_id, items) for index, (region_id, items) in enumerate(groups)]
        self._writes.run(
            call,
            lambda: list(
                _outcome_parts(
                    [self._run_group(call, index, region_id, items) for index, region_id, items in prepared]
                )
            ),
            lambda parts: self._reply_parts(call, parts),
        )
        return PENDING

    def _reply_parts(self, call: Call, parts: list[Any]) -> None:
        """In one message, or no faster than they are read when they are several."""
        if len(parts) == 1:
            call.reply(parts[0])
        else:
            self._streams.answer(call, _Parts(lambda: iter(parts)))

    def _run_group(self, call: Call, index: int, region_id: Any, items: Any) -> Any:
        try:
            actions, nonces = _decoded(_decode_items, call, items)
            if all(isinstance(action, Get) for action in actions):
                region = self.readable(call, region_id)
            else:
                region = self.writable(call, region_id)
            for action in actions:
                _check_range(region, action.row)
            return index, OK, run_actions(region, actions, nonces)
        except HBaseIOException as error:
            return (index, *as_fault(error))


class _Parts:
    """The parts of a large answer; nothing is read before a thread makes the first one."""

    def __init__(self, read: Callable[[], Iterator[list[Any]]]) -> None:
        self._read: Callable[[], Iterator[list[Any]]] | None = read
        self._parts: Iterator[list[Any]] = iter(())
        self._next: list[Any] | None = None

    def next_part(self) -> tuple[Any, bool]:
        """The next list; the last one is END's."""
        if self._read is not None:
            self._parts, self._read = self._read(), None
            self._next = next(self._parts)
        part, self._next = self._next, next(self._parts, None)
        return part, self._next is None

    def close(self) -> None:
        """Let go of the Results."""
        self._parts, self._next = iter(()), None


def _answer_parts(groups: Iterable[Any]) -> Iterator[list[Any]]:
    """The groups' Results in lists, one or more, none of which is too large for a message."""
    size = 0
    out: list[Any] = []
    for index, kind, results in groups:
        if kind != OK:
            out.append((index, kind, results))
            continue
        chunk: list[Result] = []
        for result, weight in weighed(results):
            if size + weight > MAX_PIECE_BYTES and (chunk or out):
                out.append((index, OK, encode_results(chunk)))
                yield out
                out, chunk, size = [], [], 0
            if weight > MAX_PIECE_BYTES:
                *first, result = result_pieces(result)
                for piece in first:
                    yield [(index, OK, encode_results([piece]))]
                weight = message_bytes(result)
            size += weight
            chunk.append(result)
        out.append((index, OK, encode_results(chunk)))
    yield out


class _GroupAnswers:
    """Collects the outcome of each group of a call, and replies when the last one is there."""

    __slots__ = ("_call", "_left", "_outcomes")

    def __init__(self, call: Call, count: int) -> None:
        self._call = call
        self._left = count
        self._outcomes: list[Any] = []
        if not count:
            call.reply([])

    def settle(self, index: int, error: Exception | None, failures: list[tuple[bytes, Exception]]) -> None:
        """The group's good rows are durable, or were lost to ``error``; ``failures`` were refused."""
        if error is not None:
            self.done(index, as_fault(error))
        elif failures:
            self.done(index, as_fault(RetriesExhaustedWithDetailsException(failures)))
        else:
            self.done(index, (OK, None))

    def done(self, index: int, outcome: tuple[int, Any]) -> None:
        """One group has its outcome."""
        self._outcomes.append((index, *outcome))
        self._left -= 1
        if not self._left:
            self._call.reply(self._outcomes)


def _check_range(region: Region, row: bytes) -> None:
    """Refuse a row that was sent to the wrong region: a mistake of the client."""
    info = region.info
    if row < info.start_key or (info.end_key and row >= info.end_key):
        raise WrongRowIOException(f"Requested row {row[:64]!r} is out of range of region {region.name}")


def _lower(
    region: Region, tables: Any, rows: Any, timestamp: int | None
) -> tuple[list[LoweredRow], list[tuple[bytes, Exception]]]:
    """The rows as the region takes them, and those it refuses."""
    lowering, info = region.lowering, region.info
    if rows and (info.start_key or info.end_key):
        keys = [row[0] for row in rows]
        _check_range(region, min(keys))
        _check_range(region, max(keys))
    try:
        return lowering.table_rows(tables, rows, timestamp), []
    except HBaseIOException:
        pass
    lowered: list[LoweredRow] = []
    failures: list[tuple[bytes, Exception]] = []
    for row, table, values in rows:
        try:
            lowered.append(lowering.dict_row(row, dict(zip(tables[table], values, strict=True)), timestamp))
        except HBaseIOException as error:
            failures.append((row, error))
    return lowered, failures


def _decoded(decode: Callable[..., T], *fields: Any) -> T:
    """``decode(*fields)``, in a thread: what it cannot read is the client's fault and not the server's.

    Raises:
        IllegalArgumentException
    """
    try:
        return decode(*fields)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
        if isinstance(error, HBaseIOException):
            raise
        raise IllegalArgumentException(f"malformed request: {type(error).__name__}: {error}"[:200]) from error


def _decode_items(call: Call, items: Any) -> tuple[list[Action], list[Nonce | None]]:
    """The actions of a MULTI's group, and their nonces."""
    return [decode_action(fields) for fields, _ in items], [_nonce(call, nonce)[0] for _, nonce in items]


def _nonce(call: Call, nonce: Any) -> tuple[Nonce | None, Sequence[int]]:
    """``[number, oldest, also, …]`` of this call's client."""
    if nonce is None:
        return None, ()
    number, oldest, *also = nonce
    for value in (number, oldest, *also):
        if type(value) is not int or not 0 <= value < 2**63:
            raise IllegalArgumentException("malformed request: a nonce is [number, oldest]")
    return (call.connection.client_id, number, oldest), also


def _encode_outcome(outcome: CheckOutcome) -> Any:
    return outcome.success, encode_result(outcome.result)


def _encode_action_outcome(outcome: Any) -> Any:
    if isinstance(outcome, Exception):
        return as_fault(outcome)
    if isinstance(outcome, tuple):
        return OK, (outcome[0], encode_result(outcome[1]))
    return OK, encode_result(outcome)


def _outcome_pieces(outcome: Any) -> Sequence[Any]:
    """The outcome, or pieces of a Result that is too large for one message."""
    return result_pieces(outcome) if isinstance(outcome, Result) else (outcome,)


def _outcome_parts(groups: Sequence[Any]) -> Iterator[list[Any]]:
    """The outcomes of every group in lists, one or more, none of which is too large for a message."""
    out: list[Any] = []
    size = 0
    for index, kind, outcomes in groups:
        if kind != OK:
            out.append((index, kind, outcomes))
            continue
        encoded: list[Any] = []
        for outcome in chain.from_iterable(map(_outcome_pieces, outcomes)):
            weight = message_bytes(outcome) if isinstance(outcome, Result) else 0
            if size + weight > MAX_PIECE_BYTES and (encoded or out):
                out.append((index, OK, encoded))
                yield out
                out, encoded, size = [], [], 0
            size += weight
            encoded.append(_encode_action_outcome(outcome))
        out.append((index, OK, encoded))
    yield out
