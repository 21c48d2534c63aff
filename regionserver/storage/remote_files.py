"""What file systems behind a network have in common: readers that keep a file, logs sent in groups, locks.

OpenFiles    files that readers of this process have open are deleted when the last of them is closed
GroupedLog   a log whose groups one thread of its own sends, so that an interrupted caller may come again
RecordLock   says who uses a directory and keeps nobody out

On one machine the kernel does the first and the last: a deleted file stays readable, and ``flock`` ends with
its process. No remote store has either. Deletion is therefore put off where it can be; what a lock would
guard is guarded by fences, names that only one can take, and epochs in them.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

Send = Callable[[bytes], None]


def start(threads: ThreadPoolExecutor, work: Callable[[], None]) -> Future[None]:
    """Have a thread do the work; do it here when the interpreter is ending and gives no threads any more."""
    try:
        return threads.submit(work)
    except RuntimeError:
        done: Future[None] = Future()
        try:
            work()
            done.set_result(None)
        except Exception as error:
            done.set_exception(error)
        return done


class OpenFiles:
    """Which files readers of this process have open, and which of them are to go when these are closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers: Counter[str] = Counter()
        self._doomed: set[str] = set()
        self._closed: deque[str] = deque()

    def opened(self, path: str) -> None:
        """Count one more reader of ``path``."""
        with self._lock:
            self._readers[path] += 1

    def closed(self, path: str) -> None:
        """One reader less; takes no lock, so a finalizer may call it at any moment. See ``due``."""
        self._closed.append(path)

    def doom(self, path: str) -> bool:
        """Whether readers have ``path`` open; then nobody sees it any more and ``due`` will return it."""
        with self._lock:
            self._settle()
            if not self._readers[path]:
                return False
            self._doomed.add(path)
            return True

    def is_doomed(self, path: str) -> bool:
        """Whether ``path`` was deleted and only its readers still have it."""
        return path in self._doomed

    def any_below(self, directory: str) -> bool:
        """Whether a reader has a file below ``directory`` open."""
        with self._lock:
            self._settle()
            return any(path.startswith(f"{directory}/") for path in self._readers)

    def due(self) -> list[str]:
        """Return the doomed files whose last reader is gone; each is returned once."""
        if not self._closed:
            return []
        with self._lock:
            self._settle()
            due = [path for path in self._doomed if path not in self._readers]
            self._doomed.difference_update(due)
            return due

    def _settle(self) -> None:
        while self._closed:
            path = self._closed.popleft()
            self._readers[path] -= 1
        self._readers = +self._readers


class GroupedLog:
    """A ``LogFile`` that keeps what is written until ``sync`` sends it as one group.

    A thread of the log does the sending, one group after the other. Whoever waits for it may be interrupted
    (KeyboardInterrupt) and sync again: no group is sent twice. After an error nothing is sent any more.
    """

    def __init__(self, path: str, send: Send, finish: Callable[[bool], None]) -> None:
        """Begin an empty log.

        Args:
            send: makes one group durable behind those before it, or raises ``OSError``.
            finish: ends the file when the log is closed; is told whether all went well until then.
        """
        self._path = path
        self._send = send
        self._finish = finish
        self._queue: deque[tuple[int, bytes]] = deque()  # (offset of its end, bytes), not sent yet
        self._sent = 0
        self._failure: Exception | None = None
        self._ended = self._closed = False
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="log-send")

    def write(self, chunks: list[bytes]) -> None:
        """Add the chunks at the end of what was written."""
        data = b"".join(chunks)
        if data:
            # One step, from which ``tell`` follows too: an interrupted call has done all or nothing.
            self._queue.append((self.tell() + len(data), data))

    def tell(self) -> int:
        """Return the bytes of all ``write`` calls that returned."""
        try:
            return self._queue[-1][0]
        except IndexError:
            return self._sent

    def sync(self) -> None:
        """Return when everything written is durable."""
        if self._closed:
            raise ValueError(f"sync of a closed log: {self._path}")
        start(self._sender, self._send_group).result()

    def close(self) -> None:
        """Make durable what was written, and end the log; after an error only end it."""
        if self._closed:
            return
        error = start(self._sender, self._end).exception()
        self._closed = True
        self._sender.shutdown(wait=False)
        if error is not None:
            raise error

    def _end(self) -> None:
        if self._ended:  # whoever closed it was interrupted, and is here again
            return
        self._ended = True
        try:
            if self._failure is None:
                self._send_group()
        finally:
            self._finish(self._failure is None)

    def _send_group(self) -> None:
        if self._failure is not None:
            raise self._failure
        group = tuple(self._queue)
        if not group:
            return
        try:
            self._send(b"".join(data for _, data in group))
        except Exception as error:
            self._failure = error
            raise
        self._sent = group[-1][0]  # before the queue is empty: ``tell`` asks there first
        for _ in group:
            self._queue.popleft()


class RecordLock:
    """A ``Lock`` that excludes nobody: the file it stands for says that somebody was here."""

    def __init__(self) -> None:
        self._pid = os.getpid()

    @property
    def held(self) -> bool:
        """Whether this process holds it (False in a forked child)."""
        return self._pid == os.getpid()

    def release(self) -> None:
        """Give the lock up; a second call does nothing."""
        self._pid = 0
