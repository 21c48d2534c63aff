"""What only the file systems of one machine promise; the contract of all: ``tests/storage``."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hyperbase.common.errors import StoreLockedException
from regionserver.storage.filesystem import TEMPORARY_PREFIX, FileSystem
from regionserver.storage.local_filesystem import LocalFileSystem
from regionserver.storage.memory_filesystem import MemoryFileSystem, SimulatedCrash


@pytest.fixture(params=["local", "memory"])
def fs(request: pytest.FixtureRequest, tmp_path: Path) -> FileSystem:
    return LocalFileSystem(tmp_path / "store") if request.param == "local" else MemoryFileSystem()


def test_a_log_is_zero_filled_until_it_is_closed(fs: FileSystem) -> None:
    fs.make_directory("WALs")
    log = fs.open_log("WALs/1.wal", 4096)
    log.write([b"ab", b"", b"cde"])
    log.write([b"f"])
    log.sync()
    assert fs.read("WALs/1.wal") == b"abcdef" + bytes(4090)
    log.close()
    assert fs.read("WALs/1.wal") == b"abcdef"


def test_a_log_is_not_set_aside_onto_another(fs: FileSystem) -> None:
    for name in ("WALs/twice", "WALs/twice-splitting"):
        fs.lock(f"{name}/LOCK").release()
    with pytest.raises(FileExistsError):
        fs.fence_log("WALs/twice", "WALs/twice-splitting")
    assert fs.exists("WALs/twice/LOCK")


# Local only ------------------------------------------------------------------------------------------------


def test_stale_temporaries_are_hidden_and_swept(tmp_path: Path) -> None:
    fs = LocalFileSystem(tmp_path)
    fs.create_if_absent("data/file", b"x")
    (tmp_path / "data" / f"{TEMPORARY_PREFIX}1-2-abc").write_bytes(b"left behind")
    assert fs.list("data") == ["file"]
    assert fs.sweep_temporaries("data") == 1
    assert os.listdir(tmp_path / "data") == ["file"]
    assert fs.sweep_temporaries("missing") == 0


def test_a_read_only_directory_can_be_locked_shared_without_a_byte_written(tmp_path: Path) -> None:
    LocalFileSystem(tmp_path).lock("LOCK").release()
    before = {path.name: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.iterdir()]}
    tmp_path.chmod(0o555)
    try:
        lock = LocalFileSystem(tmp_path, read_only=True).lock("LOCK", shared=True)
        assert lock.held
        lock.release()
    finally:
        tmp_path.chmod(0o755)
    assert {path.name: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.iterdir()]} == before


HOLDER = """
import signal, sys
from regionserver.storage.local_filesystem import LocalFileSystem
lock = LocalFileSystem(sys.argv[1]).lock("LOCK")
print("locked", flush=True)
signal.pause()
"""


def test_the_lock_names_the_owner_and_dies_with_it(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(StoreLockedException) as caught:
            LocalFileSystem(tmp_path).lock("LOCK")
        assert str(process.pid) in str(caught.value)
        assert str(tmp_path / "LOCK") in str(caught.value)
        process.send_signal(signal.SIGKILL)
        process.wait()
        LocalFileSystem(tmp_path).lock("LOCK").release()


def test_a_killed_writer_is_proved_dead_by_its_lock(tmp_path: Path) -> None:
    fs = LocalFileSystem(tmp_path)
    holder = HOLDER.replace("sys.argv[1]", "sys.argv[1] + '/WALs/server'")
    with subprocess.Popen([sys.executable, "-c", holder, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        before = (tmp_path / "WALs" / "server" / "LOCK").read_bytes()
        assert fs.fence_log("WALs/server", "WALs/aside") is False
        process.kill()
        process.wait()
        assert fs.fence_log("WALs/server", "WALs/aside") is True
    assert (tmp_path / "WALs" / "aside" / "LOCK").read_bytes() == before  # who it was can still be read


PARENT = HOLDER.replace(
    'print("locked", flush=True)',
    """import os, subprocess
os.set_inheritable(lock._descriptor, True)
subprocess.Popen(["sleep", "0.5"], close_fds=False)
print("started", flush=True)""",
)


def test_a_lock_whose_owner_died_while_it_started_a_process_is_soon_free(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        with pytest.raises(StoreLockedException):  # nobody waits for the living
            LocalFileSystem(tmp_path).lock("LOCK")
        process.kill()
        process.wait()
        LocalFileSystem(tmp_path).lock("LOCK").release()


def test_a_forked_child_neither_holds_nor_frees_the_lock(tmp_path: Path) -> None:
    fs = LocalFileSystem(tmp_path)
    lock = fs.lock("LOCK")
    go_read, go_write = os.pipe()
    child = os.fork()
    if child == 0:
        held = lock.held
        lock.release()
        os.read(go_read, 1)  # lives on while the parent gives the lock up
        os._exit(1 if held else 0)
    try:
        with pytest.raises(StoreLockedException):
            fs.lock("LOCK")
        lock.release()
        fs.lock("LOCK").release()  # free, although the child still lives
    finally:
        os.write(go_write, b"x")
        _, status = os.waitpid(child, 0)
        os.close(go_read)
        os.close(go_write)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_log_in_a_directory_that_was_moved_away_is_not_created(tmp_path: Path) -> None:
    fs = LocalFileSystem(tmp_path)
    fs.make_directory("WALs")
    os.rename(tmp_path / "WALs", tmp_path / "WALs-splitting")
    with pytest.raises(FileNotFoundError):
        fs.open_log("WALs/2.wal", 4096)


# Memory only: crashes and faults ---------------------------------------------------------------------------


def crash_at(number: int) -> Callable[[str, int], None]:
    def hook(name: str, count: int) -> None:
        if count == number:
            raise SimulatedCrash(name)

    return hook


def test_create_if_absent_is_whole_or_nothing_at_every_crash_point() -> None:
    plain = MemoryFileSystem()
    plain.create_if_absent("a/b/file", b"contents")
    for number in range(1, len(plain.steps) + 1):
        for seed in (None, 1, 2, 3, 4, 5):
            fs = MemoryFileSystem(crash_at(number))
            with pytest.raises(SimulatedCrash):
                fs.create_if_absent("a/b/file", b"contents")
            with pytest.raises(SimulatedCrash):
                fs.make_directory("elsewhere")  # the dead do nothing more
            left = fs.after_crash(seed)
            if left.exists("a/b/file"):
                assert left.read("a/b/file") == b"contents"
            else:
                assert left.create_if_absent("a/b/file", b"again")


def test_create_if_absent_is_durable_when_it_returned() -> None:
    fs = MemoryFileSystem()
    fs.create_if_absent("a/b/file", b"contents")
    assert fs.after_crash().read("a/b/file") == b"contents"


def test_a_commit_is_whole_or_nothing_at_every_crash_point() -> None:
    def write(fs: MemoryFileSystem) -> None:
        writer = fs.open_writer("data/file")
        writer.write(b"abc")
        writer.write(b"def")
        writer.commit()

    plain = MemoryFileSystem()
    write(plain)
    assert plain.after_crash().read("data/file") == b"abcdef"
    for number in range(1, len(plain.steps) + 1):
        for seed in (None, *range(8)):
            fs = MemoryFileSystem(crash_at(number))
            with pytest.raises(SimulatedCrash):
                write(fs)
            left = fs.after_crash(seed)
            if left.exists("data/file"):
                assert left.read("data/file") == b"abcdef"


def test_unsynced_log_bytes_are_gone_after_a_crash_and_torn_with_a_seed() -> None:
    fs = MemoryFileSystem()
    fs.make_directory("WALs")
    log = fs.open_log("WALs/1.wal", 64)
    log.write([b"durable!"])
    log.sync()
    log.write([b"volatile"])
    assert fs.read("WALs/1.wal")[:16] == b"durable!volatile"
    assert fs.after_kill().read("WALs/1.wal")[:16] == b"durable!volatile"
    assert fs.after_crash().read("WALs/1.wal") == b"durable!" + bytes(56)
    tails = {fs.after_crash(seed).read("WALs/1.wal")[8:16] for seed in range(100)}
    assert {bytes(8), b"volatile"} < tails
    assert all(fs.after_crash(seed).read("WALs/1.wal")[:8] == b"durable!" for seed in range(100))


def test_a_failed_sync_loses_its_bytes_even_when_a_later_one_succeeds() -> None:
    fs = MemoryFileSystem()
    fs.make_directory("WALs")
    log = fs.open_log("WALs/1.wal", 16)
    log.write([b"lost"])

    def fail(name: str, count: int) -> None:
        if name == "log.sync":
            raise OSError(errno.EIO, "injected")

    fs.step_hook = fail
    with pytest.raises(OSError, match="injected"):
        log.sync()
    fs.step_hook = None
    log.write([b"kept"])
    log.sync()
    assert fs.after_crash().read("WALs/1.wal")[:8] == b"\0\0\0\0kept"


def test_a_log_without_space_leaves_no_file() -> None:
    fs = MemoryFileSystem()
    fs.make_directory("WALs")

    def full(name: str, count: int) -> None:
        if name == "log.preallocate":
            raise OSError(errno.ENOSPC, "no space")

    fs.step_hook = full
    with pytest.raises(OSError, match="no space"):
        fs.open_log("WALs/1.wal", 64)
    assert fs.list("WALs") == []


def test_a_crash_during_archive_may_show_a_log_twice_but_never_not_at_all() -> None:
    plain = MemoryFileSystem()
    plain.create_if_absent("WALs/1.wal", b"one")
    begin = len(plain.steps)
    plain.archive("WALs/1.wal", "oldWALs/1.wal")
    for number in range(begin + 1, len(plain.steps) + 1):
        for seed in (None, *range(8)):
            fs = MemoryFileSystem(crash_at(number))
            fs.create_if_absent("WALs/1.wal", b"one")
            with pytest.raises(SimulatedCrash):
                fs.archive("WALs/1.wal", "oldWALs/1.wal")
            left = fs.after_crash(seed)
            found = [path for path in ("WALs/1.wal", "oldWALs/1.wal") if left.exists(path)]
            assert found
            assert all(left.read(path) == b"one" for path in found)


def test_a_crash_during_a_fence_leaves_the_log_under_one_name() -> None:
    def directory(hook: Callable[[str, int], None] | None) -> MemoryFileSystem:
        fs = MemoryFileSystem()
        fs.create_if_absent("WALs/server/1.wal", b"one")
        fs.steps.clear()
        fs.step_hook = hook
        return fs

    plain = directory(None)
    plain.fence_log("WALs/server", "WALs/aside")
    assert plain.after_crash().list("WALs") == ["aside"]
    for number in range(1, len(plain.steps) + 1):
        for seed in (None, *range(8)):
            fs = directory(crash_at(number))
            with pytest.raises(SimulatedCrash):
                fs.fence_log("WALs/server", "WALs/aside")
            left = fs.after_crash(seed)
            assert left.list("WALs") in (["server"], ["aside"])
            left.fence_log("WALs/server", "WALs/aside")
            assert left.read("WALs/aside/1.wal") == b"one"
