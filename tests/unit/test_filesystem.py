"""One contract for every file system, then what only the local and only the memory one promise."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hyperbase.common.errors import ReadOnlyException, StoreLockedException
from regionserver.storage.filesystem import TEMPORARY_PREFIX, FileSystem
from regionserver.storage.local_filesystem import LocalFileSystem
from regionserver.storage.memory_filesystem import MemoryFileSystem, SimulatedCrash


@pytest.fixture(params=["local", "memory"])
def fs(request: pytest.FixtureRequest, tmp_path: Path) -> FileSystem:
    return LocalFileSystem(tmp_path / "store") if request.param == "local" else MemoryFileSystem()


def read_only_view(fs: FileSystem) -> FileSystem:
    if isinstance(fs, LocalFileSystem):
        return LocalFileSystem(fs.root, read_only=True)
    assert isinstance(fs, MemoryFileSystem)
    return fs.as_read_only()


def test_create_if_absent_takes_a_name_once_and_makes_parents(fs: FileSystem) -> None:
    assert fs.create_if_absent("a/b/one", b"first") is True
    assert fs.create_if_absent("a/b/one", b"second") is False
    assert fs.read("a/b/one") == b"first"
    assert fs.list("a/b") == ["one"]
    assert fs.create_if_absent("a/b/empty", b"") is True
    assert fs.read("a/b/empty") == b""


def test_create_if_absent_has_one_winner_among_many_threads(fs: FileSystem) -> None:
    winners: list[int] = []
    barrier = threading.Barrier(8)

    def take(number: int) -> None:
        for name in range(20):
            barrier.wait()
            if fs.create_if_absent(f"race/{name}", b"%d" % number):
                winners.append(name)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(winners) == list(range(20))
    assert len(fs.list("race")) == 20


def test_a_written_file_appears_whole_at_commit(fs: FileSystem) -> None:
    writer = fs.open_writer("data/family/file")
    writer.write(b"abc")
    writer.write(b"defg")
    assert writer.tell() == 7
    assert not fs.exists("data/family/file")
    assert fs.list("data/family") == []
    writer.commit()
    assert fs.read("data/family/file") == b"abcdefg"
    assert fs.size("data/family/file") == 7
    assert fs.sweep_temporaries("data/family") == 0
    writer.abort()  # after commit it does nothing
    assert fs.exists("data/family/file")


def test_an_aborted_file_leaves_nothing(fs: FileSystem) -> None:
    writer = fs.open_writer("data/file")
    writer.write(b"abc")
    writer.abort()
    writer.abort()
    assert fs.list("data") == []
    assert fs.sweep_temporaries("data") == 0
    with pytest.raises(ValueError, match="finished"):
        writer.write(b"more")


def test_commit_never_replaces_a_file(fs: FileSystem) -> None:
    fs.create_if_absent("data/file", b"old")
    writer = fs.open_writer("data/file")
    writer.write(b"new")
    with pytest.raises(FileExistsError):
        writer.commit()
    assert fs.read("data/file") == b"old"
    assert fs.sweep_temporaries("data") == 0


def test_a_reader_reads_anywhere_and_outlives_the_name(fs: FileSystem) -> None:
    fs.create_if_absent("file", b"0123456789")
    reader = fs.open_reader("file")
    assert reader.size == 10
    fs.delete("file")
    assert not fs.exists("file")
    assert reader.read_at(3, 4) == b"3456"
    assert reader.read_at(8, 10) == b"89"
    assert reader.read_at(10, 5) == b""
    assert reader.read_at(99, 5) == b""
    assert reader.read_at(4, 0) == b""
    reader.close()
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        reader.read_at(0, 1)


def test_missing_files(fs: FileSystem) -> None:
    for call in (fs.read, fs.open_reader, fs.size):
        with pytest.raises(FileNotFoundError):
            call("nothing/here")
    assert fs.list("nothing") == []
    assert not fs.exists("nothing/here")
    fs.delete("nothing/here")
    fs.delete_tree("nothing")


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../up", "a/../../b", "a//b", "a/./b", "a/", "nul\0"])
def test_paths_stay_below_the_root(fs: FileSystem, path: str) -> None:
    for call in (fs.read, fs.exists, fs.delete, fs.delete_tree, fs.make_directory, fs.open_writer):
        with pytest.raises(ValueError, match="not a path"):
            call(path)
    with pytest.raises(ValueError, match="not a path"):
        fs.create_if_absent(path, b"")


def test_directories(fs: FileSystem) -> None:
    fs.make_directory("a/b/c")
    fs.make_directory("a/b/c")
    fs.create_if_absent("a/b/file", b"x")
    assert fs.list("a/b") == ["c", "file"]
    assert fs.list("") == ["a"]
    assert fs.exists("a/b")
    fs.delete_tree("a")
    assert fs.list("") == []


def test_a_log_is_exclusive_zero_filled_and_never_makes_its_directory(fs: FileSystem) -> None:
    with pytest.raises(FileNotFoundError):
        fs.open_log("WALs/1.wal", 4096)
    assert not fs.exists("WALs")
    fs.make_directory("WALs")
    log = fs.open_log("WALs/1.wal", 4096)
    with pytest.raises(FileExistsError):
        fs.open_log("WALs/1.wal", 4096)
    log.write([b"ab", b"", b"cde"])
    log.write([b"f"])
    log.sync()
    assert log.tell() == 6
    assert fs.read("WALs/1.wal") == b"abcdef" + bytes(4090)
    log.close()
    log.close()
    assert fs.read("WALs/1.wal") == b"abcdef"


def test_a_log_takes_more_chunks_than_one_call_of_the_system_does(fs: FileSystem) -> None:
    fs.make_directory("WALs")
    log = fs.open_log("WALs/1.wal", 0)
    chunks = [bytes([number % 256]) * 700 for number in range(3000)]
    log.write(chunks)
    log.close()
    assert fs.read("WALs/1.wal") == b"".join(chunks)


def test_archive_moves_and_never_replaces(fs: FileSystem) -> None:
    fs.create_if_absent("WALs/1.wal", b"one")
    fs.create_if_absent("WALs/2.wal", b"two")
    fs.archive("WALs/1.wal", "oldWALs/1.wal")
    assert fs.list("WALs") == ["2.wal"]
    assert fs.read("oldWALs/1.wal") == b"one"
    with pytest.raises(FileExistsError):
        fs.archive("WALs/2.wal", "oldWALs/1.wal")
    with pytest.raises(FileNotFoundError):
        fs.archive("WALs/3.wal", "oldWALs/3.wal")
    assert fs.read("WALs/2.wal") == b"two"


def test_a_fenced_log_is_moved_as_a_whole_and_its_writer_begins_no_new_segment(fs: FileSystem) -> None:
    fs.make_directory("WALs/server")
    lock = fs.lock("WALs/server/LOCK")
    log = fs.open_log("WALs/server/1.wal", 0)
    log.write([b"before"])
    log.sync()
    assert fs.fence_log("WALs/server", "WALs/server-splitting") is False  # its writer lives
    assert not fs.exists("WALs/server")
    assert fs.read("WALs/server-splitting/1.wal") == b"before"
    with pytest.raises(FileNotFoundError):
        fs.open_log("WALs/server/2.wal", 0)
    assert fs.fence_log("WALs/server", "WALs/server-splitting") is False  # asked again
    log.close()
    lock.release()
    assert fs.fence_log("WALs/server", "WALs/server-splitting") is True
    assert fs.list("WALs") == ["server-splitting"]
    assert fs.list("WALs/server-splitting") == ["1.wal", "LOCK"]


def test_a_log_is_fenced_wherever_an_earlier_fence_stopped(fs: FileSystem) -> None:
    assert fs.fence_log("WALs/never", "WALs/never-splitting") is True  # nothing was ever written
    assert fs.list("") == []
    fs.make_directory("WALs/young")
    assert fs.fence_log("WALs/young", "WALs/young-splitting") is False  # made, but its lock is not: who knows
    assert fs.list("WALs") == ["young-splitting"]
    for name in ("WALs/twice", "WALs/twice-splitting"):
        fs.lock(f"{name}/LOCK").release()
    with pytest.raises(FileExistsError):
        fs.fence_log("WALs/twice", "WALs/twice-splitting")
    assert fs.exists("WALs/twice/LOCK")
    for directory, aside in (("WALs/a", "WALs/a"), ("WALs/a", "b"), ("WALs/a", "WALs/b/a")):
        with pytest.raises(ValueError, match="beside"):
            fs.fence_log(directory, aside)


def test_read_only_refuses_every_mutation(fs: FileSystem) -> None:
    fs.create_if_absent("dir/file", b"x")
    view = read_only_view(fs)
    mutations: list[Callable[[], object]] = [
        lambda: view.create_if_absent("dir/new", b""),
        lambda: view.open_writer("dir/new"),
        lambda: view.open_log("dir/new", 0),
        lambda: view.sync_file("dir/file"),
        lambda: view.make_directory("new"),
        lambda: view.delete("dir/file"),
        lambda: view.delete_tree("dir"),
        lambda: view.archive("dir/file", "dir/other"),
        lambda: view.fence_log("dir", "dir-splitting"),
        lambda: view.sweep_temporaries("dir"),
        lambda: view.lock("dir/lock"),
    ]
    for mutate in mutations:
        with pytest.raises(ReadOnlyException):
            mutate()
    assert view.read_only
    assert view.read("dir/file") == b"x"
    assert view.list("dir") == ["file"]


def test_locks_exclude_share_and_are_given_back(fs: FileSystem) -> None:
    with pytest.raises(FileNotFoundError):
        fs.lock("LOCK", shared=True)
    lock = fs.lock("LOCK")
    assert lock.held
    for shared in (False, True):
        with pytest.raises(StoreLockedException, match="LOCK"):
            fs.lock("LOCK", shared=shared)
    lock.release()
    lock.release()
    assert not lock.held
    view = read_only_view(fs)
    first, second = view.lock("LOCK", shared=True), fs.lock("LOCK", shared=True)
    with pytest.raises(StoreLockedException):
        fs.lock("LOCK")
    first.release()
    second.release()
    fs.lock("LOCK").release()


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
