"""What hbck mends, and how: only what loses nothing. Here: what can be mended in a directory.

A directory that nothing names and that holds no StoreFile goes; a copy of a schema is written anew. What a
cluster's master mends beside that: ``hbck_cluster``. All else needs a person, and the finding says what for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from hyperbase.common.catalog import CatalogSnapshot
from hyperbase.common.errors import HBaseIOException, LeaseLostException, MasterNotRunningException
from hyperbase.common.inconsistency import Inconsistency
from master.hbck import check
from master.hbck_facts import facts_of_disk, read_directory
from regionserver.region.table_files import keep_descriptor
from regionserver.storage.filesystem import FileSystem

logger = logging.getLogger(__name__)

ROUNDS = 3  # of repairs: one may bring another to light

Repair = Callable[[Inconsistency], str]  # what was done; empty: nothing can be


def look_and_mend(
    look: Callable[[], Sequence[Inconsistency]], mend: Callable[[Inconsistency], str] | None
) -> list[Inconsistency]:
    """What was found: first what was mended, then what is left.

    Args:
        look: says what is wrong now.
        mend: ``None``: only look.
    """
    found = list(look())
    if mend is None:
        return found
    mended: list[Inconsistency] = []
    for _ in range(ROUNDS):
        done = [(finding, _carefully(mend, finding)) for finding in found]
        mended += [replace(finding, repaired=what) for finding, what in done if what]
        if not any(what for _, what in done):
            break
        found = list(look())
    for finding in mended:
        logger.info("repaired kind=%s about=%s: %s", finding.kind, finding.about, finding.repaired)
    left = {finding.key for finding in found}
    return [*(one for one in mended if one.key not in left), *found]


def _carefully(mend: Callable[[Inconsistency], str], finding: Inconsistency) -> str:
    try:
        return mend(finding)
    except (MasterNotRunningException, LeaseLostException):
        raise
    except (HBaseIOException, OSError) as error:
        logger.warning("not repaired kind=%s about=%s error=%s", finding.kind, finding.about, error)
        return ""


class DiskRepairs:
    """What can be mended in a directory, while nobody changes the table it is about.

    Args:
        catalog: reads what hbase:meta says now.
        delete_tree: removes a directory; ``fs.delete_tree`` unless somebody else has to be asked.
    """

    def __init__(
        self,
        fs: FileSystem,
        catalog: Callable[[], CatalogSnapshot],
        delete_tree: Callable[[str], None] | None = None,
    ) -> None:
        self._fs = fs
        self._catalog = catalog
        self._delete_tree = delete_tree or fs.delete_tree

    def by_kind(self) -> dict[str, Repair]:
        """By kind of finding."""
        return {"orphan_directory": self.remove_orphan, "schema_copy": self.copy_schema}

    def remove_orphan(self, finding: Inconsistency) -> str:
        """Look again, then remove it, if there is no StoreFile in it."""
        path = finding.about
        if read_directory(self._fs, "", path).files:
            return ""
        facts = facts_of_disk(self._fs, self._catalog())
        if finding.key not in {one.key for one in check(facts)}:
            return ""
        self._delete_tree(path)
        return f"removed {path}, which held no StoreFile"

    def copy_schema(self, finding: Inconsistency) -> str:
        """From hbase:meta."""
        descriptor = self._catalog().descriptors.get(finding.about)
        if descriptor is None:
            return ""
        keep_descriptor(self._fs, descriptor)
        return f"wrote the schema of table {finding.about} beside its regions"
