"""The contract of ``FileSystem``, on every file system."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from hyperbase.common.errors import ReadOnlyException, StoreLockedException
from regionserver.storage.filesystem import FileSystem
from tests.support.storage_backends import StorageBackend


def test_create_if_absent_takes_a_name_once_and_makes_parents(fs: FileSystem) -> None:
    assert fs.create_if_absent("a/b/one", b"first") is True
    assert fs.create_if_absent("a/b/one", b"second") is False
    assert fs.create_if_absent("a/b/one", b"first") is False  # equal contents are no proof of who was first
    assert fs.read("a/b/one") == b"first"
    assert fs.list("a/b") == ["one"]
    assert fs.create_if_absent("a/b/empty", b"") is True
    assert fs.create_if_absent("a/b/empty", b"") is False
    assert fs.read("a/b/empty") == b""
    assert fs.size("a/b/empty") == 0


@pytest.mark.parametrize("data", [b"", b"claimed"])
def test_create_if_absent_has_one_winner_among_many_threads(backend: StorageBackend, data: bytes) -> None:
    winners: list[int] = []
    barrier = threading.Barrier(6)

    def take(fs: FileSystem) -> None:
        for name in range(10):
            barrier.wait()
            if fs.create_if_absent(f"race/{name}", data):
                winners.append(name)

    threads = [threading.Thread(target=take, args=(backend.open(),)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(winners) == list(range(10))
    assert len(backend.open().list("race")) == 10


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


def test_a_file_of_many_blocks_is_read_anywhere(backend: StorageBackend) -> None:
    fs = backend.open()
    pieces = [bytes([number]) * (700_000 + number) for number in range(30)]  # 21 MB: an upload in parts on S3
    writer = fs.open_writer("data/large")
    for piece in pieces:
        writer.write(piece)
    assert not fs.exists("data/large")
    writer.commit()
    whole = b"".join(pieces)
    assert writer.tell() == len(whole)
    reader = backend.open().open_reader("data/large")
    assert reader.size == len(whole)
    for offset, length in ((0, 10), (1_048_570, 20), (3_000_000, 5_000_000), (len(whole) - 5, 100)):
        assert reader.read_at(offset, length) == whole[offset : offset + length]
    reader.close()
    writer = fs.open_writer("data/large")
    for piece in pieces:
        writer.write(piece)
    with pytest.raises(FileExistsError):
        writer.commit()


def test_an_aborted_file_leaves_nothing(fs: FileSystem) -> None:
    writer = fs.open_writer("data/file")
    writer.write(b"abc")
    writer.abort()
    writer.abort()
    assert fs.list("data") == []
    assert fs.sweep_temporaries("data") == 0
    with pytest.raises(ValueError, match="finished"):
        writer.write(b"more")
    with pytest.raises(ValueError, match="finished"):
        writer.commit()


def test_commit_never_replaces_a_file(fs: FileSystem) -> None:
    fs.create_if_absent("data/file", b"old")
    writer = fs.open_writer("data/file")
    writer.write(b"new")
    with pytest.raises(FileExistsError):
        writer.commit()
    assert fs.read("data/file") == b"old"
    assert fs.sweep_temporaries("data") == 0


def test_a_reader_reads_anywhere_and_outlives_the_name(backend: StorageBackend) -> None:
    fs = backend.open()
    fs.create_if_absent("dir/file", b"0123456789")
    reader, second = fs.open_reader("dir/file"), fs.open_reader("dir/file")
    assert reader.size == 10
    fs.delete("dir/file")
    assert not fs.exists("dir/file")
    assert fs.list("dir") == []
    for call in (fs.read, fs.open_reader, fs.size):
        with pytest.raises(FileNotFoundError):
            call("dir/file")
    second.close()
    assert reader.read_at(3, 4) == b"3456"
    assert reader.read_at(8, 10) == b"89"
    assert reader.read_at(10, 5) == b""
    assert reader.read_at(99, 5) == b""
    assert reader.read_at(4, 0) == b""
    reader.close()
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        reader.read_at(0, 1)
    fs.delete("dir/another")  # any deletion takes with it what waited for its readers
    assert not backend.open().exists("dir/file")


def test_files_of_a_deleted_directory_outlive_it_for_their_readers(backend: StorageBackend) -> None:
    fs = backend.open()
    for name in ("one", "two"):
        fs.create_if_absent(f"region/family/{name}", name.encode())
    reader = fs.open_reader("region/family/one")
    fs.delete_tree("region")
    assert fs.list("region/family") == []
    assert reader.read_at(0, 3) == b"one"
    reader.close()
    fs.delete_tree("region")
    assert not backend.open().exists("region/family/one")


def test_missing_files(fs: FileSystem) -> None:
    for call in (fs.read, fs.open_reader, fs.size, fs.sync_file):
        with pytest.raises(FileNotFoundError):
            call("nothing/here")
    assert fs.list("nothing") == []
    assert not fs.exists("nothing/here")
    fs.delete("nothing/here")
    fs.delete_tree("nothing")
    assert fs.sweep_temporaries("nothing") == 0
    fs.create_if_absent("file", b"x")
    assert not fs.exists("file/below")
    with pytest.raises(NotADirectoryError):
        fs.list("file")


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../up", "a/../../b", "a//b", "a/./b", "a/", "nul\0"])
def test_paths_stay_below_the_root(fs: FileSystem, path: str) -> None:
    for call in (fs.read, fs.exists, fs.size, fs.delete, fs.delete_tree, fs.make_directory, fs.open_writer):
        with pytest.raises(ValueError, match="not a path"):
            call(path)
    with pytest.raises(ValueError, match="not a path"):
        fs.create_if_absent(path, b"")


def test_directories(fs: FileSystem) -> None:
    fs.make_directory("a/b/c")
    fs.make_directory("a/b/c")
    fs.create_if_absent("a/b/file", b"x")
    assert fs.list("a/b") == ["c", "file"]
    assert fs.list("a/b/c") == []
    assert fs.list("") == ["a"]
    assert fs.exists("a/b")
    assert fs.exists("a/b/c")
    fs.delete_tree("a")
    assert fs.list("") == []


def test_names_of_all_kinds(fs: FileSystem) -> None:
    names = sorted(["a b", "a%20b", "a+b", "Ünïcode", ".manifest", "0000000001-0000000002", "x=1,y#z?~"])
    for name in names:
        assert fs.create_if_absent(f"names/{name}", name.encode())
    assert fs.list("names") == names
    for name in names:
        assert fs.read(f"names/{name}") == name.encode()
        fs.delete(f"names/{name}")
    assert fs.list("names") == []


# Logs ------------------------------------------------------------------------------------------------------


def test_a_log_is_exclusive_and_never_makes_its_directory(backend: StorageBackend) -> None:
    fs = backend.open()
    with pytest.raises(FileNotFoundError):
        fs.open_log("WALs/1.wal", 4096)
    assert not fs.exists("WALs")
    fs.make_directory("WALs")
    log = fs.open_log("WALs/1.wal", 4096)
    with pytest.raises(FileExistsError):
        fs.open_log("WALs/1.wal", 4096)
    log.write([b"ab", b"", b"cde"])
    log.write([b"f"])
    assert log.tell() == 6
    log.sync()
    log.sync()
    assert log.tell() == 6
    assert fs.list("WALs") == ["1.wal"]
    log.close()
    log.close()
    assert fs.read("WALs/1.wal") == b"abcdef"
    assert fs.size("WALs/1.wal") == 6
    reader = fs.open_reader("WALs/1.wal")
    assert reader.size == 6
    assert reader.read_at(1, 4) == b"bcde"


def test_an_open_log_shows_what_was_synced_or_says_that_it_cannot(backend: StorageBackend) -> None:
    fs = backend.open()
    fs.make_directory("WALs")
    log = fs.open_log("WALs/1.wal", 0)
    log.write([b"synced"])
    log.sync()
    log.write([b"not yet"])
    other = backend.open()
    assert other.size("WALs/1.wal") >= 6
    if backend.name == "hdfs":
        with pytest.raises(BlockingIOError, match="open for writing"):
            other.read("WALs/1.wal")
    else:
        assert other.read("WALs/1.wal")[:6] == b"synced"
    log.close()
    assert other.read("WALs/1.wal") == b"syncednot yet"


def test_a_log_takes_many_chunks_and_groups(fs: FileSystem) -> None:
    fs.make_directory("WALs")
    log = fs.open_log("WALs/1.wal", 0)
    chunks = [bytes([number % 256]) * 700 for number in range(3000)]
    for begin in range(0, len(chunks), 100):
        log.write(chunks[begin : begin + 100])
        log.sync()
    log.close()
    whole = b"".join(chunks)
    assert fs.read("WALs/1.wal") == whole
    reader = fs.open_reader("WALs/1.wal")
    assert reader.read_at(69_990, 140_020) == whole[69_990:210_010]
    assert reader.read_at(len(whole) - 3, 10) == whole[-3:]
    assert reader.read_at(len(whole), 10) == b""


def test_archive_moves_and_never_replaces(fs: FileSystem) -> None:
    fs.make_directory("WALs")
    for name in ("1", "2"):
        log = fs.open_log(f"WALs/{name}.wal", 0)
        log.write([b"log " + name.encode()])
        log.close()
    fs.archive("WALs/1.wal", "oldWALs/1.wal")
    assert fs.list("WALs") == ["2.wal"]
    assert fs.read("oldWALs/1.wal") == b"log 1"
    with pytest.raises(FileExistsError):
        fs.archive("WALs/2.wal", "oldWALs/1.wal")
    with pytest.raises(FileNotFoundError):
        fs.archive("WALs/3.wal", "oldWALs/3.wal")
    assert fs.read("WALs/2.wal") == b"log 2"
    fs.create_if_absent("WALs/2.wal.sealed", b"seal")
    fs.archive("WALs/2.wal.sealed", "oldWALs/2.wal.sealed")
    assert fs.read("oldWALs/2.wal.sealed") == b"seal"
    fs.delete("oldWALs/1.wal")
    assert fs.list("oldWALs") == ["2.wal.sealed"]


def test_a_file_that_was_synced_for_another_is_complete(backend: StorageBackend) -> None:
    fs = backend.open()
    fs.make_directory("WALs")
    log = fs.open_log("WALs/1.wal", 0)
    log.write([b"synced"])
    log.sync()
    other = backend.open()
    other.sync_file("WALs/1.wal")
    other.sync_file("WALs/1.wal")
    assert other.read("WALs/1.wal") == b"synced"
    if backend.fences:  # whoever wrote it is stopped
        log.write([b" and more"])
        for _ in range(2):
            with pytest.raises(OSError, match=r"ended by another|failed for write"):
                log.sync()
        log.close()
        assert other.read("WALs/1.wal") == b"synced"
    fs.create_if_absent("WALs/file", b"x")
    other.sync_file("WALs/file")
    assert fs.read("WALs/file") == b"x"


def test_a_fenced_log_is_moved_as_a_whole_and_its_writer_begins_no_new_segment(
    backend: StorageBackend,
) -> None:
    fs = backend.open()
    fs.make_directory("WALs/server")
    lock = fs.lock("WALs/server/LOCK")
    for number in (1, 2):
        log = fs.open_log(f"WALs/server/{number}.wal", 0)
        log.write([b"segment %d" % number])
        log.sync()
    other = backend.open()
    assert other.fence_log("WALs/server", "WALs/aside") is backend.fences  # its writer lives
    assert not fs.exists("WALs/server")
    assert other.list("WALs/aside") == ["1.wal", "2.wal", "LOCK"]
    with pytest.raises(FileNotFoundError):
        fs.open_log("WALs/server/3.wal", 0)
    assert other.fence_log("WALs/server", "WALs/aside") is backend.fences  # asked again
    assert other.read("WALs/aside/1.wal") == b"segment 1"
    assert other.read("WALs/aside/2.wal") == b"segment 2"
    lock.release()
    assert other.fence_log("WALs/server", "WALs/aside") is True
    assert other.list("WALs") == ["aside"]
    assert other.list("WALs/aside") == ["1.wal", "2.wal", "LOCK"]
    other.delete_tree("WALs/aside")
    assert other.list("WALs") == []


def test_a_log_is_fenced_wherever_an_earlier_fence_stopped(backend: StorageBackend) -> None:
    fs = backend.open()
    assert fs.fence_log("WALs/never", "WALs/never-splitting") is True  # nothing was ever written
    assert fs.list("") == []
    fs.make_directory("WALs/young")
    # Made, but its lock is not: on one machine nobody knows whether its writer lives.
    assert fs.fence_log("WALs/young", "WALs/young-splitting") is backend.fences
    assert fs.list("WALs") == ["young-splitting"]
    for directory, aside in (("WALs/a", "WALs/a"), ("WALs/a", "b"), ("WALs/a", "WALs/b/a")):
        with pytest.raises(ValueError, match="beside"):
            fs.fence_log(directory, aside)
    for name in ("WALs/twice", "WALs/twice-splitting"):
        fs.create_if_absent(f"{name}/1.wal", name.encode())
    with pytest.raises(FileExistsError):
        fs.fence_log("WALs/twice", "WALs/twice-splitting")
    assert fs.read("WALs/twice/1.wal") == b"WALs/twice"


# Locks, and file systems that change nothing ----------------------------------------------------------------


def test_read_only_refuses_every_mutation(backend: StorageBackend) -> None:
    backend.open().create_if_absent("dir/file", b"x")
    view = backend.open(read_only=True)
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


def test_locks_are_shared_or_not_and_given_back(backend: StorageBackend) -> None:
    fs = backend.open()
    with pytest.raises(FileNotFoundError):
        fs.lock("LOCK", shared=True)
    lock = fs.lock("LOCK")
    assert lock.held
    assert fs.list("") == ["LOCK"]
    if not backend.fences:
        for shared in (False, True):
            with pytest.raises(StoreLockedException, match="LOCK"):
                fs.lock("LOCK", shared=shared)
    lock.release()
    lock.release()
    assert not lock.held
    view = backend.open(read_only=True)
    first, second = view.lock("LOCK", shared=True), fs.lock("LOCK", shared=True)
    if not backend.fences:
        with pytest.raises(StoreLockedException):
            fs.lock("LOCK")
    first.release()
    second.release()
    fs.lock("LOCK").release()


def test_a_lock_makes_the_directory_of_a_log(fs: FileSystem) -> None:
    fs.lock("WALs/server/LOCK")
    fs.open_log("WALs/server/1.wal", 0).close()
    assert fs.list("WALs/server") == ["1.wal", "LOCK"]
