"""Random operations on a store, as plain data: whole mutations and queries from which a test draws."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from tests.support.model_store import COLUMN, DELETE, FAMILY, FAMILY_VERSION, Schema

PAYLOADS = 1000  # of each kind of operation
STAMP_STEP_MS = 200  # explicit stamps are multiples of this, so that they meet
ROWS = [b"a", b"b", b"b\x00", b"c", b"cc", b"d", b"e\xff", b"f"]
QUALIFIERS = [b"", b"a", b"ab", b"b"]
SCHEMAS = {
    b"f": Schema(1),
    b"g": Schema(3),
    b"k": Schema(2, keep_deleted=True),
    b"m": Schema(3, min_versions=1, ttl_ms=2000),
    b"n": Schema(2, by_sequence=True),
    b"t": Schema(2, ttl_ms=2000),
}
ALL_FAMILIES = tuple(sorted(SCHEMAS))
PLAIN_FAMILIES = (b"f", b"g", b"k")  # without time in their schema a table is read by the quick paths
OPERATORS: dict[str, Callable[[bytes, bytes], bool]] = {
    "<": lambda given, stored: given < stored,
    "<=": lambda given, stored: given <= stored,
    ">": lambda given, stored: given > stored,
    ">=": lambda given, stored: given >= stored,
}


# -- operations as plain data ----------------------------------------------------------------------------


class Dice(random.Random):
    """Randomness, and the families of the table."""

    families: list[bytes]


def _stamp(r: Dice) -> int | None:
    """None: assigned by the store; else how many steps before now (negative: in the future)."""
    return None if r.random() < 0.35 else r.choice((0, 0, 1, 1, 2, 3, 4, 5, 8, 12, -2))


def _value(r: Dice) -> bytes:
    kind = r.random()
    if kind < 0.1:
        return b""
    if kind < 0.3:
        return struct.pack(">q", r.randrange(-3, 3))
    return bytes([r.choice(b"xyz")]) * r.choice((1, 2, 3, 150))


def _put(r: Dice) -> dict[str, Any]:
    columns = r.sample([(f, q) for f in r.families for q in QUALIFIERS], r.choice((1, 1, 2, 3, 8)))
    if r.random() < 0.4:  # rows of one shape, put again and again, have quick paths of their own
        columns = [(b"f", b"a"), (b"g", b""), (b"g", b"b")]
    shared = _stamp(r)
    cells = [(f, q, shared if r.random() < 0.8 else _stamp(r), _value(r)) for f, q in columns]
    return {"cells": cells, "ttl": r.choice((500, 1500, 4000)) if r.random() < 0.15 else None}


def _delete(r: Dice) -> dict[str, Any]:
    markers = []
    for _ in range(r.choice((0, 1, 1, 1, 2, 3))):
        kind = r.choice((DELETE, DELETE, COLUMN, COLUMN, FAMILY, FAMILY_VERSION))
        qualifier = r.choice(QUALIFIERS) if kind in (DELETE, COLUMN) else b""
        stamp = _stamp(r)
        if kind == FAMILY_VERSION and stamp is None:
            stamp = 1
        markers.append((kind, r.choice(r.families), qualifier, stamp))
        if kind == DELETE and r.random() < 0.3:
            markers.append(markers[-1])
    return {"markers": markers, "stamp": _stamp(r) if r.random() < 0.5 else None}


def _query(r: Dice) -> dict[str, Any]:
    query: dict[str, Any] = {"versions": r.choice((1, 1, 2, 3, "all"))}
    if r.random() < 0.35:
        query["columns"] = [
            (r.choice(r.families), r.choice((None, *QUALIFIERS))) for _ in range(r.choice((1, 2, 3)))
        ]
    if r.random() < 0.3:
        query["range"] = sorted(
            (r.choice((0, 1, 2, 3, 5, 9, 15)), r.choice((-4, -1, 0, 1, 2, 4))), reverse=True
        )
    if r.random() < 0.2:
        query["store_limit"], query["store_offset"] = r.choice((1, 2, 5)), r.choice((0, 0, 1))
    if r.random() < 0.2:
        query["filter"] = r.choice(("value", "qualifier", "key"))
    return query


def _scan(r: Dice) -> dict[str, Any]:
    scan = _query(r)
    bounds = [b"", *ROWS, b"b\x01", b"e"]
    scan.update(
        reverse=r.random() < 0.4,
        start=r.choice(bounds) if r.random() < 0.5 else b"",
        stop=r.choice(bounds) if r.random() < 0.5 else b"",
        start_inclusive=r.random() < 0.8,
        stop_inclusive=r.random() < 0.2,
        limit=r.choice((None, None, 0, 1, 2, 5)),
        batch=r.choice((None, None, None, 1, 2, 7)),
        small_chunks=r.random() < 0.3,
    )
    return scan


def payload(r: Dice, kind: str) -> dict[str, Any]:
    """What an operation of this kind needs beside its row, its tick and its pick."""
    given: dict[str, Any] = {}
    if kind == "put":
        given.update(_put(r), wal=r.random() < 0.95)
    elif kind == "puts":
        given["rows"] = [(row, _put(r)["cells"]) for row in r.sample(ROWS, 4)]
    elif kind == "delete":
        given.update(_delete(r))
    elif kind == "mutate":
        given["steps"] = [
            ("put", _put(r)) if r.random() < 0.6 else ("delete", _delete(r))
            for _ in range(r.choice((1, 2, 3)))
        ]
    elif kind in ("increment", "append"):
        columns = r.sample([(f, q) for f in r.families for q in QUALIFIERS], r.choice((1, 1, 2)))
        given["cells"] = [(f, q, r.choice((0, 1, -5)) if kind == "increment" else b"+") for f, q in columns]
    elif kind == "check":
        given.update(
            column=(r.choice(r.families), r.choice(QUALIFIERS)), op=r.choice(("=", "!=", *OPERATORS))
        )
        given.update(value=r.choice((b"", b"x", b"yy")), put=_put(r), delete=_delete(r))
        given["puts"] = r.random() < 0.6
    elif kind == "get":
        given.update(_query(r))
    elif kind == "scan":
        given.update(_scan(r))
    return given


@lru_cache(maxsize=256)
def payloads(kind: str, families: tuple[bytes, ...], seed: int) -> list[dict[str, Any]]:
    """A thousand payloads of one kind, the same for the same seed, simple ones first.

    A test draws one of them by its number: one choice instead of dozens, and smaller numbers are simpler.
    """
    dice = Dice(f"{seed} {kind} {families}")
    dice.families = list(families)
    return sorted((payload(dice, kind) for _ in range(PAYLOADS)), key=lambda given: len(repr(given)))
