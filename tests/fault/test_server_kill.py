"""kill -9 of a server under load, again and again: what was acknowledged is there, once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.support.server_arena import Arena

SEED = int(os.environ.get("HYPERBASE_CHAOS_SEED", "20260718"))
KILLS = int(os.environ.get("HYPERBASE_CHAOS_KILLS", "52"))
# Kills fall into flushes, rolls of the log and compactions.
TINY = {
    "HYPERBASE_STORE_MEMSTORE_FLUSH_SIZE_BYTES": str(16 << 10),
    "HYPERBASE_STORE_MEMSTORE_LIMIT_BYTES": str(128 << 10),
    "HYPERBASE_STORE_WAL_SEGMENT_BYTES": str(16 << 10),
}


@contextmanager
def _seed_is_told() -> Iterator[None]:
    try:
        yield
    except BaseException:
        print(f"repeat with HYPERBASE_CHAOS_SEED={SEED} HYPERBASE_CHAOS_KILLS={KILLS}")
        raise


def test_acknowledged_writes_survive_kills(tmp_path: Path) -> None:
    """Two servers at a time, so that one works while the other starts."""
    arenas = [Arena(tmp_path / name, SEED + index) for index, name in enumerate(("one", "two"))]
    with _seed_is_told(), ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(arena.run, -(-KILLS // 2)) for arena in arenas]:
            done.result()
    for arena in arenas:
        print(arena.report())
        assert arena.kills >= KILLS // 2
        assert all(writer.acknowledged >= arena.kills // 4 for writer in arena.writers), arena.report()
    assert sum(arena.under_way for arena in arenas) > KILLS  # the kills fell into work


def test_kills_during_flush_roll_and_compaction(tmp_path: Path) -> None:
    arena = Arena(tmp_path / "tiny", SEED + 7, **TINY)
    with _seed_is_told():
        arena.run(max(12, KILLS // 5), most_between=400)
    print(arena.report())
    assert arena.seen["FlushTime_num_ops"] > 0
    assert arena.seen["CompactionTime_num_ops"] > 0
    assert arena.seen["rollRequest"] > 0
