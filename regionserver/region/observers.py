"""Observers of a region's mutations: what indexes, streams and search are built on.

``before`` runs under the region's lock, ahead of the log: it sees the old row through the region, may
veto by raising, and may add cells of the same row. ``after`` is called in commit order, once the edits are
durable and visible, and again for the edits a recovery replays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from regionserver.region.lowering import RawCell
    from regionserver.region.region import Region
    from regionserver.storage.edits import Edit


class RegionObserver(Protocol):
    """Both points; an implementation may do nothing in one of them."""

    def before(self, region: Region, row: bytes, cells: Sequence[RawCell]) -> Sequence[RawCell]:
        """Cells to add to the mutation (usually none). Raising refuses the mutation."""

    def after(self, region: Region, edits: Sequence[tuple[bytes, Edit]], replayed: bool) -> None:
        """Committed edits, in sequence order."""

    def bulk_loaded(self, region: Region, sequence_id: int, row_count: int) -> None:
        """A StoreFile was attached as a whole."""
