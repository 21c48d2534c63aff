"""What the shell offers while a line is typed, and how it finds its store and script."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hyperbase.client.connection import Connection
from hyperbase.common.descriptors import ColumnFamilyDescriptor, TableDescriptor
from hyperbase.shell.completion import Completer
from hyperbase.shell.errors import ArgumentError
from hyperbase.shell.highlight import highlight
from hyperbase.shell.location import resolve
from hyperbase.shell.session import Session
from tests.support.fake_backend import FakeBackend


@pytest.fixture
def completer() -> Completer:
    backend = FakeBackend()
    families = [ColumnFamilyDescriptor("info"), ColumnFamilyDescriptor("index")]
    backend.create_table(TableDescriptor("users", families))
    backend.create_table(TableDescriptor("usage", families))
    session = Session(Connection(lambda: backend))  # type: ignore[arg-type, return-value]
    session.variables["t"] = session.reference("users")
    return Completer(session)


@pytest.mark.parametrize(
    ("before", "names"),
    [
        ("desc", ["desc", "describe", "describe_namespace"]),
        ("x = get_c", ["get_counter"]),
        ("list; majo", ["major_compact"]),
        ("scan 'us", ["usage'", "users'"]),
        ('scan "hb', ['hbase:meta"']),
        ("get 'users', 'r', 'in", ["index'", "index:", "info'", "info:"]),
        ("scan 'users', {COLUMNS => ['info', 'ind", ["index'", "index:"]),
        ("scan 'users', {STA", ["STARTROW"]),
        ("scan 'users', {\n  COLUMNS => 'info',\n  ROWP", ["ROWPREFIXFILTER"]),
        ("create 'n', {NAME => 'f', BLO", ["BLOCKCACHE", "BLOCKSIZE", "BLOOMFILTER"]),
        ("t.desc", ["describe"]),
        ("t.put 'r', 'inf", ["info'", "info:"]),
        ("u.desc", []),
        ("help 'gener", ["general'"]),
        ("scan 'users' # sc", []),
    ],
)
def test_candidates(completer: Completer, before: str, names: list[str]) -> None:
    length, found = completer.candidates(before)
    assert found == names
    assert all(name.startswith(before[len(before) - length :]) for name in found)


def test_a_store_that_fails_offers_nothing(completer: Completer) -> None:
    completer._session.connection.close()
    assert completer.candidates("scan 'us") == (2, [])


@pytest.mark.parametrize(
    "line", ["put 't', \"a\\x00\", 5 # c", "x = scan 't', {LIMIT => 5}", "'open", "é ∂ {", ""]
)
def test_highlighting_changes_no_character(line: str) -> None:
    assert "".join(text for _, text in highlight(line)) == line


def test_words_of_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "a.hb"
    script.write_text("list")
    (tmp_path / "store").mkdir()
    assert resolve(["store"]).location == "store"
    assert resolve(["./new"]).location == "./new"
    assert resolve(["hyperbase://h:1", "a.hb", "x", "y"]).arguments == ["x", "y"]
    with pytest.raises(ArgumentError, match="no such script"):
        resolve(["missing.hb"])
    with pytest.raises(ArgumentError, match="no such script"):
        resolve(["store", "missing"])
    with pytest.raises(ArgumentError, match=r"no server is running.*hyperbase start"):
        resolve([])


def test_the_server_of_this_machine_is_found_by_its_file(tmp_path: Path) -> None:
    address = "hyperbase://127.0.0.1:16000"
    file = tmp_path / "server.json"
    file.write_text(json.dumps({"pid": os.getpid(), "endpoints": {"rpc": address}}))
    assert resolve([], str(tmp_path)).location == address
    assert resolve([str(tmp_path)]).location == address
    file.write_text(json.dumps({"pid": 2**22 + 1, "endpoints": {"rpc": address}}))  # no such process
    assert resolve([str(tmp_path)]).location == str(tmp_path)
    file.write_text("{")
    with pytest.raises(ArgumentError, match="cannot be read"):
        resolve([], str(tmp_path))
