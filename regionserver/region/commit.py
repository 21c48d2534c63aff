"""A mutation on its way to disk: submitted, then durable and visible, or failed.

``Commit`` is what ``Region.submit`` returns at once. How to wait is the caller's choice: ``wait()`` blocks
a thread, ``add_done_callback`` is for an event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regionserver.region.region import Region
    from regionserver.storage.edits import Edit


class Commit:
    """One group of edits of one region. The log calls ``durable`` or ``failed`` once, in log order."""

    __slots__ = (
        "_callbacks",
        "_done",
        "edits",
        "error",
        "logged",
        "position",
        "region",
        "result",
        "sequence_id",
    )

    def __init__(self, region: Region, sequence_id: int, result: Any = None, logged: bool = True) -> None:
        self.region = region
        self.sequence_id = sequence_id
        self.result = result  # what the mutation answers: a Result, or None
        self.position = 0
        self.logged = logged
        self.error: BaseException | None = None
        self.edits: Sequence[tuple[bytes, Edit]] | None = None  # kept for observers only
        self._callbacks: list[Callable[[Commit], None]] | None = None
        self._done = False

    def durable(self) -> None:
        """The log is on disk up to and including these edits: show them."""
        with self.region.lock:
            self.region.publish(self)
            callbacks = self._finish()
        for callback in callbacks:
            callback(self)

    def failed(self, error: BaseException) -> None:
        """The edits will never be acknowledged; they stay invisible."""
        with self.region.lock:
            self.error = error
            callbacks = self._finish()
        for callback in callbacks:
            callback(self)

    def publish_now(self) -> None:
        """Show edits whose acknowledgement waits for no sync. The caller holds the region's lock."""
        self.region.publish(self)
        self._done = True

    def _finish(self) -> list[Callable[[Commit], None]]:
        self._done = True
        callbacks, self._callbacks = self._callbacks, None
        return callbacks or []

    @property
    def done(self) -> bool:
        """Durable or failed."""
        return self._done

    def wait(self) -> Any:
        """Block until the edits are durable and visible; returns the mutation's answer.

        Raises:
            StoreFailedException: the sync failed. The edits are not acknowledged.
        """
        if not self._done:
            self.region.wait_for(self)
        if self.error is not None:
            raise self.error
        return self.result

    def watch(self, callback: Callable[[Commit], None]) -> bool:
        """Have ``callback(commit)`` called once done, by who syncs; ``False``: it is done already.

        Nobody is asked to sync: that is the caller's business.
        """
        with self.region.lock:
            if self._done:
                return False
            if self._callbacks is None:
                self._callbacks = []
            self._callbacks.append(callback)
            return True

    def add_done_callback(self, callback: Callable[[Commit], None]) -> None:
        """Call ``callback(commit)`` once done: at once if it is, else from the thread that syncs."""
        if not self.watch(callback):
            callback(self)
        elif self.logged:
            self.region.request_sync()
        else:  # the log does not know this commit
            self.region.request_sync(self._settle)

    def _settle(self, error: BaseException | None) -> None:
        if error is None:
            self.durable()
        else:
            self.failed(error)
