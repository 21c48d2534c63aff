"""Connection for asyncio: the methods of ``hyperbase.Connection`` as coroutines.

A connection belongs to the event loop in which it was opened.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from hyperbase.client.aio.admin import Admin
from hyperbase.client.aio.driver import AsyncDriver
from hyperbase.client.aio.table import Table
from hyperbase.client.connection import Name, described_families
from hyperbase.client.network.locator import Locator, Source
from hyperbase.client.network.nonces import Nonces
from hyperbase.client.network.retries import Retries
from hyperbase.common.config import ClientConfig
from hyperbase.common.descriptors import TableDescriptor
from hyperbase.common.model import to_bytes
from hyperbase.common.names import canonical_table_name

if TYPE_CHECKING:
    from typing import Self


class Connection:
    """A store's tables and administration. ``hyperbase.aio.connect`` makes one."""

    def __init__(
        self,
        source: Source,
        config: ClientConfig,
        table_prefix: Name | None = None,
        table_prefix_separator: Name = b"_",
    ) -> None:
        self.table_prefix = None if table_prefix is None else to_bytes(table_prefix, "'table_prefix'")
        self.table_prefix_separator = to_bytes(table_prefix_separator, "'table_prefix_separator'")
        self.config = config
        self.nonces = Nonces()
        self.locator = Locator(source)
        self.driver = AsyncDriver(self.nonces.client_id, config)
        self._open = False

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} {'open' if self._open else 'closed'}>"

    async def open(self) -> None:
        """See that a server is there.

        Raises:
            ConnectException: none is, or no ZooKeeper. RetriesExhaustedException: none answered in time.
            PleaseHoldException: there is no cluster at ZooKeeper's root, or it does not serve yet.
        """
        if self.driver.closed:
            self.driver = AsyncDriver(self.nonces.client_id, self.config)
        await self.driver.run(self.locator.connect(Retries(self.config, "connecting")))
        self._open = True

    async def close(self) -> None:
        """Close every socket; calls that wait fail. ``open`` opens it again."""
        self._open = False
        self.driver.close()

    def is_open(self) -> bool:
        """Whether calls can be made."""
        return self._open

    async def __aenter__(self) -> Self:
        if not self._open:
            await self.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # -- what it leads to --------------------------------------------------------------------------------

    @property
    def admin(self) -> Admin:
        """Namespaces, schemas, regions, maintenance."""
        return Admin(self)

    async def metrics(self) -> dict[str, float]:
        """The store's counters and gauges by name; units are in the names."""
        return await self.admin.metrics()

    def table(self, name: Name, use_prefix: bool = True) -> Table:
        """A handle on a table; whether it exists shows at the first call."""
        return Table(self._table_name(name) if use_prefix else to_bytes(name, "table name"), self)

    def _table_name(self, name: Name) -> bytes:
        raw = to_bytes(name, "table name")
        return raw if self.table_prefix is None else self.table_prefix + self.table_prefix_separator + raw

    def _full_name(self, name: Name) -> str:
        return canonical_table_name(self._table_name(name))

    # -- HappyBase's administration ----------------------------------------------------------------------

    async def tables(self) -> list[bytes]:
        """Names of the tables; with a table prefix only those that have it, without it."""
        names = [name.encode("utf-8") for name in await self.admin.list_tables()]
        if self.table_prefix is None:
            return names
        prefix = self._table_name(b"")
        return [name[len(prefix) :] for name in names if name.startswith(prefix)]

    async def create_table(
        self, name: Name, families: Mapping[Any, Any], splits: Sequence[Name] | None = None
    ) -> None:
        """Create a table from ``{family: {option: value} | None}``."""
        full = self._full_name(name)
        await self.admin.create_table(TableDescriptor(full, described_families(full, families)), splits)

    async def delete_table(self, name: Name, disable: bool = False) -> None:
        """Remove a table; an enabled one only with ``disable``."""
        admin, full = self.admin, self._full_name(name)
        if disable and await admin.is_table_enabled(full):
            await admin.disable_table(full)
        await admin.drop_table(full)

    async def enable_table(self, name: Name) -> None:
        """Serve a disabled table again."""
        await self.admin.enable_table(self._full_name(name))

    async def disable_table(self, name: Name) -> None:
        """Stop serving a table."""
        await self.admin.disable_table(self._full_name(name))

    async def is_table_enabled(self, name: Name) -> bool:
        """Whether the table serves."""
        return await self.admin.is_table_enabled(self._full_name(name))

    async def compact_table(self, name: Name, major: bool = False) -> None:
        """Compact a table; returns when it is done."""
        admin, full = self.admin, self._full_name(name)
        await (admin.major_compact(full) if major else admin.compact(full))


class Connecting:
    """What ``connect`` returns: ``await`` it, or use it with ``async with``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __await__(self) -> Generator[Any, None, Connection]:
        return self._connection.__aenter__().__await__()

    async def __aenter__(self) -> Connection:
        return await self._connection.__aenter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._connection.close()
