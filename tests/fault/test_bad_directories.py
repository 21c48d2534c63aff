"""Directories that are no store, damaged, locked, read-only or newer: one clear error, nothing changed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import hyperbase
from hyperbase import ColumnFamilyDescriptor, Connection, TableDescriptor
from hyperbase.common.errors import (
    CorruptHFileException,
    DamagedWALException,
    DoNotRetryIOException,
    HBaseIOException,
    ReadOnlyException,
    StoreClosedException,
    StoreFormatException,
    StoreLockedException,
)
from regionserver.storage.memory_filesystem import MemoryFileSystem
from tests.support.crash_matrix import Model, Run, TableModel, check_left, fingerprint, observe, open_store

ROOT = Path(__file__).parents[2]
WRITER = """
import os, signal, sys, hyperbase
db = hyperbase.connect(sys.argv[1])
t = db.table("t")
for number in range(50):
    t.put(b"logged%02d" % number, {b"f:q": b"%d" % number})
t.delete(b"row05")
os.kill(os.getpid(), signal.SIGKILL)
"""


def make_store(path: Path) -> None:
    """A store with a table of one region, rows in a StoreFile and a log that was closed."""
    with hyperbase.connect(path) as db:
        db.admin.create_table(TableDescriptor("t", [ColumnFamilyDescriptor(b"f")]))
        table = db.table("t")
        for number in range(20):
            table.put(b"row%02d" % number, {b"f:q": b"x" * 100})
        db.admin.flush("t")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    make_store(path)
    return path


@pytest.fixture
def crashed(store: Path) -> Path:
    """A store whose writer was killed: 50 rows and a delete are only in the log."""
    subprocess.run([sys.executable, "-c", WRITER, str(store)], cwd=ROOT, check=False)
    return store


def tree(path: Path) -> dict[str, str]:
    """Every file below ``path`` with a hash of its bytes, directories too."""
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
        for file in sorted(path.rglob("*"))
    }


def one_line(error: BaseException) -> str:
    """The message, which is one line that says something."""
    text = str(error)
    assert "\n" not in text
    assert len(text) > 30
    return text


def only(path: Path, pattern: str) -> Path:
    """The newest file that matches."""
    return sorted(path.glob(pattern), key=lambda file: file.name)[-1]


def user_manifest(path: Path) -> Path:
    return only(path, "data/default/t/*/.manifest/*")


# -- not a store, or a newer one -------------------------------------------------------------------


def test_a_foreign_directory_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    before = tree(tmp_path)
    for read_only in (False, True):
        with pytest.raises(StoreFormatException) as caught:
            hyperbase.connect(tmp_path, read_only=read_only)
        assert "not a Hyperbase store" in one_line(caught.value)
    assert tree(tmp_path) == before


def test_a_file_instead_of_a_directory(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(HBaseIOException) as caught:
        hyperbase.connect(path)
    assert str(path) in one_line(caught.value)


def test_a_missing_directory_is_not_made_by_a_read_only_open(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="creates nothing"):
        hyperbase.connect(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()


def test_a_newer_store_format_is_refused(store: Path) -> None:
    identity = json.loads((store / "hyperbase.json").read_text())
    (store / "hyperbase.json").write_text(json.dumps({**identity, "format": 99}))
    before = tree(store)
    with pytest.raises(StoreFormatException, match=r"format 99.*newer version"):
        hyperbase.connect(store)
    before.pop("LOCK")
    after = tree(store)
    after.pop("LOCK")
    assert after == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "x"}', "\0\0"])
def test_a_damaged_identity_is_named(store: Path, text: str) -> None:
    (store / "hyperbase.json").write_text(text)
    with pytest.raises(StoreFormatException) as caught:
        hyperbase.connect(store)
    assert "hyperbase.json" in one_line(caught.value)


def test_a_newer_manifest_format_is_refused(store: Path) -> None:
    path = user_manifest(store)
    data = path.read_bytes()
    path.write_bytes(data[:4] + b"0009" + data[8:])
    with pytest.raises(StoreFormatException) as caught:
        hyperbase.connect(store)
    assert path.name in one_line(caught.value)


# -- damage: the file is named ---------------------------------------------------------------------


def damage(path: Path, how: str) -> None:
    """Flip one bit in the middle, or cut the file there."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    if how == "flip":
        data[middle] ^= 0x10
    else:
        del data[middle:]
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["flip", "cut"])
def test_a_damaged_manifest_is_named(store: Path, how: str) -> None:
    path = user_manifest(store)
    damage(path, how)
    for read_only in (True, False):
        with pytest.raises(DoNotRetryIOException) as caught:
            hyperbase.connect(store, read_only=read_only)
        assert path.name in one_line(caught.value)
    with pytest.raises(DoNotRetryIOException):  # nor does the second opening pass it over
        hyperbase.connect(store)


@pytest.mark.parametrize("how", ["flip", "cut"])
def test_a_damaged_store_file_is_named(store: Path, how: str) -> None:
    path = only(store, "data/default/t/*/f/*.arrow")
    if how == "flip":
        data = bytearray(path.read_bytes())
        at = data.index(b"x" * 50) + 20 if b"x" * 50 in data else len(data) // 3
        data[at] ^= 1
        path.write_bytes(data)
    else:
        damage(path, how)

    def read_all() -> None:
        with hyperbase.connect(store) as db:
            list(db.table("t").scan())

    with pytest.raises(CorruptHFileException) as caught:
        read_all()
    assert path.name in one_line(caught.value)


def test_a_flipped_bit_in_the_log_is_named_and_changes_nothing(crashed: Path) -> None:
    path = only(crashed, "WALs/*.wal")
    data = bytearray(path.read_bytes())
    at = data.index(b"logged10")
    data[at] ^= 1
    path.write_bytes(data)
    before = path.read_bytes()
    for read_only in (True, False, False):
        with pytest.raises(DamagedWALException) as caught:
            hyperbase.connect(crashed, read_only=read_only)
        assert path.name in one_line(caught.value)
        assert "offset" in str(caught.value)
    assert path.read_bytes() == before
    assert not list(crashed.glob("WALs/*seal*"))


def test_a_log_cut_in_its_last_record_is_what_a_crash_leaves(crashed: Path) -> None:
    path = only(crashed, "WALs/*.wal")
    data = path.read_bytes()
    with open(path, "r+b") as file:
        file.truncate(data.rindex(b"row05") + 2)
    with hyperbase.connect(crashed) as db:
        rows = [row for row, _ in db.table("t").scan()]
    assert len(rows) == 70  # all puts; the delete is torn


def test_a_missing_log_segment_is_named(tmp_path: Path) -> None:
    fs = MemoryFileSystem()
    run = Run(fs, Model())
    families = [ColumnFamilyDescriptor(b"f")]
    run.do(lambda b: b.create_table(TableDescriptor("t", families)), lambda m: None)
    for number in range(12):
        run.backend.table("t").put(hyperbase.Put(b"r%d" % number).add(b"f:q", b"x" * 3000))
    names = [name for name in fs.list("WALs") if name.endswith(".wal")]
    assert len(names) > 3
    left = fs.after_crash()
    left.delete(f"WALs/{names[1]}")
    with pytest.raises(DamagedWALException, match=names[1]):
        open_store(left)


# -- two openers -----------------------------------------------------------------------------------


def in_another_process(code: str, path: Path) -> str:
    """Run Python code with the path as its argument; returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


OPEN = """
import sys, hyperbase
try:
    hyperbase.connect(sys.argv[1], read_only=%s).close()
    print("opened")
except hyperbase.errors.HBaseIOException as error:
    print(type(error).__name__, error)
"""


def test_a_second_writer_and_a_reader_beside_a_writer_are_told_the_pid(store: Path) -> None:
    code = OPEN.replace("hyperbase.errors.HBaseIOException", "OSError")
    with hyperbase.connect(store):
        for read_only in ("False", "True"):
            said = in_another_process(code % read_only, store)
            assert said.startswith(StoreLockedException.__name__)
            assert str(os.getpid()) in said
    assert in_another_process(code % "False", store) == "opened"


def test_many_readers_and_no_writer_beside_them(store: Path) -> None:
    code = OPEN.replace("hyperbase.errors.HBaseIOException", "OSError")
    with hyperbase.connect(store, read_only=True):
        assert in_another_process(code % "True", store) == "opened"
        assert in_another_process(code % "False", store).startswith(StoreLockedException.__name__)


# -- read-only -------------------------------------------------------------------------------------


def read_crashed(path: Path) -> Connection:
    db = hyperbase.connect(path, read_only=True)
    table = db.table("t")
    assert table.row(b"logged49") == {b"f:q": b"49"}
    assert table.row(b"row05") == {}
    assert len(list(table.scan())) == 69
    return db


def test_a_read_only_open_of_a_crashed_store_replays_in_memory_and_changes_no_byte(crashed: Path) -> None:
    before = tree(crashed)
    for _ in range(2):
        with read_crashed(crashed) as db:
            calls: list[Callable[[], object]] = [
                lambda: db.table("t").put(b"r", {b"f:q": b"1"}),
                lambda: db.table("t").delete(b"row01"),
                lambda: db.table("t").counter_inc(b"r", b"f:n"),
                lambda: db.admin.flush("t"),
                lambda: db.admin.major_compact("t"),
                lambda: db.admin.split("t", b"row07"),
                lambda: db.admin.disable_table("t"),
                lambda: db.admin.create_table(TableDescriptor("n", [ColumnFamilyDescriptor(b"f")])),
                lambda: db.admin.create_namespace("ns"),
            ]
            for call in calls:
                with pytest.raises(ReadOnlyException):
                    call()
    assert tree(crashed) == before
    with hyperbase.connect(crashed) as db:
        assert len(list(db.table("t").scan())) == 69


def test_read_only_sees_the_same_at_every_crash_point_and_changes_nothing() -> None:
    base = MemoryFileSystem()
    run = Run(base, Model())
    families = [ColumnFamilyDescriptor(b"f")]
    run.do(
        lambda b: b.create_table(TableDescriptor("t", families), [b"m"]),
        lambda m: m.tables.__setitem__("t", TableModel((b"f",))),
    )
    for row in (b"a", b"z"):
        run.put("t", row, f_q=b"1")
    run.do(lambda b: b.flush("t"))
    run.put("t", b"b", f_q=b"2")
    names = [info.encoded_name for info in run.backend.regions("t")]
    seen_steps = len(base.steps)
    lefts = []
    base.step_hook = lambda name, step: lefts.append(base.after_crash())
    run.do(lambda b: b.merge_regions(*names))
    assert len(base.steps) - seen_steps == len(lefts) > 20
    checked: set[str] = set()
    for left in lefts:
        before = fingerprint(left)
        if before in checked:
            continue
        checked.add(before)
        reader = open_store(left.as_read_only(), read_only=True)
        assert observe(reader) == run.model
        reader.close()
        assert fingerprint(left) == before
        check_left(left, [run.model], "after a read-only open")


READ_ONLY_MOUNT = """
mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$2" -c "$3" "$1"
"""
ON_READ_ONLY_DISK = """
import sys, hyperbase
try:
    hyperbase.connect(sys.argv[1])
    print("opened for writing")
except hyperbase.common.errors.HBaseIOException as error:
    print(error.errno, error)
db = hyperbase.connect(sys.argv[1], read_only=True)
print(len(list(db.table("t").scan())))
"""


def test_a_read_only_disk(crashed: Path) -> None:
    before = tree(crashed)
    own_namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-r", "-m"]
    command = [*own_namespace, "sh", "-ec", READ_ONLY_MOUNT, "sh", str(crashed), sys.executable]
    done = subprocess.run(
        [*command, "import hyperbase.common.errors\n" + ON_READ_ONLY_DISK],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    refused, rows = done.stdout.splitlines()
    assert refused.startswith(f"{errno.EROFS} ")
    assert "read_only=True" in refused
    assert rows == "69"
    assert tree(crashed) == before


def test_a_disk_that_turns_read_only_refuses_to_open_for_writing_and_loses_nothing() -> None:
    run = Run(MemoryFileSystem(), Model())
    run.do(
        lambda b: b.create_table(TableDescriptor("t", [ColumnFamilyDescriptor(b"f")])),
        lambda m: m.tables.__setitem__("t", TableModel((b"f",))),
    )
    run.put("t", b"r", f_q=b"1")
    left = run.fs.after_crash()

    def hook(name: str, step: int) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    left.step_hook = hook
    before = fingerprint(left)
    with pytest.raises(OSError, match="Read-only"):
        open_store(left)
    assert fingerprint(left) == before
    left.step_hook = None
    check_left(left, [run.model], "the disk is writable again")


# -- fork ------------------------------------------------------------------------------------------

FORK = """
import os, sys, hyperbase
from hyperbase.common.errors import StoreClosedException
db = hyperbase.connect(sys.argv[1])
table = db.table("t")
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    refused = 0
    for call in (lambda: table.row(b"row01"), lambda: table.put(b"r", {b"f:q": b"1"}),
                 lambda: db.admin.flush("t"), lambda: list(table.scan()), lambda: db.tables()):
        try:
            call()
        except StoreClosedException:
            refused += 1
    os.write(ready[1], b"%d" % refused)
    os.read(go[0], 1)
    db.close()
    os._exit(0)
print("refused", int(os.read(ready[0], 9)))
table.put(b"after fork", {b"f:q": b"1"})
db.close()
again = hyperbase.connect(sys.argv[1])  # the child lives and does not hold the lock
print(again.table("t").row(b"after fork"))
os.write(go[1], b"x")
print("child", os.waitpid(child, 0)[1])
again.table("t").put(b"child gone", {b"f:q": b"2"})
again.close()
"""


def test_a_forked_child_is_refused_and_never_holds_the_lock(store: Path) -> None:
    said = in_another_process(FORK, store).splitlines()
    assert said == ["refused 5", "{b'f:q': b'1'}", "child 0"]
    with hyperbase.connect(store) as db:
        assert db.table("t").row(b"child gone") == {b"f:q": b"2"}
    assert issubclass(StoreClosedException, DoNotRetryIOException)
