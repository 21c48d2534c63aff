"""What an engine tells of itself: its regions' status, and numbers under HBase's JMX names.

The names are those of the bean RegionServer, sub=Server.
"""

from __future__ import annotations

import resource
import sys
from typing import TYPE_CHECKING

from hyperbase.common.cluster_status import RegionStatus

if TYPE_CHECKING:
    from regionserver.region.engine import Engine
    from regionserver.region.region import Region


def region_status(region: Region) -> RegionStatus:
    """What one open region holds and was asked."""
    files = [reader.info for _, reader in region.view.all_files]
    counts = region.counts()
    return RegionStatus(
        name=region.info.region_name,
        store_count=len(region.descriptor.families),
        store_file_count=len(files),
        store_file_bytes=sum(info.file_bytes for info in files),
        uncompressed_bytes=sum(info.raw_bytes for info in files),
        memstore_bytes=region.memstore_bytes,
        read_requests=counts["readRequestCount"],
        write_requests=counts["writeRequestCount"],
    )


def memory_used_bytes() -> int:
    """The most that this process has held."""
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage * (1 if sys.platform == "darwin" else 1024)


def memory_limit_bytes(engine: Engine) -> int:
    """What its MemStores and its cache may hold."""
    return engine.config.memstore_limit_bytes + engine.config.block_cache_bytes


def engine_metrics(engine: Engine) -> dict[str, float]:
    """Current numbers; sizes in bytes, times in ms, counts since the engine was started."""
    regions = [region for region in list(engine.regions.values()) if not region.info.is_meta]
    files = [reader for region in regions for _, reader in region.view.all_files]
    cache = engine.cache.stats()
    lookups = cache.hits + cache.misses
    out: dict[str, float] = {
        "regionCount": len(regions),
        "storeCount": sum(len(region.descriptor.families) for region in regions),
        "storeFileCount": len(files),
        "memStoreSize": engine.memstore_bytes,
        "storeFileSize": sum(reader.info.file_bytes for reader in files),
        "blockCacheSize": cache.size_bytes,
        "blockCacheCount": cache.block_count,
        "blockCacheFreeSize": max(0, engine.config.block_cache_bytes - cache.size_bytes),
        "blockCacheHitCount": cache.hits,
        "blockCacheMissCount": cache.misses,
        "blockCacheEvictionCount": cache.evictions,
        "blockCacheCountHitPercent": 100.0 * cache.hits / lookups if lookups else 0.0,
        "blockedRequestCount": engine.counters["blockedRequestCount"],
        "updatesBlockedTime": engine.counters["updatesBlockedTime"],
        "FlushTime_num_ops": engine.counters["flush_num_ops"],
        "flushedCellsCount": engine.counters["flush_cells"],
        "flushedCellsSize": engine.counters["flush_size"],
        "CompactionTime_num_ops": engine.counters["compaction_num_ops"]
        + engine.counters["majorCompaction_num_ops"],
        "compactedCellsCount": engine.counters["compaction_cells"] + engine.counters["majorCompaction_cells"],
        "compactedCellsSize": engine.counters["compaction_size"] + engine.counters["majorCompaction_size"],
        "MajorCompactionTime_num_ops": engine.counters["majorCompaction_num_ops"],
        "majorCompactedCellsCount": engine.counters["majorCompaction_cells"],
        "majorCompactedCellsSize": engine.counters["majorCompaction_size"],
    }
    for name in ("readRequestCount", "writeRequestCount", "keyRangeAndBloomSkipCount", "timeRangeSkipCount"):
        out[name] = engine.counters[name] + sum(region.counts()[name] for region in regions)
    if engine.wal is not None:
        log = engine.wal.metrics
        out |= {
            "appendCount": log.appends,
            "syncCount": log.syncs,
            "walBytes": log.appended_bytes,
            "rollRequest": log.rolls,
            "slowSyncCount": log.slow_syncs,
            "walFileCount": len(engine.wal.segments()),
        }
    return out
