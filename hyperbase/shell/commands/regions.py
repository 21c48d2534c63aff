"""Work on tables and regions: flush, compact, split, merge, and where regions are served."""

from __future__ import annotations

from typing import Any

from hyperbase.common.cluster_status import split_server_name
from hyperbase.common.errors import HBaseIOException
from hyperbase.common.region_info import RegionInfo
from hyperbase.shell.cell_text import region_text
from hyperbase.shell.errors import ArgumentError
from hyperbase.shell.regions_by_name import find_region, find_server, table_or_region
from hyperbase.shell.registry import command
from hyperbase.shell.session import Session
from hyperbase.shell.values import flatten, inspect, ruby_class, to_bytes, to_s


def _all_tables(session: Session) -> list[str]:
    admin = session.admin
    return [name for name in admin.list_tables() if admin.is_table_enabled(name)]


def _is_server(session: Session, name: object) -> bool:
    return isinstance(name, str) and any(
        server.name == name for server in session.admin.cluster_status().servers
    )


@command(
    "flush",
    "tools",
    ["flush 'TABLENAME'", "flush 'TABLENAME', 'FAMILY'", "flush 'REGIONNAME'", "flush 'ENCODED_REGIONNAME'",
     "flush 'SERVERNAME'"],
    on_table=True,
)  # fmt: skip
def flush(session: Session, table_or_region_or_server: object, families: object = None) -> None:
    """Write what a table, a region or all tables of a server hold in memory to files.

    With a family all families of the table are written.
    """
    if _is_server(session, table_or_region_or_server):
        for name in _all_tables(session):
            session.admin.flush(name)
            session.interrupts.check()
        return
    target = table_or_region(session, table_or_region_or_server)
    _check_families(session, target, families)
    session.admin.flush(target)


def _check_families(session: Session, target: str | RegionInfo, families: object) -> None:
    """A family that is named must be one of the table's."""
    if families is not None:
        name = target.table if isinstance(target, RegionInfo) else target
        descriptor = session.admin.describe_table(name)
        for family in flatten([families]):
            descriptor.family(to_bytes(family))


def _compact(session: Session, target: object, family: object, kind: object, major: bool) -> None:
    if kind not in ("NORMAL", "MOB"):
        raise ArgumentError("only NORMAL or MOB accepted for type!")
    found = table_or_region(session, target)
    _check_families(session, found, family)
    (session.admin.major_compact if major else session.admin.compact)(found)


@command(
    "compact",
    "tools",
    [
        "compact 'ns1:t1'",
        "compact 'r1'",
        "compact 'r1', 'c1'",
        "compact 't1', 'c1'",
        "compact 't1', nil, 'NORMAL'",
    ],
    on_table=True,
)
def compact(
    session: Session, table_or_region: object, family: object = None, kind: object = "NORMAL"
) -> None:
    """Merge files of a table or region where that is worth while, and return when it is done.

    With a family all families of the table are looked at.
    """
    _compact(session, table_or_region, family, kind, major=False)


@command(
    "major_compact",
    "tools",
    ["major_compact 't1'", "major_compact 'ns1:t1'", "major_compact 'r1'", "major_compact 't1', 'c1'"],
    on_table=True,
)
def major_compact(
    session: Session, table_or_region: object, family: object = None, kind: object = "NORMAL"
) -> None:
    """Merge all files of each family of a table or region to one, without what was deleted or has expired.

    With a family all families of the table are merged.
    """
    _compact(session, table_or_region, family, kind, major=True)


@command("compact_rs", "tools", ["compact_rs 'host1,16020,1417000000000'", "compact_rs 'host1,16020', true"])
def compact_rs(session: Session, server: object, major: object = False) -> None:
    """Compact every table that a server has, with true as second argument by a major compaction."""
    find_server(session, server)
    for name in _all_tables(session):
        (session.admin.major_compact if major else session.admin.compact)(name)
        session.interrupts.check()


@command("compaction_state", "tools", ["compaction_state 'ns1:t1'", "compaction_state 't1'"], on_table=True)
def compaction_state(session: Session, table: object) -> str:
    """Print which compaction of a table is under way: NONE, MINOR, MAJOR or MAJOR_AND_MINOR."""
    state = session.admin.compaction_state(session.table_name(table))
    session.formatter.padded(state)
    return state


@command(
    "split",
    "tools",
    ["split 'TABLENAME'", "split 'REGIONNAME'", "split 'ENCODED_REGIONNAME'", "split 'TABLENAME', 'splitKey'",
     "split 'REGIONNAME', 'splitKey'"],
    on_table=True,
)  # fmt: skip
def split(session: Session, table_or_region_name: object, split_point: object = None) -> None:
    """Split a region, or the regions of a table, in the middle or at a key."""
    target = table_or_region(session, table_or_region_name)
    session.admin.split(target, None if split_point is None else to_bytes(split_point))


@command(
    "merge_region",
    "tools",
    [
        "merge_region 'ENCODED_REGIONNAME', 'ENCODED_REGIONNAME'",
        "merge_region 'FULL_REGIONNAME', 'FULL_REGIONNAME', 'FULL_REGIONNAME'",
        "merge_region ['ENCODED_REGIONNAME', 'ENCODED_REGIONNAME'], true",
    ],
)
def merge_region(session: Session, region: object, *more: Any) -> None:
    """Merge neighbouring regions of a table to one.

    That they are neighbours is required also with true behind them.
    """
    arguments = [region, *more]
    if len(arguments) > 1 and isinstance(arguments[-1], bool):
        arguments.pop()
    names = flatten(arguments)
    for name in names:
        if not isinstance(name, str):
            raise ArgumentError(f"Type of {inspect(name)} is {ruby_class(name)}, but expected String")
    if len(names) < 2:
        raise ArgumentError(f"Can not merge only {len(names)} region")
    found = [find_region(session, name)[0] for name in names]
    if len({info.encoded_name for info in found}) < len(found):
        raise ArgumentError(f"Duplicate regions specified; {', '.join(map(to_s, names))}")
    found.sort(key=RegionInfo.sort_key)
    merged = found[0]
    for info in found[1:]:
        session.admin.merge_regions(merged, info)
        start = merged.start_key
        merged = next(each for each in session.admin.regions(info.table) if each.start_key == start)


# -- where regions are served ----------------------------------------------------------------------------


@command("assign", "tools", ["assign 'REGIONNAME'", "assign 'ENCODED_REGIONNAME'"])
def assign(session: Session, region: object) -> None:
    """Have a region served that is served nowhere, by whichever server has fewest."""
    session.admin.assign(_served(session, region)[0])


def _served(session: Session, region: object) -> tuple[RegionInfo, str]:
    info, server = find_region(session, region)
    if not session.admin.is_table_enabled(info.table):
        raise HBaseIOException(f"table {info.table} is disabled: its regions are served when it is enabled")
    return info, server


@command("unassign", "tools", ["unassign 'REGIONNAME'", "unassign 'ENCODED_REGIONNAME'"])
def unassign(session: Session, region: object, force: object = None) -> None:
    """Have a region no longer served, until it is assigned.

    Where one server is all there is, it serves every region of an enabled table: disable the table.
    """
    session.admin.unassign(_served(session, region)[0])


@command(
    "move",
    "tools",
    ["move 'ENCODED_REGIONNAME'", "move 'ENCODED_REGIONNAME', 'host1,16020,1417000000000'"],
)
def move(session: Session, region: object, server: object = None) -> None:
    """Move a region to another server, given by its name, or to any. The only one keeps it."""
    info, _ = _served(session, region)
    target = "" if server is None else find_server(session, server)
    if target or len(session.admin.servers()) > 1:
        session.admin.move(info, target)


@command("close_region", "tools", ["close_region 'REGIONNAME'"])
def close_region(session: Session, region: object, server: object = None) -> None:
    """Does nothing, as in HBase 2: unassign takes its place."""
    session.say("DEPRECATED!!! Use 'unassign' command instead.")


@command("regioninfo", "tools", ["regioninfo 'REGIONNAME'", "regioninfo 'ENCODED_REGIONNAME'"])
def regioninfo(session: Session, region: object) -> None:
    """Print the region of that name, and its server."""
    info, server = find_region(session, region)
    host, port, _ = split_server_name(server)
    session.formatter.header(["HOST", "REGION"])
    session.formatter.row([f"{host}:{port}", region_text(info)])
    session.formatter.footer(1)


@command("rit", "tools", ["rit"])
def rit(session: Session) -> None:
    """Print the regions that are just being opened, closed or moved."""
    lines = session.admin.cluster_status().regions_in_transition
    for line in lines:
        session.formatter.padded(line)
    session.say(f"{len(lines)} region(s) in transition")
