"""The block cache stays inside its limit, keeps what is used and lets one long scan pass by."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest

from regionserver.storage.block_cache import BlockCache


def block(name: object) -> Any:
    """The cache never looks into a block."""
    return ("block", name)


def test_a_block_is_found_until_its_file_is_evicted() -> None:
    cache = BlockCache(1000)
    cache.put(("f", 0), block(0), 10)
    cache.put(("f", 1), block(1), 10)
    cache.put(("g", 0), block(2), 10)
    assert cache.get(("f", 1)) == block(1)

    cache.evict_file("f")

    assert cache.get(("f", 0)) is None
    assert cache.get(("f", 1)) is None
    assert cache.get(("g", 0)) == block(2)
    assert cache.size_bytes == 10
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.evictions, stats.block_count) == (2, 2, 0, 1)


def test_a_long_scan_does_not_evict_the_hot_set() -> None:
    cache = BlockCache(1000)
    hot = [("hot", i) for i in range(60)]
    for key in hot:
        cache.put(key, block(key), 10)
        cache.get(key)

    for i in range(10_000):
        cache.put(("scan", i), block(i), 10)

    assert all(cache.get(key) == block(key) for key in hot)
    assert cache.size_bytes <= 1000
    assert cache.evictions == 10_000 - 40


def test_the_hot_set_itself_can_change() -> None:
    cache = BlockCache(1000)
    for generation in range(3):
        for i in range(70):
            key = (generation, i)
            if cache.get(key) is None:
                cache.put(key, block(key), 10)
            cache.get(key)

    assert sum(cache.get((2, i)) is not None for i in range(70)) == 70


def test_the_least_recently_used_leaves_first() -> None:
    cache = BlockCache(100)
    for i in range(10):
        cache.put(("f", i), block(i), 10)
    cache.get(("f", 0))

    cache.put(("f", 10), block(10), 10)

    assert cache.get(("f", 0)) is not None
    assert cache.get(("f", 1)) is None


def test_a_block_too_large_for_the_cache_is_not_kept() -> None:
    cache = BlockCache(1000)
    cache.put(("f", 0), block(0), 10)

    cache.put(("f", 1), block(1), 500)

    assert cache.get(("f", 1)) is None
    assert cache.get(("f", 0)) is not None


def test_a_cache_of_nothing_keeps_nothing() -> None:
    cache = BlockCache(0)
    cache.put(("f", 0), block(0), 1)
    assert cache.get(("f", 0)) is None
    with pytest.raises(ValueError):
        BlockCache(-1)


def test_replacing_a_block_charges_it_once() -> None:
    cache = BlockCache(1000)
    for _ in range(5):
        cache.put(("f", 0), block(0), 100)
    assert cache.size_bytes == 100
    cache.clear()
    assert (cache.size_bytes, len(cache)) == (0, 0)


def test_threads_keep_the_books_straight() -> None:
    cache = BlockCache(5000)

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(3000):
            key = (chance.randrange(5), chance.randrange(200))
            found = cache.get(key)
            assert found is None or found == block(key)
            if found is None:
                cache.put(key, block(key), chance.randrange(1, 100))
            if chance.random() < 0.005:
                cache.evict_file(key[0])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 0 <= cache.size_bytes <= 5000
    for file_id in range(5):
        cache.evict_file(file_id)
    assert (cache.size_bytes, len(cache)) == (0, 0)
    assert cache.hits + cache.misses == 4 * 3000
