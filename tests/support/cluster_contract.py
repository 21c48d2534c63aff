"""A cluster of real processes behind ``hyperbase.Connection``, for the suite that all implementations pass.

Nothing of its stores is in reach of the test: what looks inside, or moves the clock, is skipped
(``store_of``).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from hyperbase import Connection
from hyperbase.client.network.address import parse_source
from hyperbase.client.network.backend import NetworkBackend
from hyperbase.client.network.opening import client_config
from tests.support.cluster import Cluster
from tests.support.engine import QUIET

SETTINGS = {f"HYPERBASE_STORE_{name.upper()}": str(value) for name, value in QUIET.items()}


class ClusterBackend(NetworkBackend):
    """A client of the cluster; ``crash`` is the death of the servers of the table that was used last."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        super().__init__(parse_source(cluster.url), client_config({"retry_delay_max_ms": 200}))
        self.connect()

    def crash(self) -> None:
        regions = list(self.locator.tables.values())[-1]
        addresses = {place.address for place in regions.places}
        for process in self.cluster.view().processes:
            if process.address in addresses and process.role == "regionserver":
                self.cluster.kill(process.label)
                self.cluster.start_again(process.label)
        self.close()


def cluster_connection(cluster: Cluster) -> Connection:
    """A connection to an empty cluster."""
    cluster.wait_until_ready()
    connection = Connection(lambda: ClusterBackend(cluster))
    empty(connection)
    return connection


def empty(connection: Connection) -> None:
    """Drop every table and namespace."""
    admin = connection.admin

    def drop(name: str) -> None:
        if admin.is_table_enabled(name):
            admin.disable_table(name)
        admin.drop_table(name)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(drop, admin.list_tables()))
    for namespace in admin.list_namespaces():
        if namespace not in ("default", "hbase"):
            admin.drop_namespace(namespace)
