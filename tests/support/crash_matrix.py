"""Let a store crash at every file-system step of a scenario, reopen what is left, compare with an oracle.

The oracle is pending-aware: when the crash comes, the operation under way may have happened or not,
everything acknowledged before it must be there, and nothing else may be.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from hyperbase.common.catalog import region_directory
from hyperbase.common.config import StoreConfig
from hyperbase.common.model import Get, Put, Scan
from hyperbase.embedded.backend import EmbeddedBackend
from hyperbase.embedded.store import EmbeddedStore
from regionserver.region.manifest import EPOCH_DIRECTORY, MANIFEST_DIRECTORY, ManifestStore
from regionserver.region.table_files import read_descriptor, regions_on_disk, tables_on_disk
from regionserver.storage.memory_filesystem import MemoryFileSystem, SimulatedCrash

Cells = dict[bytes, bytes]
Effect = Callable[["Model"], None]

# Segments so small that scenarios roll and archive the log.
CONFIG = StoreConfig(wal_segment_bytes=8192, memstore_flush_size_bytes=1 << 20, memstore_limit_bytes=4 << 20)


@dataclass
class TableModel:
    """What a table should show."""

    families: tuple[bytes, ...]
    enabled: bool = True
    rows: dict[bytes, Cells] = field(default_factory=dict)

    def put(self, row: bytes, **cells: bytes) -> None:
        """Set columns, named ``family_qualifier``."""
        named = {name.replace("_", ":", 1).encode(): value for name, value in cells.items()}
        self.rows.setdefault(row, {}).update(named)

    def drop_family(self, family: bytes) -> None:
        """Forget a family and its cells."""
        self.families = tuple(name for name in self.families if name != family)
        for row, cells in list(self.rows.items()):
            left = {column: value for column, value in cells.items() if column.split(b":")[0] != family}
            self.rows[row] = left
            if not left:
                del self.rows[row]


@dataclass
class Model:
    """What a store should show."""

    tables: dict[str, TableModel] = field(default_factory=dict)
    namespaces: set[str] = field(default_factory=lambda: {"default", "hbase"})


class Run:
    """A store on ``fs`` beside its model; ``do`` performs one operation on both."""

    def __init__(self, fs: MemoryFileSystem, model: Model) -> None:
        self.fs = fs
        self.model = copy.deepcopy(model)
        self.pending: Model | None = None
        self.backend: EmbeddedBackend = open_store(fs)
        self.armed_at = len(fs.steps)

    @property
    def store(self) -> EmbeddedStore:
        return self.backend.store

    def do(self, action: Callable[[EmbeddedBackend], object], effect: Effect | None = None) -> None:
        """Run ``action``; when it returns, ``effect`` on the model is acknowledged."""
        self.pending = copy.deepcopy(self.model)
        if effect is not None:
            effect(self.pending)
        action(self.backend)
        self.model, self.pending = self.pending, None

    def put(self, table: str, row: bytes, **cells: bytes) -> None:
        """Put one row durably; columns are named ``family_qualifier``."""
        put = Put(row)
        for name, value in cells.items():
            put.add(name.replace("_", ":", 1).encode(), value)
        self.do(lambda b: b.table(table).put(put), lambda m: m.tables[table].put(row, **cells))

    @property
    def acceptable(self) -> list[Model]:
        """What a reopened store may show."""
        return [self.model] if self.pending is None else [self.model, self.pending]


Scenario = Callable[[Run], None]


def open_store(fs: MemoryFileSystem, *, read_only: bool = False) -> EmbeddedBackend:
    """Open a store without background threads."""
    store = EmbeddedStore(fs, CONFIG, background=False, read_only=read_only)
    return EmbeddedBackend(store, store.close)


def archive_log(run: Run) -> None:
    """Have everything so far in StoreFiles only, the catalogue too: no log may make up for a lost file."""
    engine = run.store.engine
    assert engine.wal is not None
    for region in list(engine.regions.values()):
        engine.flush(region)
    engine.wal.roll()
    engine._archive_logs()
    assert len(engine.wal.segments()) == 1


def base_state(prepare: Scenario) -> tuple[MemoryFileSystem, Model]:
    """What ``prepare`` made, as a crash would leave it: part in files, part in the log."""
    run = Run(MemoryFileSystem(), Model())
    prepare(run)
    return run.fs.after_crash(), run.model


def crash_everywhere(prepare: Scenario, scenario: Scenario) -> int:
    """Crash at every step of ``scenario``; returns how many steps it has."""
    base, model = base_state(prepare)
    run = Run(base.after_crash(), model)
    scenario(run)
    total = len(run.fs.steps) - run.armed_at
    names = run.fs.steps[run.armed_at :]
    run.store.crash()
    checked: set[tuple[str, str]] = set()
    for number in range(1, total + 1):
        run = Run(base.after_crash(), model)
        crash_at(run.fs, run.armed_at + number)
        try:
            scenario(run)
        except SimulatedCrash:
            pass
        else:
            raise AssertionError(f"step {number} did not come")
        where = f"crash at step {number} of {total} ({names[number - 1]})"
        for seed in (None, number) if number % 3 == 0 else (None,):
            left = run.fs.after_crash(seed)
            case = (fingerprint(left), repr(run.acceptable))
            if case not in checked:  # most steps come before a sync and leave what the one before left
                checked.add(case)
                check_left(left, run.acceptable, f"{where}, seed {seed}")
    return total


def fingerprint(fs: MemoryFileSystem) -> str:
    """A hash of every name and byte in the tree."""
    digest = hashlib.blake2b()

    def add(directory: str) -> None:
        for name in fs.list(directory):
            path = f"{directory}/{name}" if directory else name
            try:
                data = fs.read(path)
            except IsADirectoryError:
                digest.update(path.encode() + b"/")
                add(path)
            else:
                digest.update(path.encode() + len(data).to_bytes(9, "big") + data)

    add("")
    return digest.hexdigest()


def crash_at(fs: MemoryFileSystem, number: int) -> None:
    """Have the process die at the ``number``-th step."""

    def hook(name: str, step: int) -> None:
        if step == number:
            raise SimulatedCrash(name)

    fs.step_hook = hook


def check_left(fs: MemoryFileSystem, acceptable: list[Model], where: str) -> Model:
    """What a crash left opens, is whole, shows one of the models, and shows it again after another crash."""
    try:
        backend = open_store(fs)
        seen = observe(backend)
        assert seen in acceptable, f"shows {describe(seen)}\nnot {[describe(m) for m in acceptable]}"
        check_whole(backend)
        backend.store.crash()
        again = fs.after_crash()
        backend = open_store(again)
        assert observe(backend) == seen, "the second opening shows something else"
        check_whole(backend)
        check_disabled(backend, [model for model in acceptable if matches(model, seen)])
        check_writable(backend)
        backend.close()
    except Exception as error:
        raise AssertionError(f"{where}: {error!r}") from error
    return seen


def observe(backend: EmbeddedBackend) -> Model:
    """Everything the store shows: by scan, and the same by get. Rows of disabled tables are not seen."""
    seen = _Observed()
    seen.namespaces = set(backend.list_namespaces())
    for name in backend.list_tables():
        descriptor = backend.describe_table(name)
        table = TableModel(tuple(descriptor.family_names), backend.is_table_enabled(name))
        if table.enabled:
            table.rows = {result.row: dict(result.to_dict()) for result in scan_rows(backend, name)}
            for row, cells in table.rows.items():
                found = backend.table(name).get(Get(row)).to_dict()
                assert found == cells, f"get of {row!r} shows {found}, the scan {cells}"
        seen.tables[name] = table
    return seen


class _Observed(Model):
    """Equal to a model that shows the same, rows of disabled tables aside."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and matches(other, self)

    __hash__ = None  # type: ignore[assignment]


def matches(model: Model, seen: Model) -> bool:
    """The store that was seen shows the model."""
    return model.namespaces == seen.namespaces and _visible(model) == _visible(seen)


def _visible(model: Model) -> dict[str, Any]:
    return {
        name: (table.families, table.enabled, table.rows if table.enabled else None)
        for name, table in model.tables.items()
    }


def describe(model: Model) -> str:
    """Short enough for a failure message."""
    return repr((sorted(model.namespaces), _visible(model)))


def scan_rows(backend: EmbeddedBackend, table: str) -> Iterator[Any]:
    """Every Result of a table."""
    for chunk in backend.table(table).scan(Scan()):
        yield from chunk


def check_whole(backend: EmbeddedBackend) -> None:
    """Regions form chains, named files exist, and after the opening nothing unnamed is left."""
    store = backend.store
    for name in backend.list_tables():
        infos = backend.regions(name)
        assert infos, f"{name} has no regions"
        assert infos[0].start_key == b"", f"{name} has a hole before its first region"
        assert infos[-1].end_key == b"", f"{name} has a hole behind its last region"
        for low, high in pairwise(infos):
            assert low.end_key == high.start_key, f"{name}: {low.end_key!r} is followed by {high.start_key!r}"
    open_directories = {region_directory(info) for entry in store.tables.values() for info in entry.infos} | {
        region.directory for region in store.engine.regions.values()
    }
    parents = {region_directory(info) for info in store.parents}
    named = set()
    for directory in open_directories:
        manifest = ManifestStore(store.fs, directory).newest()
        assert manifest is not None, f"{directory} has no manifest"
        for entry in manifest.files():
            assert store.fs.exists(entry.path), f"{directory} names {entry.path}, which is missing"
            named.add(entry.path)
    for table in tables_on_disk(store.fs):
        copy = read_descriptor(store.fs, table)
        assert copy == (store.tables[table].descriptor if table in store.tables else None), table
    for _, directory in regions_on_disk(store.fs):
        if directory not in open_directories:
            used = any(path.startswith(directory + "/") for path in named)
            assert used or directory in parents, f"{directory} belongs to nothing"
            continue
        for family in store.fs.list(directory):
            if family not in (MANIFEST_DIRECTORY, EPOCH_DIRECTORY):
                for file in store.fs.list(f"{directory}/{family}"):
                    assert f"{directory}/{family}/{file}" in named, (
                        f"{directory}/{family}/{file} is not named"
                    )


def check_disabled(backend: EmbeddedBackend, models: list[Model]) -> None:
    """Enabling a disabled table shows its rows again."""
    for name in backend.list_tables():
        if not backend.is_table_enabled(name):
            backend.enable_table(name)
            rows = {result.row: dict(result.to_dict()) for result in scan_rows(backend, name)}
            expected = [model.tables[name].rows for model in models]
            assert rows in expected, f"{name}, enabled again, shows {rows}, not {expected}"


def check_writable(backend: EmbeddedBackend) -> None:
    """What is left takes writes: a put wins over everything older, and flushes."""
    for name in backend.list_tables():
        family = bytes(backend.describe_table(name).family_names[0])
        for row in (b"b", b"r05", b"zz"):
            backend.table(name).put(Put(row).add(family + b":check", b"new"))
        backend.flush(name)
        for row in (b"b", b"r05", b"zz"):
            assert backend.table(name).row(row).to_dict()[family + b":check"] == b"new"
