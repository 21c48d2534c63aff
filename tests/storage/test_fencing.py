"""A writer in another process meets a fence: all it knows to be durable is read, and nothing of later."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.storage_backends import StorageBackend, writer_process

# Says "synced N" after the sync of each record, and how it ended.
WRITER = """
import sys
from regionserver.storage.opening import open_filesystem
fs = open_filesystem(sys.argv[1])
fs.make_directory("WALs/server")
lock = fs.lock("WALs/server/LOCK")
log = fs.open_log("WALs/server/1.wal", 0)
print("ready")
number = 0
try:
    while True:
        log.write([b"%06d\\n" % number])
        log.sync()
        print("synced", number)
        number += 1
except OSError as error:
    print("stopped", type(error).__name__, error)
try:
    log.sync()
    print("synced after all")
except OSError:
    print("still stopped")
log.close()
try:
    fs.open_log("WALs/server/2.wal", 0)
    print("began another")
except FileNotFoundError:
    print("no directory")
"""


@pytest.fixture
def writer(shared: StorageBackend) -> Iterator[subprocess.Popen[str]]:
    with writer_process(WRITER, shared.root) as process:
        yield process
        process.kill()


def synced(process: subprocess.Popen[str], count: int) -> list[int]:
    """Read until ``count`` records are synced; return their numbers."""
    assert process.stdout is not None
    numbers: list[int] = []
    while len(numbers) < count:
        line = process.stdout.readline()
        assert line, "the writer died"
        if line.startswith("synced"):
            numbers.append(int(line.split()[1]))
    return numbers


def records(shared: StorageBackend) -> list[int]:
    """The whole records in the log that was set aside."""
    data = shared.open().read("WALs/aside/1.wal")
    return [int(line) for line in data.split(b"\n")[:-1]]


def test_a_killed_writer_leaves_what_it_synced(shared: StorageBackend, writer: subprocess.Popen[str]) -> None:
    numbers = synced(writer, 10)
    writer.kill()
    assert writer.stdout is not None
    numbers += [
        int(line.split()[1]) for line in writer.stdout if line.startswith("synced") and line[-1] == "\n"
    ]
    writer.wait()
    fs = shared.open()
    assert fs.fence_log("WALs/server", "WALs/aside") is True
    found = records(shared)
    assert found[: len(numbers)] == numbers
    assert len(found) <= len(numbers) + 1  # the last one was synced, and its writer died before it could tell
    assert fs.fence_log("WALs/server", "WALs/aside") is True
    assert records(shared) == found


@pytest.mark.parametrize("asleep", [False, True])
def test_a_writer_that_lives_is_stopped_by_the_fence(fencing: StorageBackend, asleep: bool) -> None:
    with writer_process(WRITER, fencing.root) as writer:
        numbers = synced(writer, 10)
        if asleep:
            writer.send_signal(signal.SIGSTOP)
        assert fencing.open().fence_log("WALs/server", "WALs/aside") is True
        found = records(fencing)
        writer.send_signal(signal.SIGCONT)
        output, _ = writer.communicate(timeout=60)
    lines = output.splitlines()
    numbers += [int(line.split()[1]) for line in lines if line.startswith("synced")]
    assert lines[-3].startswith("stopped"), lines
    assert lines[-2:] == ["still stopped", "no directory"]
    assert found[: len(numbers)] == numbers  # all that was acknowledged, and at most one record more
    assert len(found) <= len(numbers) + 1
    assert records(fencing) == found  # nothing came later
    assert fencing.open().list("WALs") == ["aside"]


def test_on_one_machine_a_writer_that_lives_is_told_from_a_dead_one(tmp_path: Path) -> None:
    local = StorageBackend("local", tmp_path)
    fs = local.open()
    with writer_process(WRITER, local.root) as writer:
        numbers = synced(writer, 10)
        assert fs.fence_log("WALs/server", "WALs/aside") is False
        # It goes on in its open segment. Nobody reads that before its lease is over.
        numbers += synced(writer, 10)
        writer.send_signal(signal.SIGSTOP)
        assert fs.fence_log("WALs/server", "WALs/aside") is False
        writer.kill()
        writer.wait()
    assert fs.fence_log("WALs/server", "WALs/aside") is True
    assert records(local)[: len(numbers)] == numbers


def test_two_fence_the_same_log_at_once(shared: StorageBackend, writer: subprocess.Popen[str]) -> None:
    synced(writer, 3)
    writer.kill()
    writer.wait()
    fence = """
import sys
from regionserver.storage.opening import open_filesystem
fs = open_filesystem(sys.argv[1])
sys.stdin.readline()
print(fs.fence_log("WALs/server", "WALs/aside"), fs.list("WALs/aside"))
"""
    with writer_process(fence, shared.root) as first, writer_process(fence, shared.root) as second:
        for process in (first, second):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in (first, second):
            output, _ = process.communicate(timeout=60)
            assert output == "True ['1.wal', 'LOCK']\n"


RACER = """
import sys
from regionserver.storage.opening import open_filesystem
fs = open_filesystem(sys.argv[1])
print("ready")
sys.stdin.readline()
for number in range(30):
    if fs.create_if_absent(f"epoch/{number:04d}", b""):
        print("won", number)
"""


def test_one_of_many_processes_takes_each_name(shared: StorageBackend) -> None:
    processes = [writer_process(RACER, shared.root) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    won: list[int] = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        output, _ = process.communicate(timeout=60)
        won += [int(line.split()[1]) for line in output.splitlines()]
    assert sorted(won) == list(range(30))
