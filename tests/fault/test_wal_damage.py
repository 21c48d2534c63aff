"""What crashes and bad disks do to a log: what was acknowledged comes back, or an error names the place."""

from __future__ import annotations

import errno
import random
import re
import threading
from collections.abc import Callable

import pytest

from hyperbase.common.errors import DamagedWALException, HBaseIOException, StoreFailedException
from regionserver.storage.filesystem import RandomAccessFile
from regionserver.storage.memory_filesystem import MemoryFileSystem, SimulatedCrash
from regionserver.storage.wal import LogRecovery, WriteAheadLog, next_segment, read_log, read_logs
from regionserver.storage.wal_format import HEADER, RECORD_HEADER_BYTES, TRAILER_BYTES, segment_name
from regionserver.storage.wal_reader import SegmentReader

REGIONS = [name * 16 for name in (b"a", b"b", b"c")]
FIRST = "WALs/" + segment_name(1)


def memory(hook: Callable[[str, int], None] | None = None) -> MemoryFileSystem:
    fs = MemoryFileSystem()
    fs.make_directory("WALs")
    fs.steps.clear()
    fs.step_hook = hook
    return fs


def write_records(log: WriteAheadLog, count: int, seed: int, group: int = 4) -> list[bytes]:
    chance = random.Random(seed)
    payloads = []
    for number in range(1, count + 1):
        payloads.append(b"%d:" % number + chance.randbytes(chance.randrange(180)))
        position = log.append(chance.choice(REGIONS), number, payloads[-1])
        if number % group == 0:
            log.sync(position)
    return payloads


def payloads_of(fs: MemoryFileSystem) -> list[bytes]:
    return [record.payload for record in read_logs(fs, "WALs")]


def file_with(data: bytes) -> MemoryFileSystem:
    fs = memory()
    fs.create_if_absent(FIRST, data)
    return fs


def closed_log(count: int = 520) -> tuple[bytes, list[bytes], list[int]]:
    """Return a closed segment's bytes, its payloads and the offset behind each record."""
    fs = memory()
    log = WriteAheadLog(fs, "WALs", 1)
    payloads = write_records(log, count, seed=1)
    log.close()
    ends = [record.offset + RECORD_HEADER_BYTES + len(record.payload) for record in read_log(fs, FIRST)]
    return fs.read(FIRST), payloads, ends


def test_every_truncation_gives_the_exact_prefix() -> None:
    data, payloads, ends = closed_log()
    assert len(data) >= 64 << 10
    assert len(payloads) >= 500
    fs = file_with(data)
    expected = len(payloads)
    for size in range(len(data) - 1, -1, -1):
        while expected and ends[expected - 1] > size:
            expected -= 1
        # Reading all of each prefix takes minutes; the last record before the cut is what can differ, and
        # one cut in 97 is read whole.
        fs.truncate(FIRST, size)
        if size % 97 == 0 or size < 200:
            assert payloads_of(fs) == payloads[:expected], size
        else:
            first = max(0, expected - 3)
            start = ends[first - 1] if first else HEADER.size
            assert _records_from(fs, start) == payloads[first:expected], size


def _records_from(fs: MemoryFileSystem, offset: int) -> list[bytes]:
    """Read the log from the record at ``offset`` on."""

    class Later(SegmentReader):
        def _read_header(self, file: RandomAccessFile, sealed: int | None) -> bool:
            good = super()._read_header(file, sealed)
            self.end = offset
            return good

    return [record.payload for record in Later(fs, FIRST).records()]


@pytest.mark.parametrize("seed", range(4))
def test_bit_flips_in_a_closed_log_are_damage_or_harmless(seed: int) -> None:
    data, payloads, ends = closed_log(120)
    chance = random.Random(seed)
    seen = {"damage": 0, "harmless": 0}
    for _ in range(250):
        at, bit = chance.randrange(len(data)), 1 << chance.randrange(8)
        fs = file_with(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
        got: list[bytes] = []
        try:
            got.extend(record.payload for record in read_logs(fs, "WALs"))
        except DamagedWALException as error:
            seen["damage"] += 1
            message = str(error)
        else:
            seen["harmless"] += 1
            assert got == payloads
            assert at >= len(data) - TRAILER_BYTES  # every record is there: only the trailer was hit
            continue
        found = re.search(FIRST + r".* offset (\d+)", message)
        assert found is not None
        begin = max((end for end in ends if end <= at), default=HEADER.size)
        assert int(found[1]) == (0 if at < HEADER.size else begin)
    assert seen["damage"] > 200


@pytest.mark.parametrize("seed", range(4))
def test_bit_flips_in_a_log_left_open_never_hide_a_synced_group_behind_which_another_was_written(
    seed: int,
) -> None:
    fs = memory()
    log = WriteAheadLog(fs, "WALs", 1, segment_bytes=64 << 10)
    payloads = write_records(log, 200, seed=2)
    data = fs.read(FIRST)
    records = list(read_log(fs, FIRST))
    proven = records[-4].offset  # the last group's durable_offset: all before it must be there or be missed
    chance = random.Random(seed)
    for _ in range(250):
        at, bit = chance.randrange(len(data)), 1 << chance.randrange(8)
        fs = file_with(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
        try:
            got = payloads_of(fs)
        except DamagedWALException:
            assert at < records[-1].offset
            continue
        assert got == payloads[: len(got)]
        if at < proven:
            pytest.fail(f"a flip at {at}, before {proven}, was not noticed")
        assert len(got) >= 196
        if at >= records[-1].offset + RECORD_HEADER_BYTES + len(records[-1].payload):
            assert got == payloads  # zeros behind the end


def test_a_sector_zeroed_in_the_middle_is_damage() -> None:
    data, _, _ = closed_log(120)
    for begin in range(512, len(data) - 1024, 512):
        fs = file_with(data[:begin] + bytes(512) + data[begin + 512 :])
        with pytest.raises(DamagedWALException):
            payloads_of(fs)


def test_a_missing_or_cut_segment_before_others_is_damage() -> None:
    fs = memory()
    log = WriteAheadLog(fs, "WALs", 1, segment_bytes=4096)
    write_records(log, 150, seed=3)
    log.close()
    count = len(fs.list("WALs"))
    assert count > 3
    middle = "WALs/" + segment_name(2)
    cut = memory()
    for name in fs.list("WALs"):
        cut.create_if_absent(f"WALs/{name}", fs.read(f"WALs/{name}"))
    cut.truncate(middle, cut.size(middle) - 1)
    with pytest.raises(DamagedWALException, match=f"{middle}.*without trailer"):
        payloads_of(cut)
    cut.truncate(middle, 0)
    with pytest.raises(DamagedWALException, match=middle):
        payloads_of(cut)
    fs.delete(middle)
    with pytest.raises(DamagedWALException, match=f"{middle} is missing"):
        payloads_of(fs)


def test_a_segment_under_another_name_is_damage() -> None:
    fs = memory()
    log = WriteAheadLog(fs, "WALs", 1, segment_bytes=4096)
    write_records(log, 100, seed=3)
    log.close()
    first, second = fs.read(FIRST), fs.read("WALs/" + segment_name(2))
    swapped = memory()
    swapped.create_if_absent(FIRST, second)
    swapped.create_if_absent("WALs/" + segment_name(2), first)
    with pytest.raises(DamagedWALException, match="segment 2"):
        payloads_of(swapped)


def test_a_damaged_seal_is_damage() -> None:
    fs = memory()
    log = WriteAheadLog(fs, "WALs", 1)
    log.sync(log.append(REGIONS[0], 1, b"x"))
    list(read_logs(fs, "WALs", seal=True))
    for offset in range(fs.size(FIRST + ".sealed")):
        broken = fs.after_crash()
        broken.corrupt(FIRST + ".sealed", offset, bytes([fs.read(FIRST + ".sealed")[offset] ^ 1]))
        with pytest.raises(DamagedWALException, match="seal"):
            payloads_of(broken)


class Writer:
    """Appends and syncs over rolls, and notes what was acknowledged."""

    def __init__(self, fs: MemoryFileSystem, seed: int) -> None:
        self.fs, self.chance = fs, random.Random(seed)
        self.appended: list[tuple[int, bytes]] = []
        self.acknowledged = 0

    def run(self, steps: int = 60) -> None:
        log = WriteAheadLog(self.fs, "WALs", next_segment(self.fs, "WALs"), segment_bytes=2048)
        for _ in range(steps):
            payload = self.chance.randbytes(self.chance.randrange(200))
            position = log.append(self.chance.choice(REGIONS), len(self.appended), payload)
            self.appended.append((len(self.appended), payload))
            if self.chance.random() < 0.4:
                log.sync(position)
                self.acknowledged = len(self.appended)
        log.close()
        self.acknowledged = len(self.appended)

    def check(self, left: MemoryFileSystem, *, seal: bool) -> list[tuple[int, bytes]]:
        got = [(record.sequence_id, record.payload) for record in read_logs(left, "WALs", seal=seal)]
        assert got == self.appended[: len(got)], "a prefix, in order"
        assert len(got) >= self.acknowledged, "what was acknowledged"
        return got


def crash_at(number: int) -> Callable[[str, int], None]:
    def hook(name: str, count: int) -> None:
        if count == number:
            raise SimulatedCrash(name)

    return hook


def test_crashes_at_every_step_with_torn_and_reordered_tails_lose_nothing_acknowledged() -> None:
    plain = Writer(memory(), seed=0)
    plain.run()
    steps = len(plain.fs.steps)
    assert steps > 80
    runs = 0
    for seed in range(400):
        fs = memory(crash_at(1 + seed % steps))
        writer = Writer(fs, seed=0)
        with pytest.raises(SimulatedCrash):
            writer.run()
        for tear in (None, seed, seed + 1000):
            left = fs.after_crash(tear)
            got = writer.check(left, seal=True)
            assert writer.check(left, seal=False) == got
            assert writer.check(left.after_crash(), seal=False) == got, "recovery made it durable"
            runs += 1
    assert runs == 1200


def test_crash_after_crash_each_recovered_and_written_on() -> None:
    for seed in range(60):
        chance = random.Random(seed)
        fs = memory()
        survived: list[tuple[int, bytes]] = []
        for life in range(5):
            recovery_steps = crash_at(chance.randrange(1, 8)) if chance.random() < 0.5 else None
            fs.step_hook = recovery_steps
            try:
                got = [(r.sequence_id, r.payload) for r in LogRecovery(fs, "WALs", seal=True).records()]
            except SimulatedCrash:
                fs = fs.after_crash(chance.randrange(1 << 30))
                got = [(r.sequence_id, r.payload) for r in LogRecovery(fs, "WALs", seal=True).records()]
            fs.step_hook = None
            assert got[: len(survived)] == survived, (seed, life)
            writer = Writer(fs, seed=chance.randrange(1 << 30))
            writer.appended = list(got)
            writer.acknowledged = len(got)
            fs.step_hook = crash_at(len(fs.steps) + chance.randrange(1, 90))
            try:
                writer.run()
            except SimulatedCrash:
                fs = fs.after_crash(chance.randrange(1 << 30))
            survived = writer.appended[: writer.acknowledged]
            fs.step_hook = None
        got = [(r.sequence_id, r.payload) for r in read_logs(fs, "WALs")]
        assert got[: len(survived)] == survived, seed


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("step", ["log.sync", "log.write"])
def test_an_error_at_every_sync_and_write_acknowledges_nothing_false(step: str, code: int) -> None:
    plain = memory()
    Writer(plain, seed=5).run()
    total = plain.steps.count(step)
    assert total > 20
    for nth in range(1, total + 1):
        seen = [0]

        def fail(name: str, count: int, seen: list[int] = seen, nth: int = nth) -> None:
            seen[0] += name == step
            if name == step and seen[0] == nth:
                raise OSError(code, "injected")

        fs = memory(fail)
        writer = Writer(fs, seed=5)
        with pytest.raises(OSError) as caught:
            writer.run()
        # The first segment's header: an OSError of the open. A later one's: retryable. Else poisoned.
        assert isinstance(caught.value, StoreFailedException | HBaseIOException) or nth == 1
        for tear in (None, nth, nth + 500, nth + 900):
            writer.check(fs.after_crash(tear), seal=True)


def test_torn_tails_of_many_threads() -> None:
    for seed in range(30):
        chance = random.Random(seed)
        fs = memory(crash_at(chance.randrange(8, 60)))
        log = WriteAheadLog(fs, "WALs", 1, segment_bytes=4096)
        guard = threading.Lock()
        order: list[bytes] = []
        acknowledged: list[int] = []

        def put(thread: int) -> None:
            try:
                for number in range(30):
                    with guard:  # noqa: B023
                        payload = b"%d/%d" % (thread, number) * 5
                        position = log.append(REGIONS[thread % 3], len(order), payload)  # noqa: B023
                        order.append(payload)  # noqa: B023
                    log.sync(position)  # noqa: B023
                    acknowledged.append(position)  # noqa: B023
            except (SimulatedCrash, HBaseIOException):
                return

        threads = [threading.Thread(target=put, args=(thread,)) for thread in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        got = payloads_of(fs.after_crash(seed))
        # A crash inside append leaves its record out of ``order``; it is never acknowledged.
        assert got == order[: len(got)]
        assert len(got) >= max(acknowledged, default=0)
