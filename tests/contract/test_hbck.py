"""hbck of stores: through the API, and ``hyperbase hbck`` from end to end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import hyperbase
from hyperbase import Connection, RegionInfo
from hyperbase.cli.main import main
from hyperbase.common.catalog import META_DIRECTORY, region_directory
from hyperbase.common.config import ServerConfig
from hyperbase.common.errors import ReadOnlyException
from regionserver.region.manifest import Manifest, ManifestStore
from regionserver.region.table_files import forget_descriptor, read_descriptor
from regionserver.storage.local_filesystem import LocalFileSystem
from tests.support.engine import Bench
from tests.support.standalone import ServerThread

Run = Callable[..., tuple[int, str, str]]
ROWS = {b"%02d" % number: {b"f:q": b"v"} for number in range(50)}
STRAY = RegionInfo("t", b"", b"", 1)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``hyperbase hbck``: (exit code, standard output, standard error)."""

    def call(*words: object) -> tuple[int, str, str]:
        code = main(["hbck", *map(str, words)])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return int(code), out, err

    return call


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A closed store, with a table of two regions, one of them split from a larger one."""
    path = tmp_path / "s"
    with hyperbase.connect(path) as db:
        db.create_table("t", {"f": {"max_versions": 7}})
        for row, data in ROWS.items():
            db.table("t").put(row, data)
        db.admin.split("t", b"25")
    return path


def contents(path: Path) -> dict[bytes, dict[bytes, bytes]]:
    with hyperbase.connect(path) as db:
        return dict(db.table("t").scan())


def stray_directory(path: Path, *, with_file: bool = False) -> Path:
    """A region's directory that nothing names."""
    fs = LocalFileSystem(path)
    ManifestStore(fs, region_directory(STRAY)).write(Manifest(1, region=STRAY))
    if with_file:
        fs.create_if_absent(f"{region_directory(STRAY)}/f/0000000001-0000000001.arrow", b"data")
    return path / region_directory(STRAY)


# -- through the API -------------------------------------------------------------------------------------


def test_a_store_at_work_is_consistent(connection: Connection) -> None:
    bench = Bench(connection, splits=[b"m"])
    for number in range(50):
        bench.table.put(b"%02d" % number, {b"f:q": b"v"})
    connection.admin.split(bench.name, b"25")
    connection.admin.merge_regions(*connection.admin.regions(bench.name)[1:])
    assert connection.admin.hbck() == []
    assert connection.admin.hbck(repair=True) == []
    connection.admin.disable_table(bench.name)
    assert connection.admin.hbck() == []


def test_an_open_store_is_repaired(store: Path) -> None:
    with hyperbase.connect(store) as db:
        stray = stray_directory(store)
        forget_descriptor(LocalFileSystem(store), "t")
        assert sorted(one.kind for one in db.admin.hbck()) == ["orphan_directory", "schema_copy"]
        assert all(one.repaired for one in db.admin.hbck(repair=True))
        assert db.admin.hbck() == []
        assert not stray.exists()
    with hyperbase.connect(store, read_only=True) as db:
        assert db.admin.hbck() == []
        with pytest.raises(ReadOnlyException):
            db.admin.hbck(repair=True)


# -- from the command line -------------------------------------------------------------------------------


def test_a_sound_store(run: Run, store: Path) -> None:
    assert run(store) == (0, f"{store}: consistent\n", "")
    code, out, _ = run("--json", store, store)
    assert code == 0
    assert json.loads(out) == [{"target": str(store), "consistent": True, "inconsistencies": []}] * 2


def test_a_store_that_was_killed_is_looked_at_with_its_log(run: Run, tmp_path: Path, store: Path) -> None:
    copy = tmp_path / "copy"
    with hyperbase.connect(store) as db:
        db.create_table("only in the log".replace(" ", "_"), {"f": {}})
        shutil.copytree(store, copy)
    assert run(copy)[:2] == (0, f"{copy}: consistent\n")


def test_what_is_wrong_is_said_and_repaired_where_nothing_is_lost(run: Run, store: Path) -> None:
    stray = stray_directory(store)
    forget_descriptor(LocalFileSystem(store), "t")
    code, out, _ = run(store)
    assert code == 1
    assert out.splitlines()[-1] == f"{store}: 2 inconsistencies"
    code, out, _ = run("--repair", store)
    assert code == 0
    assert out.count("repaired: ") == 2
    assert not stray.exists()
    assert read_descriptor(LocalFileSystem(store), "t") is not None
    assert run(store)[0] == 0
    assert contents(store) == ROWS


def test_directories_with_files_are_not_removed(run: Run, store: Path) -> None:
    stray = stray_directory(store, with_file=True)
    code, out, _ = run("--repair", "--json", store)
    assert code == 1
    (found,) = json.loads(out)[0]["inconsistencies"]
    assert (found["kind"], found["about"], found["repaired"]) == (
        "orphan_directory",
        region_directory(STRAY),
        "",
    )
    assert stray.exists()


def test_a_file_that_is_gone_and_a_manifest_that_is_damaged(run: Run, store: Path) -> None:
    path = next((store / "data/default/t").rglob("*.arrow"))
    path.rename(store / "kept")
    code, out, _ = run("--json", "--repair", store)
    found = json.loads(out)[0]["inconsistencies"]
    assert (code, [one["kind"] for one in found]) == (1, ["missing_file"])
    (store / "kept").rename(path)
    manifest = sorted((store / "data/default/t").rglob(".manifest/*"))[-1]
    data = bytearray(manifest.read_bytes())
    data[20] ^= 1
    manifest.write_bytes(data)
    code, out, _ = run("--json", store)
    assert (code, "damaged_manifest" in out) == (1, True)


def test_what_cannot_be_checked(run: Run, store: Path, tmp_path: Path) -> None:
    code, out, err = run(tmp_path / "nowhere")
    assert (code, out, "no such directory" in err) == (2, "", True)
    code, _, err = run(tmp_path)
    assert (code, "is not a Hyperbase store" in err) == (2, True)
    with hyperbase.connect(store):
        code, _, err = run(store)
        assert (code, "StoreLockedException" in err) == (2, True)
    code, _, err = run("hyperbase://localhost:1")
    assert (code, "could not be checked" in err) == (2, True)
    code, _, err = run("--rebuild-meta", "hyperbase://localhost:1")
    assert (code, "directories that nobody uses" in err) == (2, True)
    shutil.rmtree(store / META_DIRECTORY)
    code, _, err = run(store)
    assert (code, "hyperbase hbck --rebuild-meta" in err) == (2, True)


def test_a_living_server_of_a_cluster_is_not_overlooked(run: Run, store: Path) -> None:
    """Processes of a cluster share the root's lock, as readers do."""
    fs = LocalFileSystem(store)
    fs.make_directory("WALs/host,1,1")
    lock = fs.lock("WALs/host,1,1/LOCK")
    code, _, err = run(store)
    assert (code, "host,1,1 is at work" in err) == (2, True)
    lock.release()
    assert run(store)[0] == 0


def test_a_server_looks_at_itself(run: Run, store: Path) -> None:
    with ServerThread(ServerConfig(data_dir=str(store))) as server:
        assert run(server.url)[:2] == (0, f"{server.url}: consistent\n")
        stray = stray_directory(store)
        code, out, _ = run(server.url)
        assert (code, "orphan_directory: " in out) == (1, True)
        assert run("--repair", server.url)[0] == 0
        assert not stray.exists()


# -- hbase:meta from the regions alone -------------------------------------------------------------------


def test_a_store_whose_hbase_meta_is_lost_has_everything_again(run: Run, store: Path) -> None:
    with hyperbase.connect(store) as db:
        before = (db.admin.describe_table("t"), db.admin.regions("t"))
    shutil.rmtree(store / META_DIRECTORY)
    code, out, _ = run("--rebuild-meta", store)
    assert code == 0
    assert out.splitlines()[-1] == f"{store}: hbase:meta was written anew: 1 tables, 2 regions"
    assert contents(store) == ROWS
    with hyperbase.connect(store) as db:
        assert (db.admin.describe_table("t"), db.admin.regions("t")) == before
    assert run(store)[0] == 0


def test_nothing_is_written_where_it_cannot_be_known(run: Run, store: Path) -> None:
    shutil.rmtree(store / META_DIRECTORY)
    path = next((store / "data/default/t").rglob("*.arrow"))
    path.rename(store / "kept")
    code, out, _ = run("--rebuild-meta", "--json", store)
    found = json.loads(out)
    assert (code, found["rebuilt"], len(found["problems"]) > 0) == (1, False, True)
    assert not (store / META_DIRECTORY).exists()
    (store / "kept").rename(path)
    assert run("--rebuild-meta", store)[0] == 0
    assert contents(store) == ROWS


def test_nobody_may_use_the_store_meanwhile(run: Run, store: Path) -> None:
    with hyperbase.connect(store, read_only=True):
        code, _, err = run("--rebuild-meta", store)
        assert (code, "StoreLockedException" in err) == (2, True)
