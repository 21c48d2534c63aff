"""What ``cluster_status`` says of an embedded store: one server, this process, with every open region."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import hyperbase
from hyperbase.common.cluster_status import ClusterStatus, ServerStatus
from regionserver.region.metrics import memory_limit_bytes, memory_used_bytes, region_status

if TYPE_CHECKING:
    from hyperbase.embedded.store import EmbeddedStore


def server_name(store: EmbeddedStore) -> str:
    """``host,port,startcode`` of the server whose store it is; an embedded store listens nowhere: port 0."""
    if store.catalog.server is not None:
        return str(store.catalog.server)
    return f"localhost,0,{round(store.engine.started_at * 1000)}"


def cluster_status(store: EmbeddedStore) -> ClusterStatus:
    """The store as a cluster of one server that is its own master."""
    engine, name = store.engine, server_name(store)
    ordered = sorted(engine.regions.values(), key=lambda region: region.info.sort_key())
    regions = tuple(region_status(region) for region in ordered)
    requests = sum(region.read_requests + region.write_requests for region in regions)
    seconds = max(1.0, time.time() - engine.started_at)
    return ClusterStatus(
        version=hyperbase.__version__,
        cluster_id=store.cluster_id,
        master=name,
        servers=(
            ServerStatus(
                name,
                regions,
                requests_per_second=round(requests / seconds, 1),
                used_memory_bytes=memory_used_bytes(),
                max_memory_bytes=memory_limit_bytes(engine),
            ),
        ),
    )
