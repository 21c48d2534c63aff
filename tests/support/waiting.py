"""Waiting for conditions, not for the clock. What the clock decides is only how long a fault lasts."""

from __future__ import annotations

import time
from collections.abc import Callable

from hyperbase.common.zookeeper.lease import Lease


def wait_for(condition: Callable[[], bool], what: Callable[[], object] = str, wait_s: float = 30) -> None:
    """Return once the condition holds.

    Raises:
        AssertionError: it did not within ``wait_s``; ``what`` tells what was instead.
    """
    end = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(0.01)


def keep_beating(lease: Lease, seconds: float) -> None:
    """Return once ZooKeeper has answered heartbeats that span so many seconds: the lease's own time."""
    begun = lease.known
    wait_for(lambda: lease.known >= begun + seconds, lambda: lease.state)


def fault_lasts(seconds: float) -> None:
    """Let a fault go on: its length is what the test is about, nothing is waited for."""
    time.sleep(seconds)
