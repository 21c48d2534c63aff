"""Which cells of a row count: versions, TTL, delete markers, time ranges, exactly as HBase decides.

Every function takes the cells of one row of one family as sorted ``StoreCell`` tuples and is pure.
``compact_row`` says what a flush or compaction keeps; ``visible_cells`` what a read shows before its
filter; ``apply_filter`` runs the filter over those.

Source: the behaviour of HBase 2.6's query matchers, delete and column trackers.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

from hyperbase.common.filters import Filter, ReturnCode
from hyperbase.common.model import ALL_VERSIONS, MAX_TIMESTAMP, KeyValue
from regionserver.storage.cells import (
    DELETE_COLUMN,
    DELETE_FAMILY,
    DELETE_FAMILY_VERSION,
    PUT,
    StoreCell,
)

NO_EXPIRY = -(2**63)
FAMILY_MARKERS = (DELETE_FAMILY, DELETE_FAMILY_VERSION)


@dataclass(frozen=True, slots=True)
class StorePolicy:
    """What a flush or compaction may drop. Frozen when it starts: a worker decides the same."""

    max_versions: int = 1
    min_versions: int = 0
    ttl_ms: int = 0  # 0: for ever
    keep_deleted: str = "FALSE"  # "FALSE", "TRUE" or "TTL"
    new_version_behavior: bool = False
    now_ms: int = 0
    read_point: int = 2**63 - 1  # smallest open read point: later edits are kept untouched
    major: bool = False  # all files of the Store take part: tombstones may go
    earliest_put_timestamp: int = 0

    @property
    def oldest_unexpired(self) -> int:
        """Timestamps below this are expired."""
        return self.now_ms - self.ttl_ms if self.ttl_ms else NO_EXPIRY


class _DeleteTracker:
    """The markers met so far in a row of a family, in cell order."""

    __slots__ = ("column_deleted", "family_stamp", "family_versions", "qualifier", "stamp")

    def __init__(self) -> None:
        self.family_stamp = -1
        self.family_versions: set[int] | None = None
        self.qualifier: bytes | None = None  # column of the marker below
        self.stamp = -1
        self.column_deleted = False  # DELETE_COLUMN, else DELETE

    def add(self, qualifier: bytes, timestamp: int, kind: int) -> None:
        if timestamp <= self.family_stamp:
            return
        if kind == DELETE_FAMILY:
            self.family_stamp = timestamp
        elif kind == DELETE_FAMILY_VERSION:
            if self.family_versions is None:
                self.family_versions = set()
            self.family_versions.add(timestamp)
        elif not (self.column_deleted and self.qualifier == qualifier):
            self.qualifier, self.stamp = qualifier, timestamp
            self.column_deleted = kind == DELETE_COLUMN

    def deletes_column(self, qualifier: bytes, timestamp: int) -> bool:
        """This cell and every older version of its column are masked."""
        if timestamp <= self.family_stamp:
            return True
        return self.column_deleted and self.qualifier == qualifier

    def deletes_version(self, qualifier: bytes, timestamp: int) -> bool:
        if self.family_versions is not None and timestamp in self.family_versions:
            return True
        return self.stamp == timestamp and self.qualifier == qualifier


def compact_row(cells: list[StoreCell], policy: StorePolicy) -> list[StoreCell]:
    """What a flush, minor (``major=False``) or major compaction keeps of one row of one family."""
    if policy.new_version_behavior:
        return _compact_new_versions(cells, policy)
    oldest, now = policy.oldest_unexpired, policy.now_ms
    drop_expired = policy.min_versions <= 0
    kept: list[StoreCell] = []
    deletes = _DeleteTracker()
    skipped: bytes | None = None  # column whose remaining cells are dropped
    current: bytes | None = None
    count, previous = 0, (0, 0)
    for cell in cells:
        qualifier, timestamp, kind = cell[0], -cell[1], -cell[2]
        if qualifier == skipped and (kind == PUT or (policy.major and kind not in FAMILY_MARKERS)):
            continue  # a marker may mask what stands in other files: only a major compaction drops it
        if drop_expired and timestamp < oldest:
            skipped = qualifier
            continue
        if cell[5] and timestamp + cell[5] < now:
            continue
        tracked = -cell[3] <= policy.read_point
        if kind != PUT:
            if tracked and _tracks_delete(policy, timestamp, oldest):
                deletes.add(qualifier, timestamp, kind)
            if not policy.major or not tracked:
                kept.append(cell)
                continue
            if not (policy.keep_deleted == "TRUE" or (policy.keep_deleted == "TTL" and timestamp >= oldest)):
                continue
            if timestamp < policy.earliest_put_timestamp:
                skipped = qualifier
                continue
        elif deletes.deletes_column(qualifier, timestamp):
            skipped = qualifier
            continue
        elif deletes.deletes_version(qualifier, timestamp):
            continue
        # Version counting, as the wildcard column tracker does it.
        if qualifier != current:
            current, count, previous = qualifier, 0, (0, 0)
        elif tracked and previous == (timestamp, kind):
            continue
        if tracked:
            if kind == PUT:
                count += 1
            surplus = count > policy.max_versions or (count > policy.min_versions and timestamp < oldest)
            if surplus and kind not in FAMILY_MARKERS:  # a family marker is no version of the empty qualifier
                skipped = qualifier
                continue
            previous = (timestamp, kind)
        kept.append(cell)
    return kept


def _tracks_delete(policy: StorePolicy, timestamp: int, oldest: int) -> bool:
    return policy.keep_deleted == "FALSE" or (policy.keep_deleted == "TTL" and timestamp < oldest)


def _compact_new_versions(cells: list[StoreCell], policy: StorePolicy) -> list[StoreCell]:
    """NEW_VERSION_BEHAVIOR: markers and masked puts stay until a major compaction has seen everything.

    HBase drops masked and surplus puts in a flush already. They are needed, though: they count when an older
    put in another file is asked whether it was surplus once, and what is shown must not depend on flushes.
    """
    if not policy.major or any(-cell[3] > policy.read_point for cell in cells):
        return cells
    alive = [cell for cell in cells if not (cell[5] and -cell[1] + cell[5] < policy.now_ms)]
    kept = set(_replay(alive, policy.max_versions))
    if policy.keep_deleted != "FALSE":  # what markers mask stays too, as long as it is no surplus version
        forgotten = policy.oldest_unexpired if policy.keep_deleted == "TTL" else NO_EXPIRY
        applied = [cell for cell in alive if -cell[2] == PUT or -cell[1] < forgotten]
        kept.update(_replay(applied, policy.max_versions))
        lowest = max(policy.earliest_put_timestamp, forgotten)
        markers = [cell for cell in alive if -cell[2] != PUT and -cell[1] >= lowest]
    else:
        markers = []
    live: list[StoreCell] = []
    current: bytes | None = None
    count = 0
    for cell in sorted(kept):
        if cell[0] != current:
            current, count = cell[0], 0
        count += 1
        if -cell[1] >= policy.oldest_unexpired or count <= policy.min_versions:
            live.append(cell)
    return sorted(live + markers) if markers else live


def _replay(cells: list[StoreCell], max_versions: int) -> list[StoreCell]:
    """The puts left when every edit is applied in the order it was written (sequence id).

    A put beyond ``max_versions`` at any moment is gone for good; a marker masks only puts written before
    it or together with it.
    """
    columns: dict[bytes, dict[int, StoreCell]] = {}
    # Of one sequence id the puts come first, so that its markers mask them.
    for cell in sorted(cells, key=lambda c: (-c[3], -c[2] != PUT, c)):
        qualifier, timestamp, kind = cell[0], -cell[1], -cell[2]
        if kind == PUT:
            versions = columns.setdefault(qualifier, {})
            versions[timestamp] = cell
            if len(versions) > max_versions:
                del versions[min(versions)]
        elif kind in (DELETE_FAMILY, DELETE_FAMILY_VERSION):
            for versions in columns.values():
                _mask(versions, timestamp, kind == DELETE_FAMILY)
        elif qualifier in columns:
            _mask(columns[qualifier], timestamp, kind == DELETE_COLUMN)
    return sorted(cell for versions in columns.values() for cell in versions.values())


def _mask(versions: dict[int, StoreCell], timestamp: int, older_too: bool) -> None:
    if older_too:
        for stamp in [stamp for stamp in versions if stamp <= timestamp]:
            del versions[stamp]
    else:
        versions.pop(timestamp, None)


@dataclass(slots=True)
class FamilyRead:
    """How one family is read: the query's wishes together with the family's schema."""

    family: bytes
    prefix: bytes  # b"family:"
    qualifiers: Container[bytes] | None = None  # None: all of them
    cap: int = 1  # versions counted before the filter sees a cell
    low: int = 0
    high: int = MAX_TIMESTAMP
    min_versions: int = 0
    oldest: int = NO_EXPIRY  # timestamps below are expired
    now_ms: int = 0
    see_past_markers: bool = False  # KEEP_DELETED_CELLS is TRUE or TTL
    new_version_behavior: bool = False
    schema_versions: int = 1
    raw: bool = False


def visible_cells(cells: Iterable[StoreCell], read: FamilyRead) -> Iterable[StoreCell]:
    """The cells of one row of one family that a read shows, before its filter; lazily."""
    if read.raw:
        return _raw_cells(cells, read)
    if read.new_version_behavior:
        return _new_version_cells(cells, read)
    return _visible_cells(cells, read)


def _visible_cells(cells: Iterable[StoreCell], read: FamilyRead) -> Iterator[StoreCell]:
    low, high, oldest, cap = read.low, read.high, read.oldest, read.cap
    qualifiers, min_versions = read.qualifiers, read.min_versions
    deletes: _DeleteTracker | None = None
    skipped: bytes | None = None
    current: bytes | None = None
    count, previous = 0, -1
    for cell in cells:
        qualifier = cell[0]
        if qualifier == skipped and -cell[2] not in FAMILY_MARKERS:
            continue  # but never a family marker behind puts of the empty qualifier
        timestamp = -cell[1]
        if timestamp < oldest and min_versions <= 0:
            skipped = qualifier
            continue
        if cell[5] and timestamp + cell[5] < read.now_ms:
            continue
        if cell[2] != -PUT:
            if timestamp >= low and (timestamp < high or not read.see_past_markers):
                deletes = deletes or _DeleteTracker()
                deletes.add(qualifier, timestamp, -cell[2])
            continue
        if deletes is not None:
            if deletes.deletes_column(qualifier, timestamp):
                skipped = qualifier
                continue
            if deletes.deletes_version(qualifier, timestamp):
                continue
        if timestamp >= high:
            if timestamp != MAX_TIMESTAMP or high != MAX_TIMESTAMP:
                continue
        elif timestamp < low:
            skipped = qualifier
            continue
        if qualifiers is not None and qualifier not in qualifiers:
            skipped = qualifier
            continue
        if qualifier != current:
            current, count = qualifier, 0
        elif timestamp == previous:
            continue
        count += 1
        if count > cap or (count > min_versions and timestamp < oldest):
            # HBase's tracker of named columns ends a column behind the expired version that it meets with
            # MIN_VERSIONS reached; the one of whole families before it.
            if count > cap or qualifiers is None or previous < oldest or count == 1:
                skipped = qualifier
                continue
        previous = timestamp
        yield cell


def _raw_cells(cells: Iterable[StoreCell], read: FamilyRead) -> list[StoreCell]:
    """Puts, masked puts and markers; only puts count as versions."""
    shown: list[StoreCell] = []
    current: bytes | None = None
    count, previous = 0, (0, 0)
    for cell in cells:
        timestamp, kind = -cell[1], -cell[2]
        if not read.low <= timestamp < read.high and not timestamp == read.high == MAX_TIMESTAMP:
            continue
        if cell[5] and timestamp + cell[5] < read.now_ms:
            continue  # a cell's own TTL hides it here too; the family's does not
        if cell[0] != current:
            current, count, previous = cell[0], 0, (0, 0)
        elif previous == (timestamp, kind):
            continue
        if kind == PUT:
            count += 1
        if count > read.cap:
            continue
        previous = (timestamp, kind)
        shown.append(cell)
    return shown


def _new_version_cells(cells: Iterable[StoreCell], read: FamilyRead) -> list[StoreCell]:
    """NEW_VERSION_BEHAVIOR: the family's versions are counted before the time range is looked at."""
    low, high = read.low, read.high
    counted: list[StoreCell] = []
    for cell in cells:
        timestamp = -cell[1]
        if -cell[2] == PUT:
            if cell[5] and timestamp + cell[5] < read.now_ms:
                continue
        elif timestamp < low or (read.see_past_markers and timestamp >= high):
            continue
        counted.append(cell)
    shown: list[StoreCell] = []
    current: bytes | None = None
    count = 0
    for cell in _replay(counted, read.schema_versions):
        timestamp = -cell[1]
        if not low <= timestamp < high and not timestamp == high == MAX_TIMESTAMP:
            continue
        if read.qualifiers is not None and cell[0] not in read.qualifiers:
            continue
        if cell[0] != current:
            current, count = cell[0], 0
        count += 1
        if count <= read.cap and (timestamp >= read.oldest or count <= read.min_versions):
            shown.append(cell)
    return shown


def apply_filter(
    row: bytes, family: bytes, cells: Iterable[StoreCell], filter: Filter, versions: int
) -> list[KeyValue]:
    """The cells that pass, as the filter transforms them; ``versions`` counts cells that passed."""
    passed: list[KeyValue] = []
    skipped: bytes | None = None
    current: bytes | None = None
    count = 0
    hint_key: tuple[bytes, int] | None = None  # cells before it are passed over
    for qualifier, minus_stamp, minus_type, minus_seq, value, _ttl in cells:
        if qualifier == skipped or (hint_key is not None and (qualifier, minus_stamp) < hint_key):
            continue
        if filter.filter_all_remaining():
            break
        cell = KeyValue(row, family, qualifier, -minus_stamp, -minus_type, value, -minus_seq)
        code = filter.filter_cell(cell)
        if (
            code is ReturnCode.INCLUDE
            or code is ReturnCode.INCLUDE_AND_NEXT_COL
            or code is ReturnCode.INCLUDE_AND_SEEK_NEXT_ROW
        ):
            if qualifier != current:
                current, count = qualifier, 0
            count += 1
            if count > versions:
                skipped = qualifier
                if code is ReturnCode.INCLUDE_AND_SEEK_NEXT_ROW:
                    break
                continue
            # At once: a filter list transforms by the members that have just included this cell.
            shown = filter.transform_value(cell)
            passed.append(cell if shown is value else cell._replace(value=shown))
            if code is ReturnCode.INCLUDE_AND_NEXT_COL:
                skipped = qualifier
            elif code is ReturnCode.INCLUDE_AND_SEEK_NEXT_ROW:
                break
        elif code is ReturnCode.NEXT_COL:
            skipped = qualifier
        elif code is ReturnCode.NEXT_ROW:
            break
        elif code is ReturnCode.SEEK_NEXT_USING_HINT:
            hint = filter.next_hint(cell)
            if hint is None:
                continue
            if hint.row != row or (hint.family is not None and hint.family > family):
                break  # the filter is done with this row, or with this family of it
            if hint.family is not None and hint.family < family:
                continue
            if hint.qualifier is not None:
                stamp = MAX_TIMESTAMP if hint.timestamp is None else hint.timestamp
                hint_key = (hint.qualifier, -stamp)
    return passed


__all__ = ["ALL_VERSIONS", "FamilyRead", "StorePolicy", "apply_filter", "compact_row", "visible_cells"]
