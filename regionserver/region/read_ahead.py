"""Work done ahead of its consumer by a few threads, results in order, memory bounded.

Threads: they start with the second item and are gone when the generator ends, is closed or collected.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

THREADS = 2
ITEMS_AHEAD = 4  # being worked on or finished and not yet taken


def read_ahead(items: Iterator[Item], work: Callable[[Item], Answer]) -> Iterator[Answer]:
    """``work(item)`` for every item, in order. ``items`` is advanced by the consumer's thread only."""
    start = list(islice(items, 2))
    if len(start) < 2:  # one piece of work: a thread would only cost
        for item in start:
            yield work(item)
        return
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="hyperbase-scan")
    pending: deque[Future[Answer]] = deque()
    rest = chain(start, items)
    del start
    try:
        while True:
            for item in islice(rest, ITEMS_AHEAD - len(pending)):
                pending.append(pool.submit(work, item))
            if not pending:
                return
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
