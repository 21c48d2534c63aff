"""The worked examples of docs/formats.md, decoded by the code that reads stores."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import msgpack
import pyarrow as pa

from hyperbase.common.catalog import BUILT_IN_NAMESPACES, DISABLED, ENABLED, META_DIRECTORY
from hyperbase.common.descriptors import ColumnFamilyDescriptor, NamespaceDescriptor, TableDescriptor
from hyperbase.common.region_info import RegionInfo
from hyperbase.embedded.store import FORMAT_VERSION, IDENTITY_FILE, LOCK_FILE
from regionserver.region.engine import ARCHIVE_DIRECTORY, WAL_DIRECTORY
from regionserver.region.manifest import (
    EPOCH_DIRECTORY,
    MANIFEST_DIRECTORY,
    FileEntry,
    Manifest,
    ParentManifest,
)
from regionserver.region.markers import Marker
from regionserver.region.table_files import DESCRIPTOR_DIRECTORY, decode_descriptor, encode_descriptor
from regionserver.storage.bloom import BloomFilter
from regionserver.storage.edits import GENERAL, DecodedPayload, ShapeTable, encode_payload
from regionserver.storage.memory_filesystem import MemoryFileSystem
from regionserver.storage.store_file import SCHEMA, StoreFileReader, StoreFileWriter
from regionserver.storage.wal import read_log
from regionserver.storage.wal_format import EDIT, decode_header, decode_seal, encode_seal

DOC = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
STAMP = 1735689600123
_DUMP_LINE = re.compile(r"([0-9a-f]{4,6})  ((?:[0-9a-f]{2} {0,2})+)")

Dump = dict[int, bytes]  # offset -> bytes, a line each


def section(title: str) -> str:
    """The text of a section, up to the next heading of its level."""
    level = title.index(" ")
    begin = DOC.index(f"\n{title}\n") + 1
    following = re.compile(rf"^#{{1,{level}}} ", re.MULTILINE).search(DOC, begin + len(title))
    return DOC[begin : following.start() if following else len(DOC)]


def dumps(title: str) -> list[Dump]:
    """The hex dumps of a section, one for each fenced block that has some."""
    found = []
    for block in re.findall(r"^```text\n(.*?)^```", section(title), re.MULTILINE | re.DOTALL):
        lines: Dump = {}
        for line in block.splitlines():
            match = _DUMP_LINE.match(re.split(r" {3,}", line)[0])
            if match is not None:
                lines[int(match[1], 16)] = bytes.fromhex(match[2].strip())
        if lines:
            found.append(lines)
    return found


def whole(dump: Dump) -> bytes:
    """The bytes of a dump without gaps."""
    data = b""
    for offset, piece in dump.items():
        assert offset == len(data), f"the dump's line {offset:04x} does not follow the one before"
        data += piece
    return data


def test_identity() -> None:
    (dump,) = dumps("## Directory")
    identity = json.loads(whole(dump))
    assert list(identity) == ["format", "cluster_id"]
    assert identity["format"] == FORMAT_VERSION


def test_the_directory_is_named_as_the_code_names_it() -> None:
    text = section("## Directory")
    for name in (IDENTITY_FILE, LOCK_FILE, WAL_DIRECTORY, ARCHIVE_DIRECTORY, META_DIRECTORY):
        assert name in text
    assert f"{EPOCH_DIRECTORY}/" in text
    assert f"{MANIFEST_DIRECTORY}/" in text
    assert BUILT_IN_NAMESPACES[0] in text


def test_log_segment_and_seal() -> None:
    segment, seal = map(whole, dumps("## Write-ahead log"))
    assert len(segment) == 141
    header = decode_header(segment, "doc")
    assert header is not None
    assert (header.segment, header.salt, header.encode()) == (1, 0xC0FFEE01, segment[:32])
    fs = MemoryFileSystem()
    path = "WALs/0000000000000001.wal"
    fs.create_if_absent(path, segment)
    (record,) = read_log(fs, path)
    assert (record.kind, record.sequence_id, record.payload, record.offset) == (EDIT, 7, b"hello", 32)
    assert record.region.hex() == "00112233445566778899aabbccddeeff"
    assert decode_seal(seal, "doc", 1) == 85
    assert seal == encode_seal(1, 85)


def test_edit_payload() -> None:
    payload = whole(dumps("### Edit")[0])
    shapes = ShapeTable()
    decoded = DecodedPayload(payload, shapes)
    put, delete = [(row, edit) for row, edit, _ in decoded.rows]
    assert put == (b"r1", (7, STAMP, 0, (b"x", b"y")))
    assert shapes.shapes[0].names == (b"f:a", b"f:b")
    assert delete == (b"r2", (8, STAMP, GENERAL, ((b"f", b"", -5, -14, -8, b"", 0),)))
    assert (decoded.timestamp, decoded.nonce) == (STAMP, None)
    hints = (234, 401)
    rows = [
        (row, edit[2], edit[3], None, hint) for (row, edit), hint in zip((put, delete), hints, strict=True)
    ]
    assert encode_payload(7, STAMP, rows, shapes.shapes) == payload


def test_marker_payload() -> None:
    payload = whole(dumps("### Marker")[0])
    marker = Marker("flush", b"t,,17.ab.", 8, {"flushed": 8})
    assert Marker.decode(payload) == marker
    assert marker.encode() == payload


def test_store_file() -> None:
    (dump,) = dumps("## StoreFile")
    fs = MemoryFileSystem()
    writer = StoreFileWriter(fs, "f", family=b"f", table="t")
    columns = [[b"r"], [b"q"], [1], [4], [b"v"], [7], [None]]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)]
    writer.append(pa.RecordBatch.from_arrays(arrays, schema=SCHEMA))
    info = writer.finish()
    data = fs.read("f")
    body = b"".join(dump[offset] for offset in range(0x458, 0x4B0, 16))
    assert body in data
    text = re.search(rb"SEJTVE9S[A-Za-z0-9+/]+=*", data)
    assert text is not None
    assert base64.b64decode(text[0])[:12].hex() == "48 42 53 54 4f 52 45 01 00 00 00 01".replace(" ", "")
    if info.file_bytes == 3186:  # another version of Arrow may frame its messages otherwise
        for offset, piece in dump.items():
            assert data[offset : offset + len(piece)] == piece, f"{offset:06x}"
        head = re.search(r"48 42 53 54 4f 52 45 01  (.*?)  .*\n +((?:[0-9a-f]{2} {1,2}){14})", DOC)
        assert head is not None
        raw = bytes.fromhex("4842 53544f524501" + head[1] + head[2])
        assert base64.b64decode(text[0])[: len(raw)] == raw
    reader = StoreFileReader(fs, "f")
    assert reader.info.cell_count == 1
    bits = bytes.fromhex("02 08 04 10 40 00 81 00")
    assert bits.hex(" ") in section("## StoreFile")
    assert BloomFilter(bits, 64).bits in base64.b64decode(text[0])


def test_manifest() -> None:
    data = whole(dumps("## Region manifest")[0])
    manifest = Manifest.decode(data, "doc")
    ((family, (entry,)),) = manifest.stores.items()
    assert family == b"f"
    assert entry == FileEntry(
        path=entry.path, stop=b"m", reference=True, sequence_id=2, size_bytes=3186, created_ms=1735689600200
    )
    assert manifest == Manifest(
        epoch=2,
        number=0,
        flushed_sequence_id=2,
        open_sequence_id=3,
        highest_stamp=STAMP,
        stores={b"f": (entry,)},
        next_file=1,
        region=RegionInfo("t", b"", b"m", STAMP + 1),
        parents=(ParentManifest(entry.path.split("/")[3], 1, 2),),
    )
    assert manifest.encode() == data
    tables = section("## Region manifest").partition("### Versions")[0]
    named = re.findall(r"^\| (`.*?) \|", tables, re.MULTILINE)
    assert set(msgpack.unpackb(data[12:])) == set(re.findall(r"`(\w+)`", "".join(named)))


def test_table_descriptor() -> None:
    data = whole(dumps("## Table descriptor")[0])
    descriptor = TableDescriptor("t", [ColumnFamilyDescriptor(b"f")])
    assert decode_descriptor(data, "doc") == descriptor
    assert encode_descriptor(descriptor) == data
    assert f"{DESCRIPTOR_DIRECTORY}/" in section("## Directory")


def test_catalogue_values() -> None:
    info, namespace = map(whole, dumps("## hbase:meta"))
    region = RegionInfo("t", b"", b"m", 1735689600000)
    assert RegionInfo.from_bytes(info) == region
    assert region.to_bytes() == info
    text = section("## hbase:meta")
    assert region.region_name.decode() in text
    assert NamespaceDescriptor.from_dict(msgpack.unpackb(namespace)) == NamespaceDescriptor("n", {"a": "b"})
    assert f"`{ENABLED.hex(' ')}` enabled, `{DISABLED.hex(' ')}` disabled" in text
