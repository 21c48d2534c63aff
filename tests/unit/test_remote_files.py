"""Logs that are sent in groups, files that outlive their deletion, and what a root says of its storage."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from regionserver.storage.local_filesystem import LocalFileSystem
from regionserver.storage.opening import local_path, open_filesystem
from regionserver.storage.remote_files import GroupedLog, OpenFiles
from regionserver.storage.s3_logs import NAME_BYTES, S3Log
from regionserver.storage.s3_objects import Objects


class Disk:
    """Takes groups, slowly or not at all when told so."""

    def __init__(self) -> None:
        self.groups: list[bytes] = []
        self.ended: list[bool] = []
        self.failure: OSError | None = None
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.busy = threading.Event()

    def send(self, group: bytes) -> None:
        self.busy.set()
        self.may_go_on.wait()
        if self.failure is not None:
            raise self.failure
        self.groups.append(group)

    def log(self) -> GroupedLog:
        return GroupedLog("WALs/1.wal", self.send, self.ended.append)


@contextlib.contextmanager
def interrupted_soon() -> Iterator[None]:
    """Somebody presses Ctrl-C while the block waits."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_what_was_written_between_two_syncs_is_one_group() -> None:
    disk = Disk()
    log = disk.log()
    log.write([b"ab", b"", b"c"])
    log.write([b"d"])
    assert (log.tell(), disk.groups) == (4, [])
    log.sync()
    log.sync()
    assert (log.tell(), disk.groups) == (4, [b"abcd"])
    log.write([b"e"])
    assert log.tell() == 5
    log.close()
    log.close()
    assert (disk.groups, disk.ended) == ([b"abcd", b"e"], [True])
    with pytest.raises(ValueError, match="closed"):
        log.sync()


def test_who_is_interrupted_while_waiting_may_sync_again_and_nothing_is_sent_twice() -> None:
    disk = Disk()
    log = disk.log()
    log.write([b"first"])
    disk.may_go_on.clear()

    with interrupted_soon(), pytest.raises(KeyboardInterrupt):
        log.sync()
    assert disk.busy.is_set()
    log.write([b"second"])
    assert log.tell() == 11
    disk.may_go_on.set()
    log.sync()
    assert disk.groups == [b"first", b"second"]


def test_who_is_interrupted_while_closing_may_close_again() -> None:
    disk = Disk()
    log = disk.log()
    log.write([b"last"])
    disk.may_go_on.clear()
    with interrupted_soon(), pytest.raises(KeyboardInterrupt):
        log.close()
    assert (disk.groups, disk.ended) == ([], [])
    disk.may_go_on.set()
    log.close()
    assert (disk.groups, disk.ended) == ([b"last"], [True])


def test_after_an_error_nothing_is_sent_any_more() -> None:
    disk = Disk()
    log = disk.log()
    disk.failure = OSError("injected")
    log.write([b"lost"])
    for _ in range(2):
        with pytest.raises(OSError, match="injected"):
            log.sync()
    disk.failure = None
    log.write([b"more"])
    with pytest.raises(OSError, match="injected"):
        log.sync()
    log.close()
    assert (disk.groups, disk.ended) == ([], [False])


def test_a_doomed_file_is_due_once_when_its_last_reader_is_gone() -> None:
    files = OpenFiles()
    assert files.doom("a") is False
    files.opened("a")
    files.opened("a")
    assert files.any_below("") is False
    assert files.doom("a") is True
    assert files.is_doomed("a")
    files.closed("a")
    assert files.due() == []
    files.closed("a")
    assert files.due() == ["a"]
    assert files.due() == []
    assert not files.is_doomed("a")
    files.opened("dir/b")
    assert files.any_below("dir")
    assert not files.any_below("di")
    files.closed("dir/b")
    assert not files.any_below("dir")


def test_many_readers_come_and_go() -> None:
    files = OpenFiles()
    stop = time.monotonic() + 0.2

    def work() -> None:
        while time.monotonic() < stop:
            files.opened("a")
            files.due()
            files.closed("a")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert files.doom("a") is False


def test_a_root_says_where_it_is(tmp_path: Path) -> None:
    assert local_path("/a/b") == "/a/b"
    assert local_path("a/b://c") == "a/b://c"
    assert local_path("file:///a%20b") == "/a b"
    assert local_path("file://localhost/a") == "/a"
    assert local_path("hdfs://namenode:8020/a") is None
    assert local_path("s3://bucket/a") is None
    with pytest.raises(ValueError, match="not a file of this machine"):
        local_path("file://elsewhere/a")
    fs = open_filesystem(tmp_path / "store")
    assert isinstance(fs, LocalFileSystem)
    assert fs.root == str(tmp_path / "store")
    assert open_filesystem(f"file://{tmp_path}", read_only=True).read_only
    with pytest.raises(ValueError, match="no storage is called 'ftp'"):
        open_filesystem("ftp://host/a")


@pytest.mark.parametrize(
    ("root", "package", "extra"),
    [("hdfs://host:8020/a", "hdfs_native", "hdfs"), ("s3://bucket/a", "obstore", "s3")],
)
def test_a_missing_package_is_named(
    root: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ImportError, match=rf"pip install 'hyperbase\[{extra}\]'"):
        open_filesystem(root)


def test_the_name_of_a_log_is_as_documented() -> None:
    log = S3Log(Objects("s3://bucket/a?region=us-east-1"), "00112233445566778899aabbccddeeff")
    document = Path(__file__, "../../../docs/storage.md").resolve().read_text()
    example = document.split("The name of a log in hex", 1)[1].split("```text\n")[1].split("```")[0]
    encoded = b"".join(bytes.fromhex(line.partition('"')[0]) for line in example.splitlines())
    assert encoded == log.name
    assert len(encoded) == NAME_BYTES
    for name in (encoded[:-1], encoded.replace(b"hyper", b"HYPER"), b""):
        assert S3Log.named(Objects("s3://bucket/a"), name) is None
    found = S3Log.named(Objects("s3://bucket/a"), encoded)
    assert found is not None
    assert found.identity == log.identity
