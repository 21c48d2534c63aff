"""What the catalogue allows and refuses: names, namespaces, tables, families, regions; HBase's errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hyperbase import (
    ColumnFamilyDescriptor,
    Connection,
    Delete,
    NamespaceDescriptor,
    Put,
    Scan,
    TableDescriptor,
)
from hyperbase.common.errors import (
    ConstraintException,
    DoNotRetryIOException,
    HBaseIOException,
    IllegalArgumentException,
    InvalidFamilyOperationException,
    MergeRegionException,
    NamespaceExistException,
    NamespaceNotFoundException,
    NoSuchColumnFamilyException,
    StoreClosedException,
    TableExistsException,
    TableNotDisabledException,
    TableNotEnabledException,
    TableNotFoundException,
    UnknownRegionException,
)
from tests.support.engine import Bench, memory_connection

Q = b"f:q"


def one_family(name: str) -> TableDescriptor:
    return TableDescriptor(name, [ColumnFamilyDescriptor("f")])


def starts(bench: Bench) -> list[bytes]:
    return [info.start_key for info in bench.connection.admin.regions(bench.name)]


# -- names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (".t", "Illegal first character <46> at 0. User-space table qualifiers can only start with"),
        ("-t", "Illegal first character <45> at 0"),
        ("t t", "Illegal character code:32, < > at 1. User-space table qualifiers may only contain"),
        ("a/b", "Illegal character code:47"),
        ("n-s:t", "Illegal character <-> at 1. Namespaces may only contain"),
        ("ns:", "Table qualifier must not be empty"),
        ("", "Table qualifier must not be empty"),
        (":t", "Namespace name must not be empty"),
        ("a:b:c", "Illegal character code:58"),
    ],
)
def test_illegal_table_names(connection: Connection, name: str, message: str) -> None:
    for call in (
        lambda: connection.admin.create_table(one_family(name)),
        lambda: connection.admin.table_exists(name),
        lambda: connection.table(name).row(b"r"),
    ):
        with pytest.raises(IllegalArgumentException, match=message):
            call()


@pytest.mark.parametrize("name", ["_t", "1", "été", "a.b-c_d", "default:plain"])
def test_legal_table_names(connection: Connection, name: str) -> None:
    admin = connection.admin
    admin.create_table(one_family(name))
    assert admin.table_exists(name)
    assert name.removeprefix("default:") in admin.list_tables()
    connection.table(name).put(b"r", {Q: b"v"})
    connection.close()
    connection.open()
    assert connection.table(name).row(b"r") == {Q: b"v"}


@pytest.mark.parametrize("name", ["", ".f", "a:b", "a/b", "a\\b", "a\x00", "a\tb", "\x7f", "recovered.edits"])
def test_illegal_family_names(name: str) -> None:
    with pytest.raises(IllegalArgumentException, match="Column Family name"):
        ColumnFamilyDescriptor(name)


def test_family_names_may_be_odd_and_have_up_to_127_bytes(connection: Connection) -> None:
    names = ["-f", "with space", "é", "x" * 127, "%2F", "f.", "F", "f"]
    bench = Bench(connection, *names)
    data = {name.encode() + b":q": name.encode() for name in names}
    bench.table.put(b"r", data)
    for state in bench.states():
        assert bench.table.row(b"r") == data, state
    with pytest.raises(IllegalArgumentException, match="The length of family name is bigger than 127"):
        Bench(connection, "x" * 128)


# -- namespaces ------------------------------------------------------------------------------------------


def test_namespaces(connection: Connection) -> None:
    admin = connection.admin
    admin.create_namespace("ns1", {"k": "v"})
    assert {"default", "hbase", "ns1"} <= set(admin.list_namespaces())
    with pytest.raises(NamespaceExistException):
        admin.create_namespace("ns1")
    with pytest.raises(NamespaceExistException):
        admin.create_namespace("default")
    with pytest.raises(NamespaceNotFoundException):
        admin.create_table(one_family("nope:t"))
    with pytest.raises(NamespaceNotFoundException):
        admin.drop_namespace("nope")
    with pytest.raises(NamespaceNotFoundException):
        admin.alter_namespace("nope")
    for reserved in ("default", "hbase"):
        with pytest.raises(ConstraintException, match=f"Reserved namespace {reserved} cannot be removed."):
            admin.drop_namespace(reserved)
    with pytest.raises(IllegalArgumentException, match="Namespaces may only contain"):
        admin.create_namespace("a-b")

    admin.create_table(one_family("ns1:t"))
    with pytest.raises(
        ConstraintException, match=r"Only empty namespaces can be removed. Namespace ns1 has 1 tables"
    ):
        admin.drop_namespace("ns1")
    admin.alter_namespace(NamespaceDescriptor("ns1", {"k": "w"}))
    connection.close()
    connection.open()
    assert connection.admin.describe_namespace("ns1").configuration == {"k": "w"}
    assert "ns1:t" in connection.admin.list_tables()
    connection.delete_table("ns1:t", disable=True)
    connection.admin.drop_namespace("ns1")
    assert "ns1" not in connection.admin.list_namespaces()


def test_tables_of_one_name_in_two_namespaces_are_two_tables(connection: Connection) -> None:
    admin = connection.admin
    admin.create_namespace("ns2")
    admin.create_table(one_family("twin"))
    admin.create_table(one_family("ns2:twin"))
    connection.table("ns2:twin").put(b"r", {Q: b"v"})
    assert connection.table("twin").row(b"r") == {}
    assert connection.table("default:twin").name == b"default:twin"
    assert connection.table("ns2:twin").row(b"r") == {Q: b"v"}


# -- tables ----------------------------------------------------------------------------------------------


def test_create_refuses_what_exists_and_what_has_no_family(bench: Bench) -> None:
    admin = bench.connection.admin
    with pytest.raises(TableExistsException, match=bench.name):
        admin.create_table(one_family(bench.name))
    with pytest.raises(DoNotRetryIOException, match="Table should have at least one column family"):
        admin.create_table(TableDescriptor(bench.name + "x", []))
    with pytest.raises(IllegalArgumentException, match="Maximum versions must be positive"):
        ColumnFamilyDescriptor("f", max_versions=0)
    assert not admin.table_exists(bench.name + "x")


def _table_calls(connection: Connection, name: str) -> dict[str, Callable[[], Any]]:
    admin, table = connection.admin, connection.table(name)
    return {
        "row": lambda: table.row(b"r"),
        "rows": lambda: table.rows([b"r"]),
        "scan": lambda: list(table.scan()),
        "put": lambda: table.put(b"r", {Q: b""}),
        "put object": lambda: table.put(Put(b"r").add(Q, b"")),
        "delete": lambda: table.delete(b"r"),
        "increment": lambda: table.counter_inc(b"r", Q),
        "append": lambda: table.append(b"r", {Q: b""}),
        "batch": lambda: table.run_batch([Put(b"r").add(Q, b""), Delete(b"r").add_column(Q)]),
        "flush": lambda: admin.flush(name),
        "split": lambda: admin.split(name, b"m"),
        "disable": lambda: admin.disable_table(name),
    }


@pytest.mark.parametrize("call", list(_table_calls(memory_connection(), "t")))
def test_an_unknown_table_is_not_found(connection: Connection, call: str) -> None:
    with pytest.raises(TableNotFoundException, match="nope"):
        _table_calls(connection, "nope")[call]()


@pytest.mark.parametrize("call", list(_table_calls(memory_connection(), "t")))
def test_a_disabled_table_is_not_enabled(connection: Connection, call: str) -> None:
    bench = Bench(connection)
    connection.admin.disable_table(bench.name)
    with pytest.raises(TableNotEnabledException, match=f"{bench.name} is disabled."):
        _table_calls(connection, bench.name)[call]()


def test_other_calls_on_an_unknown_table(connection: Connection) -> None:
    admin = connection.admin
    for call in (
        admin.describe_table,
        admin.enable_table,
        admin.is_table_enabled,
        admin.drop_table,
        admin.truncate_table,
        admin.regions,
    ):
        with pytest.raises(TableNotFoundException):
            call("nope")
    with pytest.raises(TableNotFoundException):
        admin.alter_table(one_family("nope"))
    assert not admin.table_exists("nope")
    assert connection.table("nope").regions() == []


def test_enable_drop_and_truncate_want_a_disabled_table(bench: Bench) -> None:
    admin, name = bench.connection.admin, bench.name
    with pytest.raises(TableNotDisabledException, match=f"tableName={name}, state=ENABLED"):
        admin.enable_table(name)
    for call in (admin.drop_table, admin.truncate_table):
        with pytest.raises(TableNotDisabledException, match=f"Not DISABLED; tableName={name}, state=ENABLED"):
            call(name)
    assert admin.is_table_enabled(name)


def test_disabling_keeps_the_data_also_over_a_restart(bench: Bench) -> None:
    bench.table.put(b"r", {Q: b"v"})
    bench.connection.admin.disable_table(bench.name)
    bench.reopen()
    assert not bench.connection.admin.is_table_enabled(bench.name)
    with pytest.raises(TableNotEnabledException):
        bench.table.row(b"r")
    bench.connection.admin.enable_table(bench.name)
    assert bench.table.row(b"r") == {Q: b"v"}


def test_a_scan_fails_when_its_table_is_disabled_under_it(bench: Bench) -> None:
    with bench.table.batch(wal=False) as batch:
        for number in range(20_000):  # more than are on their way to a client at a time
            batch.put(b"%05d" % number, {Q: b""})
    scan = bench.table.scan()
    next(scan)
    bench.connection.admin.disable_table(bench.name)
    with pytest.raises(TableNotEnabledException):
        list(scan)


@pytest.mark.parametrize("preserve", [False, True])
def test_truncate_empties_and_enables(connection: Connection, preserve: bool) -> None:
    bench = Bench(connection, splits=[b"m"])
    bench.table.put(b"a", {Q: b"v"})
    bench.flush()
    bench.table.put(b"z", {Q: b"v"})
    connection.admin.disable_table(bench.name)
    connection.admin.truncate_table(bench.name, preserve_splits=preserve)

    for state in bench.states():
        assert bench.rows() == [], state
    assert starts(bench) == ([b"", b"m"] if preserve else [b""])


def test_drop_forgets_everything_and_the_name_is_free(bench: Bench) -> None:
    bench.table.put(b"r", {Q: b"v"})
    connection = bench.connection
    connection.delete_table(bench.name, disable=True)
    assert not connection.admin.table_exists(bench.name)
    connection.admin.create_table(one_family(bench.name))
    for state in bench.states():
        assert bench.rows() == [], state


# -- alter -----------------------------------------------------------------------------------------------


def test_alter_adds_changes_and_drops_families(connection: Connection) -> None:
    bench = Bench(connection, "f", max_versions=3)
    admin = connection.admin
    for stamp in (1, 2, 3):
        bench.table.put(b"r", {Q: b"%d" % stamp}, timestamp=stamp)
    descriptor = admin.describe_table(bench.name)
    admin.alter_table(descriptor.with_family(ColumnFamilyDescriptor("g")))
    bench.table.put(b"r", {b"g:q": b"new"})
    bench.alter("f", max_versions=2)

    for state in bench.states():
        assert [stamp for stamp, _ in bench.versions(b"r")] == [3, 2], state
        assert bench.table.row(b"r", [b"g"]) == {b"g:q": b"new"}, state

    admin.alter_table(admin.describe_table(bench.name).without_family(b"g"))
    with pytest.raises(NoSuchColumnFamilyException):
        bench.table.row(b"r", [b"g"])
    admin.alter_table(admin.describe_table(bench.name).with_family(ColumnFamilyDescriptor("g")))
    for state in bench.states():
        assert bench.table.row(b"r") == {Q: b"3"}, state  # a dropped family does not come back


def test_family_changes_that_are_refused(bench: Bench) -> None:
    descriptor = bench.connection.admin.describe_table(bench.name)
    for call, message in (
        (
            lambda: descriptor.with_family(ColumnFamilyDescriptor("f")),
            f"Column family 'f' in table '{bench.name}' already exists so cannot be added",
        ),
        (lambda: descriptor.without_family(b"x"), "Family 'x' does not exist, so it cannot be deleted"),
        (
            lambda: descriptor.with_family(ColumnFamilyDescriptor("x"), modify=True),
            "Family 'x' does not exist, so it cannot be modified",
        ),
        (
            lambda: descriptor.without_family(b"f"),
            "Family 'f' is the only column family in the table, so it cannot be deleted",
        ),
    ):
        with pytest.raises(InvalidFamilyOperationException, match=message):
            call()


# -- regions ---------------------------------------------------------------------------------------------


def test_a_split_keeps_every_cell_and_marker(connection: Connection) -> None:
    bench = Bench(connection, max_versions=3)
    rows = [b"%03d" % number for number in range(100)]
    for row in rows:
        bench.table.put(row, {Q: b"old"}, timestamp=5)
    bench.flush()
    bench.table.delete(Delete(b"050").add_columns(Q, 5))
    bench.flush()
    bench.table.put(b"050", {Q: b"masked"}, timestamp=4)
    connection.admin.split(bench.name, b"050")
    assert starts(bench) == [b"", b"050"]
    left = [row for row in rows if row != b"050"]

    for state in bench.states():
        assert bench.rows() == left, state
        assert bench.rows(reverse=True) == left[::-1], state
        assert bench.rows(start=b"048", limit=3) == [b"048", b"049", b"051"], state
    connection.admin.split(bench.name)  # every region in its middle
    assert len(starts(bench)) == 4
    assert bench.rows() == left


def test_merge_joins_neighbours_and_refuses_others(connection: Connection) -> None:
    bench = Bench(connection, splits=[b"b", b"c"])
    admin = connection.admin
    for row in (b"a", b"b", b"c"):
        bench.table.put(row, {Q: row})
    first, second, third = [info.encoded_name for info in admin.regions(bench.name)]
    with pytest.raises(MergeRegionException, match="Unable to merge non-adjacent or non-overlapping regions"):
        admin.merge_regions(first, third)
    with pytest.raises(MergeRegionException, match="Duplicate regions specified"):
        admin.merge_regions(first, first)
    with pytest.raises(UnknownRegionException):
        admin.merge_regions(first, "0" * 32)

    admin.merge_regions(second, first)
    assert starts(bench) == [b"", b"c"]
    for state in bench.states():
        assert bench.rows() == [b"a", b"b", b"c"], state
    with pytest.raises(UnknownRegionException):
        admin.merge_regions(first, second)


def test_daughters_can_be_merged_at_once_and_split_again(connection: Connection) -> None:
    bench = Bench(connection)
    admin = connection.admin
    rows = [b"%02d" % number for number in range(40)]
    for row in rows:
        bench.table.put(row, {Q: row})
    for key in (b"20", b"10", b"30"):
        admin.split(bench.name, key)
        low, high = [info.encoded_name for info in admin.regions(bench.name)]
        admin.merge_regions(low, high)
    assert starts(bench) == [b""]
    for state in bench.states():
        assert bench.rows() == rows, state


def test_a_scan_goes_on_while_its_regions_split_and_merge(connection: Connection) -> None:
    bench = Bench(connection)
    rows = [b"%05d" % number for number in range(3000)]
    for row in rows:
        bench.table.put(row, {Q: b"x" * 100}, wal=False)
    for reverse in (False, True):
        found: list[bytes] = []
        changes = 0
        for result in bench.table.scan_results(Scan(reverse=reverse, max_result_bytes=40_000)):
            found.append(result.row)
            if len(found) in (400, 1200, 2000):
                regions = connection.admin.regions(bench.name)
                if len(regions) == 1:
                    connection.admin.split(bench.name, b"%05d" % 1500)
                else:
                    connection.admin.merge_regions(regions[0].encoded_name, regions[1].encoded_name)
                changes += 1
        assert found == (rows[::-1] if reverse else rows)
        assert changes == 3


# -- closing ---------------------------------------------------------------------------------------------


def test_a_closed_connection_says_so_and_can_be_opened_again() -> None:
    connection = memory_connection()
    bench = Bench(connection)
    table = bench.table
    connection.close()
    connection.close()
    for call in (lambda: table.row(b"r"), connection.tables, lambda: connection.admin.list_namespaces()):
        with pytest.raises(StoreClosedException):
            call()
    connection.open()
    table.put(b"r", {Q: b"v"})
    assert table.row(b"r") == {Q: b"v"}
    connection.close()


def test_every_refusal_is_an_hbase_io_exception() -> None:
    for kind in (
        IllegalArgumentException,
        TableNotFoundException,
        NoSuchColumnFamilyException,
        TableNotEnabledException,
        MergeRegionException,
    ):
        assert issubclass(kind, DoNotRetryIOException)
        assert issubclass(kind, HBaseIOException)
        assert issubclass(kind, OSError)
    assert issubclass(IllegalArgumentException, ValueError)
