"""A call: one request on its way through the server, and the way its answer takes back.

A handler either returns the payload of the answer, or returns ``PENDING`` and answers later through the
call. ``reply``, ``fail``, ``item`` and ``end`` belong to the event loop's thread; other threads hand them
over with ``loop.call_soon_threadsafe``. Once answered or cancelled, a call ignores further answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from hyperbase.common.errors import CallCancelledException, CallTimeoutException, HBaseIOException
from hyperbase.common.wire.faults import encode_fault
from hyperbase.common.wire.messages import END, ERROR, ITEM, OK

if TYPE_CHECKING:
    from hyperbase.common.rpc.connection import RpcConnection

PENDING: Final = object()
"""What a handler returns when the answer comes later."""


class Call:
    """See the module."""

    __slots__ = (
        "connection",
        "deadline",
        "done",
        "granted",
        "id",
        "on_cancel",
        "on_credit",
        "on_data",
        "principal",
        "priority",
        "sent",
    )

    def __init__(
        self, connection: RpcConnection, call_id: int, principal: str, priority: int, deadline: float | None
    ) -> None:
        self.connection = connection
        self.id = call_id
        self.principal = principal
        self.priority = priority
        self.deadline = deadline  # of the loop's clock; None: the client waits as long as it lives
        self.done = False  # answered, cancelled, or its connection is gone: any thread may look
        self.granted = 0  # ITEMs a stream may send in all: the loop adds
        self.sent = 0  # ITEMs it has made: whoever makes them adds
        self.on_cancel: Callable[[], None] | None = None
        self.on_credit: Callable[[], None] | None = None
        self.on_data: Callable[[Any], None] | None = None

    @property
    def credit(self) -> int:
        """ITEMs that a stream may still send."""
        return self.granted - self.sent

    def overdue(self, now: float) -> bool:
        """The client's time is over. Any thread may ask: the deadline may be taken away meanwhile."""
        deadline = self.deadline
        return deadline is not None and now > deadline

    def expired(self) -> bool:
        """Nobody waits for the answer any more. Any thread may ask."""
        return self.done or self.overdue(self.connection.server.now())

    def reply(self, payload: Any) -> None:
        """The answer."""
        if not self.done:
            self.finish()
            self.connection.send((self.id, OK, payload))

    def fail(self, error: BaseException) -> None:
        """The call failed."""
        if not self.done:
            self.finish()
            self.connection.send((self.id, ERROR, encode_fault(error)))

    def item(self, payload: Any) -> None:
        """A part of a stream; the sender has taken its credit already."""
        if not self.done:
            self.connection.send((self.id, ITEM, payload))

    def end(self, payload: Any) -> None:
        """The end of a stream."""
        if not self.done:
            self.finish()
            self.connection.send((self.id, END, payload))

    def cancel(self, *, tell: bool) -> None:
        """The client took it back (``tell``: it gets a last answer), or is gone."""
        if tell:
            self.give_up(CallCancelledException("the call was cancelled"))
        elif not self.done:
            self.finish()
            if self.on_cancel is not None:
                self.on_cancel()

    def time_out(self) -> None:
        """The deadline passed before there was an answer."""
        self.give_up(CallTimeoutException("the call's time was over before it was done"))

    def give_up(self, error: HBaseIOException) -> None:
        """The call fails although work for it may be under way: that is told to stop."""
        if self.done:
            return
        self.fail(error)
        if self.on_cancel is not None:
            self.on_cancel()

    def add_credit(self, items: int) -> None:
        """The client takes so many more ITEMs."""
        self.granted += items
        if self.on_credit is not None:
            self.on_credit()

    def finish(self) -> None:
        """The last answer was sent."""
        self.done = True
        self.connection.forget(self)


def as_fault(error: BaseException) -> Any:
    """An ERROR outcome inside a payload."""
    return ERROR, encode_fault(error)
