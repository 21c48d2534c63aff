"""The write-ahead log: order, group commit, rolling, the archive, and what readers are told."""

from __future__ import annotations

import errno
import inspect
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from google_crc32c import value
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperbase.common.errors import (
    DamagedWALException,
    HBaseIOException,
    IllegalArgumentException,
    StoreClosedException,
    StoreFailedException,
    StoreFormatException,
)
from regionserver.storage import wal_reader
from regionserver.storage.filesystem import FileSystem
from regionserver.storage.local_filesystem import LocalFileSystem
from regionserver.storage.memory_filesystem import MemoryFileSystem
from regionserver.storage.wal import (
    LogRecovery,
    WriteAheadLog,
    describe_log,
    next_segment,
    read_log,
    read_logs,
)
from regionserver.storage.wal_archive import clean_archive
from regionserver.storage.wal_format import (
    HEADER,
    RECORD_HEADER_BYTES,
    TRAILER_BYTES,
    SegmentHeader,
    decode_header,
    encode_record,
    encode_seal,
    encode_trailer,
    segment_name,
)

A, B, C = (name * 16 for name in (b"a", b"b", b"c"))


class Commit:
    """Notes what the log says, in the order it says it."""

    def __init__(self, number: int, told: list[int]) -> None:
        self.number, self.told = number, told
        self.error: BaseException | None = None

    def durable(self) -> None:
        self.told.append(self.number)

    def failed(self, error: BaseException) -> None:
        self.error = error


@pytest.fixture(params=["local", "memory"])
def fs(request: pytest.FixtureRequest, tmp_path: Path) -> FileSystem:
    made: FileSystem = LocalFileSystem(tmp_path) if request.param == "local" else MemoryFileSystem()
    made.make_directory("WALs")
    return made


def memory() -> MemoryFileSystem:
    made = MemoryFileSystem()
    made.make_directory("WALs")
    return made


def contents(fs: FileSystem, *, seal: bool = False) -> list[tuple[bytes, int, bytes]]:
    return [
        (record.region, record.sequence_id, record.payload) for record in read_logs(fs, "WALs", seal=seal)
    ]


def fail_at(step: str, code: int, nth: int = 1) -> Callable[[str, int], None]:
    seen = [0]

    def hook(name: str, count: int) -> None:
        if name == step:
            seen[0] += 1
            if seen[0] == nth:
                raise OSError(code, "injected")

    return hook


def test_what_was_appended_is_read_in_order(fs: FileSystem) -> None:
    log = WriteAheadLog(fs, "WALs", 1)
    told: list[int] = []
    positions = [
        log.append(A, 7, b"first", commit=Commit(1, told)),
        log.append(B, 1, b"", kind=9, commit=Commit(2, told)),
        log.append(A, 8, b"x" * 100_000, commit=Commit(3, told)),
    ]
    assert positions == [1, 2, 3]
    assert told == []
    assert log.durable_position == 0
    log.sync(2)
    assert told == [1, 2, 3]
    assert log.durable_position == 3
    log.close()
    records = list(read_log(fs, "WALs/" + segment_name(1)))
    assert [record.kind for record in records] == [1, 9, 1]
    assert [record.sequence_id for record in records] == [7, 1, 8]
    assert records[0].region == A
    assert records[2].payload == b"x" * 100_000
    assert records[0].offset == HEADER.size
    assert records[1].offset == HEADER.size + RECORD_HEADER_BYTES + 5


def test_a_log_can_be_read_while_it_is_written_and_after_it_was_left_open(fs: FileSystem) -> None:
    log = WriteAheadLog(fs, "WALs", 1, segment_bytes=1 << 16)
    for number in range(10):
        log.sync(log.append(A, number, b"payload"))
        assert [sequence_id for _, sequence_id, _ in contents(fs)] == list(range(number + 1))
    assert fs.size("WALs/" + segment_name(1)) == 1 << 16  # preallocated


def test_an_empty_or_missing_log(fs: FileSystem) -> None:
    assert contents(fs) == []
    assert list(read_logs(fs, "elsewhere")) == []
    assert next_segment(fs, "WALs") == 1
    WriteAheadLog(fs, "WALs", 1).close()
    assert contents(fs) == []
    assert next_segment(fs, "WALs") == 2


def test_arguments_are_checked(fs: FileSystem) -> None:
    log = WriteAheadLog(fs, "WALs", 1)
    with pytest.raises(IllegalArgumentException, match="15 bytes"):
        log.append(b"r" * 15, 1, b"")
    with pytest.raises(IllegalArgumentException, match="kind 255"):
        log.append(A, 1, b"", kind=255)
    with pytest.raises(ValueError, match="never appended"):
        log.sync(1)
    log.close()
    log.close()
    with pytest.raises(StoreClosedException):
        log.append(A, 1, b"")
    with pytest.raises(StoreClosedException):
        log.roll()


def test_close_makes_everything_durable() -> None:
    fs = memory()
    log = WriteAheadLog(fs, "WALs", 1)
    told: list[int] = []
    for number in range(5):
        log.append(A, number, b"x", commit=Commit(number, told))
    log.close()
    assert told == [0, 1, 2, 3, 4]
    assert len(contents(fs.after_crash())) == 5


def test_request_sync_syncs_soon(fs: FileSystem) -> None:
    log = WriteAheadLog(fs, "WALs", 1)
    done = threading.Event()

    class Waits(Commit):
        def durable(self) -> None:
            done.set()

    for number in range(3):
        done.clear()
        log.append(A, number, b"x", commit=Waits(0, []))
        log.request_sync()
        assert done.wait(10)
    log.close()


def test_segments_roll_by_size_and_all_are_read(fs: FileSystem) -> None:
    log = WriteAheadLog(fs, "WALs", 1, segment_bytes=4096)
    expected = []
    for number in range(200):
        payload = b"%d" % number * (number % 50)
        log.append(A if number % 3 else B, number, payload)
        expected.append((A if number % 3 else B, number, payload))
        if number % 7 == 0:
            log.sync(log.appended_position)
    names = fs.list("WALs")
    assert len(names) > 3
    assert log.metrics.rolls == len(names) - 1
    log.close()
    assert contents(fs) == expected
    assert all(fs.size(f"WALs/{name}") <= 4096 for name in names)
    assert [info.number for info in log.segments()] == list(range(1, len(names) + 1))
    assert sum(info.record_count for info in log.segments()) == 200


def test_a_record_longer_than_a_segment_gets_one_of_its_own(fs: FileSystem) -> None:
    log = WriteAheadLog(fs, "WALs", 1, segment_bytes=4096)
    log.append(A, 1, b"small")
    log.append(A, 2, b"L" * (9 << 20))  # longer than the reader's chunks, too
    log.append(A, 3, b"small")
    log.close()
    assert [len(payload) for _, _, payload in contents(fs)] == [5, 9 << 20, 5]


def test_roll_by_hand_and_by_age() -> None:
    fs = memory()
    log = WriteAheadLog(fs, "WALs", 1)
    log.roll()  # nothing to close yet
    log.append(A, 1, b"x")
    log.roll()
    assert fs.list("WALs") == [segment_name(1), segment_name(2)]
    assert [info.closed for info in log.segments()] == [True, False]
    log.close()
    log = WriteAheadLog(fs, "WALs", 3, roll_interval_s=0.0)
    for number in range(2, 6):
        log.sync(log.append(A, number, b"x"))
    log.close()
    assert len(fs.list("WALs")) > 4
    assert [sequence_id for _, sequence_id, _ in contents(fs)] == [1, 2, 3, 4, 5]


def test_sixteen_threads_share_syncs_and_lose_nothing(fs: FileSystem) -> None:
    log = WriteAheadLog(fs, "WALs", 1, segment_bytes=1 << 16, sync_hook=lambda: time.sleep(0.0005))
    told: list[int] = []
    order: list[int] = []
    guard = threading.Lock()

    def put(thread: int) -> None:
        for _ in range(50):
            with guard:  # what a region does: sequence id and place in the log in one step
                order.append(len(order) + 1)
                sequence_id = order[-1]
                position = log.append(A, sequence_id, b"%d" % thread * 100, commit=Commit(sequence_id, told))
            log.sync(position)
            assert log.durable_position >= position

    threads = [threading.Thread(target=put, args=(thread,)) for thread in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == order
    assert log.metrics.appends == 800
    assert log.metrics.syncs < 400
    log.close()
    assert [sequence_id for _, sequence_id, _ in contents(fs)] == order
    assert len(fs.list("WALs")) > 1


def test_commits_are_told_before_any_waiter_returns() -> None:
    log = WriteAheadLog(memory(), "WALs", 1)
    told: list[int] = []

    def put() -> None:
        for _ in range(100):
            with guard:
                number = log.appended_position + 1
                position = log.append(A, number, b"x", commit=Commit(number, told))
            log.sync(position)
            if told[position - 1] != position:
                wrong.append(position)

    guard, wrong = threading.Lock(), list[int]()
    threads = [threading.Thread(target=put) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert told == list(range(1, 401))


@pytest.mark.parametrize("step", ["log.write", "log.sync"])
def test_a_failed_write_or_sync_poisons_the_log_for_good(step: str) -> None:
    fs = memory()
    log = WriteAheadLog(fs, "WALs", 1)
    told: list[int] = []
    log.sync(log.append(A, 1, b"safe", commit=Commit(1, told)))
    pending = [Commit(2, told), Commit(3, told)]
    positions = [log.append(A, commit.number, b"x", commit=commit) for commit in pending]
    fs.step_hook = fail_at(step, errno.EIO)
    before = len(fs.steps)
    with pytest.raises(StoreFailedException, match="injected"):
        log.sync(positions[0])
    after = len(fs.steps)
    assert after - before <= 2
    for call in (lambda: log.sync(positions[1]), lambda: log.append(A, 4, b"x"), log.roll):
        with pytest.raises(StoreFailedException):
            call()
    log.sync(1)  # was durable before
    log.close()
    assert len(fs.steps) == after  # nothing was tried again
    assert isinstance(log.failed, OSError)
    assert told == [1]
    assert all(isinstance(commit.error, StoreFailedException) for commit in pending)
    assert [sequence_id for _, sequence_id, _ in contents(fs.after_crash())] == [1]


def test_every_waiting_thread_hears_of_the_failure() -> None:
    fs = memory()
    log = WriteAheadLog(fs, "WALs", 1, sync_hook=lambda: time.sleep(0.005))
    refused: list[int] = []
    fs.step_hook = fail_at("log.sync", errno.EIO, nth=3)

    def put(thread: int) -> None:
        try:
            for number in range(20):
                log.sync(log.append(A, number, b"x"))
        except StoreFailedException:
            refused.append(thread)

    threads = [threading.Thread(target=put, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(refused) == list(range(8))


@pytest.mark.parametrize("step", ["log.create", "log.preallocate", "log.write", "log.create_sync_directory"])
def test_no_space_for_a_new_segment_poisons_nothing(step: str) -> None:
    fs = memory()
    log = WriteAheadLog(fs, "WALs", 1, segment_bytes=1024)
    log.sync(log.append(A, 1, b"x" * 800))
    fs.step_hook = fail_at(step, errno.ENOSPC)
    with pytest.raises(HBaseIOException) as caught:
        log.append(A, 2, b"x" * 800)
    assert caught.value.errno == errno.ENOSPC
    assert log.failed is None
    log.sync(log.append(A, 2, b"fits"))  # goes on in its segment
    log.sync(log.append(A, 3, b"x" * 800))  # and there is space again
    log.close()
    assert [sequence_id for _, sequence_id, _ in contents(fs)] == [1, 2, 3]


class SmallDisk(MemoryFileSystem):
    """Has room for logs of so many bytes each."""

    room = 3 << 20

    def open_log(self, path: str, preallocate_bytes: int) -> Any:
        if preallocate_bytes > self.room:
            raise OSError(errno.ENOSPC, "no space")
        return super().open_log(path, preallocate_bytes)


def test_a_log_begins_with_a_smaller_segment_when_a_whole_one_does_not_fit() -> None:
    fs = SmallDisk()
    fs.make_directory("WALs")
    log = WriteAheadLog(fs, "WALs", 1, segment_bytes=64 << 20)
    assert 1 << 20 <= fs.size("WALs/" + segment_name(1)) <= SmallDisk.room
    log.sync(log.append(A, 1, b"x" * 800_000))
    with pytest.raises(HBaseIOException, match="no space"):  # the rest of the disk is for flushes
        log.append(A, 2, b"x" * 800_000)
    log.sync(log.append(A, 2, b"x"))
    fs.room = 64 << 20
    log.sync(log.append(A, 3, b"x" * 800_000))
    assert fs.size("WALs/" + segment_name(2)) == 64 << 20
    log.close()
    assert [sequence_id for _, sequence_id, _ in contents(fs)] == [1, 2, 3]
    fs.room = (1 << 20) - 1
    with pytest.raises(OSError, match="no space"):
        WriteAheadLog(fs, "WALs", 9, segment_bytes=64 << 20)


def test_a_log_whose_directory_was_taken_away_refuses_to_roll(tmp_path: Path) -> None:
    fs = LocalFileSystem(tmp_path)
    fs.make_directory("WALs")
    log = WriteAheadLog(fs, "WALs", 1)
    log.sync(log.append(A, 1, b"x"))
    (tmp_path / "WALs").rename(tmp_path / "WALs-splitting")
    with pytest.raises(StoreFailedException, match="no longer"):
        log.roll()
    assert not fs.exists("WALs")


def test_an_interrupted_leader_leaves_the_group_to_the_next() -> None:
    fs = memory()
    interrupts = iter([True, False, True, False, False, False])

    def hook() -> None:
        if next(interrupts):
            raise KeyboardInterrupt

    log = WriteAheadLog(fs, "WALs", 1, sync_hook=hook)
    told: list[int] = []
    first = log.append(A, 1, b"x", commit=Commit(1, told))
    with pytest.raises(KeyboardInterrupt):
        log.sync(first)
    assert told == []
    second = log.append(A, 2, b"y", commit=Commit(2, told))
    with pytest.raises(KeyboardInterrupt):
        log.sync(second)
    assert told == [1]
    log.sync(second)
    assert told == [1, 2]
    log.close()
    assert [sequence_id for _, sequence_id, _ in contents(fs.after_crash())] == [1, 2]


def test_segments_are_archived_oldest_first_when_flushed(fs: FileSystem) -> None:
    log = WriteAheadLog(fs, "WALs", 1)
    for sequence_id, region in enumerate((A, B, A, C), start=1):
        log.append(region, sequence_id, b"x")
        log.roll()
    flushed = {A: 1, B: 0, C: 9}
    assert log.archive_flushed(flushed.__getitem__) == [1]
    assert log.regions_in_oldest_segment(flushed.__getitem__) == [B]
    assert log.archive_flushed(flushed.__getitem__) == []
    flushed[B] = 2
    assert log.archive_flushed(flushed.__getitem__) == [2]
    assert log.regions_in_oldest_segment(flushed.__getitem__) == [A]
    assert len(fs.list("oldWALs")) == 2
    assert [sequence_id for _, sequence_id, _ in contents(fs)] == [3, 4]
    assert next_segment(fs, "WALs") == 6
    flushed[A] = 3
    assert log.archive_flushed(flushed.__getitem__) == [3, 4]
    assert log.regions_in_oldest_segment(flushed.__getitem__) == []
    log.sync(log.append(A, 5, b"x"))
    log.close()
    assert [sequence_id for _, sequence_id, _ in contents(fs)] == [5]
    assert [len(list(read_log(fs, f"oldWALs/{name}"))) for name in fs.list("oldWALs")] == [1, 1, 1, 1]


def test_the_archive_is_cleaned_by_age_and_size(fs: FileSystem) -> None:
    for number, archived_s in enumerate((100, 200, 300, 400), start=1):
        fs.create_if_absent(f"oldWALs/{number:016d}-{archived_s * 1000}.wal", bytes(1000))
    fs.create_if_absent(f"oldWALs/{1:016d}-100000.wal.sealed", b"")
    fs.create_if_absent("oldWALs/unknown", bytes(5000))
    assert len(clean_archive(fs, "oldWALs", 600, 10_000, 500)) == 0
    assert len(clean_archive(fs, "oldWALs", 350, 10_000, 500)) == 1
    assert len(clean_archive(fs, "oldWALs", 350, 1_500, 500)) == 2
    assert fs.list("oldWALs") == [f"{4:016d}-400000.wal", "unknown"]


def test_recovered_segments_are_archived_with_their_seal(fs: FileSystem) -> None:
    log = WriteAheadLog(fs, "WALs", 1)
    log.sync(log.append(A, 1, b"x"))  # and then the process dies
    recovery = LogRecovery(fs, "WALs", seal=True)
    assert [record.sequence_id for record in recovery.records()] == [1]
    assert recovery.segments[0].max_sequence_ids == {A: 1}
    assert fs.list("WALs") == [segment_name(1), segment_name(1) + ".sealed"]
    again = WriteAheadLog(fs, "WALs", next_segment(fs, "WALs"), closed_segments=recovery.segments)
    again.sync(again.append(A, 2, b"x"))
    assert [sequence_id for _, sequence_id, _ in contents(fs)] == [1, 2]
    assert again.archive_flushed(lambda region: 1) == [1]
    assert fs.list("WALs") == [segment_name(2)]
    archived = fs.list("oldWALs")
    assert archived[1] == archived[0] + ".sealed"
    assert [record.sequence_id for record in read_log(fs, f"oldWALs/{archived[0]}")] == [1]


def test_a_seal_ends_the_log_for_every_later_reader() -> None:
    fs = memory()
    log = WriteAheadLog(fs, "WALs", 1)
    log.sync(log.append(A, 1, b"replayed"))
    assert len(contents(fs, seal=True)) == 1
    log.sync(log.append(A, 2, b"ghost"))  # a writer that should be dead
    assert [sequence_id for _, sequence_id, _ in contents(fs)] == [1]
    fs.corrupt("WALs/" + segment_name(1), HEADER.size + 50, b"!")
    with pytest.raises(DamagedWALException, match="sealed"):
        contents(fs)


def test_a_read_only_reader_writes_no_seal() -> None:
    fs = memory()
    log = WriteAheadLog(fs, "WALs", 1)
    log.sync(log.append(A, 1, b"x"))
    assert len(contents(fs.as_read_only())) == 1
    assert fs.list("WALs") == [segment_name(1)]


def test_recovery_makes_durable_what_it_replays() -> None:
    fs = memory()
    log = WriteAheadLog(fs, "WALs", 1)
    log.sync(log.append(A, 1, b"synced"))
    fs.step_hook = fail_at("log.sync", errno.EIO)
    with pytest.raises(StoreFailedException):
        log.sync(log.append(A, 2, b"unsynced"))
    killed = memory()
    log = WriteAheadLog(killed, "WALs", 1, sync_hook=lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        log.sync(log.append(A, 1, b"in the page cache only"))
    after = killed.after_kill()
    assert len(contents(after, seal=True)) == 1
    assert len(contents(after.after_crash())) == 1


def test_describe_log_states_facts(fs: FileSystem) -> None:
    log = WriteAheadLog(fs, "WALs", 1)
    log.append(A, 5, b"abc", kind=3)
    log.close()
    path = "WALs/" + segment_name(1)
    header, record, end = describe_log(fs, path)
    assert header["segment"] == 1
    assert (record["kind"], record["region"], record["sequence_id"]) == (3, A.hex(), 5)
    assert (record["offset"], record["payload_bytes"]) == (HEADER.size, 3)
    assert end["ending"] == "trailer"
    assert end["offset"] == fs.size(path) == HEADER.size + RECORD_HEADER_BYTES + 3 + TRAILER_BYTES


def test_another_version_is_named() -> None:
    fs = memory()
    header = SegmentHeader(1, 0, 5).encode()
    assert decode_header(header, "x") == SegmentHeader(1, 0, 5)
    newer = b"HBWAL002" + header[8:-4]
    fs.create_if_absent("WALs/" + segment_name(1), newer + value(newer).to_bytes(4, "big"))
    with pytest.raises(StoreFormatException, match="002"):
        contents(fs)


def test_an_error_while_reading_is_never_the_end() -> None:
    fs = memory()
    log = WriteAheadLog(fs, "WALs", 1)
    for number in range(100):
        log.append(A, number, b"x" * 1000)
    log.close()
    message = ""
    for nth in range(1, 100):
        calls = [0]

        def fault(path: str, offset: int, calls: list[int] = calls, nth: int = nth) -> None:
            calls[0] += 1
            if calls[0] == nth:
                raise OSError(errno.EIO, "cannot read")

        fs.read_fault = fault
        count = 0
        try:
            count = len(contents(fs))
        except OSError as error:
            message = str(error)
        if calls[0] < nth:
            assert count == 100
            break
        assert count == 0
        assert "cannot read" in message


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.sampled_from([A, B]), st.binary(max_size=300)),
            st.tuples(st.sampled_from(["sync", "roll", "reopen"])),
        ),
        max_size=40,
    ),
    st.integers(200, 2000),
    st.integers(64, 5000),
)
def test_any_history_is_read_back(history: list[tuple[Any, ...]], segment_bytes: int, chunk: int) -> None:
    fs = memory()
    log = WriteAheadLog(fs, "WALs", 1, segment_bytes=segment_bytes)
    expected: list[tuple[bytes, int, bytes]] = []
    for step in history:
        if step[0] == "append":
            expected.append((step[1], len(expected), step[2]))
            log.append(*expected[-1])
        elif step[0] == "sync":
            log.sync(log.appended_position)
        elif step[0] == "roll":
            log.roll()
        else:
            log.close()
            log = WriteAheadLog(fs, "WALs", next_segment(fs, "WALs"), segment_bytes=segment_bytes)
    log.sync(log.appended_position)
    before, wal_reader.CHUNK_BYTES = wal_reader.CHUNK_BYTES, chunk
    try:
        assert contents(fs) == expected
        assert contents(fs.after_crash()) == expected
    finally:
        wal_reader.CHUNK_BYTES = before


def test_the_worked_example_of_the_format_is_what_is_written_and_read() -> None:
    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    section = text[text.index("## Write-ahead log") :]
    blocks = re.findall(r"```text\n(0000 .*?)```", section, re.S)[:2]
    data, seal = (
        b"".join(bytes.fromhex(line[6:53].strip()) for line in block.splitlines()) for block in blocks
    )
    salt, region = 0xC0FFEE01, bytes.fromhex("00112233445566778899aabbccddeeff")
    record = encode_record(salt, 1, HEADER.size, region, 7, b"hello")
    end = HEADER.size + len(record)
    assert data == SegmentHeader(1, 1732163885000, salt).encode() + record + encode_trailer(salt, end, 1)
    assert seal == encode_seal(1, end)
    fs = memory()
    fs.create_if_absent("WALs/" + segment_name(1), data)
    assert contents(fs) == [(region, 7, b"hello")]


def test_an_append_interrupted_anywhere_leaves_a_log_that_goes_on() -> None:
    code = WriteAheadLog.append.__code__
    source, first = inspect.getsourcelines(WriteAheadLog.append)
    # A signal is never served between the end of the block and the lock's release; a trace could be.
    locking = first + next(number for number, line in enumerate(source) if "with self._lock" in line)
    for stop in range(1, 60):
        fs = memory()
        log = WriteAheadLog(fs, "WALs", 1, segment_bytes=400)
        told: list[int] = []
        log.append(A, 1, b"before" * 30, commit=Commit(1, told))
        lines = [0]

        def trace(
            frame: FrameType, event: str, argument: object, lines: list[int] = lines, stop: int = stop
        ) -> Any:
            if frame.f_code is code and event == "line" and frame.f_lineno != locking:
                lines[0] += 1
                if lines[0] == stop:
                    raise KeyboardInterrupt
            return trace

        interrupted = False
        sys.settrace(trace)
        try:
            log.append(A, 2, b"interrupted" * 20, commit=Commit(2, told))
        except KeyboardInterrupt:
            interrupted = True
        finally:
            sys.settrace(None)
        log.sync(log.append(A, 3, b"after", commit=Commit(3, told)))
        log.roll()
        log.append(A, 4, b"last", commit=Commit(4, told))
        log.close()
        got = [sequence_id for _, sequence_id, _ in contents(fs.after_crash())]
        assert got in ([1, 2, 3, 4], [1, 3, 4])
        assert set(told) <= set(got)
        assert {1, 3, 4} <= set(told)
        if not interrupted:
            assert stop > 10
            return
    pytest.fail("append has more lines than expected")
