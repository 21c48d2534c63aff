"""Where calls are carried out that would hold up the event loop, and the way back to it.

``Completions`` brings results from any thread to the event loop, many at a time: one wake-up serves all that
are there. ``WorkPool`` is a few threads with a bounded queue: what does not fit is refused at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hyperbase.common.errors import CallQueueTooBigException, HBaseIOException
from hyperbase.common.rpc.call import Call

logger = logging.getLogger(__name__)


class Completions:
    """Calls back on the event loop. ``post`` may be used by any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._posted: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._woken = False

    def post(self, function: Callable[..., None], *arguments: Any) -> None:
        """Have ``function(*arguments)`` called on the loop's thread, soon and in the order posted."""
        self._posted.append((function, arguments))
        # Whoever reads False wakes the loop; the loop says False before it looks, so nothing is left behind.
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self.drain)
            except RuntimeError:  # the loop is closed: nobody waits any more
                logger.debug("answers after the end of the event loop dropped")

    def hold(self) -> None:
        """On the loop's thread: ``drain`` follows at once, so nobody has to wake the loop."""
        self._woken = True

    def drain(self) -> None:
        """Call back everything that was posted; on the loop's thread."""
        self._woken = False
        posted = self._posted
        while posted:
            function, arguments = posted.popleft()
            try:
                function(*arguments)
            except Exception:  # one answer that cannot be given must not hold up the others
                logger.exception("an answer failed")


class WorkPool:
    """Threads for one kind of work; ``limit`` is how many pieces may wait or be under way."""

    def __init__(self, name: str, threads: int, limit: int, completions: Completions) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"hyperbase-{name}")
        self._completions = completions
        self._name = name
        self._limit = limit
        self._pieces = 0  # changed on the loop only

    def run(self, call: Call, work: Callable[[], Any], done: Callable[[Any], None] | None = None) -> None:
        """Carry out ``work`` in a thread, unless nobody waits any more when its turn comes.

        Its result goes to ``done`` on the loop (``call.reply`` when none is given), its exception to
        ``call.fail``. The loop's thread only.

        Raises:
            CallQueueTooBigException: too much waits already.
        """
        self._begin()
        self._executor.submit(self._work, call, work, done or call.reply)

    def _again(self, call: Call, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """The client does not read its answers: the call waits until it does, and takes no place here."""

        def begin() -> None:
            self._pieces += 1
            self._executor.submit(self._work, call, work, done)

        call.connection.when_writable(begin)

    def run_part(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Carry out ``work``, which raises nothing, in a thread, and hand its result to ``done`` always.

        Raises:
            CallQueueTooBigException: too much waits already.
        """
        self._begin()
        self._executor.submit(lambda: self._completions.post(self._finish, done, (work(),)))

    def _begin(self) -> None:
        if self._pieces >= self._limit:
            raise CallQueueTooBigException(
                f"{self._pieces} calls wait for the server's {self._name} threads, as many as may: "
                "wait and retry"
            )
        self._pieces += 1

    def _work(self, call: Call, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        post = self._completions.post
        try:
            if call.expired():
                post(self._finish, call.time_out, ())
                return
            if not call.connection.writable:
                post(self._finish, self._again, (call, work, done))
                return
            result = work()
        except HBaseIOException as error:
            post(self._finish, call.fail, (error,))
        except BaseException as error:
            logger.exception("call failed in %s thread", self._name)
            post(self._finish, call.fail, (error,))
        else:
            post(self._finish, done, (result,))

    def _finish(self, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self._pieces -= 1
        function(*arguments)

    def stop(self, *, wait: bool) -> None:
        """Drop what waits; ``wait`` until what is under way has ended."""
        self._executor.shutdown(wait=wait, cancel_futures=True)
