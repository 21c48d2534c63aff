"""Bulk load: all or nothing, whatever happens to disk and region meanwhile."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest

from hyperbase.common.config import StoreConfig
from hyperbase.common.descriptors import ColumnFamilyDescriptor, TableDescriptor
from hyperbase.common.errors import HBaseIOException
from hyperbase.common.model import Put, Scan
from hyperbase.embedded.arrow_load import put_arrow
from hyperbase.embedded.backend import EmbeddedBackend
from hyperbase.embedded.store import EmbeddedStore
from regionserver.region import arrow_load, bulk_load
from regionserver.storage.memory_filesystem import MemoryFileSystem
from regionserver.storage.store_file import StoreFileWriter

ROWS = 100


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedBackend]:
    monkeypatch.setattr(arrow_load, "FILE_BYTES", 1)
    monkeypatch.setattr(arrow_load, "CHUNK_BYTES", 500)
    store = EmbeddedStore(MemoryFileSystem(), StoreConfig())
    backend = EmbeddedBackend(store, store.close)
    backend.create_table(TableDescriptor("t", [ColumnFamilyDescriptor(b"f"), ColumnFamilyDescriptor(b"g")]))
    yield backend
    backend.close()


def load(backend: EmbeddedBackend) -> int:
    keys = [b"r%03d" % number for number in range(ROWS)]
    data = pa.table({"row": keys, "f:q": keys, "g:q": keys})
    return put_arrow(backend.store, "t", data.to_reader(), "row", None, None)


def rows(backend: EmbeddedBackend) -> list[bytes]:
    return [result.row for chunk in backend.table("t").scan(Scan()) for result in chunk]


def while_writing(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
    """Call ``act`` once, before a file is finished."""
    acts = [act]

    class Writer(StoreFileWriter):
        def finish(self) -> Any:
            if acts:
                acts.pop()()
            return super().finish()

    monkeypatch.setattr(bulk_load, "StoreFileWriter", Writer)


def test_a_full_disk_leaves_nothing(backend: EmbeddedBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, "no space")

    (region,) = backend.store.entry("t").regions
    before = region.manifest
    while_writing(monkeypatch, fail)
    with pytest.raises((OSError, HBaseIOException)):
        load(backend)
    assert rows(backend) == []
    assert region.manifest == before
    assert not backend.store.fs.list(f"{region.directory}/f")
    assert load(backend) == ROWS
    assert len(rows(backend)) == ROWS


def test_a_region_that_splits_meanwhile_is_located_anew(
    backend: EmbeddedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    while_writing(monkeypatch, lambda: backend.split("t", b"r050"))
    assert load(backend) == ROWS
    assert len(backend.regions("t")) == 2
    assert len(rows(backend)) == ROWS
    for region in backend.store.entry("t").regions:
        assert [len(files) for files in region.view.files.values()] == [1, 1]


def test_edits_and_flushes_meanwhile_keep_their_order(
    backend: EmbeddedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = backend.table("t")

    def act() -> None:
        table.put(Put(b"r001").add(b"f:q", b"younger", timestamp=2**62))
        assert table.row(b"r002").to_dict() == {}
        backend.flush("t")

    while_writing(monkeypatch, act)
    load(backend)
    assert table.row(b"r001").to_dict() == {b"f:q": b"younger", b"g:q": b"r001"}
    (region,) = backend.store.entry("t").regions
    order = [entry.sequence_id for entry in region.manifest.stores[b"f"]]
    assert order == sorted(order, reverse=True)
    assert [entry.bulk for entry in region.manifest.stores[b"f"]] == [False, True]
    assert region.manifest.flushed_sequence_id == order[0]


def test_the_log_and_what_is_flushed_are_left_alone(backend: EmbeddedBackend) -> None:
    (region,) = backend.store.entry("t").regions
    flushed = region.manifest.flushed_sequence_id
    backend.table("t").put(Put(b"r001").add(b"f:before", b"x"))
    load(backend)
    assert region.manifest.flushed_sequence_id == flushed
    reopened = EmbeddedStore(backend.store.fs.after_crash(), StoreConfig())  # type: ignore[attr-defined]
    found = EmbeddedBackend(reopened, reopened.close)
    assert found.table("t").row(b"r001").to_dict() == {b"f:before": b"x", b"f:q": b"r001", b"g:q": b"r001"}
    assert len(rows(found)) == ROWS
    found.close()


def test_observers_hear_of_the_load_once(backend: EmbeddedBackend) -> None:
    heard: list[tuple[int, int]] = []

    class Observer:
        def before(self, region: Any, row: bytes, cells: Any) -> tuple[()]:
            return ()

        def after(self, region: Any, edits: Any, replayed: bool) -> None:
            heard.append((-1, len(edits)))

        def bulk_loaded(self, region: Any, sequence_id: int, row_count: int) -> None:
            heard.append((sequence_id, row_count))

    backend.store.engine.observers = (Observer(),)  # type: ignore[assignment]
    load(backend)
    (region,) = backend.store.entry("t").regions
    assert heard == [(region.read_points.current, ROWS)]
