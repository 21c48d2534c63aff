"""Schemas: options and attributes, sanity checks with HBase's texts, split keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperbase.common.descriptors import (
    FOREVER,
    THRIFT_MAX_VERSIONS,
    ColumnFamilyDescriptor,
    NamespaceDescriptor,
    TableDescriptor,
    check_split_keys,
    uniform_split_keys,
)
from hyperbase.common.errors import (
    DoNotRetryIOException,
    IllegalArgumentException,
    InvalidFamilyOperationException,
    NoSuchColumnFamilyException,
    StoreFormatException,
)
from hyperbase.common.model import Durability
from hyperbase.common.split_keys import split_range

SUFFIX = (
    " Set hbase.table.sanity.checks to false at conf or table descriptor if you want to bypass sanity checks"
)


def family(**settings: Any) -> ColumnFamilyDescriptor:
    return ColumnFamilyDescriptor(b"f", **settings)


def test_defaults_are_hbases() -> None:
    made = ColumnFamilyDescriptor.from_options("f", None)
    assert made == family()
    assert (made.max_versions, made.min_versions, made.time_to_live, made.block_size) == (
        1,
        0,
        FOREVER,
        65536,
    )
    assert (made.compression, made.bloom_filter_type, made.keep_deleted_cells) == ("NONE", "ROW", "FALSE")
    assert made.time_to_live_ms == 0


def test_trap_1_versions_are_1_natively_and_3_through_thrift() -> None:
    assert ColumnFamilyDescriptor.from_options("f", {}).max_versions == 1
    assert ColumnFamilyDescriptor.from_options("f", {}, THRIFT_MAX_VERSIONS).max_versions == 3
    assert (
        ColumnFamilyDescriptor.from_options("f", {"max_versions": None}, THRIFT_MAX_VERSIONS).max_versions
        == 3
    )
    assert (
        ColumnFamilyDescriptor.from_options("f", {"max_versions": 7}, THRIFT_MAX_VERSIONS).max_versions == 7
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_versions": 5, "time_to_live": 60}, {"max_versions": 5, "time_to_live": 60}),
        ({"VERSIONS": "5", "TTL": "60"}, {"max_versions": 5, "time_to_live": 60}),
        ({"versions": b"5", "ttl": "forever"}, {"max_versions": 5, "time_to_live": FOREVER}),
        ({"TTL": "1 DAY 2 hours"}, {"time_to_live": 93_600}),
        (
            {"compression": "lz4", "BLOOMFILTER": "rowcol"},
            {"compression": "LZ4", "bloom_filter_type": "ROWCOL"},
        ),
        ({"KEEP_DELETED_CELLS": True}, {"keep_deleted_cells": "TRUE"}),
        ({"keep_deleted_cells": "ttl"}, {"keep_deleted_cells": "TTL"}),
        ({"IN_MEMORY": "true", "BLOCKCACHE": "False"}, {"in_memory": True, "block_cache_enabled": False}),
        ({"BLOCKSIZE": "128 KB"}, {"block_size": 131_072}),
        ({"bloom_filter_vector_size": 0, "bloom_filter_nb_hashes": 0}, {}),
        (
            {"IS_MOB": True, "mob_threshold": "1 MB"},
            {"attributes": {"IS_MOB": "true", "MOB_THRESHOLD": "1048576"}},
        ),
        ({"METADATA": {"Owner": "me"}}, {"attributes": {"Owner": "me"}}),
        (
            {"CONFIGURATION": {"a.b": 5}, "hbase.hstore.blockingStoreFiles": "20"},
            {"configuration": {"a.b": "5", "hbase.hstore.blockingStoreFiles": "20"}},
        ),
    ],
)
def test_options_by_happybases_and_hbases_names(options: Mapping[str, Any], expected: dict[str, Any]) -> None:
    assert ColumnFamilyDescriptor.from_options("f", options) == family(**expected)


@pytest.mark.parametrize("name", ["f", "f:", b"f:", "f:x", b"f"])
def test_a_family_is_named_with_or_without_colon(name: bytes | str) -> None:
    assert ColumnFamilyDescriptor.from_options(name, {}).name == b"f"


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("max_version", "max_versions"),
        ("BLOOM_FILTER", "bloomfilter"),
        ("VERSION", "versions"),
        ("tt", "ttl"),
    ],
)
def test_an_unknown_option_is_named_with_the_closest(option: str, hint: str) -> None:
    for value in (1, None):
        with pytest.raises(
            IllegalArgumentException, match=f"'{option}' for column family f; did you mean {hint}"
        ):
            ColumnFamilyDescriptor.from_options("f", {option: value})


def test_a_hopeless_option_lists_the_known_ones() -> None:
    with pytest.raises(IllegalArgumentException, match=r"known options: .*max_versions"):
        ColumnFamilyDescriptor.from_options("f", {"qqqqqq": 1})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_versions", "many"),
        ("max_versions", 2.5),
        ("max_versions", True),
        ("max_versions", 2**31),
        ("time_to_live", "soon"),
        ("in_memory", "yes"),
        ("in_memory", 2),
        ("compression", "ZIP"),
        ("compression", 5),
        ("bloom_filter_type", "COLUMN"),
        ("bloom_filter_vector_size", "x"),
        ("KEEP_DELETED_CELLS", "maybe"),
        ("IS_MOB", "perhaps"),
        ("CONFIGURATION", "a=b"),
        ("CONFIGURATION", {"a": b"\xff"}),
    ],
)
def test_an_unfit_value_names_its_option(option: str, value: Any) -> None:
    with pytest.raises(IllegalArgumentException, match=option):
        ColumnFamilyDescriptor.from_options("f", {option: value})


@pytest.mark.parametrize("versions", [0, -1])
def test_versions_below_one(versions: int) -> None:
    with pytest.raises(IllegalArgumentException, match=r"^Maximum versions must be positive$"):
        family(max_versions=versions)
    with pytest.raises(IllegalArgumentException, match=r"^Maximum versions must be positive$"):
        family().with_options({"VERSIONS": versions})


def test_trap_14_family_ttl_is_in_seconds() -> None:
    assert ColumnFamilyDescriptor.from_options("f", {"TTL": 5}).time_to_live_ms == 5_000
    made = ColumnFamilyDescriptor.from_options("f", {"TTL": 5, "MIN_VERSIONS": 2, "VERSIONS": 3})
    assert (made.time_to_live, made.min_versions, made.max_versions) == (5, 2, 3)


@pytest.mark.parametrize("value", [-1, 0, "-1"])
def test_thrifts_time_to_live_of_minus_one_is_forever(value: int | str) -> None:
    made = ColumnFamilyDescriptor.from_options("f", {"time_to_live": value})
    assert made.to_happybase()["time_to_live"] == 2147483647


def test_compressions_and_blooms_are_kept_and_mapped_to_what_is_stored() -> None:
    stored = {
        name: family(compression=name).storage_compression
        for name in ("NONE", "LZ4", "ZSTD", "SNAPPY", "LZO", "GZ", "BZIP2", "LZMA", "BROTLI")
    }
    assert list(stored.values()) == ["NONE", "LZ4", "ZSTD", "LZ4", "LZ4", "ZSTD", "ZSTD", "ZSTD", "ZSTD"]
    made = family(bloom_filter_type="ROWPREFIX_FIXED_LENGTH", compression="gz")
    assert (made.bloom_filter_type, made.storage_bloom, made.compression) == (
        "ROWPREFIX_FIXED_LENGTH",
        "ROW",
        "GZ",
    )


def test_happybase_sees_its_own_keys_and_types() -> None:
    made = ColumnFamilyDescriptor.from_options("cf1", {"compression": "GZ"}, THRIFT_MAX_VERSIONS)
    assert made.to_happybase() == {
        "name": b"cf1:",
        "max_versions": 3,
        "compression": "GZ",
        "in_memory": False,
        "bloom_filter_type": "ROW",
        "bloom_filter_vector_size": 0,
        "bloom_filter_nb_hashes": 0,
        "block_cache_enabled": True,
        "time_to_live": 2147483647,
    }
    options = {key: value for key, value in made.to_happybase().items() if key != "name"}
    assert ColumnFamilyDescriptor.from_options(b"cf1:", options) == made


def full_table() -> TableDescriptor:
    return TableDescriptor(
        "default:t",
        [ColumnFamilyDescriptor("z"), family(time_to_live=9, attributes={"IS_MOB": "true"})],  # type: ignore[arg-type]
        max_file_size=5 * 2**30,
        durability=Durability.SKIP_WAL,
        attributes={"OWNER": "me"},
        configuration={"a.b": "c"},
    )


def test_descriptors_survive_msgpack() -> None:
    table, namespace = full_table(), NamespaceDescriptor("ns", {"hbase.namespace.quota.maxtables": "5"})
    assert TableDescriptor.from_dict(msgpack.unpackb(msgpack.packb(table.to_dict()))) == table
    assert NamespaceDescriptor.from_dict(msgpack.unpackb(msgpack.packb(namespace.to_dict()))) == namespace
    assert TableDescriptor.from_dict({"name": "t"}) == TableDescriptor("t", [])
    assert hash(table) == hash(full_table())


def test_a_newer_versions_setting_is_not_dropped_silently() -> None:
    with pytest.raises(StoreFormatException, match="erasure_coding"):
        TableDescriptor.from_dict({**full_table().to_dict(), "erasure_coding": 1})


def test_a_table_knows_its_families_in_order() -> None:
    table = full_table()
    assert (table.name, table.namespace, table.family_names) == ("t", "default", (b"f", b"z"))
    assert table.family(b"f").time_to_live == 9
    with pytest.raises(NoSuchColumnFamilyException, match=r"family x does not exist in table t: .* are f, z"):
        table.family(b"x")


def test_families_are_added_replaced_and_removed() -> None:
    table = TableDescriptor("t", [family()])
    grown = table.with_family(ColumnFamilyDescriptor(b"g"))
    assert grown.family_names == (b"f", b"g")
    assert table.with_family(family(max_versions=5), modify=True).families[0].max_versions == 5
    assert grown.without_family(b"f").family_names == (b"g",)
    refused: list[tuple[Callable[[], TableDescriptor], str]] = [
        (
            lambda: table.with_family(family()),
            "Column family 'f' in table 't' already exists so cannot be added",
        ),
        (
            lambda: table.with_family(ColumnFamilyDescriptor(b"x"), modify=True),
            "Family 'x' does not exist, so it cannot be modified",
        ),
        (lambda: table.without_family(b"x"), "Family 'x' does not exist, so it cannot be deleted"),
        (
            lambda: table.without_family(b"f"),
            "Family 'f' is the only column family in the table, so it cannot be deleted",
        ),
    ]
    for call, message in refused:
        with pytest.raises(InvalidFamilyOperationException) as caught:
            call()
        assert str(caught.value) == message


def test_a_family_joins_a_table_once_and_with_at_most_127_bytes() -> None:
    with pytest.raises(IllegalArgumentException, match="Family 'f' already exists"):
        TableDescriptor("t", [family(), family()])
    TableDescriptor("t", [ColumnFamilyDescriptor(b"x" * 127)])
    with pytest.raises(IllegalArgumentException, match=r"^The length of family name is bigger than 127$"):
        TableDescriptor("t", [ColumnFamilyDescriptor(b"x" * 128)])


def test_table_options() -> None:
    table = TableDescriptor("t", [family()]).with_options(
        {
            "MAX_FILESIZE": "1 GB",
            "READONLY": "true",
            "durability": "async_wal",
            "SPLIT_ENABLED": False,
            "coprocessor$1": "|c|1|",
            "region_replication": "2",
            "CONFIGURATION": {"x.y": "1"},
        }
    )
    assert (table.max_file_size, table.read_only, table.durability) == (2**30, True, Durability.ASYNC_WAL)
    assert (table.split_enabled, table.merge_enabled, table.compaction_enabled) == (False, True, True)
    assert table.region_replication == 2
    assert table.attributes["coprocessor$1"] == "|c|1|"
    assert (table.setting("x.y"), table.setting("x.y", b"f"), table.setting("nope")) == ("1", "1", None)
    with pytest.raises(IllegalArgumentException, match="did you mean max_file_size"):
        table.with_options({"MAX_FILE_SIZES": 5})
    with pytest.raises(IllegalArgumentException, match="durability"):
        table.with_options({"DURABILITY": 9})


def test_a_familys_setting_beats_its_tables() -> None:
    table = TableDescriptor("t", [family(configuration={"k.x": "family"})], configuration={"k.x": "table"})
    assert (table.setting("k.x", b"f"), table.setting("k.x")) == ("family", "table")


FAULTS: list[tuple[dict[str, Any], dict[str, Any] | None, str]] = [
    (
        {"max_file_size": 2 * 2**20 - 1},
        {},
        'MAX_FILESIZE for table descriptor or "hbase.hregion.max.filesize" (2097151) is too small, '
        "which might cause over splitting into unmanageable number of regions.",
    ),
    (
        {"memstore_flush_size": 2**20 - 1},
        {},
        'MEMSTORE_FLUSHSIZE for table descriptor or "hbase.hregion.memstore.flush.size" (1048575) '
        "is too small, which might cause very frequent flushing.",
    ),
    (
        {"configuration": {"hbase.hregion.memstore.flush.size": "5"}},
        {},
        'MEMSTORE_FLUSHSIZE for table descriptor or "hbase.hregion.memstore.flush.size" (5) is too small, '
        "which might cause very frequent flushing.",
    ),
    ({}, None, "Table should have at least one column family."),
    ({"attributes": {"REGION_REPLICATION": "0"}}, {}, "Table region replication should be at least one."),
    ({}, {"time_to_live": 0}, "TTL for column family f must be positive."),
    ({}, {"block_size": 1023}, "Block size for column family f  must be between 1K and 16MB."),
    ({}, {"block_size": 16 * 2**20 + 1}, "Block size for column family f  must be between 1K and 16MB."),
    ({}, {"min_versions": -1}, "Min versions for column family f  must be positive."),
    ({}, {"min_versions": 2}, "Min versions for column family f must be less than the Max versions."),
    ({}, {"replication_scope": 7}, "Replication scope for column family f is 7 which is invalid."),
    (
        {},
        {"attributes": {"DFS_REPLICATION": "-1"}},
        "HFile Replication for column family f  must be greater than zero.",
    ),
]


def faulty(table: dict[str, Any], columns: dict[str, Any] | None) -> TableDescriptor:
    return TableDescriptor("t", [] if columns is None else [family(**columns)], **table)


@pytest.mark.parametrize(("table", "columns", "message"), FAULTS)
def test_trap_24_sanity_checks_have_hbases_texts(
    table: dict[str, Any], columns: dict[str, Any] | None, message: str
) -> None:
    with pytest.raises(DoNotRetryIOException) as caught:
        faulty(table, columns).check()
    assert str(caught.value) == message + SUFFIX


@pytest.mark.parametrize(("table", "columns", "message"), FAULTS)
def test_trap_24_sanity_checks_can_be_bypassed(
    table: dict[str, Any], columns: dict[str, Any] | None, message: str
) -> None:
    bad = faulty(table, columns)
    bad.with_options({"hbase.table.sanity.checks": False}).check()
    bad.with_options({"METADATA": {"hbase.table.sanity.checks": "FALSE"}}).check()
    bad.check(site_configuration={"hbase.table.sanity.checks": "false"})
    with pytest.raises(DoNotRetryIOException):
        bad.with_options({"hbase.table.sanity.checks": True}).check({"hbase.table.sanity.checks": "false"})


def test_trap_24_a_bad_alter_is_refused_too() -> None:
    table = TableDescriptor("t", [family()])
    table.check()
    with pytest.raises(DoNotRetryIOException, match="TTL for column family f must be positive"):
        table.with_family(family().with_options({"TTL": 0}), modify=True).check()


def test_only_the_first_fault_is_named() -> None:
    with pytest.raises(DoNotRetryIOException, match=r"^MAX_FILESIZE"):
        TableDescriptor("t", [], max_file_size=0, memstore_flush_size=0).check()
    with pytest.raises(DoNotRetryIOException, match=r"^TTL for column family a "):
        TableDescriptor("t", [family(block_size=0), ColumnFamilyDescriptor(b"a", time_to_live=-1)]).check()


def test_limits_themselves_pass() -> None:
    columns = [family(max_versions=2, min_versions=2, block_size=1024, time_to_live=1, replication_scope=1)]
    TableDescriptor("t", columns, max_file_size=2 * 2**20, memstore_flush_size=2**20).check()
    TableDescriptor("t", [family(block_size=16 * 2**20)]).check()


def test_a_row_prefix_bloom_needs_its_length() -> None:
    table = TableDescriptor("t", [family(bloom_filter_type="ROWPREFIX_FIXED_LENGTH")])
    with pytest.raises(DoNotRetryIOException, match="prefix_length"):
        table.check()
    table.with_options({"RowPrefixBloomFilter.prefix_length": 8}).check()


def test_namespaces() -> None:
    assert NamespaceDescriptor("default").reserved
    assert NamespaceDescriptor("hbase").reserved
    assert not NamespaceDescriptor("ns").reserved
    with pytest.raises(IllegalArgumentException, match="Illegal character <-> at 1"):
        NamespaceDescriptor("a-b")


def test_trap_23_split_keys_are_sorted_unique_and_not_empty() -> None:
    assert check_split_keys([b"m", "c", b"x"]) == [b"c", b"m", b"x"]  # 3 keys: 4 regions
    assert check_split_keys([]) == []
    with pytest.raises(IllegalArgumentException) as caught:
        check_split_keys([b"b", b""])
    assert str(caught.value) == "Empty split key must not be passed in the split keys."
    with pytest.raises(IllegalArgumentException) as caught:
        check_split_keys([b"a", b"b", b"a"])
    assert str(caught.value) == "All split keys must be unique, found duplicate: a, a"


def test_trap_23_regions_spread_evenly() -> None:
    assert uniform_split_keys(b"a", b"z", 3) == [b"a", b"z"]  # [, a) [a, z) [z, )
    assert uniform_split_keys(b"a", b"e", 4) == [b"a", b"c", b"e"]
    assert uniform_split_keys("AAA", "DDD", 5) == [b"AAA", b"BBB", b"CCC", b"DDD"]
    assert uniform_split_keys(b"a", b"b", 5) == [b"a\x00", b"aU", b"a\xaa", b"b\x00"]
    for start, end, count, message in (
        (b"a", b"b", 2, "Must create at least three regions"),
        (b"b", b"a", 3, "Start key must be smaller than end key"),
        (b"a", b"a", 3, "Start key must be smaller than end key"),
        (b"", b"\0", 4, "b <= a"),
    ):
        with pytest.raises(IllegalArgumentException) as caught:
            uniform_split_keys(start, end, count)
        assert str(caught.value) == message


@given(st.binary(max_size=6), st.binary(max_size=6), st.integers(1, 40))
def test_split_range_is_strictly_ascending(one: bytes, other: bytes, count: int) -> None:
    start, end = sorted((one, other))
    width = max(len(start), len(end))
    if start.ljust(width, b"\0") == end.ljust(width, b"\0"):
        with pytest.raises(IllegalArgumentException):
            split_range(start, end, count)
        return
    keys = split_range(start, end, count)
    assert len(keys) == count + 2
    assert all(low < high for low, high in pairwise(keys))
    assert keys[0].rstrip(b"\0") == start.rstrip(b"\0")
    assert keys[-1].rstrip(b"\0") == end.rstrip(b"\0")
