"""The small protocol between the client API and what serves it: the embedded engine, or a network client.

``Connection``, ``Table``, ``Batch`` and ``Admin`` are written once, over this. Tables are named by
their full name as text (``"t"``, ``"ns:t"``). Every method raises the exceptions of
``hyperbase.common.errors``; queries carry their filter as an object or as text, and the backend parses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from hyperbase.common.cluster_status import ClusterStatus, ProcedureStatus, RegionPlace
from hyperbase.common.descriptors import NamespaceDescriptor, TableDescriptor
from hyperbase.common.inconsistency import Inconsistency
from hyperbase.common.model import (
    Action,
    Append,
    CheckAndMutate,
    Delete,
    Durability,
    Get,
    Increment,
    Put,
    Result,
    RowMutations,
    Scan,
)
from hyperbase.common.region_info import RegionInfo

if TYPE_CHECKING:
    import pyarrow as pa


class TableBackend(Protocol):
    """One table, located once; every call finds the region of its row itself."""

    def row(self, row: bytes) -> Result:
        """The newest version of every column: the fastest read there is."""

    def get(self, get: Get) -> Result: ...

    def get_many(self, gets: Sequence[Get]) -> list[Result]: ...

    def put_rows(
        self,
        rows: Sequence[tuple[bytes, Mapping[bytes, bytes]]],
        timestamp: int | None,
        durability: Durability,
    ) -> None:
        """Write ``(row, {b"family:qualifier": value})`` in order, with one sync. Keys and values are bytes.

        Raises IllegalArgumentException for a cell that is too large: then nothing is written.
        Raises RetriesExhaustedWithDetailsException when other rows were refused; the good ones are written.
        """

    def put(self, put: Put) -> None: ...

    def delete(self, delete: Delete) -> None: ...

    def increment(self, increment: Increment) -> Result: ...

    def append(self, append: Append) -> Result: ...

    def mutate_row(self, mutations: RowMutations) -> Result: ...

    def check_and_mutate(self, check: CheckAndMutate) -> tuple[bool, Result | None]: ...

    def run_batch(
        self, actions: Sequence[Action]
    ) -> list[Result | tuple[bool, Result | None] | Exception | None]:
        """One outcome per action, in the order given; good actions are applied though others fail.

        A Get gives its Result, an Increment or Append its Result, a Put or Delete ``None``, a CheckAndMutate
        its pair, a failed action its exception. A cell that is too large fails every put and delete of the
        batch that goes to its region.
        """

    def scan(self, scan: Scan) -> Iterator[list[Result]]:
        """Results in chunks of bounded size, in row order."""

    def scan_arrow(
        self, scan: Scan, layout: str, types: Mapping[bytes, str] | None, columns: Sequence[bytes] | None
    ) -> pa.RecordBatchReader: ...

    def put_arrow(self, data: Any, row_key: str, timestamp: int | str | None, family: bytes | None) -> int:
        """Returns the number of rows written."""


class Backend(Protocol):
    """A store: its tables, its catalogue, its maintenance.

    A backend that also has ``reconnect_after_fork()`` can be used in a forked child once that was called.
    """

    def table(self, name: str) -> TableBackend:
        """A handle; whether the table exists is found out by its calls."""

    def close(self) -> None: ...

    def metrics(self) -> dict[str, float]: ...

    # namespaces
    def create_namespace(self, descriptor: NamespaceDescriptor) -> None: ...
    def alter_namespace(self, descriptor: NamespaceDescriptor) -> None: ...
    def describe_namespace(self, name: str) -> NamespaceDescriptor: ...
    def drop_namespace(self, name: str) -> None: ...
    def list_namespaces(self) -> list[str]: ...

    # tables
    def create_table(self, descriptor: TableDescriptor, splits: Sequence[bytes] | None = None) -> None: ...
    def alter_table(self, descriptor: TableDescriptor) -> None: ...
    def describe_table(self, name: str) -> TableDescriptor: ...
    def list_tables(self) -> list[str]: ...
    def table_exists(self, name: str) -> bool: ...
    def enable_table(self, name: str) -> None: ...
    def disable_table(self, name: str) -> None: ...
    def is_table_enabled(self, name: str) -> bool: ...
    def truncate_table(self, name: str, preserve_splits: bool = False) -> None: ...
    def drop_table(self, name: str) -> None: ...

    # regions and maintenance; flush and compactions return when they are done
    def regions(self, table: str) -> list[RegionInfo]: ...
    def flush(self, table: str) -> None: ...
    def compact(self, table: str, major: bool = False) -> None: ...
    def split(self, table_or_region: str, key: bytes | None = None) -> None: ...
    def merge_regions(self, first: str, second: str) -> None: ...

    # operation
    def cluster_status(self) -> ClusterStatus: ...

    def region_locations(self, table: str) -> list[tuple[RegionInfo, str]]:
        """The table's regions in key order, each with the name of its server (``host,port,startcode``)."""

    def compaction_state(self, table: str) -> str:
        """``NONE``, ``MINOR``, ``MAJOR`` or ``MAJOR_AND_MINOR``: what is under way now."""

    def switch(self, name: str, on: bool | None) -> bool:
        """Turn a switch of ``hyperbase.client.admin.SWITCHES`` on or off; ``None`` only asks.

        Returns how it was before. Switches need not outlive the server.
        """

    def roll_wal(self) -> None:
        """Go on in a new segment of the log."""

    def clear_block_cache(self, table: str) -> int:
        """Forget the table's cached blocks; returns how many there were."""

    # servers, and which of them has which region; regions by full or encoded name
    def servers(self) -> list[str]:
        """Names of those alive, ``host,port,startcode``."""

    def region_states(self, table: str) -> list[RegionPlace]:
        """In key order."""

    def move(self, region: str, server: str = "") -> None:
        """Have another server serve the region: the one of that name or address, or any."""

    def assign(self, region: str) -> None: ...
    def unassign(self, region: str) -> None: ...

    def balance(self, dry_run: bool = False, force: bool = False) -> list[str]:
        """Even out what servers carry; a sentence for each move. ``dry_run``: only plan.

        Raises NotBalancedException; with ``force`` not because of regions in transition.
        """

    def procedures(self) -> list[ProcedureStatus]:
        """Changes under way, oldest first."""

    def decommission(self, servers: Sequence[str], offload: bool = False) -> None:
        """Give servers no more regions; ``offload``: and let others serve those they have."""

    def recommission(self, server: str, regions: Sequence[str] = ()) -> None:
        """Give a server regions again, those named at once."""

    def decommissioned(self) -> list[str]:
        """Servers that get no regions; ``host,port`` of one that is not alive."""

    def hbck(self, repair: bool = False) -> list[Inconsistency]:
        """What is wrong with catalogue, servers and files; ``repair``: after mending what loses nothing."""
