"""Frames for fuzzing a server: valid ones of every method, and what chance makes of them.

Everything comes from one ``random.Random``: a seed repeats a run.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

import msgpack
import pyarrow as pa
import zstandard

from hyperbase import (
    Append,
    CheckAndMutate,
    ColumnFamilyDescriptor,
    Delete,
    Get,
    Increment,
    Put,
    RowMutations,
    Scan,
    TableDescriptor,
    filters,
)
from hyperbase.common.descriptors import NamespaceDescriptor
from hyperbase.common.region_info import META_REGION
from hyperbase.common.wire.frames import COMPRESSED, HEADER
from hyperbase.common.wire.messages import Method
from hyperbase.common.wire.model_codec import encode_action, encode_get, encode_rows, encode_scan

FAMILY = b"f"
ROWS = 40


def row_key(number: int) -> bytes:
    """One of the rows that the frames read and write."""
    return b"row%02d" % (number % ROWS)


def _arrow_stream(chance: random.Random) -> bytes:
    batch = pa.record_batch(
        {"row": [row_key(chance.randrange(ROWS)) for _ in range(3)], "f:q": [b"a", b"b", b"c"]}
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data


class ValidFrames:
    """Requests that a client might send, of every method, to one region of a table."""

    def __init__(self, chance: random.Random, region: bytes, table: str) -> None:
        self._chance = chance
        self._region = region
        self._table = table
        self._nonces = 0
        self._stream = _arrow_stream(chance)
        self._makers: list[Callable[[], tuple[int, Any]]] = [
            lambda: (Method.PING, ()),
            lambda: (Method.REGISTRY, ()),
            lambda: (Method.CANCEL, (self._near(),)),
            lambda: (Method.CREDIT, (self._near(), chance.randrange(1, 4))),
            lambda: (Method.DATA, (self._near(), self._stream)),
            lambda: (Method.DATA, (self._near(), None)),
            lambda: (Method.ROW, (region, self._row())),
            lambda: (Method.ROW, (META_REGION.id16, self._row())),
            lambda: (Method.GET, (region, self._get())),
            lambda: (Method.GET_MANY, (((region, (self._row(), self._get())), (region, (self._row(),))),)),
            self._put_rows,
            self._put_rows,
            lambda: (Method.MUTATE, (region, self._mutation(), self._nonce())),
            lambda: (Method.MUTATE, (region, self._mutation(), self._nonce())),
            lambda: (Method.MUTATE, (region, encode_action(self._row_mutations()), self._nonce())),
            lambda: (Method.CHECK, (region, encode_action(self._check()), self._nonce())),
            self._multi,
            lambda: (Method.SCAN, (region, encode_scan(self._scan()), chance.randrange(1, 4))),
            lambda: (Method.SCAN, (region, encode_scan(self._scan()), chance.randrange(1, 4))),
            lambda: (
                Method.ARROW_SCAN,
                (region, encode_scan(Scan(limit=5)), chance.choice([None, (b"f:q", b"f:n")]), 2),
            ),
            lambda: (Method.ARROW_COLUMNS, (region, encode_scan(Scan()))),
            lambda: (Method.ARROW_PUT, (table, "row", chance.choice([None, 7]), chance.choice([None, b"f"]))),
            self._admin,
        ]
        self._next_id = 0

    def message(self) -> tuple[Any, ...]:
        """A request, with a call id of its own."""
        self._next_id += 1
        method, arguments = self._chance.choice(self._makers)()
        timeout = self._chance.choice([None, None, 1000, 60_000])
        header = self._chance.choice([None, None, None, {"principal": "someone"}])
        return int(method), self._next_id, timeout, header, arguments

    def _near(self) -> int:
        return max(0, self._next_id - self._chance.randrange(6))

    def _row(self) -> bytes:
        return row_key(self._chance.randrange(ROWS))

    def _nonce(self) -> Any:
        self._nonces += 1
        return self._chance.choice([None, (self._nonces, max(0, self._nonces - 20))])

    def _filter(self) -> Any:
        return self._chance.choice(
            [
                None,
                "PrefixFilter('row') AND KeyOnlyFilter()",
                filters.SingleColumnValueFilter(
                    b"f", b"q", filters.CompareOperator.EQUAL, filters.RegexStringComparator("v[0-9]")
                ),
                filters.FilterList(
                    [
                        filters.PageFilter(3),
                        filters.SkipFilter(filters.ValueFilter("!=", filters.BinaryComparator(b"x"))),
                        filters.FuzzyRowFilter([(b"row00", b"\0\0\0\1\1")]),
                    ],
                    operator="MUST_PASS_ONE",
                ),
                filters.TimestampsFilter([1, 2, 3]),
                filters.ColumnPaginationFilter(2, 1),
                filters.MultiRowRangeFilter([filters.RowRange(b"row03", True, b"row07", False)]),
            ]
        )

    def _get(self) -> Any:
        return encode_get(
            Get(
                self._row(),
                columns=self._chance.choice([None, [b"f"], [b"f:q", b"f:n"]]),
                versions=self._chance.choice([1, 3]),
                time_range=self._chance.choice([None, (0, 2**62)]),
                filter=self._filter(),
                store_limit=self._chance.choice([None, 2]),
                family_time_ranges=self._chance.choice([None, {b"f": (0, 99)}]),
            )
        )

    def _scan(self) -> Scan:
        chance = self._chance
        start = chance.choice([b"", self._row()])
        return Scan(
            start,
            reverse=chance.random() < 0.2,
            limit=chance.choice([None, 3, 500]),
            batch=chance.choice([None, 1]),
            raw=chance.random() < 0.1,
            filter=self._filter(),
        )

    def _put_rows(self) -> tuple[int, Any]:
        rows = [
            (self._row(), {b"f:q": b"v%d" % self._chance.randrange(9), b"f:x": b""})
            for _ in range(self._chance.randrange(1, 4))
        ]
        tables, lowered = encode_rows(rows)
        group = (self._region, tables, lowered, self._nonce())
        return Method.PUT_ROWS, ((group,) * self._chance.randrange(1, 3), self._chance.choice([None, 5]), 0)

    def _mutation(self) -> Any:
        row = self._row()
        return encode_action(
            self._chance.choice(
                [
                    Put(row, ttl_ms=10_000_000).add(b"f:q", b"v"),
                    Put(row, timestamp=3).add(b"f:q", b"v"),
                    Delete(row),
                    Delete(row).add_column(b"f:q"),
                    Delete(row).add_family(b"f", 3),
                    Increment(row, {b"f:n": 2}),
                    Append(b"append", {b"f:a": b"x"})
                    if self._chance.random() < 0.1
                    else Put(row).add("f:q", "w"),
                ]
            )
        )

    def _row_mutations(self) -> RowMutations:
        row = self._row()
        return RowMutations(row, [Put(row).add(b"f:q", b"1"), Delete(row).add_columns(b"f:x", 1)])

    def _check(self) -> CheckAndMutate:
        row = self._row()
        check = CheckAndMutate(row)
        if self._chance.random() < 0.3:
            check.if_filter(self._filter() or "KeyOnlyFilter()")
        else:
            check.if_equals(b"f:q", b"v1").time_range(0, 2**60)
        return check.then(Put(row).add(b"f:q", b"v2"))

    def _multi(self) -> tuple[int, Any]:
        actions = [
            (self._mutation(), self._nonce()),
            (self._get(), None),
            (encode_action(self._check()), self._nonce()),
        ]
        return Method.MULTI, (((self._region, actions), (self._region, actions[:1])),)

    def _admin(self) -> tuple[int, Any]:
        self._nonces += 1
        descriptor = TableDescriptor("other", [ColumnFamilyDescriptor("g")]).to_dict()
        space = NamespaceDescriptor("space").to_dict()
        name, *arguments = self._chance.choice(
            [
                ("create_table", descriptor, (b"k",)),
                ("create_table", descriptor, None),
                ("alter_table", descriptor),
                ("describe_table", self._table),
                ("disable_table", "other"),
                ("enable_table", "other"),
                ("is_table_enabled", "other"),
                ("truncate_table", "other", True),
                ("drop_table", "other"),
                ("create_namespace", space),
                ("describe_namespace", "space"),
                ("drop_namespace", "space"),
                ("list_namespaces",),
                ("list_tables",),
                ("table_exists", "other"),
                ("regions", "other"),
                ("flush", "other"),
                ("compact", "other", False),
                ("split", "other", b"m"),
                ("merge_regions", "x", "y"),
                ("metrics",),
            ]
        )
        return Method.ADMIN, (name, tuple(arguments), self._chance.choice([None, self._nonces]))


_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 255, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, -(2**63),
    0.0, -1.5, float("nan"), float("inf"), "", "x", "é\0\n", "\U0001f600" * 9, b"", b"x", b"\0\xff", b"f:q",
    b":", "f:q", (), ((),), (None,), (1, 2), ((b"f", b"q"),), {}, {"a": 1}, {b"k": ()}, {1: 2}, (b"f", None),
    "PrefixFilter(", "../..", "hbase:meta", b"x" * 70_000, 10**6,
)  # fmt: skip


class Mutator:
    """Makes of a message the bytes of a frame that is wrong somewhere, or maybe still right."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        bombs = [_zstd(b"\0" * size) for size in (10**5, 10**6, 80 * 10**6)]
        huge = (2**32 - 1, 2**31 - 1, 10**8)
        extension = msgpack.packb((2, 1, None, None, (msgpack.ExtType(7, b"x" * 8),)))
        sizeless = zstandard.ZstdCompressor(write_content_size=False).compress(b"\xc0" * 99)
        self._rare: list[Callable[[], bytes]] = [
            lambda: frame(b"\x91" * chance.choice([100, 600, 100_000]) + b"\xc0"),  # deep nesting
            lambda: frame(b"\x95\x0a\x01\xc0\xc0" + b"\x91" * 300 + b"\xc0"),
            lambda: frame(b"\xdd" + struct.pack(">I", chance.choice(huge)) + b"\xc0" * 9),
            lambda: frame(b"\xdf" + struct.pack(">I", chance.choice(huge)) + b"\xc0" * 9),
            lambda: frame(b"\xc6" + struct.pack(">I", 2**32 - 1) + b"abc"),
            lambda: frame(b"\x95\x02\x01\xc0\xc0\xdd\x00\x01\x00\x00" + b"\x80" * 65_536),  # empty maps
            lambda: frame(extension),
            lambda: frame(b"\x95\x0a\x01\xc0\xc0\xa2\xff\xfe"),  # text that is not UTF-8
            lambda: frame(b"\xc7\x0c\xff" + b"\xff" * 12),  # a timestamp out of range
            lambda: chance.choice(bombs),
            lambda: _zstd(msgpack.packb((2, 1, None, None, ()))),
            lambda: frame(sizeless, COMPRESSED),
            lambda: frame(b"\x28\xb5\x2f\xfd" + chance.randbytes(40), COMPRESSED),
            lambda: chance.randbytes(chance.randrange(1, 200)),
            lambda: frame(b""),
        ]  # fmt: skip

    def bytes_of(self, message: tuple[Any, ...]) -> bytes:
        """What a client that means harm might send in place of the message."""
        chance = self._chance
        way = chance.random()
        if way < 0.55:
            for _ in range(chance.choice([1, 1, 1, 2, 3])):
                message = self._replaced(message)
            return frame(msgpack.packb(message, use_bin_type=True))
        body: bytes = msgpack.packb(message, use_bin_type=True)
        if way < 0.70:
            return frame(self._flipped(body), 0)
        if way < 0.77:
            return frame(body[: chance.randrange(len(body))])
        if way < 0.80:
            return frame(body + chance.randbytes(chance.randrange(1, 5)))
        if way < 0.86:
            lie = chance.choice([0, 1, 2, len(body), len(body) + 2, 2**31 - 1, 2**32 - 1, 2**31])
            return HEADER.pack(lie, 0) + body
        if way < 0.90:
            return frame(body, chance.randrange(256))
        if way < 0.93:
            return frame(body) + frame(body)  # a call id twice
        if way < 0.96:
            return frame(body)
        return chance.choice(self._rare)()

    def _flipped(self, body: bytes) -> bytes:
        changed = bytearray(body)
        for _ in range(self._chance.choice([1, 1, 2, 8])):
            changed[self._chance.randrange(len(changed))] ^= 1 << self._chance.randrange(8)
        return bytes(changed)

    def _replaced(self, value: Any) -> Any:
        """The value with one of its parts, however deep, changed."""
        chance = self._chance
        if isinstance(value, dict) and value and chance.random() < 0.85:
            key = chance.choice(list(value))
            if chance.random() < 0.2:
                return {chance.choice([b"other", "other", 7]) if k == key else k: v for k, v in value.items()}
            return {**value, key: self._replaced(value[key])}
        if isinstance(value, (tuple, list)) and value and chance.random() < 0.92:
            return self._one_replaced(value)
        if isinstance(value, int) and not isinstance(value, bool) and chance.random() < 0.3:
            return min(max(value + chance.choice([-1, 1]), -(2**63)), 2**64 - 1)
        return chance.choice(_VALUES)

    def _one_replaced(self, items: Sequence[Any]) -> tuple[Any, ...]:
        index, way = self._chance.randrange(len(items)), self._chance.random()
        if way < 0.06:
            return (*items[:index], *items[index + 1 :])
        if way < 0.12:
            return (*items[:index], items[index], *items[index:])
        return (*items[:index], self._replaced(items[index]), *items[index + 1 :])


def frame(body: bytes, flags: int = 0) -> bytes:
    """A frame with this body, whatever it is."""
    return HEADER.pack(len(body) + 1, flags) + body


def _zstd(body: bytes) -> bytes:
    return frame(zstandard.ZstdCompressor(level=1).compress(body), COMPRESSED)
