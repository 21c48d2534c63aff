"""hbck of an open store: whether hbase:meta, the open regions and the files agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hyperbase.common.inconsistency import Inconsistency
from hyperbase.common.region_info import META_REGION
from hyperbase.embedded.status import server_name
from master.hbck import Facts, Serving, check, still_there
from master.hbck_facts import facts_of_disk
from master.hbck_repair import DiskRepairs, look_and_mend

if TYPE_CHECKING:
    from hyperbase.embedded.store import EmbeddedStore


def store_hbck(store: EmbeddedStore, repair: bool) -> list[Inconsistency]:
    """What is not as it should be, and what was done about it. No change of tables is made meanwhile.

    Raises:
        ReadOnlyException: nothing can be repaired.
    """
    repairs = DiskRepairs(store.fs, store.catalog.read).by_kind()

    def mend(finding: Inconsistency) -> str:
        known = repairs.get(finding.kind)
        return "" if known is None else known(finding)

    with store.ddl:
        if repair:
            store.check_writable()
        return look_and_mend(lambda: _look(store), mend if repair else None)


def _look(store: EmbeddedStore) -> list[Inconsistency]:
    """A flush or compaction may be under way: what it does is not there at the second look."""
    first = check(_facts(store))
    return still_there(first, check(_facts(store))) if first else []


def _facts(store: EmbeddedStore) -> Facts:
    name = server_name(store)
    served = [region.info for entry in store.tables.values() if entry.enabled for region in entry.regions]
    serving = Serving({name: [META_REGION, *served]}, [name], meta_place=name)
    return facts_of_disk(store.fs, store.catalog.read(), serving)
