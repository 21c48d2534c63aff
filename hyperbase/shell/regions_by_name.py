"""Finding a region or server from what users type: an encoded name, a region's whole name, a server's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hyperbase.common.errors import UnknownRegionException
from hyperbase.common.names import META_TABLE
from hyperbase.common.region_info import META_ENCODED_NAME, RegionInfo
from hyperbase.shell.errors import ArgumentError
from hyperbase.shell.strings import bytes_of
from hyperbase.shell.values import inspect, to_s

if TYPE_CHECKING:
    from hyperbase.shell.session import Session

_ENCODED = re.compile(r"[0-9a-f]{32}")


def looks_like_region(name: str) -> bool:
    """Whether this names a region and cannot be meant as a table."""
    return "," in name or name == META_ENCODED_NAME or _ENCODED.fullmatch(name) is not None


def find_region(session: Session, name: object) -> tuple[RegionInfo, str]:
    """The region with that name or encoded name, and its server.

    Raises:
        UnknownRegionException: there is none.
    """
    text = to_s(name)
    tables = session.admin.list_tables()
    if "," in text and text.partition(",")[0] in tables:
        tables = [text.partition(",")[0]]
    for table in (*tables, META_TABLE):
        for info, server in session.admin.region_locations(table):
            if text in (info.encoded_name, info.region_name_text) or bytes_of(text) == info.region_name:
                return info, server
    raise UnknownRegionException(f"{text}: no region has this name or encoded name")


def table_or_region(session: Session, name: object) -> str | RegionInfo:
    """What flush, compact and split work on: a region if it can only be one, else a table."""
    if isinstance(name, str) and looks_like_region(name) and not _is_table(session, name):
        return find_region(session, name)[0]
    return session.table_name(name)


def _is_table(session: Session, name: str) -> bool:
    return "," not in name and session.admin.table_exists(name)


def find_server(session: Session, name: object) -> str:
    """The live server with that name, or ``host`` or ``host,port`` of it.

    Raises:
        ArgumentError: there is none.
    """
    text = to_s(name)
    servers = [server.name for server in session.admin.cluster_status().servers]
    for server in servers:
        if server == text or server.startswith(f"{text},"):
            return server
    raise ArgumentError(f"no live server is called {inspect(name)}; there is {', '.join(servers) or 'none'}")
