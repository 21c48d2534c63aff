"""Copies of schemas beside the regions, and a catalogue that is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import google_crc32c
import msgpack
import pytest

import hyperbase
from hyperbase import ColumnFamilyDescriptor, TableDescriptor
from hyperbase.common.catalog import META_DIRECTORY
from hyperbase.common.errors import CorruptHFileException, StoreFormatException
from regionserver.region.manifest import Manifest, ManifestStore
from regionserver.region.table_files import (
    DESCRIPTOR_DIRECTORY,
    decode_descriptor,
    encode_descriptor,
    forget_descriptor,
    has_descriptor,
    keep_descriptor,
    read_descriptor,
    regions_of_table,
    regions_on_disk,
    tables_on_disk,
)
from regionserver.storage.local_filesystem import LocalFileSystem
from regionserver.storage.memory_filesystem import MemoryFileSystem

ONE = TableDescriptor("ns:t", [ColumnFamilyDescriptor(b"f", max_versions=5)])
OTHER = TableDescriptor("ns:t", [ColumnFamilyDescriptor(b"f"), ColumnFamilyDescriptor(b"g")])
DIRECTORY = f"data/ns/t/{DESCRIPTOR_DIRECTORY}"


def test_the_newest_schema_is_kept() -> None:
    fs = MemoryFileSystem()
    assert read_descriptor(fs, "ns:t") is None
    keep_descriptor(fs, ONE)
    keep_descriptor(fs, ONE)
    assert fs.list(DIRECTORY) == ["0000000001"]
    keep_descriptor(fs, OTHER)
    assert fs.list(DIRECTORY) == ["0000000002"]
    assert read_descriptor(fs, "ns:t") == OTHER
    assert has_descriptor(fs, "ns:t")
    assert list(tables_on_disk(fs)) == ["ns:t"]
    assert list(regions_on_disk(fs)) == []
    forget_descriptor(fs, "ns:t")
    assert not has_descriptor(fs, "ns:t")


def test_damage_and_other_versions_are_named() -> None:
    data = encode_descriptor(ONE)
    for damaged in (data[:-1], data[:20] + b"\0" + data[21:], b"nothing of the kind"):
        with pytest.raises(CorruptHFileException, match="the file"):
            decode_descriptor(damaged, "the file")
    with pytest.raises(StoreFormatException, match="newer version"):
        decode_descriptor(b"HBTD0002" + data[8:], "the file")


def test_a_store_keeps_schemas_up_to_date_and_takes_them_away(tmp_path: Path) -> None:
    fs = LocalFileSystem(tmp_path)
    with hyperbase.connect(tmp_path) as db:
        db.create_table("t", {"f": {}}, splits=[b"m"])
        described = db.admin.describe_table("t")
        assert read_descriptor(fs, "t") == described
        changed = described.with_family(ColumnFamilyDescriptor("g"))
        db.admin.alter_table(changed)
        assert read_descriptor(fs, "t") == changed
        db.create_table("gone", {"f": {}})
        db.delete_table("gone", disable=True)
        assert not has_descriptor(fs, "gone")
        for path in regions_of_table(fs, "t"):
            manifest = ManifestStore(fs, path).newest()
            assert manifest is not None
            assert manifest.region in db.admin.regions("t")
    forget_descriptor(fs, "t")  # as a store of an older version
    keep_descriptor(fs, TableDescriptor("gone", described.families))  # as a crash leaves it
    with hyperbase.connect(tmp_path, read_only=True):
        assert not has_descriptor(fs, "t")
    with hyperbase.connect(tmp_path):
        assert read_descriptor(fs, "t") == changed
        assert not has_descriptor(fs, "gone")


def test_every_manifest_says_whose_it_is(tmp_path: Path) -> None:
    fs = LocalFileSystem(tmp_path)
    with hyperbase.connect(tmp_path) as db:
        db.create_table("t", {"f": {}}, splits=[b"m"])
        for row in (b"a", b"n", b"z"):
            db.table("t").put(row, {b"f:q": b"v"})
        low, high = db.admin.regions("t")
        db.admin.split("t", b"p")
        db.admin.merge_regions(low, db.admin.regions("t")[1])
        known = {info.encoded_name: info for info in (*db.admin.regions("t"), low, high)}
        for path in regions_of_table(fs, "t"):
            manifest = ManifestStore(fs, path).newest()
            assert manifest is not None
            assert manifest.region is not None
            assert manifest.region.encoded_name == path.rpartition("/")[2]
            assert known.get(manifest.region.encoded_name, manifest.region) == manifest.region


def test_a_manifest_of_an_older_version_says_nothing_and_a_damaged_one_is_named() -> None:
    assert Manifest.decode(Manifest().encode(), "m").region is None
    fields = msgpack.unpackb(Manifest().encode()[12:])
    del fields["region"]
    for region in (None, b"rubbish"):
        body = msgpack.packb(fields if region is None else {**fields, "region": region})
        data = b"HBMF0001" + int(google_crc32c.value(body)).to_bytes(4, "big") + body
        if region is None:
            assert Manifest.decode(data, "m").region is None
        else:
            with pytest.raises(CorruptHFileException, match="m is damaged"):
                Manifest.decode(data, "m")


@pytest.mark.parametrize("read_only", [False, True])
def test_tables_without_a_catalogue_are_refused_and_stay(tmp_path: Path, read_only: bool) -> None:
    with hyperbase.connect(tmp_path) as db:
        db.create_table("t", {"f": {}})
        db.table("t").put(b"r", {b"f:q": b"v"})
    shutil.rmtree(tmp_path / META_DIRECTORY)
    before = sorted(tmp_path.rglob("*.arrow"))
    assert before
    with pytest.raises(StoreFormatException, match="hyperbase hbck --rebuild-meta"):
        hyperbase.connect(tmp_path, read_only=read_only)
    assert sorted(tmp_path.rglob("*.arrow")) == before
