"""Whether an operation is tried again, and when: exponential back-off with full jitter, within one time.

Errors below ``DoNotRetryIOException``, and those of the server's disk, end an operation at once. Others are
tried again until the operation's time or number of retries is used up; ``RetriesExhaustedException`` then
carries every cause.
"""

from __future__ import annotations

import random
import time
from typing import NoReturn

from hyperbase.common.config import ClientConfig
from hyperbase.common.errors import (
    CallQueueTooBigException,
    CallTimeoutException,
    ConnectException,
    ConnectionLostException,
    DoNotRetryIOException,
    HBaseIOException,
    LeaseLostException,
    LeaseSuspendedException,
    NotServingRegionException,
    PleaseHoldException,
    RetriesExhaustedException,
    ServerStoppedException,
)

MAX_CAUSES = 64  # kept of one operation: the first half and the last
# After these the region may be served elsewhere.
_MAY_HAVE_MOVED = (
    NotServingRegionException,
    ConnectException,
    ConnectionLostException,
    ServerStoppedException,
    LeaseLostException,
    LeaseSuspendedException,
)
# After these nobody can be asked there.
_UNREACHABLE = (ConnectException, ConnectionLostException)
# After these a call was not carried out because the server is not ready for it.
_NOT_NOW = (
    ConnectException,
    ConnectionLostException,
    ServerStoppedException,
    PleaseHoldException,
    CallQueueTooBigException,
)
# After these nobody knows whether the call was applied.
_OUTCOME_UNKNOWN = (
    ConnectionLostException,
    CallTimeoutException,
    LeaseLostException,
    LeaseSuspendedException,
)


def may_have_moved(error: BaseException) -> bool:
    """Whether to look for the region's server anew."""
    return isinstance(error, _MAY_HAVE_MOVED)


def is_unreachable(error: BaseException) -> bool:
    """Whether the server cannot be asked anything, as far as is known."""
    return isinstance(error, _UNREACHABLE)


def is_not_now(error: BaseException) -> bool:
    """Whether the server did not take the call, or its connection was lost."""
    return isinstance(error, _NOT_NOW)


def outcome_unknown(error: BaseException) -> bool:
    """Whether a call that ended so may have been applied."""
    return isinstance(error, _OUTCOME_UNKNOWN)


def is_final(error: HBaseIOException) -> bool:
    """Whether to ask again is no use. What the server's disk says (it is full, or broken) is final too."""
    if type(error) is HBaseIOException:
        return error.errno is not None
    return isinstance(error, (DoNotRetryIOException, RetriesExhaustedException))


class Retries:
    """The attempts of one operation.

    Args:
        what: names the operation in messages.
        limited: ``operation_timeout_s`` counts from now on; else from the first failure on, after which the
            operation still may take as long as it likes when it goes well.
    """

    __slots__ = (
        "_delay_s",
        "_limited",
        "_started",
        "attempts",
        "causes",
        "config",
        "deadline",
        "exhausted",
        "what",
    )

    def __init__(
        self, config: ClientConfig, what: str, *, limited: bool = True, started: float | None = None
    ) -> None:
        self.config = config
        self._limited = limited
        self._started = time.monotonic() if started is None else started
        self._delay_s = config.retry_delay_ms / 1000
        self.what = what
        self.attempts = 0  # that failed
        self.causes: list[Exception] = []
        self.exhausted: RetriesExhaustedException | None = None  # no part of the operation is tried again
        self.deadline = self._started + config.operation_timeout_s if limited else None

    def after(self, error: HBaseIOException) -> float:
        """Seconds to wait before the next attempt.

        Raises:
            RetriesExhaustedException: there is none; or ``error`` itself, when it is final.
        """
        if is_final(error):
            raise error
        now = time.monotonic()
        if not self.attempts and not self._limited:
            self._started = now
        self.attempts += 1
        if len(self.causes) >= MAX_CAUSES:
            del self.causes[MAX_CAUSES // 2]
        self.causes.append(error)
        config = self.config
        delay = random.uniform(0, min(self._delay_s, config.retry_delay_max_ms / 1000))
        self._delay_s *= 2
        if self.attempts > config.max_retries or now + delay >= self._started + config.operation_timeout_s:
            self._give_up(error, now)
        return delay

    def succeeded(self) -> None:
        """A part of the operation is done: what follows has all of the time again."""
        if self.attempts or self._limited:
            self.attempts = 0
            self.causes.clear()
            self._started = time.monotonic()
            self._delay_s = self.config.retry_delay_ms / 1000
            if self._limited:
                self.deadline = self._started + self.config.operation_timeout_s

    def _give_up(self, error: Exception, now: float) -> NoReturn:
        config = self.config
        limit = (
            f"max_retries is {config.max_retries}"
            if self.attempts > config.max_retries
            else f"operation_timeout_s is {config.operation_timeout_s:g}"
        )
        self.exhausted = RetriesExhaustedException(
            f"{self.what} failed {self.attempts} time(s) in {now - self._started:.1f} s ({limit}); "
            f"the last time with {type(error).__name__}: {error}",
            self.causes,
        )
        raise self.exhausted from error
