"""The life of a master or region server process: start, announce, wait for a reason to stop, stop."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

import hyperbase
from hyperbase.cluster.master import Master
from hyperbase.cluster.member import Member
from hyperbase.cluster.region_server import RegionServer
from hyperbase.common.config import ServerConfig, Settings
from hyperbase.common.config.settings import DEFAULT
from hyperbase.common.errors import HBaseIOException, ServerStoppedException
from hyperbase.common.process.life import (
    CLEAN,
    FAILED,
    LOST,
    READY,
    ServerStartError,
    Stop,
    bind_problem,
    loop_factory,
    reach,
    resolved,
    set_up_log,
)
from hyperbase.common.process.tuning import tune_process

logger = logging.getLogger(__name__)

REGION_SERVER_PORT = 16_020  # HBase hbase.regionserver.port
MASTER_INFO_PORT = 16_010  # HBase hbase.master.info.port


def run_region_server(settings: Settings, announce: Callable[[str], None]) -> int:
    """Serve until a signal comes, or the master or ZooKeeper says that it is over; the exit code.

    Args:
        announce: is handed one line for each endpoint, then ``READY``.

    Raises:
        ServerStartError: no ZooKeeper is named, or directory, log file or port cannot be used.
        HBaseIOException: the server could not join its cluster.
    """
    config = resolved(settings.server)
    if settings.sources["server.port"] == DEFAULT:
        config = replace(config, port=REGION_SERVER_PORT)
    return _run("region server", config, announce, RegionServer)


def run_master(settings: Settings, announce: Callable[[str], None]) -> int:
    """Stand by and lead until a signal comes, or the cluster ends; as ``run_region_server``."""
    config = resolved(settings.server)
    if settings.sources["server.info_port"] == DEFAULT:
        config = replace(config, info_port=MASTER_INFO_PORT)
    return _run("master", config, announce, Master)


Make = Callable[[ServerConfig, Callable[[str], None], Callable[[str], NoReturn]], Member]


def _run(what: str, config: ServerConfig, announce: Callable[[str], None], make: Make) -> int:
    if not config.zookeeper_url:
        raise ServerStartError(f"a {what} needs to know its cluster: --zookeeper zk://host:2181/root")
    set_up_log(config)
    tune_process()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_serve(config, announce, make))


async def _serve(config: ServerConfig, announce: Callable[[str], None], make: Make) -> int:
    began = time.monotonic()
    stop = Stop(asyncio.get_running_loop())
    server = make(config, stop.request, end_at_once)
    if not await _started(server, stop, config):
        return CLEAN
    logger.info(
        "started server=%s root=%s zookeeper=%s pid=%d version=%s took_ms=%d",
        server.name,
        config.data_dir,
        server.location,
        os.getpid(),
        hyperbase.__version__,
        (time.monotonic() - began) * 1000,
    )
    who = reach(server.address[0])
    for protocol, url in server.endpoints.items():
        announce(f"{protocol:<8} {url}  ({who})")
    announce(READY)
    await stop.wait()
    began = time.monotonic()
    try:
        await server.stop()
    except OSError as error:
        logger.error("stopped without closing cleanly, others replay the log error=%s", error)
        return FAILED
    logger.info("stopped took_ms=%d", (time.monotonic() - began) * 1000)
    return CLEAN


async def _started(server: Member, stop: Stop, config: ServerConfig) -> bool:
    """Whether the server started; False: it was stopped before."""
    starting = asyncio.ensure_future(server.start())
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        server.give_up()
    try:
        await starting
    except ServerStoppedException:
        return False
    except HBaseIOException:
        raise
    except (OSError, UnicodeError) as error:
        raise ServerStartError(bind_problem(config.bind, config.port, error)) from error
    finally:
        stopped.cancel()
    return True


def end_at_once(reason: str) -> NoReturn:
    """What the server held is others' now, or will be: nothing is acknowledged or flushed any more."""
    logger.error("ended at once, others take over reason=%s", reason)
    for handler in logging.getLogger().handlers:
        handler.flush()
    os._exit(LOST)
