"""Connection, Admin, connect() and the locations it understands."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import hyperbase
from hyperbase.client.connection import Connection
from hyperbase.client.location import local_path
from hyperbase.common.descriptors import ColumnFamilyDescriptor, NamespaceDescriptor, TableDescriptor
from hyperbase.common.errors import IllegalArgumentException, StoreClosedException
from tests.support.fake_backend import FakeBackend


@pytest.fixture
def store() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def db(store: FakeBackend) -> Connection:
    return Connection(lambda: store)


def test_open_and_close(store: FakeBackend) -> None:
    with Connection(lambda: store, autoconnect=False) as db:
        assert db.is_open()
        assert "open" in repr(db)
    assert store.closed == 1
    assert "closed" in repr(db)
    with pytest.raises(StoreClosedException):
        db.tables()


def test_a_forgotten_connection_closes_its_store(store: FakeBackend) -> None:
    Connection(lambda: store)
    gc.collect()
    for _ in range(500):
        if store.closed:
            break
        time.sleep(0.01)  # it is closed in a thread of its own
    assert store.closed == 1


def test_what_is_open_at_exit_is_closed() -> None:
    code = (
        "from hyperbase.client.connection import Connection\n"
        "class Store:\n"
        "    def close(self): print('closed')\n"
        "db = Connection(Store)\n"
        "Connection(Store).close()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("closed\nclosed\n", "")


def test_a_table_keeps_its_connection(store: FakeBackend) -> None:
    Connection(lambda: store).create_table("t", {"cf": {}})
    table = Connection(lambda: store).table("t")
    gc.collect()
    table.put(b"r", {b"cf:a": b"1"})
    assert table.row(b"r")


def test_table_prefix(store: FakeBackend) -> None:
    db = Connection(lambda: store, table_prefix="app", table_prefix_separator=b".")
    db.create_table("t", {"cf": {}})
    Connection(lambda: store).create_table("other", {"cf": {}})
    assert db.tables() == [b"t"]
    assert db.table("t").name == b"app.t"
    assert db.table("other", use_prefix=False).name == b"other"
    assert db.admin.list_tables() == ["app.t", "other"]
    db.delete_table("t", disable=True)
    assert db.admin.list_tables() == ["other"]
    for bad in ({"table_prefix": 1}, {"table_prefix_separator": 2.1}):
        with pytest.raises(TypeError):
            Connection(lambda: store, **bad)


def test_create_table_options(db: Connection, store: FakeBackend) -> None:
    options = {"max_versions": 7, "compression": "gz", "time_to_live": -1, "bloom_filter_nb_hashes": 4}
    db.create_table(b"t", {"a": options, b"b:": None, "c": {"max_versions": 1}}, splits=["m", b"c"])
    a, b, c = store.descriptors["t"].families
    assert [family.name for family in (a, b, c)] == [b"a", b"b", b"c"]
    assert (a.max_versions, a.compression, a.time_to_live) == (7, "GZ", 2**31 - 1)
    assert (b.max_versions, b.compression, b.bloom_filter_type, b.block_cache_enabled) == (
        3,
        "NONE",
        "ROW",
        True,
    )
    assert c.max_versions == 1
    assert [region.start_key for region in db.admin.regions("t")] == [b"", b"c", b"m"]


@pytest.mark.parametrize("families", [0, [], "cf", None])
def test_create_table_wants_a_dictionary(db: Connection, families: Any) -> None:
    with pytest.raises(TypeError):
        db.create_table("t", families)


@pytest.mark.parametrize(
    ("families", "splits"),
    [({}, None), ({"cf": {"nonsense": 1}}, None), ({"cf": {}}, [b"a", b"a"]), ({"cf": {}}, [b""])],
)
def test_create_table_refuses(db: Connection, store: FakeBackend, families: Any, splits: Any) -> None:
    with pytest.raises(IllegalArgumentException):
        db.create_table("t", families, splits)
    assert store.descriptors == {}


def test_happybase_administration(db: Connection, store: FakeBackend) -> None:
    db.create_table("t", {"cf": {}})
    assert db.is_table_enabled("t")
    db.disable_table(b"t")
    assert not db.is_table_enabled(b"t")
    db.enable_table("t")
    db.compact_table("t")
    db.compact_table("default:t", major=True)
    assert store.calls == [("compact", "t", False), ("compact", "t", True)]
    assert db.metrics() == {"cells": 0.0}


def test_admin_tables(db: Connection, store: FakeBackend) -> None:
    admin = db.admin
    admin.create_table(TableDescriptor("t", [ColumnFamilyDescriptor(b"cf")]), splits=[b"m", "b"])
    assert store.splits["t"] == [b"b", b"m"]
    admin.clone_table_schema("t", "copy")
    admin.clone_table_schema("t", b"split_copy", preserve_splits=True)
    assert store.splits == {"t": [b"b", b"m"], "copy": [], "split_copy": [b"b", b"m"]}
    assert admin.describe_table("copy").families == admin.describe_table("t").families
    assert admin.list_tables() == ["copy", "split_copy", "t"]
    assert admin.list_tables(".*copy") == ["copy", "split_copy"]
    assert admin.list_tables("cop") == []
    with pytest.raises(IllegalArgumentException):
        admin.list_tables("(")
    assert admin.table_exists(b"t")
    assert not admin.table_exists("u")
    admin.alter_table(admin.describe_table("t").with_family(ColumnFamilyDescriptor(b"d")))
    assert admin.describe_table("t").family_names == (b"cf", b"d")
    admin.disable_table("t")
    assert not admin.is_table_enabled("t")
    admin.enable_table("t")
    admin.drop_table("copy")
    with pytest.raises(IllegalArgumentException):
        admin.create_table(TableDescriptor("u", [ColumnFamilyDescriptor(b"cf")]), splits=[b"a", b"a"])


def test_admin_maintenance(db: Connection, store: FakeBackend) -> None:
    admin = db.admin
    admin.flush("t")
    admin.compact("t")
    admin.major_compact(b"t")
    admin.truncate_table("t", preserve_splits=True)
    admin.split("t")
    admin.split("t", "k")
    admin.merge_regions("a" * 32, b"b" * 32)
    assert store.calls == [
        ("flush", "t"),
        ("compact", "t", False),
        ("compact", "t", True),
        ("truncate_table", "t", True),
        ("split", "t", None),
        ("split", "t", b"k"),
        ("merge_regions", "a" * 32, "b" * 32),
    ]


def test_admin_namespaces(db: Connection) -> None:
    admin = db.admin
    admin.create_namespace("ns")
    admin.alter_namespace(NamespaceDescriptor("ns", {"k": "v"}))
    assert admin.describe_namespace(b"ns").configuration == {"k": "v"}
    admin.create_namespace("other", {"a": "b"})
    assert admin.list_namespaces() == ["ns", "other"]
    admin.drop_namespace("ns")
    assert admin.list_namespaces() == ["other"]
    with pytest.raises(TypeError):
        admin.create_namespace(NamespaceDescriptor("x"), {"a": "b"})


def _child_sees(db: Connection, answers: Any) -> None:
    try:
        db.tables()
    except StoreClosedException as error:
        answers.put(str(error))
    else:
        answers.put("open")


def test_a_forked_child_has_no_connection(db: Connection, store: FakeBackend) -> None:
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_child_sees, args=(db, answers))
    child.start()
    assert "parent" in answers.get(timeout=30)
    child.join()
    assert db.tables() == []
    assert store.closed == 0


def test_locations(tmp_path: Path) -> None:
    assert local_path(tmp_path) == str(tmp_path)
    assert local_path("data") == os.path.join(os.getcwd(), "data")
    assert local_path(f"file://{tmp_path}") == str(tmp_path)
    assert local_path("file://localhost/a%20b") == "/a b"
    for bad in ("hbase://host:9090", "http://x", "s3://bucket/x", "file://host/x", ""):
        with pytest.raises(IllegalArgumentException):
            local_path(bad)
    with pytest.raises(TypeError):
        local_path(b"bytes")  # type: ignore[arg-type]


def test_connect_names_the_doors() -> None:
    with pytest.raises(IllegalArgumentException, match=r"\./data.*file://"):
        hyperbase.connect("hdfs://name/store")


def test_everything_exported_exists() -> None:
    for name in hyperbase.__all__:
        assert getattr(hyperbase, name) is not None
    assert set(hyperbase.__all__) <= set(dir(hyperbase))
    with pytest.raises(AttributeError):
        _ = hyperbase.nonsense
