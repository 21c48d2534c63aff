"""A store in memory and its model, driven side by side by ``store_operations`` and compared after each."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from hyperbase import (
    CheckAndMutate,
    ColumnFamilyDescriptor,
    Connection,
    Delete,
    Get,
    Put,
    Result,
    RowMutations,
    Scan,
    TableDescriptor,
)
from hyperbase.common.errors import DoNotRetryIOException
from hyperbase.embedded.backend import EmbeddedBackend
from hyperbase.embedded.store import EmbeddedStore, make_config
from regionserver.region.compaction_policy import CompactionRequest
from regionserver.region.manifest import FileEntry
from regionserver.region.region import Region
from regionserver.region.store_compaction import _compact_store, _file_views
from regionserver.storage.memory_filesystem import MemoryFileSystem
from tests.support.engine import QUIET
from tests.support.model_store import (
    COLUMN,
    DELETE,
    END_OF_TIME,
    FAMILY,
    PUT,
    ModelCell,
    ModelEdit,
    ModelFile,
    ModelRegion,
    Schema,
    visible,
)
from tests.support.store_operations import OPERATORS, ROWS, SCHEMAS, STAMP_STEP_MS


class FrozenClock:
    now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now


class Machine:
    """Runs operations on a store in memory and on the model, and compares."""

    def __init__(self, hot_row_edits: int, families: tuple[bytes, ...]) -> None:
        self.families = families
        self.clock = FrozenClock()
        self.disk = MemoryFileSystem()
        self.config = make_config(QUIET)
        self.hot_row_edits = hot_row_edits
        self.schemas = dict(SCHEMAS)
        self.sequence = 0
        self.connection = Connection(self._open)
        self.table = self.connection.table("t")
        attributes = {"COMPACTION_ENABLED": "false"}
        families = [self._family(name) for name in self.families]
        self.connection.admin.create_table(TableDescriptor("t", families, attributes=attributes), [b"c"])
        self.models: dict[str, ModelRegion] = {}
        self._adopt([])

    def _open(self) -> EmbeddedBackend:
        self.store = EmbeddedStore(self.disk, self.config, clock=self.clock)
        return EmbeddedBackend(self.store, self.store.close)

    def _family(self, name: bytes) -> ColumnFamilyDescriptor:
        schema = self.schemas[name]
        return ColumnFamilyDescriptor(
            name,
            max_versions=schema.versions,
            min_versions=schema.min_versions,
            time_to_live=schema.ttl_ms // 1000 or 2**31 - 1,
            keep_deleted_cells="TRUE" if schema.keep_deleted else "FALSE",
            new_version_behavior=schema.by_sequence,
            block_size=1024,
            bloom_filter_type="ROWCOL" if name in (b"g", b"t") else "ROW",
            compression="ZSTD" if name == b"g" else "NONE",
        )

    def close(self) -> None:
        self.connection.close()

    def run(self, kind: str, given: dict[str, Any]) -> None:
        """One operation on both, ``given["tick"]`` ms after the one before."""
        self.clock.now += given["tick"]
        getattr(self, f"_do_{kind}")(given)

    # -- regions and files -------------------------------------------------------------------------------

    def _regions(self) -> tuple[Region, ...]:
        return self.store.entry("t").regions

    def _region(self, row: bytes) -> Region:
        return self.store.entry("t").region_of(row)

    def _model(self, row: bytes) -> ModelRegion:
        return self.models[self._region(row).info.encoded_name]

    @staticmethod
    def _name(entry: FileEntry) -> str:
        return f"{entry.path}|{entry.start.hex()}"

    def _adopt(self, parents: list[ModelRegion]) -> None:
        """Make models for regions that are new, out of the parents' files; forget those that are gone."""
        old, self.models = self.models, {}
        whole: dict[tuple[bytes, str], list[ModelFile]] = {}
        for parent in parents:
            for family, files in parent.files.items():
                for name, file in files.items():
                    whole.setdefault((family, name.partition("|")[0]), []).append(file)
        for region in self._regions():
            name = region.info.encoded_name
            if name in old:
                self.models[name] = old[name]
                continue
            model = self.models[name] = ModelRegion(self.schemas, self.hot_row_edits)
            for family, entries in region.manifest.stores.items():
                for entry in entries:
                    parts = [f.between(entry.start, entry.stop) for f in whole[family, entry.path]]
                    rows = {row: cells for part in parts for row, cells in part.rows.items()}
                    file = ModelFile(rows, min(part.earliest_put for part in parts))
                    model.files.setdefault(family, {})[self._name(entry)] = file

    def _sync_files(self, region: Region, family: bytes, written: ModelFile | None) -> None:
        """The one file that is new in the manifest is ``written``; files that are gone are forgotten."""
        model = self.models[region.info.encoded_name]
        names = [self._name(entry) for entry in region.manifest.stores.get(family, ())]
        known = model.files.setdefault(family, {})
        fresh = [name for name in names if name not in known]
        expected = 1 if written is not None and written.rows else 0
        assert len(fresh) == expected, f"{family!r}: {len(fresh)} new files, {expected} expected"
        model.files[family] = {name: known[name] for name in names if name in known}
        for name in fresh:
            assert written is not None
            model.files[family][name] = written

    def _note_flush(self, region: Region) -> None:
        files = self.models[region.info.encoded_name].flush(self.clock.now)
        for family in self.families:
            self._sync_files(region, family, files.get(family))

    # -- writes ------------------------------------------------------------------------------------------

    def _at(self, steps: int | None) -> int | None:
        return None if steps is None else (self.clock.now // STAMP_STEP_MS - steps) * STAMP_STEP_MS

    def _write(self, row: bytes, cells: list[tuple[bytes, ModelCell]], logged: bool = True) -> None:
        """One edit of the model; of two cells of one column, stamp and kind the last counts."""
        self.sequence += 1
        unique = {(f, c.qualifier, c.timestamp, c.kind): (f, c) for f, c in cells}
        edit: dict[bytes, list[ModelCell]] = {}
        for family, cell in unique.values():
            edit.setdefault(family, []).append(cell._replace(sequence=self.sequence))
        self._model(row).write(row, ModelEdit(edit, logged), self.clock.now)

    def _put_of(self, row: bytes, given: dict[str, Any]) -> tuple[Put, list[tuple[bytes, ModelCell]]]:
        put, cells = Put(row, ttl_ms=given.get("ttl")), []
        for family, qualifier, steps, value in given["cells"]:
            stamp = self._at(steps)
            put.add(family + b":" + qualifier, value, stamp)
            at = self.clock.now if stamp is None else stamp
            cells.append((family, ModelCell(qualifier, at, PUT, 0, value, given.get("ttl") or 0)))
        return put, cells

    def _delete_of(self, row: bytes, given: dict[str, Any]) -> tuple[Delete, list[tuple[bytes, ModelCell]]]:
        default = self._at(given["stamp"])
        delete, cells = Delete(row, default), []
        now = self.clock.now
        newest: dict[tuple[bytes, bytes], list[int]] = {}
        for kind, family, qualifier, steps in given["markers"]:
            stamp = self._at(steps)
            column = family + b":" + qualifier
            if kind == DELETE:
                delete.add_column(column, stamp)
            elif kind == COLUMN:
                delete.add_columns(column, stamp)
            elif kind == FAMILY:
                delete.add_family(family, stamp)
            else:
                assert stamp is not None
                delete.add_family_version(family, stamp)
            at = default if stamp is None else stamp
            if at is None and kind == DELETE:
                wanted = sum(
                    1 for k, f, q, s in given["markers"] if (k, f, q, s) == (kind, family, qualifier, None)
                )
                if (family, qualifier) not in newest:
                    found = self._visible(row, family, most=wanted, named=True)
                    newest[family, qualifier] = [c.timestamp for c in found if c.qualifier == qualifier]
                at = newest[family, qualifier].pop(0) if newest[family, qualifier] else None
            cells.append((family, ModelCell(qualifier, now if at is None else at, kind, 0, b"")))
        if not given["markers"]:
            at = now if default is None else default
            cells = [(family, ModelCell(b"", at, FAMILY, 0, b"")) for family in self.families]
        return delete, cells

    def _do_put(self, given: dict[str, Any]) -> None:
        row = given["row"]
        put, cells = self._put_of(row, given)
        stamps = {cell[2] for cell in put.cells}
        if given["ttl"] is None and len(stamps) == 1:
            data = {f + b":" + q: value for f, q, _, value in given["cells"]}
            self.table.put(row, data, timestamp=stamps.pop(), wal=given["wal"])
            self._write(row, cells, given["wal"])
        else:
            self.table.put(put)
            self._write(row, cells)
        self._check_row(row)

    def _do_puts(self, given: dict[str, Any]) -> None:
        with self.table.batch() as batch:
            for row, cells in given["rows"]:
                batch.put(row, {f + b":" + q: value for f, q, _, value in cells})
        for row, cells in given["rows"]:
            self._write(row, [(f, ModelCell(q, self.clock.now, PUT, 0, value)) for f, q, _, value in cells])
        self._check_row(given["rows"][0][0])

    def _do_delete(self, given: dict[str, Any]) -> None:
        delete, cells = self._delete_of(given["row"], given)
        self.table.delete(delete)
        self._write(given["row"], cells)
        self._check_row(given["row"])

    def _do_mutate(self, given: dict[str, Any]) -> None:
        row, mutations, cells = given["row"], RowMutations(given["row"]), []
        for kind, step in given["steps"]:
            make: Any = self._put_of if kind == "put" else self._delete_of
            mutation, added = make(row, step)
            mutations.add(mutation)
            cells += added
        self.table.mutate_row(mutations)
        self._write(row, cells)
        self._check_row(row)

    def _newest(self, row: bytes, family: bytes, qualifier: bytes) -> ModelCell | None:
        found = [c for c in self._visible(row, family, named=True) if c.qualifier == qualifier]
        return found[0] if found else None

    def _do_increment(self, given: dict[str, Any]) -> None:
        row, cells, wide = given["row"], [], []
        for family, qualifier, amount in given["cells"]:
            old = self._newest(row, family, qualifier)
            if old is not None and len(old.value) != 8:
                wide.append(len(old.value))
                continue
            total = amount + (struct.unpack(">q", old.value)[0] if old else 0)
            at = max(self.clock.now, old.timestamp if old else 0)
            cells.append((family, ModelCell(qualifier, at, PUT, 0, struct.pack(">q", total))))
        amounts = {f + b":" + q: amount for f, q, amount in given["cells"]}
        if wide:
            with pytest.raises(DoNotRetryIOException, match="Field is not a long, it's"):
                self.table.increment(row, amounts)
        else:
            answer = self.table.increment(row, amounts)
            assert answer == {f + b":" + c.qualifier: struct.unpack(">q", c.value)[0] for f, c in cells}
            self._write(row, cells)
        self._check_row(row)

    def _do_append(self, given: dict[str, Any]) -> None:
        row, cells = given["row"], []
        for family, qualifier, suffix in given["cells"]:
            old = self._newest(row, family, qualifier)
            at = max(self.clock.now, old.timestamp if old else 0)
            cells.append((family, ModelCell(qualifier, at, PUT, 0, (old.value if old else b"") + suffix)))
        answer = self.table.append(row, {f + b":" + q: suffix for f, q, suffix in given["cells"]})
        assert answer == {f + b":" + c.qualifier: c.value for f, c in cells}
        self._write(row, cells)
        self._check_row(row)

    def _do_check(self, given: dict[str, Any]) -> None:
        row, (family, qualifier), op, value = given["row"], given["column"], given["op"], given["value"]
        old = self._newest(row, family, qualifier)
        if not value:  # every operator but != then asks whether the cell is absent or empty
            holds = bool(old and old.value) == (op == "!=")
        elif old is None:
            holds = False
        elif op in ("=", "!="):
            holds = (value == old.value) == (op == "=")
        else:
            holds = OPERATORS[op](value, old.value)
        make: Any = self._put_of if given["puts"] else self._delete_of
        mutation, cells = make(row, given["put" if given["puts"] else "delete"])
        check = CheckAndMutate(row).if_matches(family + b":" + qualifier, op, value).then(mutation)
        assert self.table.check_and_mutate(check)[0] == holds
        if holds:
            self._write(row, cells)
        self._check_row(row)

    # -- maintenance -------------------------------------------------------------------------------------

    def _do_flush(self, given: dict[str, Any]) -> None:
        self.connection.admin.flush("t")
        for region in self._regions():
            self._note_flush(region)
        self._check_all()

    def _do_minor(self, given: dict[str, Any]) -> None:
        """Merge some neighbouring files of every Store; a flush comes first half of the time."""
        if given["pick"] & 1:
            self._do_flush(given)
        for region in self._regions():
            for family in self.families:
                files = sorted(_file_views(region, family), key=lambda file: file.sequence_id)
                if not files:
                    continue
                begin = (given["pick"] >> 1) % len(files)
                chosen = files[begin : begin + 1 + (given["pick"] >> 5) % len(files)]
                model = self.models[region.info.encoded_name]
                written = model.merged(family, [file.name for file in chosen], self.clock.now, False)
                with region.compacting:
                    _compact_store(
                        region, self.store.engine, family, CompactionRequest(tuple(chosen), False, "test")
                    )
                self._sync_files(region, family, written)
        self._check_all()

    def _do_major(self, given: dict[str, Any]) -> None:
        self._do_flush(given)
        merged = {
            (name, family): model.merged(family, list(model.files[family]), self.clock.now, True)
            for name, model in self.models.items()
            for family in self.families
        }
        self.connection.admin.major_compact("t")
        for region in self._regions():
            for family in self.families:
                self._sync_files(region, family, merged[region.info.encoded_name, family])
        self._check_all()

    def _do_split(self, given: dict[str, Any]) -> None:
        key = given["row"] + (b"5" if given["pick"] & 1 else b"")
        region = self._region(key)
        if region.info.start_key == key or len(self._regions()) > 3:
            return
        self.connection.admin.flush(region.info.encoded_name)
        self._note_flush(region)
        parent = self.models[region.info.encoded_name]
        self.connection.admin.split(region.info.encoded_name, key)
        self._adopt([parent])
        self._check_all()

    def _do_merge(self, given: dict[str, Any]) -> None:
        regions = self._regions()
        if len(regions) < 2:
            return
        at = given["pick"] % (len(regions) - 1)
        pair = regions[at : at + 2]
        for region in pair:
            self.connection.admin.flush(region.info.encoded_name)
            self._note_flush(region)
        parents = [self.models[region.info.encoded_name] for region in pair]
        self.connection.admin.merge_regions(pair[0].info.encoded_name, pair[1].info.encoded_name)
        self._adopt(parents)
        self._check_all()

    def _do_reopen(self, given: dict[str, Any]) -> None:
        self.connection.close()
        self.connection.open()
        self._flushed_by_closing()

    def _flushed_by_closing(self) -> None:
        for region in self._regions():
            self._note_flush(region)
        self._check_all()

    def _do_disable(self, given: dict[str, Any]) -> None:
        self.connection.admin.disable_table("t")
        self.connection.admin.enable_table("t")
        self._flushed_by_closing()

    def _do_alter(self, given: dict[str, Any]) -> None:
        """The old schema decides what the flush at closing keeps, the new one what is seen after it."""
        changed = Schema(given["versions"])
        descriptor = self.connection.admin.describe_table("t")
        before, self.schemas[b"g"] = self.schemas[b"g"], changed
        family = self._family(b"g")
        self.schemas[b"g"] = before
        self.connection.admin.alter_table(descriptor.with_family(family, modify=True))
        for region in self._regions():
            self._note_flush(region)
        self.schemas[b"g"] = changed  # the models share this mapping
        self._check_all()

    def _do_crash(self, given: dict[str, Any]) -> None:
        """The process dies, half of the time the machine too: only what was synced is left."""
        self.store.crash()
        if given["pick"] & 1:
            self.disk = self.disk.after_crash()
        self.connection._backend = None
        self.connection.open()
        for model in self.models.values():
            model.crash(self.clock.now)
        self._check_all()

    def _do_sleep(self, given: dict[str, Any]) -> None:
        self._check_all()

    # -- reads -------------------------------------------------------------------------------------------

    def _visible(
        self,
        row: bytes,
        family: bytes,
        low: int = 0,
        high: int = END_OF_TIME,
        most: int = 1,
        named: bool = False,
    ) -> list[ModelCell]:
        cells = self._model(row).cells(row, family)
        return visible(cells, self.schemas[family], self.clock.now, low, high, most, named)

    def _expected_row(self, row: bytes, given: dict[str, Any]) -> list[tuple[bytes, int, bytes]]:
        """``[(column, timestamp, value)]`` as a Get of these options shows it."""
        wanted: dict[bytes, set[bytes] | None] = {}
        for family, qualifier in given.get("columns", [(family, None) for family in self.families]):
            if qualifier is None:
                wanted[family] = None
            else:
                wanted[family] = (wanted.get(family) or set()) | {qualifier}
        low, high = (
            [self._at(steps) or 0 for steps in given["range"]] if "range" in given else (0, END_OF_TIME)
        )
        most = 2**31 if given["versions"] == "all" else given["versions"]
        out: list[tuple[bytes, int, bytes]] = []
        for family, qualifiers in sorted(wanted.items()):
            filtered = "filter" in given
            shown_first = filtered and not self.schemas[family].by_sequence
            cells = self._visible(
                row, family, low, high, 2**31 if shown_first else most, qualifiers is not None
            )
            cells = [cell for cell in cells if qualifiers is None or cell.qualifier in qualifiers]
            if filtered:
                cells = _filtered(given["filter"], cells, most)
            if "store_limit" in given:
                cells = cells[given["store_offset"] :][: given["store_limit"]]
            out += [(family + b":" + cell.qualifier, cell.timestamp, cell.value) for cell in cells]
        return out

    def _query(self, given: dict[str, Any]) -> dict[str, Any]:
        query: dict[str, Any] = {"versions": given["versions"]}
        if "columns" in given:
            query["columns"] = [f if q is None else f + b":" + q for f, q in given["columns"]]
        if "range" in given:
            query["time_range"] = tuple(self._at(steps) for steps in given["range"])
        if "store_limit" in given:
            query["store_limit"], query["store_offset"] = given["store_limit"], given["store_offset"]
        if "filter" in given:
            query["filter"] = {
                "value": "ValueFilter(=, 'binaryprefix:x')",
                "qualifier": "QualifierFilter(>=, 'binary:ab')",
                "key": "KeyOnlyFilter()",
            }[given["filter"]]
        return query

    def _check_row(self, row: bytes) -> None:
        newest = [(c, t, v) for c, t, v in self._expected_row(row, {"versions": 1})]
        found = self.table.row(row, include_timestamp=True)
        assert [(c, t, v) for c, (v, t) in found.items()] == newest, f"row({row!r})"
        every = self.table.get(Get(row, versions="all"))
        assert _plain(every) == self._expected_row(row, {"versions": "all"}), f"all versions of {row!r}"

    def _check_all(self) -> None:
        expected = [(row, cells) for row in ROWS if (cells := self._expected_row(row, {"versions": 1}))]
        found = [(r.row, _plain(r)) for r in self.table.scan_results(Scan())]
        assert found == expected, "a scan of everything"
        backwards = [(r.row, _plain(r)) for r in self.table.scan_results(Scan(reverse=True))]
        assert backwards == expected[::-1], "a reversed scan of everything"

    def _do_get(self, given: dict[str, Any]) -> None:
        get = Get(given["row"], **self._query(given))
        assert _plain(self.table.get(get)) == self._expected_row(given["row"], given), "get"
        assert self.table.exists(given["row"]) == bool(self._expected_row(given["row"], {"versions": 1}))

    def _do_scan(self, given: dict[str, Any]) -> None:
        scan = Scan(
            given["start"],
            given["stop"],
            start_inclusive=given["start_inclusive"],
            stop_inclusive=given["stop_inclusive"],
            reverse=given["reverse"],
            limit=given["limit"],
            batch=given["batch"],
            max_result_bytes=1 if given["small_chunks"] else 2**21,
            **self._query(given),
        )
        found = [(result.row, _plain(result)) for result in self.table.scan_results(scan)]
        rows = [row for row in ROWS if _inside(row, given)]
        expected = [(row, cells) for row in rows if (cells := self._expected_row(row, given))]
        if given["reverse"]:
            expected.reverse()
        if given["limit"] is not None:
            expected = expected[: given["limit"]]
        if given["batch"] is not None:
            size = given["batch"]
            expected = [
                (row, cells[at : at + size]) for row, cells in expected for at in range(0, len(cells), size)
            ]
        assert found == expected, "scan"
        if given["batch"] is None and not given["small_chunks"]:
            flat = [(row, *cell) for row, row_cells in expected for cell in row_cells]
            assert _arrow_cells(self.table.scan_arrow(scan, layout="cells").read_all()) == flat, "scan_arrow"


def _arrow_cells(table: Any) -> list[tuple[bytes, bytes, int, bytes]]:
    """``(row, column, timestamp, value)`` of a table in the layout of cells."""
    rows, families, qualifiers, stamps, _, values = (column.to_pylist() for column in table.columns)
    columns = [family + b":" + qualifier for family, qualifier in zip(families, qualifiers, strict=True)]
    return list(zip(rows, columns, stamps, values, strict=True))


def _filtered(name: str, cells: list[ModelCell], most: int) -> list[ModelCell]:
    """The cells that pass, then the version limit, then what the filter makes of the values."""
    if name == "value":
        cells = [cell for cell in cells if cell.value.startswith(b"x")]
    elif name == "qualifier":
        cells = [cell for cell in cells if cell.qualifier >= b"ab"]
    counted: dict[bytes, int] = {}
    out = []
    for cell in cells:
        counted[cell.qualifier] = counted.get(cell.qualifier, 0) + 1
        if counted[cell.qualifier] <= most:
            out.append(cell._replace(value=b"") if name == "key" else cell)
    return out


def _inside(row: bytes, given: dict[str, Any]) -> bool:
    low, high = ("stop", "start") if given["reverse"] else ("start", "stop")
    if given[low] and (row < given[low] or (row == given[low] and not given[f"{low}_inclusive"])):
        return False
    return not given[high] or row < given[high] or (row == given[high] and bool(given[f"{high}_inclusive"]))


def _plain(result: Result) -> list[tuple[bytes, int, bytes]]:
    return list(zip(result.names, result.timestamp_list(), result.values, strict=True))
