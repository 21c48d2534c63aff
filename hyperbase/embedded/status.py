"""What ``cluster_status`` says of an embedded store: one server, this process, with every open region."""

from __future__ import annotations

import resource
import sys
import time
from typing import TYPE_CHECKING

import hyperbase
from hyperbase.common.cluster_status import ClusterStatus, RegionStatus, ServerStatus

if TYPE_CHECKING:
    from hyperbase.embedded.store import EmbeddedStore
    from regionserver.region.region import Region


def server_name(store: EmbeddedStore) -> str:
    """``host,port,startcode`` of the server whose store it is; an embedded store listens nowhere: port 0."""
    if store.catalog.server is not None:
        return str(store.catalog.server)
    return f"localhost,0,{round(store.engine.started_at * 1000)}"


def cluster_status(store: EmbeddedStore) -> ClusterStatus:
    """The store as a cluster of one server that is its own master."""
    engine, name = store.engine, server_name(store)
    ordered = sorted(engine.regions.values(), key=lambda region: region.info.sort_key())
    regions = tuple(_region_status(region) for region in ordered)
    requests = sum(region.read_requests + region.write_requests for region in regions)
    seconds = max(1.0, time.time() - engine.started_at)
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return ClusterStatus(
        version=hyperbase.__version__,
        cluster_id=store.cluster_id,
        master=name,
        servers=(
            ServerStatus(
                name,
                regions,
                requests_per_second=round(requests / seconds, 1),
                used_memory_bytes=usage * (1 if sys.platform == "darwin" else 1024),
                max_memory_bytes=engine.config.memstore_limit_bytes + engine.config.block_cache_bytes,
            ),
        ),
    )


def _region_status(region: Region) -> RegionStatus:
    files = [reader.info for _, reader in region.view.all_files]
    counts = region.counts()
    return RegionStatus(
        name=region.info.region_name,
        store_count=len(region.descriptor.families),
        store_file_count=len(files),
        store_file_bytes=sum(info.file_bytes for info in files),
        uncompressed_bytes=sum(info.raw_bytes for info in files),
        memstore_bytes=region.memstore_bytes,
        read_requests=counts["readRequestCount"],
        write_requests=counts["writeRequestCount"],
    )
