"""A region's sources at one moment: MemStores and StoreFiles, replaced as a whole and never changed.

Readers take ``region.view`` once and need no lock: a MemStore that is frozen meanwhile stays readable,
and a StoreFile stays open as long as a view that names it is referenced.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hyperbase.common.descriptors import TableDescriptor
from regionserver.storage.edits import ShapeTable
from regionserver.storage.memstore import MemStore
from regionserver.storage.store_file import StoreFileReader


@dataclass(frozen=True, slots=True)
class RegionView:
    """What a read looks at: newest first the active MemStore, the one being flushed, the files."""

    active: MemStore
    flushing: MemStore | None
    files: dict[bytes, tuple[StoreFileReader, ...]]  # by family, sorted; newest file first
    descriptor: TableDescriptor
    shapes: ShapeTable
    all_files: tuple[tuple[bytes, StoreFileReader], ...] = field(init=False)
    memstore_only: bool = field(init=False)

    def __post_init__(self) -> None:
        flat = tuple((family, reader) for family, readers in self.files.items() for reader in readers)
        object.__setattr__(self, "all_files", flat)
        object.__setattr__(self, "memstore_only", not flat and self.flushing is None)

    @property
    def memstores(self) -> tuple[MemStore, ...]:
        """The MemStores, newest first."""
        return (self.active,) if self.flushing is None else (self.active, self.flushing)
