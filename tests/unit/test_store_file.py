"""A StoreFile gives back the cells it was given, whatever their sizes, and knows what it holds."""

from __future__ import annotations

import importlib
import itertools
import random
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperbase.common.errors import IllegalArgumentException, IllegalStateException
from hyperbase.common.model import MAX_TIMESTAMP, CellType
from regionserver.storage import store_file_writer
from regionserver.storage.block_cache import BlockCache
from regionserver.storage.cells import encode_ttl
from regionserver.storage.local_filesystem import LocalFileSystem
from regionserver.storage.memory_filesystem import MemoryFileSystem
from regionserver.storage.store_file import SCHEMA, StoreFileInfo, StoreFileReader, StoreFileWriter

# row, qualifier, timestamp, type, value, sequence id, tags
RawCell = tuple[bytes, bytes, int, int, bytes, int, bytes | None]
PUT = int(CellType.PUT)


def store_order(cell: RawCell) -> tuple[Any, ...]:
    return cell[0], cell[1], -cell[2], -cell[3], -cell[5]


def to_batch(cells: Sequence[RawCell]) -> pa.RecordBatch:
    columns = list(zip(*cells, strict=True)) or [()] * len(SCHEMA)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def to_cells(batches: Sequence[pa.RecordBatch]) -> list[RawCell]:
    return [cell for batch in batches for cell in zip(*(c.to_pylist() for c in batch.columns), strict=True)]


def put(
    row: bytes, qualifier: bytes = b"q", value: bytes = b"v", timestamp: int = 5, seq: int = 1
) -> RawCell:
    return row, qualifier, timestamp, PUT, value, seq, None


def write(cells: Sequence[RawCell], fs: Any = None, path: str = "file", step: int = 0, **options: Any) -> Any:
    fs = fs or MemoryFileSystem()
    writer = StoreFileWriter(fs, path, family=b"f", **options)
    for begin in range(0, len(cells), step or len(cells) or 1):
        writer.append(to_batch(cells[begin : begin + (step or len(cells))]))
    writer.finish()
    return fs


def read(fs: Any, path: str = "file", **options: Any) -> StoreFileReader:
    return StoreFileReader(fs, path, **options)


def all_cells(reader: StoreFileReader) -> list[RawCell]:
    return to_cells([reader.batch(i) for i in range(reader.first_block, reader.last_block + 1)])


def grid(rows: int, columns: int, value_bytes: int = 20) -> list[RawCell]:
    chance = random.Random(rows * columns)
    return [
        put(b"row%06d" % r, b"c%03d" % c, chance.randbytes(value_bytes), 1000, r * columns + c)
        for r in range(rows)
        for c in range(columns)
    ]


FAMILY_MARKERS = (CellType.DELETE_FAMILY, CellType.DELETE_FAMILY_VERSION)


def as_stored(cell: RawCell) -> RawCell:
    """A family marker has no qualifier."""
    return (cell[0], b"", *cell[2:]) if cell[3] in FAMILY_MARKERS else cell


raw_cells = st.lists(
    st.tuples(
        st.binary(min_size=1, max_size=3),
        st.binary(max_size=2),
        st.integers(0, 5) | st.integers(0, MAX_TIMESTAMP),
        st.sampled_from([PUT] * 6 + [int(kind) for kind in CellType]),
        st.binary(max_size=60),
        st.integers(0, 100),
        st.none() | st.none() | st.integers(1, 1000).map(encode_ttl),
    ).map(as_stored),
    max_size=60,
    unique_by=store_order,
).map(lambda cells: sorted(cells, key=store_order))


@settings(deadline=None)
@given(
    cells=raw_cells,
    block_size=st.integers(1, 400),
    step=st.integers(1, 30),
    compression=st.sampled_from(["NONE", "LZ4", "ZSTD"]),
    bloom=st.sampled_from(["NONE", "ROW", "ROWCOL"]),
    gather=st.sampled_from([1, 200, 1 << 20]),
    bounds=st.tuples(st.binary(max_size=2), st.binary(max_size=2)),
)
def test_any_cells_come_back(
    cells: list[RawCell],
    block_size: int,
    step: int,
    compression: str,
    bloom: str,
    gather: int,
    bounds: tuple[bytes, bytes],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_file_writer, "_GATHER_BYTES", gather)
        fs = write(cells, step=step, block_size=block_size, compression=compression, bloom=bloom)
    reader = read(fs)

    assert all_cells(reader) == cells
    assert to_cells(list(reader.batches(reader.first_block, reader.last_block))) == cells
    reader.verify()
    check_info(reader.info, cells)
    check_blocks(reader, cells)
    check_lookups(reader, cells)

    start, stop = bounds
    half = read(fs, cache=BlockCache(1 << 20), start_row=start, stop_row=stop)
    inside = [cell for cell in cells if cell[0] >= start and (not stop or cell[0] < stop)]
    assert all_cells(half) == inside
    assert to_cells(list(half.batches(half.first_block, half.last_block))) == inside
    check_lookups(half, inside)
    for row in {cell[0] for cell in cells} - {cell[0] for cell in inside}:
        assert not half.may_contain(row)
        assert not half.may_contain_cell(row, b"")


def check_info(info: StoreFileInfo, cells: list[RawCell]) -> None:
    stamps = [cell[2] for cell in cells]
    puts = [cell[2] for cell in cells if cell[3] == PUT]
    wide = any(cell[3] in (CellType.DELETE_COLUMN, CellType.DELETE_FAMILY) for cell in cells)
    assert info.cell_count == len(cells)
    assert info.row_count == len({cell[0] for cell in cells})
    assert (info.first_row, info.last_row) == ((cells[0][0], cells[-1][0]) if cells else (b"", b""))
    assert info.min_timestamp == (0 if wide or not cells else min(stamps))
    assert info.max_timestamp == max(stamps, default=0)
    assert info.min_put_timestamp == min(puts, default=MAX_TIMESTAMP)
    assert info.min_sequence_id == min((cell[5] for cell in cells), default=0)
    assert info.max_sequence_id == max((cell[5] for cell in cells), default=0)
    assert (info.put_count, info.delete_count) == (len(puts), len(cells) - len(puts))
    assert info.has_ttl == any(cell[6] for cell in cells)
    assert info.raw_bytes == sum(len(c[0]) + len(c[1]) + len(c[4]) + len(c[6] or b"") + 17 for c in cells)


def check_blocks(reader: StoreFileReader, cells: list[RawCell]) -> None:
    at = 0
    for index in range(reader.first_block, reader.last_block + 1):
        block = reader.block(index)
        part = cells[at : at + len(block)]
        before, after = cells[max(0, at - 1) : at], cells[at + len(part) : at + len(part) + 1]
        at += len(part)
        assert block.rows == [row for row, _ in itertools.groupby(cell[0] for cell in part)]
        assert [block.rows[i] for i in range(len(block.rows)) for _ in range(*block.starts[i : i + 2])] == [
            cell[0] for cell in part
        ]
        assert block.qualifiers == [cell[1] for cell in part]
        assert block.timestamps == [cell[2] for cell in part]
        assert block.types == [cell[3] for cell in part]
        assert block.values == [cell[4] for cell in part]
        assert block.sequence_ids == [cell[5] for cell in part]
        assert (block.ttls or [0] * len(part)) == [int.from_bytes((c[6] or b"")[3:], "big") for c in part]
        assert block.continues == (bool(before) and before[0][0] == part[0][0]) == reader.continues(index)
        around = [cell[:2] for cell in (*before, *part, *after)]
        plain = all(cell[3] == PUT and cell[6] is None for cell in part)
        assert block.simple == (plain and len(set(around)) == len(around))
        shapes = {tuple(c[1] for c in row) for _, row in itertools.groupby(part, key=lambda c: c[0])}
        goes_on = block.continues or (bool(after) and after[0][0] == part[-1][0])
        assert block.uniform == (shapes.pop() if block.simple and not goes_on and len(shapes) == 1 else None)
        wide = any(cell[3] in (CellType.DELETE_COLUMN, CellType.DELETE_FAMILY) for cell in part)
        assert block.min_timestamp == (0 if wide else min(cell[2] for cell in part))
        assert block.max_timestamp == max(cell[2] for cell in part)
        assert block.max_sequence_id == max(cell[5] for cell in part)
        if block.uniform_timestamp is not None:
            assert {cell[2] for cell in part} == {block.uniform_timestamp}


def check_lookups(reader: StoreFileReader, cells: list[RawCell]) -> None:
    for row, group in itertools.groupby(cells, key=lambda cell: cell[0]):
        wanted = list(group)
        assert reader.may_contain(row)
        for cell in wanted:
            assert reader.may_contain_cell(row, cell[1])
        if any(cell[3] in FAMILY_MARKERS for cell in wanted):
            assert reader.may_contain_cell(row, b"no such qualifier")
        assert values_of(reader, row) == [cell[4] for cell in wanted]


def values_of(reader: StoreFileReader, row: bytes) -> list[bytes]:
    """A row's values, gathered over the blocks it spans."""
    index = reader.find_block(row)
    values: list[bytes] = []
    while index <= reader.last_block:
        block = reader.block(index)
        found = block.find(row)
        if found is not None:
            values += block.values[found[0] : found[1]]
        if found is None and block.rows and block.rows[0] > row:
            break
        index += 1
        if index <= reader.last_block and reader.block_first_rows[index] > row:
            break
    return values


def test_a_small_row_never_spans_blocks() -> None:
    reader = read(write(grid(500, 7), block_size=1000))
    assert reader.block_count > 20
    assert not any(reader.continues(i) for i in range(reader.block_count + 1))
    assert all(reader.batch(i).nbytes < 3000 for i in range(reader.block_count))
    assert reader.block(3).uniform == tuple(b"c%03d" % c for c in range(7))
    assert reader.block(3).uniform_timestamp == 1000


@pytest.mark.parametrize("uniform", [True, False])
def test_a_block_that_was_looked_into_holds_its_bytes_once(uniform: bool) -> None:
    cells = grid(50, 4)
    if not uniform:
        cells = [cell for number, cell in enumerate(cells) if number % 7]
        cells = [put(cell[0], cell[1], cell[4], 1000 + n % 3, n) for n, cell in enumerate(cells)]
    reader = read(write(cells, block_size=10**6))
    fresh, used = reader.block(0), reader.block(0)
    begin, end = used.find(b"row000001") or (0, 0)
    assert used.values[begin:end] == [cell[4] for cell in cells if cell[0] == b"row000001"]
    assert used.batch is None
    assert fresh.batch is not None
    for name in ("qualifiers", "timestamps", "types", "sequence_ids", "ttls", "rows", "starts"):
        assert getattr(used, name) == getattr(fresh, name), name
    assert len(used) == len(fresh) == len(cells)


def test_readers_of_one_block_do_not_disturb_each_other() -> None:
    reader = read(write(grid(200, 5), block_size=10**6))
    wanted = reader.block(0).values, reader.block(0).sequence_ids
    for _ in range(50):
        block = reader.block(0)
        start = threading.Barrier(4)
        seen: list[Any] = []

        def look(block: Any = block, start: Any = start, seen: Any = seen) -> None:
            start.wait()
            seen.append((block.values, block.sequence_ids, block.types, block.timestamps, block.rows))

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(seen) == 4
        assert all(answer[:2] == wanted for answer in seen)


def test_a_wide_row_spans_blocks_and_is_found_at_its_first() -> None:
    cells = [*grid(3, 2), *[put(b"wide", b"%05d" % i) for i in range(1000)], *[put(b"x"), put(b"y")]]
    reader = read(write(cells, block_size=500))
    first = reader.find_block(b"wide")
    assert not reader.continues(first)
    assert reader.block(first).rows[0] == b"wide"
    assert len(values_of(reader, b"wide")) == 1000


def test_a_huge_value_has_a_block_of_its_own() -> None:
    huge = b"h" * (2 << 20)
    cells = [
        put(b"a"),
        put(b"b", b"1"),
        put(b"b", b"2", huge),
        put(b"b", b"3"),
        put(b"c"),
        put(b"d", value=huge),
    ]
    reader = read(write(cells, step=1, compression="LZ4"))
    assert [len(reader.block(i)) for i in range(reader.block_count)] == [1, 1, 1, 2, 1]
    assert values_of(reader, b"b") == [b"v", huge, b"v"]


def test_small_appends_make_the_blocks_of_one_large_append() -> None:
    cells = grid(3000, 5)
    one, many = read(write(cells)), read(write(cells, step=13))
    assert one.block_first_rows == many.block_first_rows
    assert one.info == many.info


def test_a_slice_of_a_larger_batch_is_written_as_itself() -> None:
    cells = [*grid(50, 3), put(b"z", b"", b"", 7, 9)]
    fs = MemoryFileSystem()
    writer = StoreFileWriter(fs, "file", family=b"f")
    writer.append(to_batch(cells).slice(17, 100))
    writer.finish()
    assert all_cells(read(fs)) == cells[17:117]


def test_rows_that_go_backwards_are_refused() -> None:
    writer = StoreFileWriter(MemoryFileSystem(), "file", family=b"f")
    writer.append(to_batch([put(b"b")]))
    with pytest.raises(IllegalArgumentException, match=r"b'a' was appended after row b'b'"):
        writer.append(to_batch([put(b"a")]))
    writer.abort()
    with pytest.raises(IllegalStateException):
        writer.finish()

    writer = StoreFileWriter(MemoryFileSystem(), "file", family=b"f")
    writer.append(to_batch([put(b"a"), put(b"c"), put(b"b"), put(b"d")]))
    with pytest.raises(IllegalArgumentException, match="backwards"):
        writer.finish()


def test_a_family_delete_with_a_qualifier_is_refused() -> None:
    writer = StoreFileWriter(MemoryFileSystem(), "file", family=b"f")
    writer.append(to_batch([(b"a", b"q", 1, int(CellType.DELETE_FAMILY), b"", 1, None)]))
    with pytest.raises(IllegalArgumentException, match="family delete has a qualifier"):
        writer.finish()


def test_other_columns_nulls_and_settings_are_refused() -> None:
    fs = MemoryFileSystem()
    writer = StoreFileWriter(fs, "file", family=b"f")
    with pytest.raises(IllegalArgumentException, match="takes the columns"):
        writer.append(to_batch([put(b"a")]).select(["row", "value"]))
    with pytest.raises(IllegalArgumentException, match="value holds nulls"):
        writer.append(to_batch([(b"a", b"q", 1, PUT, None, 1, None)]))  # type: ignore[list-item]
    for options in ({"compression": "GZ"}, {"bloom": "BIG"}, {"block_size": 0}):
        with pytest.raises(ValueError):
            StoreFileWriter(fs, "other", family=b"f", **options)  # type: ignore[arg-type]


def test_an_aborted_file_is_not_there(tmp_path: Path) -> None:
    fs = LocalFileSystem(tmp_path)
    writer = StoreFileWriter(fs, "dir/file", family=b"f")
    writer.append(to_batch(grid(5000, 3)))
    writer.abort()
    assert not fs.exists("dir/file")
    with pytest.raises(FileNotFoundError):
        read(fs, "dir/file")


def test_an_empty_file_answers_nothing() -> None:
    reader = read(write([]))
    assert (reader.block_count, reader.middle_row()) == (0, None)
    assert not reader.may_contain(b"a")
    reader.verify()


def test_the_middle_row_splits_a_file_and_its_halves() -> None:
    fs = write(grid(2000, 3), block_size=2000)
    middle = read(fs).middle_row()
    assert middle is not None
    low, high = read(fs, stop_row=middle), read(fs, start_row=middle)
    assert abs(low.block_count - high.block_count) <= 1
    assert all_cells(low) + all_cells(high) == grid(2000, 3)
    quarter = low.middle_row()
    assert quarter is not None
    assert b"row000000" < quarter < middle
    with pytest.raises(IndexError):
        low.block(high.last_block)


def test_halves_share_whole_blocks_in_the_cache_and_clip_their_own() -> None:
    cache = BlockCache(1 << 24)
    fs = write(grid(300, 3), block_size=2000)
    low, high = read(fs, cache=cache, stop_row=b"row000151"), read(fs, cache=cache, start_row=b"row000151")
    assert low.last_block == high.first_block
    assert low.block(low.last_block).rows[-1] == b"row000150"
    assert high.block(high.first_block).rows[0] == b"row000151"
    assert low.block(0) is low.block(0)
    assert high.block(high.last_block, cache=False) is not high.block(high.last_block, cache=False)
    assert cache.size_bytes > 0
    cache.evict_file(low.path)
    assert cache.size_bytes == 0


def test_many_rows_fill_several_bloom_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regionserver.storage.bloom.MAX_KEYS_PER_FILTER", 100)
    cells = grid(3000, 2)
    for bloom in ("ROW", "ROWCOL"):
        reader = read(write(cells, step=150, bloom=bloom, block_size=500))
        reader.verify()
        assert all(reader.may_contain_cell(cell[0], cell[1]) for cell in cells)
        assert sum(reader.may_contain(cell[0] + b"x") for cell in cells) < len(cells) * 0.03


def test_a_rowcol_filter_tells_columns_apart() -> None:
    reader = read(write(grid(2000, 4), bloom="ROWCOL"))
    wrong = sum(reader.may_contain_cell(b"row%06d" % i, b"other") for i in range(2000))
    assert wrong < 60


@pytest.mark.parametrize("compression", ["NONE", "LZ4", "ZSTD"])
@pytest.mark.parametrize("bloom", ["ROW", "ROWCOL"])
def test_other_arrow_tools_open_the_file(tmp_path: Path, compression: str, bloom: str) -> None:
    polars = importlib.import_module("polars")
    duckdb = importlib.import_module("duckdb")
    dataset = importlib.import_module("pyarrow.dataset")
    cells = [*grid(500, 3), (b"z", b"", 7, int(CellType.DELETE_FAMILY), b"", 9, encode_ttl(5))]
    write(cells, LocalFileSystem(tmp_path), "f.arrow", compression=compression, bloom=bloom, block_size=4096)
    path = str(tmp_path / "f.arrow")

    with pa.ipc.open_file(path) as file:
        assert file.read_all().equals(pa.Table.from_batches([to_batch(cells)]))
        assert file.schema.metadata[b"hyperbase.family"] == b"f"
        assert all(isinstance(v.decode("utf-8"), str) for v in file.schema.metadata.values())
    assert polars.read_ipc(path).rows() == cells
    assert polars.scan_ipc(path).select("value").collect().to_series().to_list() == [c[4] for c in cells]
    stored = dataset.dataset(path, format="ipc")  # noqa: F841 - DuckDB finds it by name
    found = duckdb.sql('select count(*), min("row"), max("row") from stored').fetchall()
    assert found == [(1501, b"row000000", b"z")]
