"""status, version, whoami, processlist, table_help."""

from __future__ import annotations

import getpass
import os

import hyperbase
from hyperbase.common.cluster_status import ClusterStatus, ServerStatus, split_server_name
from hyperbase.common.names import to_string_binary
from hyperbase.shell.errors import ArgumentError, NotYetError
from hyperbase.shell.registry import command
from hyperbase.shell.session import Session
from hyperbase.shell.values import inspect, to_s

_MB = 1024 * 1024


@command(
    "status",
    "general",
    ["status", "status 'simple'", "status 'summary'", "status 'detailed'"],
    stoppable=True,
)
def status(session: Session, form: object = "summary", kind: object = None) -> None:
    """Print how the servers are doing.

    'summary' is one line, 'simple' goes server by server, 'detailed' region by region.
    """
    found = session.admin.cluster_status()
    match to_s(form):
        case "simple":
            _simple(session, found)
        case "detailed":
            _detailed(session, found)
        case "replication":
            raise NotYetError("replication is not in this version yet")
        case _:
            count = len(found.servers)
            regions = sum(len(server.regions) for server in found.servers)
            session.say(
                f"1 active master, {len(found.backup_masters)} backup masters, {count} servers, "
                f"{len(found.dead_servers)} dead, {regions / count if count else 0.0:.4f} average load"
            )


def _place(name: str) -> str:
    host, port, startcode = split_server_name(name)
    return f"{host}:{port} {startcode}"


def _masters(session: Session, found: ClusterStatus) -> None:
    session.say(f"active master:  {_place(found.master)}")
    session.say(f"{len(found.backup_masters)} backup masters")
    for name in found.backup_masters:
        session.say(f"    {_place(name)}")


def _load(server: ServerStatus) -> str:
    regions = server.regions
    return ", ".join(
        (
            f"requestsPerSecond={server.requests_per_second}",
            f"numberOfOnlineRegions={len(regions)}",
            f"usedHeapMB={server.used_memory_bytes // _MB}",
            f"maxHeapMB={server.max_memory_bytes // _MB}",
            f"numberOfStores={sum(region.store_count for region in regions)}",
            f"numberOfStorefiles={sum(region.store_file_count for region in regions)}",
            f"storefileUncompressedSizeMB={sum(region.uncompressed_bytes for region in regions) // _MB}",
            f"storefileSizeMB={sum(region.store_file_bytes for region in regions) // _MB}",
            f"memstoreSizeMB={sum(region.memstore_bytes for region in regions) // _MB}",
            f"readRequestsCount={sum(region.read_requests for region in regions)}",
            f"writeRequestsCount={sum(region.write_requests for region in regions)}",
        )
    )


def _dead(session: Session, found: ClusterStatus) -> None:
    session.say(f"{len(found.dead_servers)} dead servers")
    for name in found.dead_servers:
        session.say(f"    {name}")


def _simple(session: Session, found: ClusterStatus) -> None:
    _masters(session, found)
    session.say(f"{len(found.servers)} live servers")
    for server in found.servers:
        session.say(f"    {_place(server.name)}")
        session.say(f"        {_load(server)}")
    _dead(session, found)
    load = sum(server.requests_per_second for server in found.servers)
    regions = sum(len(server.regions) for server in found.servers)
    session.say(f"Aggregate load: {int(load)}, regions: {regions}")


def _detailed(session: Session, found: ClusterStatus) -> None:
    session.say(f"version {found.version}")
    session.say(f"{len(found.regions_in_transition)} regionsInTransition")
    for line in found.regions_in_transition:
        session.say(f"    {line}")
    _masters(session, found)
    session.say("master coprocessors: []")
    session.say(f"{len(found.servers)} live servers")
    for server in found.servers:
        session.say(f"    {_place(server.name)}")
        session.say(f"        {_load(server)}")
        for region in server.regions:
            session.say(f'        "{to_string_binary(region.name)}"')
            session.say(
                f"            numberOfStores={region.store_count}, "
                f"numberOfStorefiles={region.store_file_count}, "
                f"storefileUncompressedSizeMB={region.uncompressed_bytes // _MB}, "
                f"storefileSizeMB={region.store_file_bytes // _MB}, "
                f"memstoreSizeMB={region.memstore_bytes // _MB}, "
                f"readRequestsCount={region.read_requests}, writeRequestsCount={region.write_requests}, "
                f"dataLocality={region.locality}"
            )
    _dead(session, found)


@command("version", "general", ["version"])
def version(session: Session) -> None:
    """Print the version of Hyperbase."""
    session.formatter.padded(hyperbase.__version__)


@command("whoami", "general", ["whoami"])
def whoami(session: Session) -> None:
    """Print the user whose commands these are, and the groups of that user."""
    session.say(f"{getpass.getuser()} (auth:SIMPLE)")
    names = _groups()
    if names:
        session.say(f"    groups: {', '.join(names)}")


def _groups() -> list[str]:
    import grp

    names = []
    for number in dict.fromkeys((os.getgid(), *os.getgroups())):
        try:
            names.append(grp.getgrgid(number).gr_name)
        except KeyError:
            names.append(str(number))
    return names


_TASK_FILTERS = ("all", "general", "handler", "rpc", "operation")


@command("processlist", "general", ["processlist", "processlist 'all'", "processlist 'rpc'"])
def processlist(session: Session, kind: object = "general", host: object = None) -> None:
    """Print what the servers are at: 'all' tasks, or the 'general', 'handler', 'rpc' or 'operation' ones."""
    name = to_s(kind)
    if name not in _TASK_FILTERS:
        raise ArgumentError(f"filter must be one of {', '.join(_TASK_FILTERS)}, not {inspect(kind)}")
    busy = []
    if name in ("all", "general"):
        for table in session.admin.list_tables():
            if session.admin.is_table_enabled(table):
                state = session.admin.compaction_state(table)
                if state != "NONE":
                    busy.append(f"compaction of {table}: {state}")
    if not busy:
        session.say(f"No {'' if name == 'all' else name + ' '}tasks currently running.")
    for line in busy:
        session.say(line)


@command("table_help", "general", ["table_help"])
def table_help(session: Session) -> None:
    """Print what can be done with a reference to a table."""
    session.say(
        """\
A table can be held in a variable, when it is created or later:

   hbase> t = create 't1', 'cf'
   hbase> t = get_table 't1'

Commands that take a table first are then called on it, without its name:

   hbase> t.put 'r', 'cf:q', 'v'
   hbase> t.scan {LIMIT => 10}
   hbase> t.describe
   hbase> t.flush
   hbase> t.disable
   hbase> t.drop

t.name is its name, t.help lists this, t.help 'scan' is the help on that command."""
    )
