"""A damaged StoreFile is refused or read exactly: never a wrong answer, a crash or a hang."""

from __future__ import annotations

import base64
import errno
import random
from functools import cache

import msgpack
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperbase.common.errors import CorruptHFileException, StoreFormatException
from regionserver.storage import store_file_format
from regionserver.storage.memory_filesystem import MemoryFileSystem
from regionserver.storage.store_file import SCHEMA, StoreFileReader, StoreFileWriter

FLIPS = 1000
COMPRESSIONS = ["NONE", "LZ4", "ZSTD"]
DAMAGE = (CorruptHFileException, StoreFormatException)


@cache
def batch() -> pa.RecordBatch:
    chance = random.Random(1)
    count = 400
    return pa.RecordBatch.from_arrays(
        [
            pa.array([b"row%04d" % (i // 4) for i in range(count)], pa.binary()),
            pa.array([b"q%d" % (i % 4) for i in range(count)], pa.binary()),
            pa.array([1000 + i for i in range(count)], pa.int64()),
            pa.array([4] * count, pa.uint8()),
            pa.array([chance.randbytes(4) * 5 for _ in range(count)], pa.binary()),
            pa.array(range(count), pa.int64()),
            pa.array([None] * count, pa.binary()),
        ],
        schema=SCHEMA,
    )


def new_file(compression: str) -> bytes:
    fs = MemoryFileSystem()
    writer = StoreFileWriter(
        fs, "file", family=b"f", compression=compression, bloom="ROWCOL", block_size=2048
    )
    writer.append(batch())
    writer.finish()
    return fs.read("file")


whole_file = cache(new_file)


def reader_of(data: bytes) -> StoreFileReader:
    fs = MemoryFileSystem()
    fs.create_if_absent("dir/damaged", data)
    return StoreFileReader(fs, "dir/damaged")


def told(error: Exception, place: str) -> bool:
    """False, the verdict of ``read_everything``, when the error names the place."""
    if place not in str(error):
        raise AssertionError(f"{error} does not name {place}") from error
    return False


def read_everything(data: bytes) -> bool:
    """Whether the file is read, and then exactly; False: it was refused by name."""
    wanted = batch()
    try:
        reader = reader_of(data)
    except DAMAGE as error:
        return told(error, "dir/damaged")
    assert reader.info.cell_count == wanted.num_rows
    assert all(reader.may_contain_cell(b"row%04d" % row, b"q3") for row in range(100))
    intact = True
    at = 0
    for index in range(reader.block_count):
        assert reader.block_first_rows[index] == wanted.column(0)[at].as_py()
        cells = reader._index.cell_counts[index]
        try:
            assert reader.batch(index).equals(wanted.slice(at, cells))
        except CorruptHFileException as error:
            intact = told(error, f"dir/damaged is damaged at block {index}, offset")
        at += cells
    assert at == wanted.num_rows
    return intact


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_flipped_bit_is_noticed_or_harmless(compression: str) -> None:
    data = whole_file(compression)
    assert read_everything(data)
    chance = random.Random(f"{compression} 7")
    refused = 0
    for _ in range(FLIPS):
        damaged = bytearray(data)
        bit = chance.randrange(len(data) * 8)
        damaged[bit // 8] ^= 1 << bit % 8
        refused += not read_everything(bytes(damaged))
    # Harmless are only the Arrow schema, its padding and parts of the footer that other tools use.
    assert refused > FLIPS * 0.5


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_bit_of_a_block_is_covered_by_its_checksum(compression: str) -> None:
    data = whole_file(compression)
    index = reader_of(data)._index
    chance = random.Random(3)
    for offset, length in zip(index.offsets, index.lengths, strict=True):
        for _ in range(10):
            damaged = bytearray(data)
            damaged[offset + chance.randrange(length)] ^= 1 << chance.randrange(8)
            assert not read_everything(bytes(damaged))
            with pytest.raises(CorruptHFileException):
                reader_of(bytes(damaged)).verify()


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_shorter_file_is_refused(compression: str) -> None:
    data = whole_file(compression)
    for length in {*range(0, len(data), 13), *range(len(data) - 300, len(data)), *range(20)}:
        assert not read_everything(data[:length])


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_overwritten_runs_are_noticed_or_harmless(compression: str) -> None:
    data = whole_file(compression)
    chance = random.Random(f"{compression} runs")
    for _ in range(200):
        begin = chance.randrange(len(data))
        run = chance.choice([4, 8, 64, 4096])
        filler = chance.choice([bytes(run), b"\xff" * run, chance.randbytes(run)])
        damaged = data[:begin] + filler + data[begin + run :]
        read_everything(damaged[: len(data)])


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=300), st.booleans())
def test_arbitrary_bytes_are_refused(data: bytes, dressed: bool) -> None:
    if dressed:
        data = b"ARROW1\0\0" + data + len(data).to_bytes(4, "little") + b"ARROW1"
    with pytest.raises(CorruptHFileException):
        reader_of(data)


def test_blocks_of_another_file_are_noticed() -> None:
    data = whole_file("NONE")
    index = reader_of(data)._index
    places = {length: offset for offset, length in zip(index.offsets, index.lengths, strict=True)}
    for offset, length in zip(index.offsets, index.lengths, strict=True):
        if places[length] != offset:
            swapped = bytearray(data)
            swapped[offset : offset + length] = data[places[length] : places[length] + length]
            assert not read_everything(bytes(swapped))
            return
    raise AssertionError("the file has no two blocks of one length")


def test_a_newer_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_file_format, "FORMAT_VERSION", 2)
    newer = new_file("LZ4")
    monkeypatch.setattr(store_file_format, "FORMAT_VERSION", 1)
    with pytest.raises(StoreFormatException, match=r"dir/damaged has format version 2.*reads up to 1"):
        reader_of(newer)


def test_an_arrow_file_that_is_no_store_file_is_refused() -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, SCHEMA) as writer:
        writer.write_batch(batch())
    with pytest.raises(CorruptHFileException, match="carries no StoreFile trailer"):
        reader_of(sink.getvalue().to_pybytes())


def forged(field: str, change: object) -> bytes:
    """A file whose trailer claims something else, with a checksum that holds."""
    data = whole_file("NONE")
    begin = data.index(base64.b64encode(store_file_format.TRAILER_MAGIC)[:8])
    end = data.index(b"\0", begin)
    old = base64.b64decode(data[begin:end])
    payload = msgpack.unpackb(old[24:])
    if field in payload["info"]:
        payload["info"][field] = change
    else:
        numbers = np.frombuffer(payload[field], "<i8").copy()
        numbers[1] = change
        payload[field] = numbers.tobytes()
    packed = msgpack.packb(payload)
    checked = store_file_format._TRAILER_CHECKED.pack(1, len(packed))
    crc = store_file_format.google_crc32c.value(checked + packed)
    header = store_file_format._TRAILER_HEADER.pack(store_file_format.TRAILER_MAGIC, 1, crc, len(packed))
    text = base64.b64encode(header + packed)
    assert len(text) == end - begin
    return data[:begin] + text + data[end:]


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("row_count", 101, "row_count is 100"),
        ("last_row", b"row0098", "last_row is b'row0099'"),
        ("max_timestamps", 5, "block 1, offset .* time range"),
        ("min_timestamps", 5, "block 1, offset .* time range"),
        ("max_sequence_ids", 5, "block 1, offset .* max sequence id"),
        ("cell_counts", 5, "block 1, offset .* not 5"),
        ("flags", 3, "block 1, offset .* continues flag"),
        ("crcs", 5, "block 1, offset .* checksum"),
    ],
)
def test_verify_finds_what_the_trailer_claims_wrongly(field: str, change: object, message: str) -> None:
    reader = reader_of(forged(field, change))
    with pytest.raises(CorruptHFileException, match=message):
        reader.verify()


def test_verify_finds_cells_out_of_order() -> None:
    fs = MemoryFileSystem()
    writer = StoreFileWriter(fs, "file", family=b"f")
    # The writer checks the order of rows only; a wrong merge would show within a row.
    writer.append(batch().take(pa.array([1, 0, 2, 3])))
    writer.finish()
    with pytest.raises(CorruptHFileException, match=r"block 0, offset \d+: its cells are not in order"):
        StoreFileReader(fs, "file").verify()


def test_a_failing_disk_is_not_called_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    fs = MemoryFileSystem()
    fs.create_if_absent("file", whole_file("NONE"))
    file = fs.open_reader("file")

    def fail(offset: int, length: int) -> bytes:
        raise OSError(5, "Input/output error")

    reader = StoreFileReader(fs, "file")
    monkeypatch.setattr(type(file), "read_at", lambda self, offset, length: fail(offset, length))
    with pytest.raises(OSError, match="Input/output error"):
        reader.batch(0)
    with pytest.raises(OSError, match="Input/output error"):
        StoreFileReader(fs, "file")


def test_a_full_disk_leaves_no_file() -> None:
    def full(step: str, count: int) -> None:
        if "write" in step:
            raise OSError(errno.ENOSPC, "No space left on device")

    fs = MemoryFileSystem()
    writer = StoreFileWriter(fs, "dir/file", family=b"f", block_size=64)
    writer.append(batch())
    fs.step_hook = full
    with pytest.raises(OSError, match="No space left"):
        writer.finish()
    fs.step_hook = None
    writer.abort()
    assert not fs.exists("dir/file")
