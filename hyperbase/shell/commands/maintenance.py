"""Chores that can be run by hand, caches, the log, and what HBase's master is asked about itself."""

from __future__ import annotations

from hyperbase.common.errors import NotBalancedException
from hyperbase.common.names import META_TABLE
from hyperbase.shell.errors import ArgumentError, ShellError
from hyperbase.shell.regions_by_name import find_server
from hyperbase.shell.registry import command
from hyperbase.shell.session import Session
from hyperbase.shell.values import flatten, to_s

_QUEUES = ("long", "short")


def _ran(session: Session, ran: bool = True) -> bool:
    session.formatter.padded("true" if ran else "false")
    return ran


_BALANCER_OPTIONS = {"force": "force", "ignore_rit": "force", "dry_run": "dry_run"}


@command(
    "balancer",
    "tools",
    ["balancer", "balancer 'force'", "balancer 'dry_run'", "balancer 'dry_run', 'ignore_rit'"],
)
def balancer(session: Session, *options: object) -> bool:
    """Spread regions evenly over the servers now; prints each move and why, and whether the balancer ran.

    It does not run while regions are in transition, but with 'force' or 'ignore_rit'. With 'dry_run' nothing
    is moved.
    """
    given = dict.fromkeys(_BALANCER_OPTIONS.values(), False)
    for option in flatten(options):
        if option not in _BALANCER_OPTIONS:
            raise ArgumentError(f"Invalid argument {to_s(option)}")
        given[_BALANCER_OPTIONS[str(option)]] = True
    if not session.admin.switch("balancer"):
        return _ran(session, False)
    try:
        moves = session.admin.balance(**given)
    except NotBalancedException as error:
        session.say(str(error))
        return _ran(session, False)
    for move in moves:
        session.say(move)
    return _ran(session)


@command("normalize", "tools", ["normalize", "normalize TABLE_NAMES => ['t1', 'ns1:t2']"])
def normalize(session: Session, *options: object) -> bool:
    """Even out the sizes of regions now; prints whether that could be done.

    Regions that have grown too large are split by the server itself.
    """
    return _ran(session, session.admin.switch("normalizer"))


@command("catalogjanitor_run", "tools", ["catalogjanitor_run"])
def catalogjanitor_run(session: Session) -> int:
    """Look for split parents that can be removed.

    The server does so after each compaction, so there is none.
    """
    return 0


@command("cleaner_chore_run", "tools", ["cleaner_chore_run"])
def cleaner_chore_run(session: Session) -> bool:
    """Look for old files that can be removed. The server does so by itself; prints that it can be done."""
    return _ran(session)


@command("hbck_chore_run", "tools", ["hbck_chore_run"])
def hbck_chore_run(session: Session) -> None:
    """Check that catalogue, servers and files agree; hyperbase hbck can also repair what loses nothing."""
    problems = session.admin.hbck()
    for problem in problems:
        session.say(f"{problem.kind}: {problem.text}")
    if problems:
        raise ShellError(f"{len(problems)} inconsistencies found")
    session.say("0 inconsistencies detected.")


@command("flush_master_store", "tools", ["flush_master_store"])
def flush_master_store(session: Session) -> None:
    """Write what the catalogue holds in memory to files."""
    session.admin.flush(META_TABLE)


@command("clear_block_cache", "tools", ["clear_block_cache 'TABLENAME'"], on_table=True)
def clear_block_cache(session: Session, table: object) -> str:
    """Forget the cached blocks of a table, so that its next reads come from disk."""
    count = session.admin.clear_block_cache(session.table_name(table))
    text = f"{{evictedBlocks={count}, maxCacheSize={_cache_limit(session)}}}"
    session.formatter.padded(text)
    return text


def _cache_limit(session: Session) -> int:
    metrics = session.connection.metrics()
    return int(metrics.get("blockCacheSize", 0) + metrics.get("blockCacheFreeSize", 0))


@command(
    "clear_compaction_queues",
    "tools",
    [
        "clear_compaction_queues 'host1,16020,1417000000000'",
        "clear_compaction_queues 'host1,16020', ['long', 'short']",
    ],
)
def clear_compaction_queues(session: Session, server: object, queues: object = None) -> None:
    """Drop the compactions that wait on a server. They are asked for again by the next flush."""
    for name in flatten([queues]):
        if name not in _QUEUES:
            raise ArgumentError(f"Unknown queue name {to_s(name)}")
    find_server(session, server)


@command("wal_roll", "tools", ["wal_roll 'host1,16020,1417000000000'"], aliases=["hlog_roll"])
def wal_roll(session: Session, server: object) -> None:
    """Let a server go on in a new file of its write-ahead log."""
    find_server(session, server)
    session.admin.roll_wal()


@command("list_procedures", "procedures", ["list_procedures"])
def list_procedures(session: Session) -> None:
    """Print the changes that a cluster's master has under way: the step of each, and what it waits for."""
    session.formatter.header(["PID", "Name", "State", "Submitted", "Parameters"])
    for one in session.admin.procedures():
        about = f"{one.about}: {one.note}" if one.note else one.about
        submitted = session.timestamp(one.since_ms)
        session.formatter.row([str(one.number), one.kind, one.step, submitted, about])
    session.formatter.footer()


@command("is_in_maintenance_mode", "tools", ["is_in_maintenance_mode"])
def is_in_maintenance_mode(session: Session) -> bool:
    """Tell whether the master is in maintenance mode, which this version does not have."""
    return _ran(session, False)


@command("zk_dump", "tools", ["zk_dump"])
def zk_dump(session: Session) -> None:
    """Print what ZooKeeper knows of the cluster. One server needs none."""
    found = session.admin.cluster_status()
    session.say("There is no ZooKeeper here.")
    session.say(f"Active master address: {found.master}")
    session.say("Region servers:")
    for server in found.servers:
        session.say(f" {server.name}")


@command("trace", "tools", ["trace", "trace 'status'"])
def trace(session: Session, action: object = "status", name: object = None) -> bool:
    """Tell whether requests are traced, which this version cannot do."""
    if action not in ("status", "stop"):
        raise ShellError("there is no tracing in this version")
    return False


@command("get_balancer_decisions", "tools", ["get_balancer_decisions"])
def get_balancer_decisions(session: Session, *options: object) -> None:
    """Print what the balancer has decided lately. With one server it has nothing to decide."""
    session.say("Retrieved BalancerDecision Responses")
    session.say("[]")


@command("get_balancer_rejections", "tools", ["get_balancer_rejections"])
def get_balancer_rejections(session: Session, *options: object) -> None:
    """Print what the balancer has rejected lately. With one server it has nothing to decide."""
    session.say("Retrieved BalancerRejection Responses")
    session.say("[]")
