"""The servers: which there are, and what can be done with them; configuration and snapshots to come."""

from __future__ import annotations

from typing import Any

from hyperbase.shell.errors import ShellError
from hyperbase.shell.regions_by_name import find_region, find_server
from hyperbase.shell.registry import command
from hyperbase.shell.session import Session
from hyperbase.shell.values import boolean, flatten, to_s


def _print_servers(session: Session, names: tuple[str, ...]) -> None:
    session.formatter.header(["SERVERNAME"])
    for name in names:
        session.formatter.row([name])
    session.formatter.footer()


@command("list_liveservers", "tools", ["list_liveservers"])
def list_liveservers(session: Session) -> None:
    """Print the servers that are at work."""
    _print_servers(session, tuple(server.name for server in session.admin.cluster_status().servers))


@command("list_deadservers", "tools", ["list_deadservers"])
def list_deadservers(session: Session) -> None:
    """Print the servers that have died and have not come back."""
    _print_servers(session, session.admin.cluster_status().dead_servers)


@command("list_unknownservers", "tools", ["list_unknownservers"])
def list_unknownservers(session: Session) -> None:
    """Print servers that have regions by the catalogue, and neither live nor wait for their recovery."""
    found = session.admin.cluster_status()
    known = {*(server.name for server in found.servers), *found.dead_servers, ""}
    named = {
        place.server for table in session.admin.list_tables() for place in session.admin.region_states(table)
    }
    _print_servers(session, tuple(sorted(named - known)))


@command("clear_deadservers", "tools", ["clear_deadservers", "clear_deadservers 'host1,16020,1417000000000'"])
def clear_deadservers(session: Session, *servers: Any) -> None:
    """Forget servers that have died; prints those that could not be forgotten.

    A dead server is forgotten by itself once others have all its regions, so those that are left are not.
    """
    named = tuple(map(to_s, flatten(servers)))
    dead = session.admin.cluster_status().dead_servers
    _print_servers(session, tuple(name for name in dead if not named or name.startswith(named)))


@command("list_decommissioned_regionservers", "tools", ["list_decommissioned_regionservers"])
def list_decommissioned_regionservers(session: Session) -> None:
    """Print the servers that are to get no regions."""
    session.formatter.header(["DECOMMISSIONED REGION SERVERS"])
    for name in session.admin.decommissioned():
        session.formatter.row([name])
    session.formatter.footer()


@command(
    "decommission_regionservers",
    "tools",
    [
        "decommission_regionservers 'host1,16020'",
        "decommission_regionservers ['host1,16020', 'host2,16020']",
        "decommission_regionservers 'host1,16020', false",
    ],
)
def decommission_regionservers(session: Session, servers: object, offload: object = True) -> None:
    """Give servers no more regions, and move those they have to others, unless false says they keep them.

    It stays so when they are started anew. One server at least has to be left.
    """
    names = [find_server(session, server) for server in flatten([servers])]
    session.admin.decommission(names, boolean(offload, "offload"))


@command(
    "recommission_regionserver",
    "tools",
    ["recommission_regionserver 'host1,16020'", "recommission_regionserver 'host1,16020', ['ENCODED']"],
)
def recommission_regionserver(session: Session, server: object, *regions: Any) -> None:
    """Give a decommissioned server regions again, and at once those that are named."""
    text = to_s(server)
    away = [name for name in session.admin.decommissioned() if name == text or name.startswith(f"{text},")]
    infos = [find_region(session, region)[0] for region in flatten(regions)]
    session.admin.recommission(away[0] if away else find_server(session, server), infos)


@command("stop_regionserver", "tools", ["stop_regionserver 'host1,16020'"])
def stop_regionserver(session: Session, server: object) -> None:
    """Stop a server. The only one is stopped from outside, by hyperbase stop."""
    find_server(session, server)
    raise ShellError("the only server is stopped from outside: run hyperbase stop")


@command("stop_master", "tools", ["stop_master"])
def stop_master(session: Session) -> None:
    """Stop the cluster's master. The only server is stopped from outside, by hyperbase stop."""
    raise ShellError("the only server is stopped from outside: run hyperbase stop")


@command("update_config", "configuration", ["update_config 'host1,16020,1417000000000'"])
def update_config(session: Session, server: object) -> None:
    """Have a server read its settings again. In this version they are read when it starts."""
    find_server(session, server)
    raise ShellError("settings are read when the server starts: restart it")


@command("update_all_config", "configuration", ["update_all_config"])
def update_all_config(session: Session, *servers: Any) -> None:
    """Have every server read its settings again. In this version they are read when it starts."""
    raise ShellError("settings are read when the server starts: restart it")
