"""The servers: which there are, and what can be done with them; configuration and snapshots to come."""

from __future__ import annotations

from typing import Any

from hyperbase.shell.errors import ShellError
from hyperbase.shell.regions_by_name import find_server
from hyperbase.shell.registry import command
from hyperbase.shell.session import Session
from hyperbase.shell.values import flatten


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
    """Print servers that the catalogue names and nobody knows. With one server there are none."""
    _print_servers(session, ())


@command("clear_deadservers", "tools", ["clear_deadservers", "clear_deadservers 'host1,16020,1417000000000'"])
def clear_deadservers(session: Session, *servers: Any) -> None:
    """Forget servers that have died; prints those that could not be forgotten.

    With one server there are none.
    """
    _print_servers(session, ())


@command("list_decommissioned_regionservers", "tools", ["list_decommissioned_regionservers"])
def list_decommissioned_regionservers(session: Session) -> None:
    """Print the servers that are to get no regions. With one server there are none."""
    session.formatter.header(["DECOMMISSIONED REGION SERVERS"])
    session.formatter.footer()


@command("decommission_regionservers", "tools", ["decommission_regionservers 'host1,16020'"])
def decommission_regionservers(session: Session, servers: object, *more: Any) -> None:
    """Give a server no more regions. The only one cannot be spared."""
    for server in flatten([servers]):
        raise ShellError(f"{find_server(session, server)} is the only server: it has to keep its regions")


@command("recommission_regionserver", "tools", ["recommission_regionserver 'host1,16020'"])
def recommission_regionserver(session: Session, server: object, *regions: Any) -> None:
    """Give a decommissioned server regions again. The only server is never decommissioned."""
    find_server(session, server)


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
