"""Every public call, every argument, values that do not fit: an error by name, one line, nothing harmed.

A value that does not fit is an ``IllegalArgumentException`` or another of HBase's names; of the wrong type it
is a ``TypeError`` besides. What is never seen is an error out of the machinery: AssertionError,
AttributeError, KeyError, IndexError, OverflowError, UnicodeError, struct.error and the like.
"""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest

import hyperbase
from hyperbase import (
    Append,
    CheckAndMutate,
    ColumnFamilyDescriptor,
    Connection,
    Delete,
    Get,
    Increment,
    NamespaceDescriptor,
    Put,
    RowMutations,
    Scan,
    TableDescriptor,
    TimeRange,
    filters,
    happybase,
)
from hyperbase.common.config import StoreConfig
from hyperbase.common.descriptors import uniform_split_keys
from hyperbase.common.errors import HBaseIOException, IllegalArgumentException, WrongTypeException, shown
from tests.support.engine import memory_connection

NESTED: list[Any] = []
NESTED.append(NESTED)

BAD: list[Any] = [
    None,
    True,
    0,
    -1,
    5,
    2**31,
    2**63,
    2**70,
    -(2**70),
    10**5000,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "x",
    "f:q",
    "\ud800",
    "f:\ud800",
    b"",
    b"x",
    b":q",
    b"f:q",
    b"\xff\xfe",
    bytearray(b"f:q"),
    memoryview(b"f:q"),
    [],
    [None],
    [5],
    ["\ud800"],
    (5,),
    (-1, 5),
    (1.5, 2),
    (1, 2, 3),
    (None, None),
    ("a", "b"),
    {},
    {5: 5},
    {None: None},
    {"f:q": 5},
    {"f:q": None},
    {"f:q": 1.5},
    {"f:q": "\ud800"},
    {"f": None},
    {"f": 5},
    {"f": {"max_versions": "x"}},
    {"f": {5: 5}},
    {"f": []},
    {"\ud800": "x"},
    {b"\xff": {}},
    {"nope:q": b"v"},
    set(),
    NESTED,
    object(),
    object,
    len,
    iter(()),
    (item for item in (5,)),
    Get(b"r"),
    Scan(),
    Put(b"r"),
    TimeRange(),
    RowMutations(b"r"),
    CheckAndMutate(b"r"),
    pa.table({"row": [1.5], "f:q": [None]}),
]


def named(problem: BaseException) -> str:
    """Why this is no answer for a caller's mistake; empty when it is one."""
    if not isinstance(problem, (HBaseIOException, FileNotFoundError)):
        return f"{type(problem).__name__} is none of HBase's names"
    frame = traceback.extract_tb(problem.__traceback__)[-1]
    line = linecache.getline(frame.filename, frame.lineno or 0).strip()
    if "hyperbase" not in frame.filename and "regionserver" not in frame.filename:
        return f"raised outside: {frame.filename}:{frame.lineno}: {line}"
    text = str(problem)
    if not text or "\n" in text or len(text) > 1500:
        return f"not one clear line: {text[:300]!r}"
    return ""


def drain(value: object) -> None:
    """Generators check their arguments at the first ``next``."""
    if isinstance(value, Iterator):
        for _ in value:
            pass
    elif isinstance(value, pa.RecordBatchReader):
        value.read_all()


Call = Callable[..., object]
GOOD_PUT = Put(b"r").add(b"f:q", b"v")


def calls() -> dict[str, tuple[Call, dict[str, Any]]]:
    """``{name: (call on a connection, its arguments that are fine)}``."""
    column = {"column": b"f:q"}
    query = {
        "columns": [b"f:q"],
        "versions": 1,
        "time_range": (0, 5),
        "filter": "PrefixFilter('r')",
        "store_limit": 1,
        "store_offset": 0,
        "family_time_ranges": {"f": (0, 5)},
    }
    happy = {"columns": [b"f:q"], "timestamp": 5, "include_timestamp": True, "versions": 1}
    bounds = {"start": b"a", "stop": b"z", "prefix": b"r", "limit": 1, "batch": 1, "max_result_bytes": 100}
    stamped = {"row": b"r", "timestamp": 5, "ttl_ms": 5, "durability": 1}
    table: dict[str, tuple[Call, dict[str, Any]]] = {
        "table": (lambda db, **k: db.table(**k).row(b"r"), {"name": "t", "use_prefix": True}),
        "families": (lambda db, **k: db.table(**k).families(), {"name": "t"}),
        "regions": (lambda db, **k: db.table(**k).regions(), {"name": "t"}),
        "row": (lambda db, **k: db.table("t").row(**k), {"row": b"r", **happy}),
        "rows": (lambda db, **k: db.table("t").rows(**k), {"rows": [b"r"], **happy}),
        "cells": (
            lambda db, **k: db.table("t").cells(**k),
            {"row": b"r", **column, "versions": 1, "timestamp": 5, "include_timestamp": True},
        ),
        "scan": (
            lambda db, **k: db.table("t").scan(**k),
            {
                "row_start": b"a",
                "row_stop": b"z",
                "filter": "PrefixFilter('r')",
                "batch_size": 10,
                "scan_batching": 1,
                "limit": 1,
                "sorted_columns": True,
                "reverse": False,
                **happy,
            },
        ),
        "scan prefix": (lambda db, **k: db.table("t").scan(**k), {"row_prefix": b"r"}),
        "put": (
            lambda db, **k: db.table("t").put(**k),
            {"row": b"r", "data": {b"f:q": b"v"}, "timestamp": 5, "wal": True},
        ),
        "delete": (
            lambda db, **k: db.table("t").delete(**k),
            {"row": b"r", "columns": [b"f:q"], "timestamp": 5, "wal": True},
        ),
        "batch": (
            lambda db, **k: db.table("t").batch(**k).put(b"r", {b"f:q": b"v"}),
            {"timestamp": 5, "batch_size": 5, "wal": True},
        ),
        "batch transaction": (lambda db, **k: db.table("t").batch(**k), {"transaction": True}),
        "batch.put": (
            lambda db, **k: sent(db, "put", **k),
            {"row": b"r", "data": {b"f:q": b"v"}, "wal": True},
        ),
        "batch.delete": (
            lambda db, **k: sent(db, "delete", **k),
            {"row": b"r", "columns": [b"f:q"], "wal": True},
        ),
        "counter_get": (lambda db, **k: db.table("t").counter_get(**k), {"row": b"n", **column}),
        "counter_set": (lambda db, **k: db.table("t").counter_set(**k), {"row": b"n", **column, "value": 1}),
        "counter_inc": (lambda db, **k: db.table("t").counter_inc(**k), {"row": b"n", **column, "value": 1}),
        "counter_dec": (lambda db, **k: db.table("t").counter_dec(**k), {"row": b"n", **column, "value": 1}),
        "get": (lambda db, **k: db.table("t").get(**k), {"get": Get(b"r")}),
        "get_many": (lambda db, **k: db.table("t").get_many(**k), {"gets": [Get(b"r")]}),
        "scan_results": (lambda db, **k: db.table("t").scan_results(**k), {"scan": Scan()}),
        "exists": (lambda db, **k: db.table("t").exists(**k), {"row": b"r"}),
        "increment": (lambda db, **k: db.table("t").increment(**k), {"row": b"n", "amounts": {b"f:n": 1}}),
        "append": (lambda db, **k: db.table("t").append(**k), {"row": b"n", "values": {b"f:s": b"x"}}),
        "mutate_row": (
            lambda db, **k: db.table("t").mutate_row(**k),
            {"mutations": RowMutations(b"r", [GOOD_PUT])},
        ),
        "run_batch": (lambda db, **k: db.table("t").run_batch(**k), {"actions": [GOOD_PUT]}),
        "check_and_mutate": (
            lambda db, **k: db.table("t").check_and_mutate(**k),
            {"check": CheckAndMutate(b"r").if_not_exists(b"f:q").then(GOOD_PUT)},
        ),
        "scan_arrow": (
            lambda db, **k: db.table("t").scan_arrow(**k),
            {
                "start": b"a",
                "stop": b"z",
                "layout": "wide",
                "types": {b"f:q": "string"},
                "limit": 1,
                "batch": 1,
                "timestamp": 5,
                "columns": [b"f:q"],
                "filter": "PrefixFilter('r')",
                "versions": 1,
                "reverse": False,
                "raw": False,
            },
        ),
        "scan_arrow time_range": (
            lambda db, **k: db.table("t").scan_arrow(**k),
            {"layout": "cells", "time_range": (0, 5)},
        ),
        "to_pandas": (lambda db, **k: db.table("t").to_pandas(**k), {"start": b"a", "stop": b"z"}),
        "to_polars": (lambda db, **k: db.table("t").to_polars(**k), {"start": b"a", "stop": b"z"}),
        "put_arrow": (
            lambda db, **k: db.table("t").put_arrow(**k),
            {"data": pa.table({"row": ["a"], "q": ["v"]}), "row_key": "row", "timestamp": 5, "family": "f"},
        ),
    }
    objects: dict[str, tuple[Call, dict[str, Any]]] = {
        "Put": (lambda db, **k: db.table("t").put(Put(**k).add(b"f:q", b"v")), stamped),
        "Put.add": (
            lambda db, **k: db.table("t").put(Put(b"r").add(**k)),
            {**column, "value": b"v", "timestamp": 5},
        ),
        "Delete": (
            lambda db, **k: db.table("t").delete(Delete(**k)),
            {"row": b"r", "timestamp": 5, "durability": 1},
        ),
        "Delete.add_column": (
            lambda db, **k: db.table("t").delete(Delete(b"r").add_column(**k)),
            {**column, "timestamp": 5},
        ),
        "Delete.add_columns": (
            lambda db, **k: db.table("t").delete(Delete(b"r").add_columns(**k)),
            {**column, "timestamp": 5},
        ),
        "Delete.add_family": (
            lambda db, **k: db.table("t").delete(Delete(b"r").add_family(**k)),
            {"family": b"f", "timestamp": 5},
        ),
        "Delete.add_family_version": (
            lambda db, **k: db.table("t").delete(Delete(b"r").add_family_version(**k)),
            {"family": b"f", "timestamp": 5},
        ),
        "Increment": (
            lambda db, **k: db.table("t").increment(Increment(**k)),
            {"row": b"n", "amounts": {b"f:n": 1}, "time_range": (0, 5), "ttl_ms": 5, "durability": 1},
        ),
        "Increment.add": (
            lambda db, **k: db.table("t").increment(Increment(b"n").add(**k)),
            {"column": b"f:n", "amount": 1},
        ),
        "Append": (
            lambda db, **k: db.table("t").append(Append(**k)),
            {
                "row": b"n",
                "values": {b"f:s": b"x"},
                "time_range": (0, 5),
                "ttl_ms": 5,
                "durability": 1,
                "return_results": True,
            },
        ),
        "Append.add": (
            lambda db, **k: db.table("t").append(Append(b"n").add(**k)),
            {"column": b"f:s", "value": b"x"},
        ),
        "RowMutations": (
            lambda db, **k: db.table("t").mutate_row(RowMutations(**k)),
            {"row": b"r", "mutations": [GOOD_PUT]},
        ),
        "RowMutations.add": (
            lambda db, **k: db.table("t").mutate_row(RowMutations(b"r").add(**k)),
            {"mutation": GOOD_PUT},
        ),
        "Get": (lambda db, **k: db.table("t").get(Get(**k)), {"row": b"r", **query}),
        "Get timestamp": (lambda db, **k: db.table("t").get(Get(b"r", **k)), {"timestamp": 5}),
        "Scan": (
            lambda db, **k: db.table("t").scan_results(Scan(**k)),
            {**query, **bounds, "start_inclusive": True, "stop_inclusive": True, "reverse": False},
        ),
        "Scan raw": (lambda db, **k: db.table("t").scan_results(Scan(raw=True, **k)), {"columns": [b"f"]}),
        "CheckAndMutate": (
            lambda db, **k: db.table("t").check_and_mutate(
                CheckAndMutate(**k).if_not_exists(b"f:q").then(Put(b"r").add(b"f:q", b"v"))
            ),
            {"row": b"r"},
        ),
        "if_equals": (lambda db, **k: checked(db, "if_equals", **k), {**column, "value": b"v"}),
        "if_not_exists": (lambda db, **k: checked(db, "if_not_exists", **k), column),
        "if_matches": (lambda db, **k: checked(db, "if_matches", **k), {**column, "op": "<", "value": b"v"}),
        "if_filter": (lambda db, **k: checked(db, "if_filter", **k), {"filter": "PrefixFilter('r')"}),
        "CheckAndMutate.time_range": (
            lambda db, **k: db.table("t").check_and_mutate(
                CheckAndMutate(b"r").if_not_exists(b"f:q").time_range(**k).then(GOOD_PUT)
            ),
            {"min_timestamp": 0, "max_timestamp": 5},
        ),
        "then": (
            lambda db, **k: db.table("t").check_and_mutate(
                CheckAndMutate(b"r").if_not_exists(b"f:q").then(**k)
            ),
            {"action": GOOD_PUT},
        ),
        "TimeRange": (lambda db, **k: TimeRange(**k), {"min_timestamp": 0, "max_timestamp": 5}),
        "Result.value": (lambda db, **k: db.table("t").get(Get(b"r")).value(**k), column),
    }
    family = {
        "max_versions": 1,
        "min_versions": 0,
        "time_to_live": 5,
        "compression": "LZ4",
        "block_size": 1024,
    }
    schema: dict[str, tuple[Call, dict[str, Any]]] = {
        "tables": (lambda db: db.tables(), {}),
        "create_table": (
            lambda db, **k: created(db, db.create_table, **k),
            {"name": "n", "families": {"f": {}}, "splits": [b"m"]},
        ),
        "delete_table": (lambda db, **k: db.delete_table(**k), {"name": "nope", "disable": True}),
        "Connection.enable_table": (lambda db, **k: db.enable_table(**k), {"name": "nope"}),
        "Connection.disable_table": (lambda db, **k: db.disable_table(**k), {"name": "nope"}),
        "Connection.is_table_enabled": (lambda db, **k: db.is_table_enabled(**k), {"name": "t"}),
        "compact_table": (lambda db, **k: db.compact_table(**k), {"name": "t", "major": False}),
        "admin.create_table": (
            lambda db, **k: created(db, db.admin.create_table, **k),
            {"descriptor": TableDescriptor("n", [ColumnFamilyDescriptor("f")]), "splits": [b"m"]},
        ),
        "alter_table": (
            lambda db, **k: db.admin.alter_table(**k),
            {"descriptor": TableDescriptor("t", [ColumnFamilyDescriptor("f", max_versions=5)])},
        ),
        "list_tables": (lambda db, **k: db.admin.list_tables(**k), {"regex": "t.*"}),
        "clone_table_schema": (
            lambda db, **k: db.admin.clone_table_schema(**k),
            {"source": "nope", "target": "n", "preserve_splits": True},
        ),
        "truncate_table": (
            lambda db, **k: db.admin.truncate_table(**k),
            {"name": "nope", "preserve_splits": True},
        ),
        "split": (lambda db, **k: db.admin.split(**k), {"table_or_region": "nope", "key": b"m"}),
        "split key": (lambda db, key: db.admin.split("t", key) if key is not None else None, {"key": b"m"}),
        "merge_regions": (lambda db, **k: db.admin.merge_regions(**k), {"first": "nope", "second": "nope"}),
        "create_namespace": (
            lambda db, **k: db.admin.create_namespace(**k),
            {"namespace": "default", "configuration": {"a": "b"}},
        ),
        "alter_namespace": (
            lambda db, **k: db.admin.alter_namespace(**k),
            {"namespace": "default", "configuration": {"a": "b"}},
        ),
        "NamespaceDescriptor": (lambda db, **k: NamespaceDescriptor(**k), {"name": "x", "configuration": {}}),
        "ColumnFamilyDescriptor": (
            lambda db, **k: ColumnFamilyDescriptor(**k),
            {
                "name": "f",
                **family,
                "bloom_filter_type": "ROW",
                "in_memory": True,
                "block_cache_enabled": True,
                "keep_deleted_cells": "TTL",
                "replication_scope": 0,
                "new_version_behavior": True,
                "data_block_encoding": "NONE",
                "attributes": {},
                "configuration": {},
            },
        ),
        "from_options": (
            lambda db, **k: ColumnFamilyDescriptor.from_options(**k),
            {"name": "f", "options": {"max_versions": 5}, "default_max_versions": 1},
        ),
        "with_options": (
            lambda db, **k: ColumnFamilyDescriptor("f").with_options(**k),
            {"options": {"ttl": 5}},
        ),
        "TableDescriptor": (
            lambda db, **k: TableDescriptor(**k),
            {
                "name": "n",
                "families": [ColumnFamilyDescriptor("f")],
                "max_file_size": 10**8,
                "memstore_flush_size": 10**8,
                "read_only": False,
                "durability": 1,
                "attributes": {},
                "configuration": {},
            },
        ),
        "TableDescriptor.with_options": (
            lambda db, **k: TableDescriptor("n").with_options(**k),
            {"options": {"max_filesize": 10**8}},
        ),
        "with_family": (
            lambda db, **k: TableDescriptor("n").with_family(**k),
            {"family": ColumnFamilyDescriptor("f")},
        ),
        "without_family": (lambda db, **k: TableDescriptor("n").without_family(**k), {"name": b"f"}),
        "TableDescriptor.family": (lambda db, **k: TableDescriptor("n").family(**k), {"name": b"f"}),
        "uniform_split_keys": (
            lambda db, **k: uniform_split_keys(**k),
            {"start": b"a", "end": b"z", "region_count": 5},
        ),
    }
    for name in ("describe_namespace", "drop_namespace"):
        schema[name] = (lambda db, call=name, **k: getattr(db.admin, call)(**k), {"name": "nope"})
    for name in (
        "describe_table",
        "table_exists",
        "enable_table",
        "disable_table",
        "is_table_enabled",
        "drop_table",
        "regions",
        "region_locations",
        "compaction_state",
        "clear_block_cache",
    ):
        schema[f"admin.{name}"] = (lambda db, call=name, **k: getattr(db.admin, call)(**k), {"name": "nope"})
    for name in ("flush", "compact", "major_compact"):
        schema[f"admin.{name}"] = (
            lambda db, call=name, **k: getattr(db.admin, call)(**k),
            {"table_or_region": "nope"},
        )
    schema["admin.switch"] = (lambda db, **k: db.admin.switch(**k), {"name": "split", "on": None})
    compared = {"op": "<", "comparator": filters.BinaryComparator(b"v")}
    in_column = {"family": b"f", "qualifier": b"q", **compared}
    made: dict[str, dict[str, Any]] = {
        "BinaryComparator": {"value": b"v"},
        "BinaryPrefixComparator": {"value": b"v"},
        "BinaryComponentComparator": {"value": b"v", "offset": 1},
        "SubstringComparator": {"value": b"v"},
        "RegexStringComparator": {"value": "v", "flags": 0, "charset": "UTF-8"},
        "BitComparator": {"value": b"v", "op": "AND"},
        "LongComparator": {"value": 5},
        "BigDecimalComparator": {"value": 5},
        "KeyOnlyFilter": {"length_as_value": True},
        "FirstKeyValueMatchingQualifiersFilter": {"qualifiers": [b"q"]},
        "ColumnPrefixFilter": {"prefix": b"q"},
        "MultipleColumnPrefixFilter": {"prefixes": [b"q"]},
        "ColumnRangeFilter": {
            "min_column": b"a",
            "min_column_inclusive": True,
            "max_column": b"z",
            "max_column_inclusive": True,
        },
        "ColumnCountGetFilter": {"limit": 1},
        "ColumnPaginationFilter": {"limit": 1, "offset": 1},
        "TimestampsFilter": {"timestamps": [1], "can_hint": True},
        "RowFilter": compared,
        "FamilyFilter": compared,
        "QualifierFilter": compared,
        "ValueFilter": compared,
        "SingleColumnValueFilter": {**in_column, "filter_if_missing": True, "latest_version_only": True},
        "SingleColumnValueExcludeFilter": {
            **in_column,
            "filter_if_missing": True,
            "latest_version_only": True,
        },
        "ColumnValueFilter": in_column,
        "DependentColumnFilter": {
            "family": b"f",
            "qualifier": b"q",
            "drop_dependent_column": True,
            **compared,
        },
        "PrefixFilter": {"prefix": b"r"},
        "InclusiveStopFilter": {"stop_row": b"r"},
        "PageFilter": {"page_size": 1},
        "RandomRowFilter": {"chance": 0.5},
        "FuzzyRowFilter": {"fuzzy_keys": [(b"r", b"\x00")]},
        "MultiRowRangeFilter": {"ranges": [(b"a", b"z")]},
        "SkipFilter": {"filter": filters.PageFilter(1)},
        "WhileMatchFilter": {"filter": filters.PageFilter(1)},
    }
    for name, given in made.items():
        schema[name] = (lambda db, kind=name, **k: filtered(db, getattr(filters, kind)(**k)), given)
    schema["FilterList"] = (
        lambda db, one, operator: filtered(db, filters.FilterList(one, operator=operator)),
        {"one": filters.PageFilter(1), "operator": "MUST_PASS_ONE"},
    )
    schema["parse_filter"] = (lambda db, **k: filters.parse_filter(**k), {"text": "PageFilter(1)"})
    return {**table, **objects, **schema}


def sent(db: Connection, verb: str, **arguments: Any) -> None:
    batch = db.table("t").batch()
    getattr(batch, verb)(**arguments)
    batch.send()


def checked(db: Connection, condition: str, **arguments: Any) -> object:
    check = getattr(CheckAndMutate(b"r"), condition)(**arguments)
    return db.table("t").check_and_mutate(check.then(GOOD_PUT))


def created(db: Connection, call: Call, **arguments: Any) -> None:
    before = set(db.tables())
    call(**arguments)
    for name in set(db.tables()) - before:
        db.delete_table(name, disable=True)


def filtered(db: Connection, filter: Any) -> object:
    if not isinstance(filter, filters.Filter):
        filter = filters.ValueFilter("=", filter)
    return db.table("t").scan_results(Scan(filter=filter))


@pytest.fixture(scope="module")
def db() -> Iterator[Connection]:
    connection = memory_connection()
    connection.create_table("t", {"f": {"max_versions": 3}, "g": {"time_to_live": 1000}}, splits=[b"n"])
    table = connection.table("t")
    for row in (b"a", b"r", b"z"):
        table.put(row, {b"f:q": b"v", b"f:p": b"v", b"g:q": b"v"})
    connection.admin.flush("t")
    table.put(b"r", {b"f:q": b"w"})
    yield connection
    connection.close()


CALLS = calls()


@pytest.mark.parametrize("name", CALLS)
def test_what_does_not_fit_is_refused_by_name(db: Connection, name: str) -> None:
    call, given = CALLS[name]
    wrong: list[str] = []
    for argument in [None, *given]:
        for bad in BAD if argument is not None else [None]:
            arguments = dict(given) if argument is None else {**given, argument: bad}
            try:
                drain(call(db, **arguments))
            except Exception as problem:
                why = named(problem)
                if why:
                    wrong.append(f"{argument}={shown(bad)[:60]}: {why}: {str(problem)[:200]}")
    assert not wrong, f"{len(wrong)} of {name}:\n" + "\n".join(wrong)
    assert db.table("t").exists(b"z"), "something that was refused did harm"


CONNECT: dict[str, dict[str, Any]] = {
    "connect": {
        "path": "s",
        "read_only": False,
        "memstore_limit_bytes": 2**26,
        "memstore_flush_size_bytes": 2**20,
        "block_cache_bytes": 0,
        "table_prefix": "p",
        "table_prefix_separator": "_",
    },
    **{
        f"connect {name}": {name: getattr(StoreConfig(), name)}
        for name in ("wal_segment_bytes", "compaction_ratio", "max_key_value_bytes")
    },
    "happybase": {
        "store": "s",
        "host": "localhost",
        "port": 9090,
        "timeout": 5,
        "autoconnect": True,
        "table_prefix": "p",
        "table_prefix_separator": "_",
        "compat": "0.98",
        "transport": "buffered",
        "protocol": "binary",
    },
    "pool": {"size": 1, "store": "s"},
}


@pytest.mark.parametrize("name", CONNECT)
def test_what_does_not_fit_opens_no_store(tmp_path: Any, monkeypatch: Any, name: str) -> None:
    monkeypatch.chdir(tmp_path)  # a few of these are names of directories
    given = CONNECT[name]
    wrong: list[str] = []
    for argument in given:
        for bad in BAD:
            arguments = {**given, argument: bad}
            try:
                if name == "happybase":
                    happybase.Connection(**arguments).close()
                elif name == "pool":
                    if bad in (2**31, 2**63, 2**70, 10**5000):
                        continue  # a pool that large has no room in memory
                    happybase.ConnectionPool(**arguments)
                else:
                    hyperbase.connect(**{"path": "s", **arguments}).close()
            except Exception as problem:
                why = named(problem)
                if why:
                    wrong.append(f"{argument}={shown(bad)[:60]}: {why}: {str(problem)[:200]}")
    assert not wrong, f"{len(wrong)} of {name}:\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    "call",
    [
        lambda db: Put(b"r", durability=99),  # type: ignore[arg-type]
        lambda db: Get(b"r", time_range=(5,)),  # type: ignore[arg-type]
        lambda db: db.admin.create_table(None),
        lambda db: Scan(family_time_ranges={"f": None}),  # type: ignore[dict-item]
        lambda db: db.table("t").put("\ud800", {"f:q": b"v"}),
        lambda db: db.table("t").run_batch(5),
    ],
)
def test_no_value_falls_through_to_an_error_of_python(db: Connection, call: Call) -> None:
    with pytest.raises(IllegalArgumentException):
        call(db)


def test_a_wrong_type_is_a_type_error_too(db: Connection) -> None:
    with pytest.raises(TypeError, match=r"^row must be bytes or str, not int: 5$"):
        db.table("t").row(5)  # type: ignore[arg-type]
    with pytest.raises(WrongTypeException, match=r"^a time range is a TimeRange or a pair \(min, max\)"):
        Get(b"r", time_range=5)  # type: ignore[arg-type]
