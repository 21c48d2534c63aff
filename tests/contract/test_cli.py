"""The ``hyperbase`` command from end to end: what it does, what it says, how it leaves. Never a traceback."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import hyperbase
from hyperbase.cli import demo_command
from hyperbase.cli.main import main
from hyperbase.common.config import ServerConfig
from hyperbase.common.region_info import RegionInfo
from master.hbck import chain_problems
from tests.support.standalone import ServerThread

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command: (exit code, standard output, standard error)."""

    def call(*words: object) -> tuple[int, str, str]:
        try:
            code = main([str(word) for word in words])
        except SystemExit as leaving:  # argparse
            code = leaving.code if isinstance(leaving.code, int) else 2
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return int(code), out, err

    return call


def rows(store: Path, table: str) -> dict[bytes, dict[bytes, bytes]]:
    with hyperbase.connect(store) as db:
        return dict(db.table(table).scan())


def test_the_command_starts_fast_and_leaves_pyarrow_alone() -> None:
    code = "import sys, hyperbase.cli.main as m; m.main(['--version']); sys.exit('pyarrow' in sys.modules)"
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout == f"hyperbase {hyperbase.__version__}\n"
    assert time.perf_counter() - started < 2  # 0.1 s on an idle machine; the bound is for a busy one


def test_files_go_to_a_server_and_come_back(run: Run, tmp_path: Path) -> None:
    source, copy = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("id,name\n1,Ada\n2,Bo\n")
    with ServerThread(ServerConfig(data_dir=str(tmp_path / "data"))) as server:
        assert run("import", server.url, "people", source, "--row-key", "id")[0] == 0
        code, out, _ = run("export", server.url, "people", copy)
        assert (code, "2 rows" in out) == (0, True)
        code, _, err = run("export", server.url, "nobody", copy)
        assert (code, err) == (2, f"hyperbase: no table 'nobody' in {server.url}; it has: people\n")
    assert copy.read_text().splitlines()[1:] == ['"1","Ada"', '"2","Bo"']
    code, _, err = run("export", server.url, "people", copy)  # the server is gone
    assert code == 1
    assert "ConnectException" in err


def test_usage_errors_leave_with_2(run: Run, tmp_path: Path) -> None:
    assert run()[0] == 2
    assert run("nonsense")[0] == 2
    assert run("import", tmp_path / "s", "t")[0] == 2
    assert run("--help")[0] == 0


def test_import_csv_creates_the_table_and_can_be_repeated(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text("id,name,note\n1,Ada,\n2,Bob,hi\n")
    for _ in range(2):
        code, out, err = run("import", tmp_path / "s", "t", source, "--row-key", "id")
        assert (code, err) == (0, "")
        assert re.search(r"2 rows, 3 cells in .* rows/s", out)
    assert rows(tmp_path / "s", "t") == {
        b"1": {b"cf:name": b"Ada"},
        b"2": {b"cf:name": b"Bob", b"cf:note": b"hi"},
    }


@pytest.mark.parametrize(
    "options", [(), ("--timestamp", "at")], ids=["stamped by the store", "stamps of its own"]
)
def test_a_cell_that_is_too_large_costs_its_own_row_only(
    run: Run, tmp_path: Path, options: tuple[str, ...]
) -> None:
    source = tmp_path / "a.csv"
    source.write_text("id,at,name\n1,7,Ada\n2,7," + "x" * 10 * 2**20 + "\n3,7,Bob\n")
    assert run("import", tmp_path / "s", "t", source, "--row-key", "id", *options)[0] == 3
    assert set(rows(tmp_path / "s", "t")) == {b"1", b"3"}
    (entry,) = map(json.loads, (tmp_path / "a.csv.rejects.jsonl").read_text().splitlines())
    assert entry["line"] == 3
    assert "KeyValue size too large" in entry["reason"]


def test_rejected_rows_are_kept_with_line_and_reason_and_the_rest_goes_on(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    long_key = "k" * 70_000
    source.write_text(f"id,n\n1,5\n,6\n3,x\n4,7,8\n{long_key},9\n6,\n7,1\n")
    code, out, _ = run("import", tmp_path / "s", "t", source, "--row-key", "id", "--types", "n=int64")
    assert code == 3
    assert "5 rejected" in out
    rejects = [json.loads(line) for line in (tmp_path / "a.csv.rejects.jsonl").read_text().splitlines()]
    assert sorted(entry["line"] for entry in rejects) == [3, 4, 5, 6, 7]
    reasons = {entry["line"]: entry["reason"] for entry in rejects}
    assert "no row key: column 'id'" in reasons[3]
    assert "column 'n'" in reasons[4]
    assert reasons[5] == "3 fields where 2 are expected"
    assert "65,536" in reasons[6]
    assert reasons[7] == "no values besides the row key"
    assert list(rows(tmp_path / "s", "t")) == [b"1", b"7"]
    source.write_text("id,n\n1,5\n")
    assert run("import", tmp_path / "s", "t", source, "--row-key", "id")[0] == 0
    assert not (tmp_path / "a.csv.rejects.jsonl").exists()


def test_a_value_the_store_refuses_is_rejected_alone(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    records = [{"id": 1, "v": "a"}, {"id": 2, "v": "x" * (11 << 20)}, {"id": 3, "v": "c"}]
    source.write_text("".join(json.dumps(record) + "\n" for record in records))
    code, _, _ = run("import", tmp_path / "s", "t", source, "--row-key", "id")
    assert code == 3
    assert list(rows(tmp_path / "s", "t")) == [b"1", b"3"]
    (entry,) = map(json.loads, (tmp_path / "a.jsonl.rejects.jsonl").read_text().splitlines())
    assert entry["line"] == 2
    assert "10485760" in entry["reason"].replace(",", "")


def test_json_null_is_no_cell_and_nested_values_are_compact_json(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "a.json"
    source.write_text('[{"id": "r", "a": null, "b": {"c": [1, 2.5, true]}, "d": false, "e": "é"}]')
    assert run("import", tmp_path / "s", "t", source, "--row-key", "id", "--family", "f")[0] == 0
    assert rows(tmp_path / "s", "t") == {
        b"r": {b"f:b": b'{"c":[1,2.5,true]}', b"f:d": b"false", b"f:e": "é".encode()}
    }


def test_composite_keys_numbers_and_timestamps(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "a.tsv.gz"
    source.write_bytes(gzip.compress(b"a\tb\tday\nx\ty\t2002-03-27\nx\tz\t1000\nx\tz\tnever\n"))
    words = ("--row-key", "a,#", "--separator", "-", "--timestamp", "day", "--keep-key", "--rejects")
    code, _, _ = run("import", tmp_path / "s", "t", source, *words, tmp_path / "bad.jsonl")
    assert code == 3
    assert "never" in (tmp_path / "bad.jsonl").read_text()
    with hyperbase.connect(tmp_path / "s") as db:
        assert dict(db.table("t").scan(include_timestamp=True)) == {
            b"x-000000000001": {b"cf:a": (b"x", 1017187200000), b"cf:b": (b"y", 1017187200000)},
            b"x-000000000002": {b"cf:a": (b"x", 1000), b"cf:b": (b"z", 1000)},
        }


def test_families_named_in_columns_are_added(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text("row,f:a,g:b:c,http://x\n1,2,3,4\n")
    assert run("import", tmp_path / "s", "t", source, "--row-key", "row")[0] == 0
    assert rows(tmp_path / "s", "t") == {b"1": {b"f:a": b"2", b"g:b:c": b"3", b"cf:http://x": b"4"}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("import", "{s}", "t", "{d}/missing.csv", "--row-key", "a"), "no such file"),
        (("import", "{s}", "t", "{d}/a.csv", "--row-key", "b"), "has no column 'b'"),
        (("import", "{s}", "nope", "{d}/a.csv", "--row-key", "a", "--no-create"), "no table 'nope'"),
        (("import", "{s}", "t t", "{d}/a.csv", "--row-key", "a"), "IllegalArgumentException"),
        (("import", "{d}/a.csv", "t", "{d}/a.csv", "--row-key", "a"), "a.csv"),
        (("import", "{s}", "t", "{d}/a.csv", "--row-key", "a", "--types", "x=long"), "--types"),
        (("import", "{s}", "t", "{d}/a.csv", "--row-key", "a", "--batch-rows", "0"), "--batch-rows"),
        (("import", "{s}", "t", "{d}/a.parquet", "--row-key", "a"), "cannot be read as Parquet"),
        (("export", "{s}", "nope", "{d}/o.csv"), "no table 'nope'"),
        (("export", "{d}/nowhere", "t", "{d}/o.csv"), "no such store"),
        (("export", "{s}", "t", "{d}/o.xls"), "suffix"),
        (("export", "{s}", "t", "{d}/no/o.csv"), "no such directory"),
        (("export", "{s}", "t", "{d}/o.csv", "--filter", "Nonsense("), "hyperbase:"),
        (("storefile", "{d}/nowhere"), "no such file"),
        (("storefile", "{d}"), "is a directory"),
        (("wal", "{d}/nowhere"), "no such file"),
        (("check", "{d}/nowhere"), "no such store"),
    ],
)
def test_bad_input_is_one_line_and_2(run: Run, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    (tmp_path / "a.csv").write_text("a,c\n1,2\n")
    (tmp_path / "a.parquet").write_text("PAR1")
    with hyperbase.connect(tmp_path / "s") as db:
        db.create_table("t", {"cf": {}})
    code, out, err = run(*(word.format(s=tmp_path / "s", d=tmp_path) for word in words))
    assert code == 2, (out, err)
    assert message in err
    assert err.count("\n") == 1


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two families, texts and numbers, versions, a missing cell; half of it in StoreFiles."""
    with hyperbase.connect(tmp_path / "store") as db:
        db.create_table("t", {"f": {"max_versions": 3}, "g": {}})
        table = db.table("t")
        table.put(b"r1", {b"f:a": b"old", b"f:n": (5).to_bytes(8, "big")}, timestamp=1)
        table.put(b"r1", {b"f:a": b'new, "quoted"'}, timestamp=2)
        db.admin.flush("t")
        table.put("r2é", {b"g:x": b"\xff\x00", b"f:a": "grün".encode()}, timestamp=3)
    return tmp_path / "store"


def test_export_parquet_and_arrow_keep_types(run: Run, store: Path, tmp_path: Path) -> None:
    for name in ("o.parquet", "o.arrow"):
        code, out, _ = run("export", store, "t", tmp_path / name, "--types", "f:n=int64")
        assert code == 0
        assert "2 rows" in out
    table = pq.read_table(tmp_path / "o.parquet")
    assert pa.ipc.open_file(str(tmp_path / "o.arrow")).read_all() == table
    assert table.to_pylist() == [
        {"row": "r1", "f:a": 'new, "quoted"', "f:n": 5, "g:x": None},
        {"row": "r2é", "f:a": "grün", "f:n": None, "g:x": b"\xff\x00"},
    ]


def test_export_text_formats(run: Run, store: Path, tmp_path: Path) -> None:
    assert run("export", store, "t", tmp_path / "o.csv")[0] == 0
    assert run("export", store, "t", tmp_path / "o.jsonl", "--prefix", "r2")[0] == 0
    table = pyarrow.csv.read_csv(tmp_path / "o.csv")
    assert table.column_names == ["row", "f:a", "f:n", "g:x"]
    assert table.column("f:a").to_pylist() == ['new, "quoted"', "grün"]
    (line,) = (tmp_path / "o.jsonl").read_text().splitlines()
    assert json.loads(line) == {"row": "r2é", "f:a": "grün", "g:x": "\\xFF\\x00"}


def test_export_chosen_columns_and_cells(run: Run, store: Path, tmp_path: Path) -> None:
    assert (
        run("export", store, "t", tmp_path / "o.jsonl", "--columns", "f:a", "--types", "f:a=string")[0] == 0
    )
    assert [json.loads(x) for x in (tmp_path / "o.jsonl").read_text().splitlines()] == [
        {"row": "r1", "f:a": 'new, "quoted"'},
        {"row": "r2é", "f:a": "grün"},
    ]
    assert run("export", store, "t", tmp_path / "c.jsonl", "--layout", "cells", "--columns", "f:a")[0] == 0
    cells = [json.loads(x) for x in (tmp_path / "c.jsonl").read_text().splitlines()]
    assert [(c["row"], c["timestamp"], c["value"]) for c in cells] == [
        ("r1", 2, 'new, "quoted"'),
        ("r1", 1, "old"),
        ("r2é", 3, "grün"),
    ]


def test_an_export_comes_back_as_it_was(run: Run, tmp_path: Path) -> None:
    with hyperbase.connect(tmp_path / "s") as db:
        db.create_table("t", {"f": {}, "g": {}})
        with db.table("t").batch() as batch:
            for number in range(500):
                batch.put(b"%04d" % number, {b"f:a": b"v%d" % number, b"g:b": b"x,\n%d" % number})
    before = rows(tmp_path / "s", "t")
    for suffix in ("csv", "tsv", "jsonl", "parquet", "arrow"):
        name = tmp_path / f"o.{suffix}"
        assert run("export", tmp_path / "s", "t", name)[0] == 0
        assert run("import", tmp_path / "s", suffix, name, "--row-key", "row")[0] == 0
        assert rows(tmp_path / "s", suffix) == before


def test_export_of_an_empty_table_is_an_empty_file(run: Run, tmp_path: Path) -> None:
    with hyperbase.connect(tmp_path / "s") as db:
        db.create_table("t", {"f": {}})
    for suffix in ("csv", "jsonl", "parquet", "arrow"):
        code, out, _ = run("export", tmp_path / "s", "t", tmp_path / f"o.{suffix}")
        assert code == 0
        assert "0 rows" in out
    assert pq.read_table(tmp_path / "o.parquet").num_rows == 0


def storefiles(store: Path) -> list[Path]:
    return sorted(map(Path, demo_command.storefiles(str(store))))


def test_storefile_wal_and_check_of_a_sound_store(run: Run, store: Path) -> None:
    code, out, _ = run("storefile", next(p for p in storefiles(store) if p.parent.name == "f"), "--cells")
    assert code == 0
    assert "verified" in out
    assert "r1 a 1 PUT old" in out
    for log in store.rglob("*.wal"):
        code, out, _ = run("wal", log)
        assert code == 0
        assert out.startswith("segment")
    code, out, _ = run("check", store)
    assert code == 0
    assert out.endswith("sound\n")


def test_check_and_storefile_find_a_flipped_bit_and_a_missing_file(run: Run, store: Path) -> None:
    path = next(p for p in storefiles(store) if p.parent.name == "f")
    data = bytearray(path.read_bytes())
    data[data.index(b"quoted")] ^= 1
    path.write_bytes(data)
    for words in (("check", store), ("storefile", path)):
        code, out, err = run(*words)
        assert code == 1
        assert path.name in out
        assert err == ""
    path.unlink()
    code, out, _ = run("check", store)
    assert code == 1
    assert path.name in out


def test_a_locked_store_names_its_owner(run: Run, store: Path, tmp_path: Path) -> None:
    program = (
        f"import hyperbase, sys; db = hyperbase.connect({str(store)!r}); print('open', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdin is not None
        assert owner.stdout.readline() == "open\n"
        for words in (("check", store), ("export", store, "t", tmp_path / "o.csv")):
            code, _, err = run(*words)
            assert code == 2
            assert str(owner.pid) in err
        owner.stdin.write("\n")
        owner.stdin.close()


def test_chains() -> None:
    def region(start: bytes, end: bytes) -> RegionInfo:
        return RegionInfo("t", start, end, 1)

    assert chain_problems([region(b"m", b""), region(b"", b"m")]) == []
    assert chain_problems([]) == ["it has no region"]
    assert chain_problems([region(b"", b"f"), region(b"m", b"")]) == [
        "no region holds the rows from b'f' to b'm'"
    ]
    assert chain_problems([region(b"", b"m"), region(b"f", b"")]) == [
        "two regions hold the rows from b'f' to b'm'"
    ]
    assert len(chain_problems([region(b"a", b"m")])) == 2


def test_an_unexpected_error_is_one_line(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("over\nlines")

    monkeypatch.setattr(hyperbase, "connect", broken)
    monkeypatch.delenv("HYPERBASE_TRACEBACK", raising=False)
    os.mkdir(tmp_path / "s")
    code, _, err = run("export", tmp_path / "s", "t", tmp_path / "o.csv")
    assert code == 1
    assert err.count("\n") == 1
    assert "ZeroDivisionError: over lines" in err


def test_interrupted(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(hyperbase, "connect", interrupt)
    os.mkdir(tmp_path / "s")
    code, _, err = run("export", tmp_path / "s", "t", tmp_path / "o.csv")
    assert code == 1
    assert err.startswith("hyperbase: interrupted")


def test_a_reader_that_had_enough_is_no_error(tmp_path: Path) -> None:
    with hyperbase.connect(tmp_path / "s") as db:
        db.create_table("t", {"f": {}})
        with db.table("t").batch() as batch:
            for number in range(20_000):
                batch.put(b"%06d" % number, {b"f:a": b"value"})
        db.admin.flush("t")
    path = next(p for p in storefiles(tmp_path / "s") if p.parent.name == "f")
    command = f'"{sys.executable}" -m hyperbase.cli storefile "{path}" --cells | head -1'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout.startswith("file")
    assert done.stderr == ""


def test_the_demo_loses_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a part of the data; ``make demo`` runs it all."""
    from hyperbase.cli import demo_unicode

    everything = demo_unicode.rows
    wanted = {*range(0x500), *range(0x2600, 0x2700), 0x1F600}
    monkeypatch.setattr(demo_unicode, "rows", lambda: (row for row in everything() if row[0] in wanted))
    monkeypatch.setattr(demo_command, "EVENTS_BEFORE_KILL", 50)
    for _ in range(2):  # it can be run again in the same directory
        code, out, _ = run("demo", tmp_path / "d")
        assert code == 0, out
    for sight in ("SNOWMAN", "Pd", "GRINNING FACE", "1,001", "signal 9", "0 are missing", "Type next"):
        assert sight in out
    assert run("check", tmp_path / "d")[0] == 0
