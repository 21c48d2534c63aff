"""The drop-in module: HappyBase's arguments, shared stores, and the pool."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hyperbase.embedded
from hyperbase import happybase
from hyperbase.common.errors import ConnectException, StoreClosedException
from tests.support.fake_backend import FakeBackend

Opened = list[tuple[str, FakeBackend]]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Opened:
    stores: Opened = []

    def open_backend(path: str, read_only: bool, settings: Any) -> FakeBackend:
        stores.append((path, FakeBackend()))
        return stores[-1][1]

    monkeypatch.setattr(hyperbase.embedded, "open_backend", open_backend)
    monkeypatch.delenv("HYPERBASE_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    return stores


def test_a_store_is_a_directory(opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    happybase.Connection("localhost", "9090", store="elsewhere").close()
    monkeypatch.setenv("HYPERBASE_STORE", str(tmp_path / "env"))
    happybase.Connection().close()
    happybase.Connection("far.example", store=tmp_path / "given").close()
    happybase.Connection("far.example").close()
    assert [path for path, _ in opened] == [
        str(tmp_path / name) for name in ["elsewhere", "env", "given", "env"]
    ]


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        ({}, "hyperbase://localhost:16000"),
        ({"host": None, "port": None}, "hyperbase://localhost:16000"),
        ({"host": "far.example", "port": 9090}, "hyperbase://far.example:16000"),  # HappyBase's default port
        ({"host": "::1", "port": "17000"}, "hyperbase://[::1]:17000"),
        ({"host": "far.example", "store": "hyperbase://near.example"}, "hyperbase://near.example"),
    ],
)
def test_without_a_store_it_is_a_server(opened: Opened, arguments: dict[str, Any], url: str) -> None:
    connection = happybase.Connection(autoconnect=False, **arguments)
    assert connection.store == url
    assert opened == []


@pytest.mark.parametrize("arguments", [{"port": 70_000}, {"host": "a b"}, {"timeout": 0}])
def test_what_names_no_server_is_refused(opened: Opened, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        happybase.Connection(autoconnect=False, **arguments)


def test_the_timeout_is_the_operations(opened: Opened) -> None:
    connection = happybase.Connection(port=1, timeout=1500, autoconnect=False)
    with pytest.raises(ConnectException, match="cannot connect to localhost:1"):
        connection.open()
    assert not connection.is_open()


@pytest.mark.parametrize("name", ["compat", "transport", "protocol"])
def test_modes_are_checked(opened: Opened, name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' must be one of"):
        happybase.Connection(**{name: "0.1.invalid"})  # type: ignore[arg-type]


def test_connections_of_a_process_share_a_store(tmp_path: Path) -> None:
    first = happybase.Connection(store=tmp_path)
    second = happybase.Connection(store=tmp_path, autoconnect=False)
    assert not second.transport.is_open()
    second.open()
    first.create_table("t", {"cf": {}})
    table = second.table("t")
    first.close()
    with pytest.raises(StoreClosedException):
        first.tables()
    table.put(b"r", {b"cf:a": b"1"})
    second.transport.close()
    with pytest.raises(StoreClosedException):
        table.row(b"r")
    second.transport.open()
    assert table.row(b"r") == {b"cf:a": b"1"}
    second.close()


def test_threads_open_and_close_one_store(tmp_path: Path) -> None:
    def work() -> None:
        for _ in range(5):
            connection = happybase.Connection(store=tmp_path)
            assert connection.tables() == []
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    happybase.Connection(store=tmp_path).close()


def test_happybase_habits_of_a_table(opened: Opened) -> None:
    connection = happybase.Connection(store="data")
    connection.create_table("t", {"cf": {}})
    table = connection.table("t")
    assert isinstance(table, happybase.Table)
    assert table.rows([]) == {}
    with pytest.raises(TypeError):
        table.rows([b"a"], object())  # type: ignore[arg-type]
    table.put(b"r", {b"cf:b": b"2", b"cf:a": b"1"})
    ((key, data),) = table.scan(sorted_columns=True)
    assert key == b"r"
    assert isinstance(data, OrderedDict)
    assert list(data) == [b"cf:a", b"cf:b"]
    assert isinstance(table.batch(), happybase.Batch)
    connection.close()


@pytest.mark.parametrize(
    ("compat", "arguments"),
    [("0.90", {"filter": "x"}), ("0.94", {"sorted_columns": True}), ("0.96", {"reverse": True})],
)
def test_old_compat_refuses_newer_arguments(opened: Opened, compat: str, arguments: dict[str, Any]) -> None:
    scanner = happybase.Connection(store="data", compat=compat).table("t").scan(**arguments)
    with pytest.raises(NotImplementedError):
        next(scanner)


def test_pool_arguments(opened: Opened) -> None:
    with pytest.raises(TypeError):
        happybase.ConnectionPool(size="abc")  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        happybase.ConnectionPool(size=0)
    with pytest.raises(ValueError):
        happybase.ConnectionPool(size=1, compat="none")


def test_pool_lends_one_connection_per_thread(opened: Opened) -> None:
    pool = happybase.ConnectionPool(size=2, store="data")
    with pool.connection() as outer:
        with pool.connection() as inner:
            assert inner is outer
        other = run_in_thread(lambda: borrow(pool))
        assert other is not outer
    assert len(opened) == 2


def test_pool_exhaustion(opened: Opened) -> None:
    pool = happybase.ConnectionPool(size=1, store="data")

    def starve() -> None:
        with pytest.raises(happybase.NoConnectionsAvailable), pool.connection(timeout=0.01):
            pass

    with pool.connection():
        run_in_thread(starve)
    assert run_in_thread(lambda: borrow(pool)) is not None


def test_pool_reopens_what_a_failure_left_closed(opened: Opened) -> None:
    pool = happybase.ConnectionPool(size=1, store="data")

    def fail(connection: happybase.Connection) -> None:
        with pool.connection():
            connection.transport.close()
            raise OSError("lost")

    with pool.connection() as connection:
        with pytest.raises(OSError, match="lost"):
            fail(connection)
        assert connection.tables() == []


def borrow(pool: happybase.ConnectionPool) -> happybase.Connection:
    with pool.connection() as connection:
        return connection


def run_in_thread(action: Callable[[], Any]) -> Any:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(action()))
    thread.start()
    thread.join(30)
    assert answers, "the thread failed"
    return answers[0]
