"""The gate before a server's answers: its lease, and its log.

Whatever a region server sends, it sends while its lease is held (ARCHITECTURE.md, "Liveness"). Before there
is a lease, and while it is suspended, answers are kept. With a lost one the process ends without a word.

So it does when its log has failed: what was being written may be in the log or not, who replays it decides.
An error would be taken for the last word.
Threads: any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from hyperbase.common.errors import LeaseLostException, LeaseSuspendedException
from hyperbase.common.zookeeper.lease import Lease, LeaseState


class LeaseGate:
    """``RpcServer.gate`` and the engine's ``check_owner``.

    Args:
        end: ends the process at once; told why.
        log_problem: why the server's log takes nothing any more; empty while it does.
    """

    def __init__(self, end: Callable[[str], NoReturn], log_problem: Callable[[], str] = str) -> None:
        self._end = end
        self._log_problem = log_problem
        self._lease: Lease | None = None
        self._stopping = False

    def take(self, lease: Lease) -> None:
        """The server is registered: from now on this lease decides."""
        self._lease = lease
        lease.add_listener(self._changed)

    def shut(self) -> None:
        """The server gives its lease back: nothing is sent any more, and that is no reason to end."""
        self._stopping = True

    def __call__(self) -> bool:
        """Whether answers may leave at this moment."""
        problem = self._log_problem()
        if problem:
            if not self._stopping:
                self._end(problem)
            return False
        try:
            self.check_owner()
        except LeaseSuspendedException:
            return False
        return True

    def check_owner(self) -> None:
        """Return if the lease is held.

        Raises:
            LeaseSuspendedException: not now.
        """
        lease = self._lease
        if lease is None or self._stopping:
            raise LeaseSuspendedException("this server is not registered: it owns nothing")
        try:
            lease.check()
        except LeaseLostException:
            if self._stopping:  # meanwhile
                raise
            self._end(lease.lost)

    @property
    def state(self) -> str:
        """For people: ``starting``, ``held``, ``suspended``, ``lost`` or ``stopping``."""
        if self._stopping:
            return "stopping"
        return "starting" if self._lease is None else self._lease.state.value

    def _changed(self, state: LeaseState) -> None:
        if state is LeaseState.LOST and not self._stopping and self._lease is not None:
            self._end(self._lease.lost)
