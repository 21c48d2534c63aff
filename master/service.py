"""The master over the wire: namespaces, tables, maintenance (ADMIN), and where to find the rest (REGISTRY).

Changes are carried out by threads, one answer each; a repeated nonce gets the answer of the first, also while
that is still under way. What nobody waits for any more when its turn comes is not begun, and not remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol

from hyperbase.common.authorization import ADMIN, READ, Authorizer
from hyperbase.common.coordination import Places, registry_answer
from hyperbase.common.errors import IllegalArgumentException, PleaseHoldException
from hyperbase.common.rpc.call import PENDING, Call
from hyperbase.common.rpc.server import Handler
from hyperbase.common.wire.admin_codec import AdminMethod, decode_admin_call
from hyperbase.common.wire.messages import Method

REMEMBERED_ANSWERS = 1024

# Client id and nonce of the change that this thread carries out: a cluster's master writes them down with it,
# so that the next master knows that it was asked for already.
CURRENT_CHANGE: ContextVar[tuple[bytes, int] | None] = ContextVar("CURRENT_CHANGE", default=None)

_Outcome = tuple[bool, Any] | None  # (True, result), (False, error); None: nobody waited, it was not begun


class Workers(Protocol):
    """Threads that carry calls out."""

    def run_part(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """``work`` in a thread, its result to ``done`` on the event loop."""


class MasterService:
    """See the module. Handlers belong to the event loop's thread.

    Args:
        backend: has the methods of ``ADMIN_METHODS``.
    """

    def __init__(
        self,
        backend: Any,
        coordination: Places,
        workers: Workers,
        authorize: Authorizer,
        extra_metrics: Callable[[], dict[str, float]] = dict,
    ) -> None:
        self._backend = backend
        self._coordination = coordination
        self._workers = workers
        self._authorize = authorize
        self._extra_metrics = extra_metrics
        # nonce → the answer, or while it is under way the calls that wait for it
        self._answers: OrderedDict[tuple[bytes, int], _Change] = OrderedDict()

    def handlers(self) -> dict[int, Handler]:
        """By method number."""
        return {Method.ADMIN: self.admin, Method.REGISTRY: self.registry}

    def registry(self, call: Call, arguments: Any) -> Any:
        """REGISTRY: where hbase:meta and the master are."""
        return registry_answer(self._coordination)

    def admin(self, call: Call, arguments: Any) -> Any:
        """ADMIN: one method of the client's Backend."""
        name, values, nonce = arguments
        method, decoded = decode_admin_call(name, values)
        target = str(decoded[0]) if decoded and isinstance(decoded[0], str) else ""
        self._authorize(call.principal, ADMIN if method.changes else READ, target)
        if not method.changes or nonce is None:
            self._carry_out(name, method, decoded, [call], lambda outcome: _answer(call, outcome), None)
            return PENDING
        if type(nonce) is not int:
            raise IllegalArgumentException("malformed request: an admin call's nonce is a number")
        key = (call.connection.client_id, nonce)
        change = self._answers.get(key)
        if change is None:
            change = _Change(call, lambda: self._answers.pop(key, None))
            self._carry_out(name, method, decoded, change.waiting, change.finish, key)
            self._answers[key] = change
            while len(self._answers) > REMEMBERED_ANSWERS:
                self._answers.popitem(last=False)
            return PENDING
        change.tell(call)
        return PENDING

    def _carry_out(
        self,
        name: str,
        method: AdminMethod,
        arguments: list[Any],
        waiting: list[Call],
        done: Callable[[_Outcome], None],
        key: tuple[bytes, int] | None,
    ) -> None:
        def work() -> _Outcome:
            CURRENT_CHANGE.set(key)
            if all(call.expired() for call in list(waiting)):
                return None
            for call in list(waiting):
                call.deadline = None  # what has begun is carried out, and its answer remembered
            try:
                result = getattr(self._backend, name)(*arguments)
                if name == "metrics":
                    result = {**result, **self._extra_metrics()}
                return True, method.result.encode(result)
            except Exception as error:
                return False, error

        self._workers.run_part(work, done)


class _Change:
    """A change under way, or done; ``forget`` is called when it was not carried out after all."""

    __slots__ = ("_forget", "_outcome", "waiting")

    def __init__(self, first: Call, forget: Callable[[], object]) -> None:
        self._forget = forget
        self._outcome: _Outcome = None
        self.waiting = [first]

    def tell(self, call: Call) -> None:
        """Answer a call that asks for the same change again."""
        if self._outcome is None:
            self.waiting.append(call)
        else:
            _answer(call, self._outcome)

    def finish(self, outcome: _Outcome) -> None:
        """The change was carried out, or failed, or nobody waited for it any more."""
        self._outcome = outcome
        if outcome is None or isinstance(outcome[1], PleaseHoldException):  # then it was not tried either
            self._forget()
        for call in self.waiting:
            _answer(call, outcome)
        self.waiting.clear()


def _answer(call: Call, outcome: _Outcome) -> None:
    if outcome is None:
        call.time_out()
    elif outcome[0]:
        call.reply(outcome[1])
    else:
        call.fail(outcome[1])
