"""A row larger than one answer may be is refused by name, and readable in parts."""

from __future__ import annotations

import pytest

from hyperbase import Get, Scan
from hyperbase.common.errors import RowTooBigException
from tests.support.engine import memory_connection


def test_a_row_too_big_for_one_answer() -> None:
    with memory_connection(max_row_result_bytes=100_000) as connection:
        connection.create_table("t", {"f": {}})
        table = connection.table("t")
        for number in range(200):
            table.put(b"big", {b"f:%03d" % number: bytes(1000)})
        table.put(b"small", {b"f:a": b"1"})
        for flushed in (False, True):
            if flushed:
                connection.admin.flush("t")
            with pytest.raises(RowTooBigException, match="Max row size allowed: 100000"):
                table.row(b"big")
            with pytest.raises(RowTooBigException, match="Max row size allowed"):
                list(table.scan_results(Scan()))
            assert len(table.get(Get(b"big", store_limit=50, store_offset=150))) == 50
            assert table.row(b"small") == {b"f:a": b"1"}
