"""What ``db.metrics()`` answers: numbers under HBase's JMX names (bean RegionServer, sub=Server)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hyperbase.embedded.store import EmbeddedStore


def store_metrics(store: EmbeddedStore) -> dict[str, float]:
    """Current numbers; sizes in bytes, times in ms, counts since the store was opened."""
    engine = store.engine
    regions = [region for region in engine.regions.values() if not region.info.is_meta]
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
