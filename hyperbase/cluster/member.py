"""What every process of a cluster has: a name, two ports, a ZooKeeper session, a root, and whom to tell."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import hyperbase
from hyperbase.cluster.health import HealthEndpoint
from hyperbase.cluster.registry import ClusterRegistry
from hyperbase.cluster.root import SharedRoot
from hyperbase.common.config import ServerConfig
from hyperbase.common.process.life import ServerStartError, advertised_host, bind_problem
from hyperbase.common.rpc.server import RpcLimits, RpcServer
from hyperbase.common.server_name import ServerName
from hyperbase.common.zookeeper.coordination import Watch, ZooKeeperCoordination
from hyperbase.common.zookeeper.location import ZooKeeperLocation
from hyperbase.common.zookeeper.session import ZooKeeperSession
from regionserver.server.region_service import priority_of

logger = logging.getLogger(__name__)


class Member(ABC):
    """Everything belongs to the event loop's thread, but what says otherwise.

    Args:
        config: resolved; ``zookeeper_url`` names the cluster.
        request_stop: has ``stop`` called soon; told why.
        end: ends the process at once, since others take over; told why. Any thread.
    """

    def __init__(
        self, config: ServerConfig, request_stop: Callable[[str], None], end: Callable[[str], NoReturn]
    ) -> None:
        self.config = config
        self.location = ZooKeeperLocation.parse(config.zookeeper_url)
        self.startcode = int(time.time() * 1000)
        self.address: tuple[str, int] = (config.bind, config.port)
        self.info_port = config.info_port
        self.rpc = RpcServer(RpcLimits.of(config), f"hyperbase {hyperbase.__version__}", priority_of)
        self._request_stop = request_stop
        self._end = end
        self._health = HealthEndpoint(self._status)
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        # In the order in which they are made; undone in the opposite one.
        self._session: ZooKeeperSession | None = None
        self._coordination: ZooKeeperCoordination | None = None
        self._root: SharedRoot | None = None
        self._registry: ClusterRegistry | None = None
        self._cluster_up: Watch | None = None

    @property
    def name(self) -> ServerName:
        """``host,port,startcode``; final once the process listens."""
        return ServerName(advertised_host(self.config, self.address[0]), self.address[1], self.startcode)

    @property
    def endpoints(self) -> dict[str, str]:
        """What others connect to, by the name of the protocol."""
        host, port = self.address
        shown = f"[{host}]" if ":" in host else host
        return {"rpc": f"hyperbase://{shown}:{port}", "info": f"http://{shown}:{self.info_port}/health"}

    @abstractmethod
    async def start(self) -> None:
        """Listen, join the cluster, serve.

        Raises:
            OSError: the address cannot be bound.
            ServerStartError: nor that of /health, or the root is not to be used.
            HBaseIOException: ZooKeeper does not answer, or what is asked of the root is refused.
            ServerStoppedException: ``give_up`` was called.
        """

    @abstractmethod
    async def stop(self) -> None:
        """Leave the cluster cleanly."""

    @abstractmethod
    def _status(self) -> tuple[Mapping[str, Any], bool]:
        """What /health says, and whether this process answers."""

    def give_up(self) -> None:
        """End a ``start`` that waits."""
        self._stopping.set()

    async def _listen(self) -> None:
        """Bind; who connects waits."""
        self._loop = asyncio.get_running_loop()
        self.address = await self.rpc.listen(self.config.bind, self.config.port)

    async def _listen_for_health(self) -> None:
        bind, port = self.config.bind, self.config.info_port
        try:
            self.info_port = await self._health.listen(bind, port)
        except OSError as error:
            raise ServerStartError(bind_problem(bind, port, error, flag="--info-port")) from error

    def _cluster_changed(self, up: bool) -> None:
        """Any thread: the flag in ZooKeeper."""
        if not up:
            self._on_loop(lambda: self._request_stop("the cluster ends"))

    def _on_loop(self, call: Callable[[], None]) -> None:
        """Any thread."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop has ended
            logger.debug("a call after the end of the event loop was dropped")
