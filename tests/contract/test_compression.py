"""Frames that are compressed both ways: the answers are the same, large ones take less of the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import hyperbase
from hyperbase import Connection
from hyperbase.common.config import ServerConfig
from tests.support.aio_backend import connect_aio
from tests.support.standalone import ServerThread

CLIENTS: dict[str, Callable[..., Connection]] = {"blocking": hyperbase.connect, "asyncio": connect_aio}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("compression", ["zstd", "off"])
def test_compression_changes_no_answer(tmp_path: Any, client: str, compression: str) -> None:
    value = b"the same again and again, " * 40_000
    with (
        ServerThread(ServerConfig(data_dir=str(tmp_path / "store"))) as server,
        CLIENTS[client](server.url, compression=compression) as connection,
    ):
        connection.create_table("t", {"f": {}})
        table = connection.table("t")
        table.put(b"large", {b"f:q": value})
        table.put(b"small", {b"f:q": b"v"})
        assert table.row(b"large") == {b"f:q": value}
        assert dict(table.scan()) == {b"large": {b"f:q": value}, b"small": {b"f:q": b"v"}}
        assert table.scan_arrow().read_all()["f:q"].to_pylist() == [value, b"v"]
        assert dict(table.rows([b"small", b"large"]))[b"large"] == {b"f:q": value}
