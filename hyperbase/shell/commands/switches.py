"""What can be turned on and off: ``…_switch`` returns how it was before, ``…_enabled`` how it is."""

from __future__ import annotations

from typing import Any

from hyperbase.shell.errors import ArgumentError
from hyperbase.shell.regions_by_name import find_server
from hyperbase.shell.registry import command
from hyperbase.shell.session import Session
from hyperbase.shell.values import boolean, flatten


def _turn(session: Session, name: str, on: object) -> bool:
    before = session.admin.switch(name, boolean(on, f"{name} switch"))
    session.formatter.padded("true" if before else "false")
    return before


def _ask(session: Session, name: str) -> bool:
    state = session.admin.switch(name)
    session.formatter.padded("true" if state else "false")
    return state


@command("balance_switch", "tools", ["balance_switch true", "balance_switch false"])
def balance_switch(session: Session, on: object) -> str:
    """Turn the balancer, which spreads regions over servers, on or off; prints how it was before."""
    before = "true" if session.admin.switch("balancer", boolean(on, "balance_switch")) else "false"
    session.formatter.padded(f"Previous balancer state : {before}")
    return before


@command("balancer_enabled", "tools", ["balancer_enabled"])
def balancer_enabled(session: Session) -> bool:
    """Tell whether the balancer is on."""
    return _ask(session, "balancer")


@command("normalizer_switch", "tools", ["normalizer_switch true", "normalizer_switch false"])
def normalizer_switch(session: Session, on: object) -> bool:
    """Turn the normalizer, which evens out the sizes of regions, on or off; prints how it was before."""
    return _turn(session, "normalizer", on)


@command("normalizer_enabled", "tools", ["normalizer_enabled"])
def normalizer_enabled(session: Session) -> bool:
    """Tell whether the normalizer is on."""
    return _ask(session, "normalizer")


@command("catalogjanitor_switch", "tools", ["catalogjanitor_switch true", "catalogjanitor_switch false"])
def catalogjanitor_switch(session: Session, on: object) -> bool:
    """Turn the catalogue's janitor, which removes split parents, on or off; prints how it was before."""
    return _turn(session, "catalogjanitor", on)


@command("catalogjanitor_enabled", "tools", ["catalogjanitor_enabled"])
def catalogjanitor_enabled(session: Session) -> bool:
    """Tell whether the catalogue's janitor is on."""
    return _ask(session, "catalogjanitor")


@command("cleaner_chore_switch", "tools", ["cleaner_chore_switch true", "cleaner_chore_switch false"])
def cleaner_chore_switch(session: Session, on: object) -> bool:
    """Turn the chore that removes old files on or off; prints how it was before."""
    return _turn(session, "cleaner_chore", on)


@command("cleaner_chore_enabled", "tools", ["cleaner_chore_enabled"])
def cleaner_chore_enabled(session: Session) -> bool:
    """Tell whether the chore that removes old files is on."""
    return _ask(session, "cleaner_chore")


@command(
    "snapshot_cleanup_switch", "tools", ["snapshot_cleanup_switch true", "snapshot_cleanup_switch false"]
)
def snapshot_cleanup_switch(session: Session, on: object) -> str:
    """Turn the removal of expired snapshots on or off; prints how it was before."""
    before = (
        "true"
        if session.admin.switch("snapshot_cleanup", boolean(on, "snapshot_cleanup_switch"))
        else "false"
    )
    session.formatter.padded(f"Previous snapshot cleanup state : {before}")
    return before


@command("snapshot_cleanup_enabled", "tools", ["snapshot_cleanup_enabled"])
def snapshot_cleanup_enabled(session: Session) -> bool:
    """Tell whether expired snapshots are removed."""
    return _ask(session, "snapshot_cleanup")


def _split_or_merge(kind: object) -> str:
    if kind not in ("SPLIT", "MERGE"):
        raise ArgumentError("only SPLIT or MERGE accepted for type!")
    return str(kind).lower()


@command(
    "splitormerge_switch",
    "tools",
    ["splitormerge_switch 'SPLIT', true", "splitormerge_switch 'MERGE', false"],
)
def splitormerge_switch(session: Session, kind: object, on: object) -> bool:
    """Allow or refuse splits ('SPLIT') or merges ('MERGE') of regions; prints how it was before."""
    return _turn(session, _split_or_merge(kind), on)


@command("splitormerge_enabled", "tools", ["splitormerge_enabled 'SPLIT'", "splitormerge_enabled 'MERGE'"])
def splitormerge_enabled(session: Session, kind: object) -> bool:
    """Tell whether splits ('SPLIT') or merges ('MERGE') of regions are allowed."""
    return _ask(session, _split_or_merge(kind))


@command(
    "compaction_switch",
    "tools",
    ["compaction_switch true", "compaction_switch false, 'host1,16020,1417000000000'"],
)
def compaction_switch(session: Session, on: object, *servers: Any) -> None:
    """Turn compactions on or off, on all servers or on those named; prints how it was before."""
    names = [server.name for server in session.admin.cluster_status().servers]
    named = [find_server(session, server) for server in flatten(servers)]
    before = session.admin.switch("compaction", boolean(on, "compaction_switch"))
    session.formatter.header(["SERVER", "PREV_STATE"])
    for name in named or names:
        session.formatter.row([name, "true" if before else "false"])
    session.formatter.footer()
