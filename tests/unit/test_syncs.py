"""Who syncs: the event loop, if only mutations came and the disk is quick; else the log's thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from hyperbase.common.errors import StoreFailedException
from regionserver.server.syncs import QUICK_S, Syncs
from regionserver.server.work import Completions


class Log:
    """A log that counts who syncs it; its commits are told as the real one tells them."""

    def __init__(self) -> None:
        self.metrics = SimpleNamespace(syncs=0, sync_seconds=0.0)
        self.by_loop = self.by_thread = 0
        self.busy = False
        self.error: Exception | None = None
        self.waiting: list[Commit] = []

    def sync_if_free(self) -> bool:
        if self.busy:
            return False
        self.by_loop += 1
        for commit in self.waiting:
            commit.finish(self.error)
        self.waiting.clear()
        if self.error is not None:
            raise self.error
        return True

    def request_sync(self) -> None:
        self.by_thread += 1

    def took(self, seconds: float) -> None:
        self.metrics.syncs += 1
        self.metrics.sync_seconds += seconds


class Commit:
    """A commit as the log's side and the waiting side see it."""

    def __init__(self, log: Log, *, logged: bool = True, done: bool = False) -> None:
        self.logged, self.done, self.error = logged, done, None
        self.callback: Callable[[Any], None] | None = None
        log.waiting.append(self)

    def watch(self, callback: Callable[[Any], None]) -> bool:
        self.callback = None if self.done else callback
        return not self.done

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        callback(self)

    def finish(self, error: Any) -> None:
        self.done, self.error = True, error
        if self.callback is not None:
            self.callback(self)


async def turn(log: Log, syncs: Syncs, rpc: Any, commits: int, other_calls: int = 0) -> list[Any]:
    """One turn of the loop that brings mutations, and other calls; the errors they were answered with."""
    answers: list[Any] = []
    rpc.calls_begun += commits + other_calls
    for _ in range(commits):
        syncs.when_durable(Commit(log), lambda commit: answers.append(commit.error))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return answers


def staged() -> tuple[Log, Syncs, Any]:
    log, rpc = Log(), SimpleNamespace(calls_begun=0)
    loop = asyncio.get_running_loop()
    return log, Syncs(log, loop, Completions(loop), rpc), rpc  # type: ignore[arg-type]


def run(test: Callable[[], Any]) -> None:
    asyncio.run(test())


def test_the_loop_syncs_once_for_all_mutations_of_a_turn() -> None:
    async def test() -> None:
        log, syncs, rpc = staged()
        assert await turn(log, syncs, rpc, 5) == [None] * 5
        assert (log.by_loop, log.by_thread) == (1, 0)

    run(test)


def test_the_thread_syncs_when_somebody_else_would_wait() -> None:
    async def test() -> None:
        log, syncs, rpc = staged()
        assert await turn(log, syncs, rpc, 5, other_calls=1) == []
        assert (log.by_loop, log.by_thread) == (0, 1)
        log.waiting.clear()
        assert await turn(log, syncs, rpc, 1) == [None]  # the reader is gone again
        assert (log.by_loop, log.by_thread) == (1, 1)

    run(test)


def test_the_thread_syncs_while_the_disk_is_slow() -> None:
    async def test() -> None:
        log, syncs, rpc = staged()
        log.took(10 * QUICK_S)
        assert await turn(log, syncs, rpc, 1) == []
        assert (log.by_loop, log.by_thread) == (0, 1)
        for _ in range(5):  # it has become quick
            log.took(QUICK_S / 10)
            await turn(log, syncs, rpc, 1)
        assert log.by_loop >= 1

    run(test)


def test_the_thread_that_is_at_it_goes_on() -> None:
    async def test() -> None:
        log, syncs, rpc = staged()
        log.busy = True
        assert await turn(log, syncs, rpc, 1) == []
        assert (log.by_loop, log.by_thread) == (0, 1)

    run(test)


def test_callers_hear_of_a_sync_that_failed() -> None:
    async def test() -> None:
        log, syncs, rpc = staged()
        log.error = StoreFailedException("the disk is gone")
        (answer,) = await turn(log, syncs, rpc, 1)
        assert answer is log.error

    run(test)


@pytest.mark.parametrize("commit", [{"logged": False}, {"done": True}])
def test_what_waits_for_no_sync_is_answered_at_once(commit: dict[str, bool]) -> None:
    async def test() -> None:
        log, syncs, _ = staged()
        answers: list[Any] = []
        syncs.when_durable(Commit(log, **commit), answers.append)  # type: ignore[arg-type]
        await asyncio.sleep(0)
        assert len(answers) == 1
        assert (log.by_loop, log.by_thread) == (0, 0)

    run(test)
