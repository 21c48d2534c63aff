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
        self._owners: dict[str, dict[str, int]] = {}  # table → region, or "", → owner
        self._stopped = False

    def acquire(self, names: Iterable[Name], owner: int) -> None:
        """Claim all of them; waits for others.

        Raises:
            MasterNotRunningException
        """
        wanted = list(names)
        with self._changed:
            while not all(self._is_free(name, owner) for name in wanted):
                if self._stopped:
                    raise MasterNotRunningException("this master is stopping")
                self._changed.wait(1.0)
            for name in wanted:
                self._take(name, owner)

    def try_acquire(self, names: Iterable[Name], owner: int) -> list[Name]:
        """Claim those that are free, each for itself; returns them."""
        got = []
        with self._changed:
            for name in names:
                if self._is_free(name, owner):
                    self._take(name, owner)
                    got.append(name)
        return got

    def release(self, owner: int, names: Iterable[Name] | None = None) -> None:
        """Give up claims: those named, or all of the owner's."""
        with self._changed:
            for table, region in list(self._all() if names is None else names):
                owners = self._owners.get(table, {})
                if owners.get(region) == owner:
                    del owners[region]
                    if not owners:
                        del self._owners[table]
            self._changed.notify_all()

    def claimed(self) -> list[Name]:
        """Everything that somebody has."""
        with self._changed:
            return self._all()

    def owner_of(self, info: RegionInfo) -> int | None:
        """The procedure that has claimed the region, or its table."""
        with self._changed:
            owners = self._owners.get(info.table, {})
            return owners.get(info.encoded_name, owners.get(""))

    def stop(self) -> None:
        """Wake those who wait: there is nothing to get any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _all(self) -> list[Name]:
        return [(table, region) for table, owners in self._owners.items() for region in owners]

    def _take(self, name: Name, owner: int) -> None:
        self._owners.setdefault(name[0], {})[name[1]] = owner

    def _is_free(self, name: Name, owner: int) -> bool:
        table, region = name
        owners = self._owners.get(table)
        if owners is None:
            return True
        if not region:
            return all(other == owner for other in owners.values())
        return owners.get(region, owner) == owner and owners.get("", owner) == owner
