"""Arrow uploads, as far as they need no socket.

Where one process has all regions, the input goes to it as one stream, in messages of bounded size. Else it is
taken in rounds of ``ROUND_BYTES``: the rows of a round are sorted by their keys and cut at the region bounds,
and each server is sent those that it serves, all servers at the same time. A round is done when every part of
it is loaded; then comes the next, so of equal row keys the later stays the later.

A part that was not loaded since its regions had moved is cut anew and sent again; see ``Round.take`` for what
else is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from hyperbase.client.arrow_types import to_stored
from hyperbase.client.network.commands import Blocking, Steps
from hyperbase.client.network.locator import Locator
from hyperbase.client.network.regions import Place, Regions
from hyperbase.client.network.retries import Retries, is_final
from hyperbase.common.errors import HBaseIOException, IllegalArgumentException, NotServingRegionException
from hyperbase.common.model import MAX_ROW_LENGTH

MESSAGE_BYTES = 4 * 1024 * 1024
ROUND_BYTES = 128 * 1024 * 1024  # of input that is held until it is loaded
SERVERS_AT_A_TIME = 8  # that a round is sent to


def messages_of(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[bytes]:
    """IPC streams of one batch each, large batches in slices; at least one, for the schema's sake."""
    count = 0
    for batch in batches:
        for part in _slices(batch, MESSAGE_BYTES):
            count += 1
            yield _stream([part], schema)
    if not count:
        yield _stream([], schema)


def _slices(batch: pa.RecordBatch, size_bytes: int) -> Iterator[pa.RecordBatch]:
    """The rows of a batch, about so many bytes at a time."""
    step = max(1, int(batch.num_rows * min(1.0, size_bytes / max(1, batch.nbytes))))
    for begin in range(0, batch.num_rows, step):
        yield batch.slice(begin, step)


def _stream(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data


class Part:
    """Rows of a round for one server."""

    __slots__ = ("address", "batches", "begun", "pieces")

    def __init__(self, address: str) -> None:
        self.address = address
        self.pieces: list[tuple[Place, int, int]] = []  # a region's rows: ``begin <= i < end``
        self.batches: list[pa.RecordBatch] = []
        self.begun = False  # something was sent: what became of it is not known until the answer


class Round:
    """Some of the input, until all of it is loaded.

    Args:
        first_row: how many rows of the input were before these.
        repeatable: every cell has a timestamp of the caller's: loaded twice is loaded once.

    Raises:
        IllegalArgumentException: a row key that no table takes; nothing of the round is sent then.
    """

    def __init__(self, batch: pa.RecordBatch, key_index: int, first_row: int, repeatable: bool) -> None:
        keys = to_stored(batch.column(key_index))
        check_keys(keys, first_row)
        if len(keys) > 1 and pc.any(pc.less(keys.slice(1), keys.slice(0, len(keys) - 1))).as_py():
            order = pc.sort_indices(keys)  # stable: of equal rows the later stays the later
            batch, keys = batch.take(order), keys.take(order)
        self._batch = batch
        self._keys = _Keys(keys)
        self._repeatable = repeatable
        self._waiting = [(0, batch.num_rows)] if batch.num_rows else []
        self.loaded = 0  # rows, as the servers count them

    @property
    def done(self) -> bool:
        """Whether everything is loaded."""
        return not self._waiting

    def cut(self, regions: Regions) -> list[tuple[Place, int, int]]:
        """What is still to be loaded, by region."""
        pieces = []
        for begin, stop in self._waiting:
            while begin < stop:
                place = regions.of(self._keys[begin])
                end = bisect_left(self._keys, place.end_key, begin, stop) if place.end_key else stop
                pieces.append((place, begin, end))
                begin = end
        return pieces

    def parts(self, pieces: Sequence[tuple[Place, int, int]]) -> list[Part]:
        """The pieces by server.

        Raises:
            NotServingRegionException: nobody serves one of the regions at the moment.
        """
        found: dict[str, Part] = {}
        for place, begin, end in pieces:
            address = place.where()
            part = found.setdefault(address, Part(address))
            part.pieces.append((place, begin, end))
            part.batches.append(self._batch.slice(begin, end - begin))
        for part in found.values():
            part.batches = pa.Table.from_batches(part.batches).combine_chunks().to_batches()
        return list(found.values())

    def take(
        self, locator: Locator, parts: Sequence[Part], outcomes: Sequence[Any]
    ) -> HBaseIOException | None:
        """Note the rows that each part had loaded, or its error; returns why some are to be sent again.

        Sent again is what was not begun, and what was refused because a region was not there. What ended in
        another way may be loaded in part: it is sent again only where that changes nothing.

        Raises:
            HBaseIOException: of a part that is not sent again; what was loaded stays.
        """
        self._waiting = []
        trouble: HBaseIOException | None = None
        fatal: HBaseIOException | None = None
        for part, outcome in zip(parts, outcomes, strict=True):
            if not isinstance(outcome, HBaseIOException):
                self.loaded += int(outcome)
                continue
            for place, begin, end in part.pieces:
                locator.failed(place, outcome)
                self._waiting.append((begin, end))
            again = not part.begun or self._repeatable or isinstance(outcome, NotServingRegionException)
            if again and not is_final(outcome):
                trouble = outcome
            else:
                fatal = fatal or outcome
        if fatal is not None:
            raise fatal
        self._waiting.sort()
        return trouble


class _Keys(Sequence[bytes]):
    """Row keys for ``bisect``, without a list of them all."""

    def __init__(self, keys: pa.Array) -> None:
        self._keys = keys

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: Any) -> Any:
        return self._keys[index].as_py()


def placed(locator: Locator, table: str, part: Round, retries: Retries) -> Steps[list[Part]]:
    """What is to be sent where.

    Raises:
        TableNotFoundException, TableNotEnabledException
        NotServingRegionException: nobody serves one of the regions at the moment.
    """
    regions = yield from locator.regions(table, retries)
    pieces: list[tuple[Place, int, int]] = yield Blocking(lambda: part.cut(regions))
    unknown = [place for place, _, _ in pieces if not place.address]
    if unknown:
        found = yield from locator.look_for(table, unknown, retries)
        pieces = yield Blocking(lambda: part.cut(found))
    parts: list[Part] = yield Blocking(lambda: part.parts(pieces))
    return parts


def rounds_of(data: Any, row_key: str, timestamp: int | str | None) -> Iterator[Round]:
    """The input in rounds. ``row_key`` names one of its columns: a server has seen that."""
    (key_index,) = data.schema.get_all_field_indices(row_key)
    rows = 0
    for batch in _merged(data):
        stamps = batch.column(data.schema.get_field_index(timestamp)) if isinstance(timestamp, str) else None
        repeatable = timestamp is not None and (stamps is None or not stamps.null_count)
        yield Round(batch, key_index, rows, repeatable)
        rows += batch.num_rows


def _merged(data: Any) -> Iterator[pa.RecordBatch]:
    """The input's rows in batches of about ``ROUND_BYTES``."""
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in data:
        for part in _slices(batch, ROUND_BYTES):
            held.append(part)
            size += part.nbytes
            if size >= ROUND_BYTES:
                yield from _one(held, data.schema)
                held, size = [], 0
    if held:
        yield from _one(held, data.schema)


def _one(batches: list[pa.RecordBatch], schema: pa.Schema) -> list[pa.RecordBatch]:
    if len(batches) == 1:
        return batches
    merged: list[pa.RecordBatch] = pa.Table.from_batches(batches, schema).combine_chunks().to_batches()
    return merged


def check_keys(keys: pa.Array, first_row: int) -> None:
    """Raises IllegalArgumentException for a row key that the store does not take."""
    sizes = pc.binary_length(keys)
    for bad, why in (
        (pc.is_null(keys), "its row key is null"),
        (pc.equal(sizes, 0), "Row length is 0: a row key has at least one byte"),
        (pc.greater(sizes, MAX_ROW_LENGTH), f"Row length is > {MAX_ROW_LENGTH}"),
    ):
        place = pc.index(bad, True).as_py()
        if place >= 0:
            raise IllegalArgumentException(f"data row {first_row + place}: {why}; nothing of it was written")
