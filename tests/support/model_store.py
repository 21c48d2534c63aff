"""What a store holds and shows, from first principles: lists of cells, no index, no order of files.

A region is a MemStore and StoreFiles, each a list of cells per row and family. Reads look at all of them;
flushes and compactions replace some lists by what is left of them (``kept``), because that is visible: a
surplus version that a flush dropped does not come back when the newer one is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from regionserver.storage.memstore import HOT_ROW_SHARE

PUT, DELETE, FAMILY_VERSION, COLUMN, FAMILY = 4, 8, 10, 12, 14
END_OF_TIME = 2**63 - 1


class ModelCell(NamedTuple):
    """A cell of one row and family."""

    qualifier: bytes
    timestamp: int
    kind: int
    sequence: int
    value: bytes
    ttl_ms: int = 0

    @property
    def place(self) -> tuple[int, int, int]:
        """Where it stands in its column: newest first, markers before puts, later writes first."""
        return -self.timestamp, -self.kind, -self.sequence


@dataclass(frozen=True)
class Schema:
    """The options of a family that decide what is visible."""

    versions: int = 1
    min_versions: int = 0
    ttl_ms: int = 0
    keep_deleted: bool = False
    by_sequence: bool = False  # NEW_VERSION_BEHAVIOR

    def oldest(self, now: int) -> int:
        return now - self.ttl_ms if self.ttl_ms else -1


def masks(marker: ModelCell, put: ModelCell) -> bool:
    """Whether the marker's column and timestamp cover the put."""
    if marker.kind in (COLUMN, DELETE) and marker.qualifier != put.qualifier:
        return False
    if marker.kind in (COLUMN, FAMILY):
        return put.timestamp <= marker.timestamp
    return put.timestamp == marker.timestamp


def newest_of_each_stamp(puts: Iterable[ModelCell]) -> list[ModelCell]:
    """One put for each timestamp, the last written, newest first."""
    best: dict[int, ModelCell] = {}
    for put in puts:
        if put.timestamp not in best or best[put.timestamp].sequence < put.sequence:
            best[put.timestamp] = put
    return [best[stamp] for stamp in sorted(best, reverse=True)]


def replay(cells: Iterable[ModelCell], versions: int) -> list[ModelCell]:
    """NEW_VERSION_BEHAVIOR: apply cell after cell as written; within one write the markers come last."""
    alive: list[ModelCell] = []
    for cell in sorted(cells, key=lambda c: (c.sequence, c.kind != PUT, c.place)):
        if cell.kind != PUT:
            alive = [put for put in alive if not masks(cell, put)]
            continue
        same = [put for put in alive if put.qualifier == cell.qualifier and put.timestamp != cell.timestamp]
        column = sorted([*same, cell], key=lambda put: -put.timestamp)[:versions]
        alive = [put for put in alive if put.qualifier != cell.qualifier] + column
    return sorted(alive, key=lambda c: (c.qualifier, c.place))


def visible(
    cells: list[ModelCell],
    schema: Schema,
    now: int,
    low: int = 0,
    high: int = END_OF_TIME,
    most: int = 1,
    named: bool = False,
) -> list[ModelCell]:
    """The puts of one row and family that a read shows, ``most`` versions of each column.

    A column that was ``named`` shows its first expired version, if it showed others before.
    """
    oldest, shown = schema.oldest(now), []
    alive = [c for c in cells if not (c.ttl_ms and c.timestamp + c.ttl_ms < now)]
    markers = [
        c
        for c in alive
        if c.kind != PUT and c.timestamp >= low and (c.timestamp < high or not schema.keep_deleted)
    ]
    puts = [c for c in alive if c.kind == PUT]
    if schema.by_sequence:
        puts = [put for put in replay([*puts, *markers], schema.versions) if low <= put.timestamp < high]
    else:
        puts = [
            put
            for put in puts
            if low <= put.timestamp < high and not any(masks(marker, put) for marker in markers)
        ]
    for qualifier in sorted({put.qualifier for put in puts}):
        column = newest_of_each_stamp(put for put in puts if put.qualifier == qualifier)
        for rank, put in enumerate(column, 1):
            expired = put.timestamp < oldest and rank > schema.min_versions
            if expired and named and schema.min_versions and not schema.by_sequence:
                expired = rank == 1 or column[rank - 2].timestamp < oldest
            if rank <= min(most, schema.versions) and not expired:
                shown.append(put)
    return shown


def kept(
    cells: list[ModelCell], schema: Schema, now: int, major: bool, earliest_put: int = 0
) -> list[ModelCell]:
    """What a flush, a minor or a ``major`` compaction leaves of one row of one family."""
    oldest = schema.oldest(now)
    if schema.by_sequence:
        if not major:
            return list(cells)
        return visible(cells, schema, now, most=schema.versions)
    if schema.min_versions == 0:
        cells = [c for c in cells if c.timestamp >= oldest]
    cells = [c for c in cells if not (c.ttl_ms and c.timestamp + c.ttl_ms < now)]
    markers = [c for c in cells if c.kind != PUT]
    left: list[ModelCell] = []
    for qualifier in {c.qualifier for c in cells}:
        puts = newest_of_each_stamp(
            c
            for c in cells
            if c.qualifier == qualifier
            and c.kind == PUT
            and (schema.keep_deleted or not any(masks(marker, c) for marker in markers))
        )
        surplus = [
            put
            for rank, put in enumerate(puts, 1)
            if rank > schema.versions or (rank > schema.min_versions and put.timestamp < oldest)
        ]
        end = surplus[0].place if surplus else (END_OF_TIME, 0, 0)
        left += [put for put in puts if put.place < end]
        for marker in markers:
            # A major compaction ends a column at its first surplus version, markers below included.
            if marker.qualifier == qualifier and (
                not major or marker.place < end or marker.kind in (FAMILY, FAMILY_VERSION)
            ):
                if not major or (schema.keep_deleted and marker.timestamp >= earliest_put):
                    left.append(marker)
    return left


Rows = dict[bytes, list[ModelCell]]


@dataclass
class ModelFile:
    """A StoreFile: its cells and, as half files show that of the whole, the oldest stamp of a put."""

    rows: Rows
    earliest_put: int

    @classmethod
    def of(cls, rows: Rows) -> ModelFile:
        stamps = [c.timestamp for cells in rows.values() for c in cells if c.kind == PUT]
        return cls(rows, min(stamps, default=END_OF_TIME))

    def between(self, start: bytes, stop: bytes) -> ModelFile:
        rows = {row: cells for row, cells in self.rows.items() if start <= row and (not stop or row < stop)}
        return ModelFile(rows, self.earliest_put)


class ModelEdit(NamedTuple):
    """One mutation of one row: cells by family."""

    cells: dict[bytes, list[ModelCell]]
    logged: bool = True


@dataclass
class ModelRegion:
    """A row range: edits in memory, and the files of each family by the name the store gave them."""

    schemas: dict[bytes, Schema]
    hot_row_edits: int
    memory: dict[bytes, list[ModelEdit]] = field(default_factory=dict)  # newest last
    log: dict[bytes, list[ModelEdit]] = field(default_factory=dict)  # what a crash leaves of it
    files: dict[bytes, dict[str, ModelFile]] = field(default_factory=dict)

    def write(self, row: bytes, edit: ModelEdit, now: int) -> None:
        edits = self.memory.setdefault(row, [])
        edits.append(edit)
        if edit.logged:
            self.log.setdefault(row, []).append(edit)
        if self._is_hot(edits):  # the row is folded, but for the edit that is not yet visible
            old = self._flat(edits[:-1])
            folded = {f: kept(cells, self.schemas[f], now, False) for f, cells in old.items()}
            self.memory[row] = [ModelEdit(folded), edit]

    def _is_hot(self, edits: list[ModelEdit]) -> bool:
        """Many edits beside what the oldest of them holds: folding a wide row is worth it later."""
        oldest = sum(len({(c.qualifier, c.place[:2]) for c in cells}) for cells in edits[0].cells.values())
        return len(edits) > self.hot_row_edits + oldest // HOT_ROW_SHARE

    @staticmethod
    def _flat(edits: Iterable[ModelEdit]) -> dict[bytes, list[ModelCell]]:
        flat: dict[bytes, list[ModelCell]] = {}
        for edit in edits:
            for family, cells in edit.cells.items():
                flat.setdefault(family, []).extend(cells)
        return flat

    def cells(self, row: bytes, family: bytes) -> list[ModelCell]:
        """Every cell that is there, masked and surplus ones too."""
        found = [cell for edit in self.memory.get(row, ()) for cell in edit.cells.get(family, ())]
        for file in self.files.get(family, {}).values():
            found += file.rows.get(row, ())
        return found

    def rows(self) -> set[bytes]:
        found = set(self.memory)
        for files in self.files.values():
            for file in files.values():
                found.update(file.rows)
        return found

    def crash(self, now: int) -> None:
        """The log is replayed edit by edit; nobody reads yet, so a hot row is folded with its newest edit."""
        self.memory = {}
        for row, logged in self.log.items():
            edits: list[ModelEdit] = []
            for edit in logged:
                edits.append(edit)
                if self._is_hot(edits):
                    cells = self._flat(edits)
                    folded = {f: kept(found, self.schemas[f], now, False) for f, found in cells.items()}
                    edits = [ModelEdit(folded)]
            self.memory[row] = edits

    def flush(self, now: int) -> dict[bytes, ModelFile]:
        """Empty the memory; returns what the new file of each family holds."""
        written: dict[bytes, Rows] = {}
        for row, edits in self.memory.items():
            for family, cells in self._flat(edits).items():
                rest = kept(cells, self.schemas[family], now, False)
                if rest:
                    written.setdefault(family, {})[row] = rest
        self.memory, self.log = {}, {}
        return {family: ModelFile.of(rows) for family, rows in written.items()}

    def merged(self, family: bytes, names: Iterable[str], now: int, major: bool) -> ModelFile:
        """What a compaction of these files writes."""
        inputs = [self.files[family][name] for name in names]
        earliest = min((file.earliest_put for file in inputs), default=0)
        rows: Rows = {}
        for row in {row for file in inputs for row in file.rows}:
            cells = [cell for file in inputs for cell in file.rows.get(row, ())]
            rest = kept(cells, self.schemas[family], now, major, earliest)
            if rest:
                rows[row] = rest
        return ModelFile.of(rows)
