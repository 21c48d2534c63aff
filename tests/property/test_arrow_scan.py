"""Property: a scan read a column at a time shows exactly what the ordinary scanner shows."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hyperbase.common.config import StoreConfig
from hyperbase.common.descriptors import ColumnFamilyDescriptor, TableDescriptor
from hyperbase.common.model import CellType, Delete, Put, Scan
from hyperbase.embedded.arrow_load import put_arrow
from hyperbase.embedded.arrow_scan import scan_arrow
from hyperbase.embedded.backend import EmbeddedBackend
from hyperbase.embedded.store import EmbeddedStore
from regionserver.region import arrow_load, region_arrow, vector_scan
from regionserver.storage.memory_filesystem import MemoryFileSystem

NOW = 1_000_000_000
ROWS = [b"a", b"a\0", b"b", b"bb", b"c", b"d" * 40, b"e", b"f"]
QUALIFIERS = [b"", b"p", b"q", b"r"]
FAMILIES = [b"f", b"g", b"h"]

rows = st.sampled_from(ROWS)
stamps = st.integers(NOW - 4_000, NOW - 1)
names = st.tuples(st.sampled_from(FAMILIES), st.sampled_from(QUALIFIERS))
values = st.sampled_from([b"", b"1", b"value" * 60])

puts = st.tuples(
    st.just("put"),
    rows,
    st.dictionaries(names, values, min_size=1, max_size=6),
    stamps,
    st.sampled_from([0, 2000]),
)
deletes = st.tuples(st.just("delete"), rows, st.sampled_from(list(CellType)[1:]), names, stamps)
loads = st.tuples(st.just("load"), st.lists(rows, min_size=1, max_size=8), st.booleans(), stamps)
steps = st.tuples(st.sampled_from(["flush", "flush", "compact", "split", "merge"]), rows)
operations = st.lists(st.one_of(puts, puts, deletes, loads, steps), max_size=30)

bounds = st.sampled_from([b"", *ROWS, b"aa", b"z"])
columns = st.one_of(
    st.none(),
    st.lists(st.one_of(names, st.sampled_from([(name, None) for name in FAMILIES])), min_size=1, max_size=4),
)
ranges = st.one_of(
    st.none(),
    st.tuples(st.integers(NOW - 4_000, NOW - 2_000), st.integers(NOW - 2_000, NOW)),
    st.just((0, NOW)),
)


@st.composite
def scans(draw: st.DrawFn) -> dict[str, Any]:
    options: dict[str, Any] = {
        "start": draw(bounds),
        "stop": draw(bounds),
        "start_inclusive": draw(st.booleans()),
        "stop_inclusive": draw(st.booleans()),
        "reverse": draw(st.sampled_from([False, False, False, True])),
        "limit": draw(st.sampled_from([None, None, 1, 3, 100])),
        "versions": draw(st.sampled_from([1, 1, 2, "all"])),
        "time_range": draw(ranges),
    }
    wanted = draw(columns)
    if wanted is not None:
        options["columns"] = [f if q is None else f + b":" + q for f, q in wanted]
    if draw(st.integers(0, 5)) == 0:
        options["filter"] = draw(st.sampled_from(["PrefixFilter('b')", "QualifierFilter(=, 'binary:q')"]))
    return options


def descriptor(draw: Any) -> TableDescriptor:
    def family(name: bytes) -> ColumnFamilyDescriptor:
        return ColumnFamilyDescriptor(
            name,
            max_versions=draw(st.sampled_from([1, 2, 5])),
            min_versions=draw(st.sampled_from([0, 0, 1])),
            time_to_live=draw(st.sampled_from([2**31 - 1, 2**31 - 1, 3])),
            keep_deleted_cells=draw(st.sampled_from(["FALSE", "FALSE", "TRUE"])),
            new_version_behavior=draw(st.sampled_from([False, False, False, True])),
            block_size=draw(st.sampled_from([64, 400])),
        )

    return TableDescriptor(
        "t", [family(name) for name in FAMILIES], attributes={"hbase.table.sanity.checks": "false"}
    )


def apply(backend: EmbeddedBackend, operation: Any) -> None:
    table, store = backend.table("t"), backend.store
    match operation:
        case ("put", row, data, stamp, ttl):
            put = Put(row, timestamp=stamp, ttl_ms=ttl or None)
            for (family, qualifier), value in data.items():
                put.add(family + b":" + qualifier, value)
            table.put(put)
        case ("delete", row, kind, (family, qualifier), stamp):
            delete = Delete(row)
            delete.markers.append((family, b"" if kind in (10, 14) else qualifier, stamp, kind))
            table.delete(delete)
        case ("load", keys, wide, stamp):
            data: dict[str, Any] = {"row": pa.array(keys, pa.binary()), "f:p": [b"load"] * len(keys)}
            if wide:
                data |= {"f:q": [None, *[b"x"] * (len(keys) - 1)], "g:": [b""] * len(keys)}
            put_arrow(store, "t", pa.table(data).to_reader(), "row", stamp, None)
        case ("flush", _):
            backend.flush("t")
        case ("compact", _):
            backend.compact("t", major=True)
        case ("split", row):
            if all(info.start_key != row for info in backend.regions("t")):
                backend.split("t", row)
        case ("merge", _):
            infos = backend.regions("t")
            if len(infos) > 1:
                backend.merge_regions(infos[0].encoded_name, infos[1].encoded_name)


def check(backend: EmbeddedBackend, options: dict[str, Any]) -> None:
    results = [result for chunk in backend.table("t").scan(Scan(**options)) for result in chunk]
    store = backend.store
    cells = scan_arrow(store, "t", Scan(**options), "cells", {}, None).read_all()
    cells.validate(full=True)
    expected = [
        (c.row, c.family, c.qualifier, c.timestamp, int(c.type), c.value) for r in results for c in r.cells
    ]
    assert [tuple(row.values()) for row in cells.to_pylist()] == expected
    wide = scan_arrow(store, "t", Scan(**options), "wide", {}, None).read_all()
    wide.validate(full=True)
    found = sorted(
        {c.family + b":" + c.qualifier for r in results for c in r.cells}, key=lambda n: n.split(b":")
    )
    assert wide.schema.names == ["row", *(name.decode() for name in found)]
    shown = [{"row": r.row, **{name.decode(): r.to_dict().get(name) for name in found}} for r in results]
    assert wide.to_pylist() == shown


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.data())
def test_vector_and_row_scans_agree(data: st.DataObject) -> None:
    saved = vector_scan.SEGMENT_BYTES, vector_scan.SEGMENT_MEMORY_ROWS, region_arrow.VECTOR_LIMIT_ROWS
    files = arrow_load.FILE_BYTES
    vector_scan.SEGMENT_BYTES, vector_scan.SEGMENT_MEMORY_ROWS = data.draw(
        st.sampled_from([(150, 2), (10**6, 3)])
    )
    region_arrow.VECTOR_LIMIT_ROWS, arrow_load.FILE_BYTES = 0, 1
    try:
        # Nothing runs in the background, and the clock stands still.
        config = StoreConfig(compaction_min_files=100, compaction_max_files=100, blocking_store_files=1000)
        store = EmbeddedStore(MemoryFileSystem(), config, clock=lambda: NOW)
        backend = EmbeddedBackend(store, store.close)
        backend.create_table(descriptor(data.draw))
        for operation in data.draw(operations):
            apply(backend, operation)
        for options in data.draw(st.lists(scans(), min_size=2, max_size=5)):
            check(backend, options)
        backend.close()
    finally:
        vector_scan.SEGMENT_BYTES, vector_scan.SEGMENT_MEMORY_ROWS, region_arrow.VECTOR_LIMIT_ROWS = saved
        arrow_load.FILE_BYTES = files
