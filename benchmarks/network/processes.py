"""What /proc tells of other processes: memory, children, and whether they are busy."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def status_kib(pid: int, name: str) -> int:
    """``VmRSS`` or ``VmHWM`` of a process, in KiB; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) if found else 0


def tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            parent = _stat(int(entry), 3)
            if parent is not None:
                children.setdefault(parent, []).append(int(entry))
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        todo.extend(children.get(one, ()))
    return found


def tree_rss_kib(pid: int) -> int:
    return sum(status_kib(one, "VmRSS") for one in tree(pid))


def machine_busy(seconds: float = 1.0) -> float:
    """The share of all cores, 0 to 1, that anybody used during the next ``seconds``."""
    before = _machine_ticks()
    time.sleep(seconds)
    idle, total = (after - earlier for after, earlier in zip(_machine_ticks(), before, strict=True))
    return 1 - idle / total if total else 0.0


def _machine_ticks() -> tuple[int, int]:
    """Idle and all ticks of all cores since the start."""
    fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return fields[3] + fields[4], sum(fields)  # idle and waiting for the disk


def open_sockets(pid: int) -> int:
    """Sockets that a process has open."""
    folder = f"/proc/{pid}/fd"
    return sum(_link(f"{folder}/{name}").startswith("socket:") for name in os.listdir(folder))


def wait_until_quiet(pids: Iterable[int], limit_s: float = 8.0, busy: float = 0.1) -> None:
    """Return when the processes, with children, use less than ``busy`` of a core; or after ``limit_s``."""
    watched = list(pids)
    deadline = time.monotonic() + limit_s
    while watched and time.monotonic() < deadline:
        before = _cpu_s(watched)
        time.sleep(0.25)
        if _cpu_s(watched) - before < busy * 0.25:
            return


def listener(port: int) -> int | None:
    """The process that listens on a TCP port of this machine, when it is ours to see."""
    wanted = f"{port:04X}"
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if words[3] == "0A" and words[1].endswith(":" + wanted):
                inodes.add(f"socket:[{words[9]}]")
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            for name in os.listdir(f"/proc/{entry}/fd"):
                if os.readlink(f"/proc/{entry}/fd/{name}") in inodes:
                    return int(entry)
        except OSError:
            continue
    return None


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _cpu_s(pids: Iterable[int]) -> float:
    ticks = 0
    for root in pids:
        for pid in tree(root):
            ticks += (_stat(pid, 13) or 0) + (_stat(pid, 14) or 0)
    return ticks / _TICKS_PER_S


def _stat(pid: int, index: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name, in parentheses, may contain anything; the fields after it are counted from 2.
    return int(text.rpartition(")")[2].split()[index - 2])
