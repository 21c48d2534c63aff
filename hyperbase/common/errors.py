"""HBase's exceptions, by HBase's names, so that logs and habits carry over.

``HBaseIOException`` is the root. Below it ``DoNotRetryIOException`` carries the verdict "the same call
fails again"; its siblings may be retried. A caller's slip is an ``IllegalArgumentException``, which is
a ``ValueError`` too. Every message says what was wrong, with which value, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence

SHOWN_CHARACTERS = 200


def shown(value: object) -> str:
    """A caller's value for a message: its ``repr`` as one line that is not too long, whatever it is."""
    try:
        text = repr(value)
    except Exception:  # an integer of thousands of digits, or a class with a mind of its own
        text = f"a {type(value).__name__} that cannot be shown"
    text = " ".join(text.split()) if "\n" in text else text
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")  # a lone surrogate cannot be printed
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."


class HBaseIOException(OSError):
    """Root of everything the store reports."""


class DoNotRetryIOException(HBaseIOException):
    """The same call would fail again."""


class IllegalArgumentException(DoNotRetryIOException, ValueError):
    """A value the caller gave is not acceptable."""


class WrongTypeException(IllegalArgumentException, TypeError):
    """An argument of the wrong type: HBase's IllegalArgumentException, and Python's TypeError."""


class IllegalStateException(DoNotRetryIOException, ValueError):
    """The object is not ready for this call."""


class WrongRowIOException(DoNotRetryIOException, ValueError):
    """A mutation of another row was added."""


class TableNotFoundException(DoNotRetryIOException):
    """The table does not exist."""


class TableExistsException(DoNotRetryIOException):
    """A table of that name exists already."""


class TableNotEnabledException(DoNotRetryIOException):
    """The table is disabled."""


class TableNotDisabledException(DoNotRetryIOException):
    """The table must be disabled first."""


class NoSuchColumnFamilyException(DoNotRetryIOException):
    """The table has no such column family."""


class InvalidFamilyOperationException(DoNotRetryIOException):
    """A family cannot be added, changed or removed."""


class NamespaceNotFoundException(DoNotRetryIOException):
    """The namespace does not exist."""


class NamespaceExistException(DoNotRetryIOException):
    """A namespace of that name exists already."""


class ConstraintException(DoNotRetryIOException):
    """The change would break a rule of the catalogue."""


class IncompatibleFilterException(DoNotRetryIOException):
    """The filter cannot be combined with this scan."""


class UnknownRegionException(DoNotRetryIOException):
    """No region of that name."""


class MergeRegionException(DoNotRetryIOException):
    """These regions cannot be merged."""


class OperationConflictException(DoNotRetryIOException):
    """A mutation with this nonce is under way, or is older than what the store remembers."""


class RowTooBigException(DoNotRetryIOException):
    """The row is larger than one answer may be."""


class CorruptHFileException(DoNotRetryIOException):
    """A StoreFile is damaged: file, block and offset are named."""


class DamagedWALException(DoNotRetryIOException):
    """A log is damaged before its end: file and offset are named."""


class StoreFormatException(DoNotRetryIOException):
    """A directory or file is not this store's, or was written by a newer version."""


class StoreLockedException(HBaseIOException):
    """Another process has the directory open."""


class ReadOnlyException(DoNotRetryIOException):
    """The store was opened read-only."""


class StoreClosedException(DoNotRetryIOException):
    """The connection or the store behind it is closed, or belongs to the parent of a forked process."""


class StoreFailedException(DoNotRetryIOException):
    """A log sync failed: acknowledged edits are safe, nothing more is accepted until a reopen."""


class NotServingRegionException(HBaseIOException):
    """The region is not open here: it moved, split or is closing. Retrying can help."""


class RegionTooBusyException(HBaseIOException):
    """Writes come faster than flushes: wait and retry."""


class CallQueueTooBigException(HBaseIOException):
    """The server has as many calls in hand as it may: wait and retry."""


class PleaseHoldException(HBaseIOException):
    """The cluster is starting, or changing its master: wait and retry."""


class MasterNotRunningException(PleaseHoldException):
    """This master is not the active one, or not any more: ask the next."""


class CallTimeoutException(HBaseIOException):
    """The time granted to the call was over before it was done; a mutation may still have been applied."""


class AccessDeniedException(DoNotRetryIOException):
    """The principal may not do this."""


class NotBalancedException(DoNotRetryIOException):
    """The balancer does not run now: it is off, or regions are in transition; the message says which."""


class CallCancelledException(DoNotRetryIOException):
    """The caller took the call back."""


class ServerStoppedException(HBaseIOException):
    """The server is stopping and takes no more calls."""


class StaleMasterException(DoNotRetryIOException):
    """A command of a master that another one has replaced, or one that was overtaken by a later command."""


class LeaseSuspendedException(HBaseIOException):
    """The server cannot prove that it is still the owner: it answers nothing until ZooKeeper does."""


class LeaseLostException(HBaseIOException):
    """The server's session or znode is gone: others take over, and it ends. Retrying finds the next owner."""


class UnknownScannerException(DoNotRetryIOException):
    """The scanner was closed or its lease ran out."""


class ConnectException(HBaseIOException):
    """No connection to the server could be made: nothing was sent."""


class ConnectionLostException(HBaseIOException):
    """The connection ended before the answer came. Whether the call was applied is not known."""


class RetriesExhaustedException(HBaseIOException):
    """Every attempt failed. ``causes`` holds what each failed with; the last is chained."""

    def __init__(self, message: str = "", causes: Sequence[Exception] = ()) -> None:
        self.causes = list(causes)
        super().__init__(message)


class RetriesExhaustedWithDetailsException(RetriesExhaustedException):
    """Some actions of a batch failed; the others were applied.

    ``failures`` holds ``(row, exception)`` for each action that failed.
    """

    def __init__(self, failures: Sequence[tuple[bytes, Exception]]) -> None:
        self.failures = list(failures)
        kinds = ", ".join(sorted({type(error).__name__ for _, error in self.failures}))
        row, first = self.failures[0]
        super().__init__(
            f"Failed {len(self.failures)} action(s): {kinds}; the others were applied. "
            f"First: row {row!r}: {first}"
        )


class CompactionCancelledException(HBaseIOException):
    """The compaction was told to stop; it left nothing behind and can be started again."""
