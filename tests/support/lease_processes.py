"""Processes that hold a lease and acknowledge under it, until they are stopped or killed.

``python -m tests.support.lease_processes QUORUM ROOT DIRECTORY ROLE TIMEOUT_S TICK_S FIRST COUNT`` forks
COUNT processes numbered from FIRST on. Each prints one line ``started NUMBER PID`` and then writes two files:

  DIRECTORY/NUMBER.log   what it appended and synced: numbers, one a line, 8 digits
  DIRECTORY/NUMBER.said  ``acked N`` after append, fsync and the lease's confirmation; ``state S`` at
                         transitions; ``standby``, then ``master EPOCH`` when it became the active one;
                         of a hasty one ``beat T`` when a heartbeat was answered: sent at T, lease's clock

ROLE is ``regionserver``, ``master``, or a region server with a bug: ``unchecked`` acknowledges unless its
session says that it has ended; ``hasty`` takes its lease from any heartbeat, the first after a pause too.
They end with their parent.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

from hyperbase.common.errors import HBaseIOException
from hyperbase.common.server_name import ServerName
from hyperbase.common.zookeeper.coordination import ZooKeeperCoordination
from hyperbase.common.zookeeper.lease import Lease
from hyperbase.common.zookeeper.session import ZooKeeperSession

PR_SET_PDEATHSIG = 1
PAUSE_S = 0.004


def hold(
    quorum: str, root: str, directory: str, role: str, timeout_s: float, tick_s: float, number: int
) -> None:
    """Be one of the processes."""
    log = os.open(f"{directory}/{number}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    said = os.open(f"{directory}/{number}.said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def say(text: str) -> None:
        os.write(said, text.encode() + b"\n")

    session = ZooKeeperSession(quorum, timeout_s=timeout_s).start(60)
    coordination = ZooKeeperCoordination(session, root, writer=f"{role}:{number}", tick_s=tick_s)
    server = ServerName("h", number, 1)
    if role == "hasty":

        def known_when(_: Lease, newest: float) -> float:
            say(f"beat {newest}")
            return newest

        Lease._known_when = known_when  # type: ignore[method-assign]
    lease: Lease
    if role == "master":
        say("standby")
        assert coordination.wait_to_be_master(server, stop=threading.Event())
        lease = coordination.master_lease
        say(f"master {lease.czxid}")
    else:
        lease = coordination.lease_server(server)
    lease.add_listener(lambda state: say(f"state {state.value}"))
    count = 0
    while True:
        count += 1
        os.write(log, b"%08d\n" % count)
        if role == "unchecked":
            os.fdatasync(log)
            confirmed = not session.lost
        else:
            try:
                lease.confirm(os.fdatasync(log))
                confirmed = True
            except HBaseIOException:
                confirmed = False
        if confirmed:
            say(f"acked {count}")
        time.sleep(PAUSE_S)


def main(arguments: list[str]) -> None:
    """Fork the processes, then wait for the end."""
    quorum, root, directory, role, timeout_s, tick_s, first, count = arguments
    for number in range(int(first), int(first) + int(count)):
        pid = os.fork()
        if pid == 0:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            hold(quorum, root, directory, role, float(timeout_s), float(tick_s), number)
        print(f"started {number} {pid}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1:])
