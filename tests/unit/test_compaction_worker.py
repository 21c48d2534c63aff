"""Compaction in chunks, in this process and in a worker."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from hyperbase.common.errors import (
    CompactionCancelledException,
    CorruptHFileException,
    HBaseIOException,
    IllegalArgumentException,
)
from regionserver.region import compaction_worker
from regionserver.region.compaction import CompactionInput, CompactionJob, run_compaction
from regionserver.region.compaction_policy import CompactionConfig, FileView, choose_files
from regionserver.region.compaction_worker import close_workers, compact_in_worker
from regionserver.region.matcher import StorePolicy, compact_row
from regionserver.storage.cells import StoreCell
from regionserver.storage.filesystem import FileSystem
from regionserver.storage.local_filesystem import LocalFileSystem
from regionserver.storage.memory_filesystem import MemoryFileSystem
from regionserver.storage.store_file import SCHEMA, StoreFileReader, StoreFileWriter

RowCell = tuple[bytes, StoreCell]
PUT, DELETE_COLUMN, DELETE_FAMILY = 4, 12, 14


def put(row: bytes, qualifier: bytes, timestamp: int, seq: int, value: bytes = b"v") -> RowCell:
    return row, (qualifier, -timestamp, -PUT, -seq, value, 0)


def write_file(fs: FileSystem, path: str, cells: list[RowCell], block_size: int = 512) -> None:
    writer = StoreFileWriter(fs, path, family=b"f", block_size=block_size)
    columns = [
        (row, qualifier, -stamp, -kind, value, -seq, None)
        for row, (qualifier, stamp, kind, seq, value, _) in sorted(cells)
    ]
    arrays = [pa.array(list(each), field.type) for each, field in zip(zip(*columns), SCHEMA, strict=True)]
    writer.append(pa.record_batch(arrays, schema=SCHEMA))
    writer.finish()


def read_cells(fs: FileSystem, path: str) -> list[RowCell]:
    reader = StoreFileReader(fs, path)
    reader.verify()
    out: list[RowCell] = []
    for index in range(reader.first_block, reader.last_block + 1):
        columns = (column.to_pylist() for column in reader.batch(index).columns)
        for row, qualifier, stamp, kind, value, seq, _ in zip(*columns):
            out.append((row, (qualifier, -stamp, -kind, -seq, value, 0)))
    reader.close()
    return out


def random_cells(random_: random.Random, rows: int, width: int, first_seq: int) -> list[RowCell]:
    """Puts, overwrites and markers; some rows wider than a chunk of the tests below."""
    cells = []
    seq = itertools.count(first_seq)
    for _ in range(rows):
        row = b"row%03d" % random_.randrange(200)
        kind = random_.choice([PUT] * 12 + [DELETE_COLUMN, DELETE_FAMILY])
        columns = width * 30 if random_.random() < 0.02 else width
        if kind == DELETE_FAMILY:
            cells.append((row, (b"", -random_.randrange(50), -kind, -next(seq), b"", 0)))
            continue
        for column in range(columns):
            value = random_.randbytes(20) if kind == PUT else b""
            stamp = random_.randrange(50)
            cells.append((row, (b"q%03d" % column, -stamp, -kind, -next(seq), value, 0)))
    return cells


def job_for(inputs: list[str], root: str = "", **changes: object) -> CompactionJob:
    job = CompactionJob(root, tuple(map(CompactionInput, inputs)), "out", b"f", StorePolicy(major=True))
    return replace(job, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("major", [False, True])
def test_chunks_of_any_size_give_what_the_matcher_keeps(seed: int, major: bool) -> None:
    random_ = random.Random(seed)
    fs = MemoryFileSystem()
    runs = [random_cells(random_, 150, 4, 100_000 * number + 1) for number in range(3)]
    for number, cells in enumerate(runs):
        write_file(fs, f"in{number}", cells)
    policy = StorePolicy(max_versions=2, ttl_ms=30, now_ms=40, major=major)
    rows: dict[bytes, list[StoreCell]] = {}
    for row, cell in sorted(itertools.chain(*runs)):
        rows.setdefault(row, []).append(cell)
    expected = [(row, cell) for row, cells in rows.items() for cell in compact_row(cells, policy)]

    for chunk_bytes in (1, 3_000, 40_000, 1 << 22):
        output = f"out{chunk_bytes}"
        job = job_for(["in0", "in1", "in2"], policy=policy, output=output, chunk_bytes=chunk_bytes)
        info = run_compaction(job, fs)

        assert read_cells(fs, output) == expected
        assert info is not None
        assert info.cell_count == len(expected)


def test_half_files_are_clipped() -> None:
    fs = MemoryFileSystem()
    cells = [put(b"r%03d" % number, b"q", 5, number + 1, b"x" * 50) for number in range(100)]
    write_file(fs, "parent", cells)
    half = CompactionInput("parent", b"r030", b"r071")

    info = run_compaction(replace(job_for(["parent"]), inputs=(half,)), fs)

    assert info is not None
    assert (info.first_row, info.last_row, info.cell_count) == (b"r030", b"r070", 41)
    assert read_cells(fs, "out") == cells[30:71]


def test_compacting_until_nothing_is_chosen_leaves_only_live_cells() -> None:
    fs = MemoryFileSystem()
    rows = [b"r%05d" % number for number in range(2000)]
    write_file(fs, "puts", [put(row, b"q%d" % column, 5, 1) for row in rows for column in range(3)], 65536)
    dead = [row for number, row in enumerate(rows) if number % 10]
    write_file(fs, "markers", [(row, (b"", -9, -DELETE_FAMILY, -2, b"", 0)) for row in dead], 65536)
    files = {name: StoreFileReader(fs, name).info for name in ("puts", "markers")}
    policy = StorePolicy()
    rounds = 0

    while request := choose_files(
        [FileView.of(name, info) for name, info in files.items()], CompactionConfig(), policy
    ):
        rounds += 1
        names = [file.name for file in request.files]
        output = f"out{rounds}"
        info = run_compaction(job_for(names, output=output, policy=replace(policy, major=request.major)), fs)
        assert info is not None
        files = {name: kept for name, kept in files.items() if name not in names} | {output: info}

    assert rounds == 1
    assert [info.cell_count for info in files.values()] == [3 * 200]


def test_no_file_appears_when_no_cell_survives() -> None:
    fs = MemoryFileSystem()
    write_file(fs, "puts", [put(b"r", b"q", 5, 1)])
    write_file(fs, "markers", [(b"r", (b"", -9, -DELETE_FAMILY, -2, b"", 0))])

    assert run_compaction(job_for(["puts", "markers"]), fs) is None
    assert not fs.exists("out")


def test_a_cancelled_compaction_leaves_nothing(tmp_path: Path) -> None:
    fs = LocalFileSystem(tmp_path)
    write_file(fs, "in", [put(b"r%04d" % number, b"q", 5, 1, b"x" * 100) for number in range(2000)])
    asked: list[bool] = []

    def cancelled() -> bool:
        asked.append(True)
        return len(asked) == 3

    with pytest.raises(CompactionCancelledException, match="out"):
        run_compaction(job_for(["in"], chunk_bytes=20_000), fs, cancelled=cancelled)
    assert os.listdir(tmp_path) == ["in"]


def test_the_throttle_holds() -> None:
    fs = MemoryFileSystem()
    write_file(fs, "in", [put(b"r%04d" % number, b"q", 5, 1, b"x" * 100) for number in range(1000)])
    started = time.monotonic()

    run_compaction(job_for(["in"], throttle_bytes_per_s=500_000, chunk_bytes=20_000), fs)

    assert time.monotonic() - started >= 0.2


def test_a_damaged_input_stops_it(tmp_path: Path) -> None:
    fs = LocalFileSystem(tmp_path)
    write_file(fs, "in", [put(b"r%04d" % number, b"q", 5, 1, b"x" * 100) for number in range(100)])
    flip_byte(tmp_path / "in")

    with pytest.raises(CorruptHFileException, match="StoreFile in is damaged"):
        run_compaction(job_for(["in"]), fs)
    assert os.listdir(tmp_path) == ["in"]


def flip_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(b"x" * 100) + 50] ^= 1
    path.write_bytes(data)


def test_jobs_survive_the_wire() -> None:
    job = job_for(["a", "b"], policy=StorePolicy(keep_deleted="TTL", ttl_ms=5), throttle_bytes_per_s=7)

    assert CompactionJob.from_bytes(job.to_bytes()) == job
    with pytest.raises(IllegalArgumentException, match="no input files"):
        job_for([])


# --- in a worker --------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    """A directory with one StoreFile ``in``."""
    cells = [put(b"r%04d" % number, b"q", 5, 1, b"x" * 100) for number in range(3000)]
    write_file(LocalFileSystem(tmp_path), "in", cells, 4096)
    yield tmp_path
    close_workers()


def test_a_worker_does_the_same_and_is_used_again(store: Path) -> None:
    fs = LocalFileSystem(store)
    job = job_for(["in"], str(store))

    info = compact_in_worker(job)
    first = idle_pid()
    again = compact_in_worker(replace(job, output="out2"))

    assert idle_pid() == first
    assert info is not None
    assert info == again == run_compaction(replace(job, output="here"), fs)
    assert (store / "out").read_bytes() == (store / "here").read_bytes()
    expired = replace(job, policy=StorePolicy(ttl_ms=1, now_ms=10**9), output="none")
    assert compact_in_worker(expired) is None
    assert peak_rss_bytes(first) < 150_000_000


def idle_pid() -> int:
    (worker,) = compaction_worker._idle
    return worker.pid


def peak_rss_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until_gone(pid: int, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while is_running(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.02)


def test_errors_come_back_as_they_are_and_the_worker_goes_on(store: Path) -> None:
    job = job_for(["in"], str(store))
    with pytest.raises(FileNotFoundError, match="missing"):
        compact_in_worker(replace(job, inputs=(CompactionInput("missing"),)))
    pid = idle_pid()
    with pytest.raises(FileExistsError, match="in"):
        compact_in_worker(replace(job, output="in"))
    with pytest.raises(HBaseIOException, match="unknown compression"):
        compact_in_worker(replace(job, compression="LZO"))
    flip_byte(store / "in")
    with pytest.raises(CorruptHFileException, match="block 0"):
        compact_in_worker(job)

    assert idle_pid() == pid
    assert sorted(os.listdir(store)) == ["in"]


def slow_job(store: Path) -> CompactionJob:
    """One that takes minutes."""
    return job_for(["in"], str(store), throttle_bytes_per_s=1000, chunk_bytes=20_000)


def test_cancelling_stops_the_worker_and_cleans_up(store: Path) -> None:
    stop_at = time.monotonic() + 1.5

    with pytest.raises(CompactionCancelledException):
        compact_in_worker(slow_job(store), cancelled=lambda: time.monotonic() > stop_at)

    assert compaction_worker._idle == []
    assert os.listdir(store) == ["in"]


def test_a_killed_worker_is_an_error_and_the_next_job_gets_another(store: Path) -> None:
    job = job_for(["in"], str(store))
    compact_in_worker(job)
    pid = idle_pid()
    killer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
    killer.start()

    with pytest.raises(HBaseIOException, match=r"out2 ended without an answer \(exit status -9\)"):
        compact_in_worker(replace(slow_job(store), output="out2"))
    killer.join()

    assert not is_running(pid)
    assert compact_in_worker(replace(job, output="out3")) is not None


def test_an_idle_worker_stops_and_the_next_job_starts_another(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction_worker, "IDLE_TIMEOUT_S", 0.2)
    job = job_for(["in"], str(store))
    compact_in_worker(job)
    pid = idle_pid()
    wait_until_gone(pid)

    assert compact_in_worker(replace(job, output="out2")) is not None
    assert idle_pid() != pid


def test_a_worker_outlives_the_thread_that_started_it(store: Path) -> None:
    job = job_for(["in"], str(store))
    thread = threading.Thread(target=compact_in_worker, args=(job,))
    thread.start()
    thread.join()
    pid = idle_pid()
    time.sleep(0.1)

    assert compact_in_worker(replace(job, output="out2")) is not None
    assert idle_pid() == pid


SCRIPT = textwrap.dedent(
    """
    import sys
    from regionserver.region.compaction_worker import CompactionInput, CompactionJob, compact_in_worker
    from regionserver.region import compaction_worker
    from regionserver.region.matcher import StorePolicy

    def job(output, throttle):
        return CompactionJob(sys.argv[1], (CompactionInput("in"),), output, b"f", StorePolicy(),
                             throttle_bytes_per_s=throttle, chunk_bytes=20_000)

    print(compact_in_worker(job("out", 0)).cell_count, compaction_worker._idle[0].pid, flush=True)
    if sys.argv[2] == "hang":
        compact_in_worker(job("slow", 1000))
    """
)


def start_script(store: Path, mode: str) -> subprocess.Popen[str]:
    """A program without a ``__main__`` guard, run from elsewhere."""
    root = Path(compaction_worker.__file__).parents[2]
    script = store / "script.py"
    script.write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, str(script), str(store), mode],
        stdout=subprocess.PIPE,
        text=True,
        cwd=store,
        env={**os.environ, "PYTHONPATH": str(root)},
    )


def test_scripts_without_a_main_guard_work_and_leave_no_worker(store: Path) -> None:
    script = start_script(store, "end")
    output, _ = script.communicate(timeout=30)
    cells, pid = map(int, output.split())

    assert script.returncode == 0
    assert cells == 3000
    wait_until_gone(pid)


def test_a_worker_dies_with_its_killed_parent(store: Path) -> None:
    script = start_script(store, "hang")
    assert script.stdout is not None
    _, pid = map(int, script.stdout.readline().split())
    assert is_running(pid)

    script.kill()
    script.communicate(timeout=10)

    wait_until_gone(pid, 3.0)
