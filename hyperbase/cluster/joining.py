"""How a process of a cluster gets its ZooKeeper session."""

from __future__ import annotations

import threading
import time

from hyperbase.common.config import ServerConfig
from hyperbase.common.errors import PleaseHoldException, ServerStoppedException
from hyperbase.common.zookeeper.location import ZooKeeperLocation
from hyperbase.common.zookeeper.session import ZooKeeperSession

FIRST_ANSWER_S = 30.0  # ZooKeeper's, or the process does not start
_FIRST_TRY_S = 3.0  # then it is looked whether the process is to stop


def connected(
    config: ServerConfig, location: ZooKeeperLocation, stopping: threading.Event
) -> ZooKeeperSession:
    """A session, if ZooKeeper answers in time.

    Raises:
        PleaseHoldException: it does not. ServerStoppedException: ``stopping`` was set first.
    """
    until = time.monotonic() + FIRST_ANSWER_S
    while True:
        session = ZooKeeperSession(location.quorum, timeout_s=config.zookeeper_session_timeout_s)
        try:
            return session.start(_FIRST_TRY_S)
        except PleaseHoldException:
            if stopping.is_set():
                raise ServerStoppedException("the server was stopped before ZooKeeper answered") from None
            if time.monotonic() >= until:
                raise
