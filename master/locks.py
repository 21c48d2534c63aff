"""Who may change which table or region: claims of procedures.

A claim names tables and regions. A table's claim excludes every other of that table and of its regions; a
region's excludes others of that region. All that is claimed at once is got at once, so nobody waits while
holding a part.
Threads: any number.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from hyperbase.common.errors import MasterNotRunningException
from hyperbase.common.region_info import RegionInfo

Name = tuple[str, str]  # table, encoded region name; "" is the whole table


def of_table(table: str) -> Name:
    return table, ""


def of_region(info: RegionInfo) -> Name:
    return info.table, info.encoded_name


class Locks:
    """See the module."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._owners: dict[Name, int] = {}
        self._stopped = False

    def acquire(self, names: Iterable[Name], owner: int) -> None:
        """Claim all of them; waits for others.

        Raises:
            MasterNotRunningException
        """
        wanted = list(names)
        with self._changed:
            while not self._free(wanted, owner):
                if self._stopped:
                    raise MasterNotRunningException("this master is stopping")
                self._changed.wait(1.0)
            for name in wanted:
                self._owners[name] = owner

    def try_acquire(self, names: Iterable[Name], owner: int) -> list[Name]:
        """Claim those that are free, each for itself; returns them."""
        got = []
        with self._changed:
            for name in names:
                if self._free([name], owner):
                    self._owners[name] = owner
                    got.append(name)
        return got

    def release(self, owner: int, names: Iterable[Name] | None = None) -> None:
        """Give up claims: those named, or all of the owner's."""
        with self._changed:
            mine = [name for name, other in self._owners.items() if other == owner]
            wanted = set(mine if names is None else names)
            for name in mine:
                if name in wanted:
                    del self._owners[name]
            self._changed.notify_all()

    def claimed(self) -> list[Name]:
        """Everything that somebody has."""
        with self._changed:
            return list(self._owners)

    def owner_of(self, info: RegionInfo) -> int | None:
        """The procedure that has claimed the region, or its table."""
        with self._changed:
            return self._owners.get(of_region(info), self._owners.get(of_table(info.table)))

    def stop(self) -> None:
        """Wake those who wait: there is nothing to get any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _free(self, wanted: Iterable[Name], owner: int) -> bool:
        for table, region in wanted:
            for (other_table, other_region), other in self._owners.items():
                same = other_table == table and (not region or not other_region or region == other_region)
                if same and other != owner:
                    return False
        return True
