"""Where a cluster is, asked of ZooKeeper: one short connection that reads five znodes and ends.

A client comes here first, and again when no server that it knows answers. Between the two it needs no
ZooKeeper.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from hyperbase.client.network.registry import Registry
from hyperbase.common.errors import (
    ConnectException,
    DoNotRetryIOException,
    IllegalArgumentException,
    PleaseHoldException,
)
from hyperbase.common.region_info import RegionState
from hyperbase.common.server_name import ServerName
from hyperbase.common.zookeeper.location import ZooKeeperLocation
from hyperbase.common.zookeeper.znodes import MasterInfo, MetaLocation, ZnodePaths, read_cluster_id

SESSION_S = 10.0  # that is asked for: nothing of the session's stays
_FIRST_TRY_S = 0.3  # then it is looked whether anybody listens at all
_PROBE_S = 1.0


def look_up(location: ZooKeeperLocation, timeout_s: float) -> Registry:
    """What ZooKeeper knows of the cluster. Waits; asyncio clients call it in a thread.

    Raises:
        ConnectException: ZooKeeper does not answer within ``timeout_s``; at once where nobody listens.
        PleaseHoldException: no cluster has started at this root, or it does not serve hbase:meta yet.
        DoNotRetryIOException: what is there is no cluster's, or may not be read.
    """
    deadline = time.monotonic() + timeout_s
    with short_session(location, timeout_s) as client:
        return _read(client, location, lambda: max(deadline - time.monotonic(), 0.05))


@contextlib.contextmanager
def short_session(location: ZooKeeperLocation, timeout_s: float) -> Iterator[Any]:
    """A kazoo client for a few questions.

    Raises:
        ConnectException: ZooKeeper does not answer within ``timeout_s``; at once where nobody listens.
        DoNotRetryIOException: a znode may not be read.
    """
    from kazoo.exceptions import KazooException, NoAuthError

    client = _connected(location, timeout_s)
    try:
        yield client
    except NoAuthError as error:
        raise DoNotRetryIOException(f"the znodes of {location} may not be read: {error}") from error
    except (KazooException, client.handler.timeout_exception) as error:
        reason = str(error) or type(error).__name__
        raise ConnectException(f"ZooKeeper at {location.quorum} did not answer: {reason}") from error
    finally:
        _end(client)


def _connected(location: ZooKeeperLocation, timeout_s: float) -> Any:
    from kazoo.client import KazooClient
    from kazoo.retry import KazooRetry

    client = KazooClient(
        location.quorum,
        timeout=SESSION_S,
        connection_retry=KazooRetry(max_tries=-1, delay=0.05, max_delay=0.3),
        command_retry=KazooRetry(max_tries=0),
        logger=_silent_logger(),
    )
    live = client.start_async()
    live.wait(min(_FIRST_TRY_S, timeout_s))
    if not client.connected:
        troubles = [_trouble(host, port) for host, port in location.hosts]
        if not all(troubles):  # somebody listens there
            live.wait(max(timeout_s - _FIRST_TRY_S, 0))
    if client.connected:
        return client
    # kazoo ends with its attempt to connect, which may take as long as the session may last.
    threading.Thread(target=_end, args=(client,), name="hyperbase-zk-stop", daemon=True).start()
    known = "; ".join(dict.fromkeys(filter(None, troubles)))
    raise ConnectException(
        f"no ZooKeeper at {location.quorum} ({known or f'no answer within {timeout_s:g} s'}): "
        "is it running, is the address right?"
    )


def _end(client: Any) -> None:
    client.stop()
    client.close()


def _trouble(host: str, port: int) -> str:
    """Why nobody can answer there; empty: somebody may."""
    try:
        socket.create_connection((host, port), _PROBE_S).close()
    except (ConnectionRefusedError, socket.gaierror) as error:
        return f"{host}: {error.strerror or error}"
    except OSError:
        return ""
    return ""


def _silent_logger() -> logging.Logger:
    """kazoo warns of what is reported here as an error."""
    logger = logging.getLogger(f"{__name__}.kazoo")
    logger.setLevel(logging.CRITICAL + 1)
    return logger


def _read(client: Any, location: ZooKeeperLocation, left_s: Callable[[], float]) -> Registry:
    from kazoo.exceptions import NoNodeError

    paths = ZnodePaths(location.root)
    asked = [client.get_async(path) for path in (paths.cluster_id, paths.master, paths.meta)]
    asked.append(client.get_children_async(paths.servers))
    found: list[Any] = []
    for answer in asked:
        try:
            found.append(answer.get(timeout=left_s()))
        except NoNodeError:
            found.append(None)
    cluster_id, master, meta, servers = found
    if cluster_id is None:
        raise PleaseHoldException(
            f"there is no cluster at {location.root} of ZooKeeper {location.quorum}: it has not started, or "
            "the root is another one"
        )
    try:
        place = MetaLocation.from_bytes(meta[0]) if meta else None
        return Registry(
            read_cluster_id(cluster_id[0]),
            MasterInfo.from_bytes(master[0]).server.address if master else "",
            place.server.address if place is not None and place.state is RegionState.OPEN else "",
            tuple(ServerName.parse(name).address for name in sorted(servers or ())),
        )
    except IllegalArgumentException as error:
        raise DoNotRetryIOException(f"what is at {location} is no cluster of Hyperbase: {error}") from error
