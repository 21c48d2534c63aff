"""Which process a pid is: a pid alone proves nothing, pids are used again."""

from __future__ import annotations

import os

_ENDED = frozenset("ZX")  # states in /proc: ended, and not waited for by the parent
_STOPPED = frozenset("Tt")  # by SIGSTOP, or a debugger


def process_identity(pid: int) -> str | None:
    """What tells a process from others of its pid: the boot of the machine, and the process's start in clock
    ticks since then; ``""``: the system has no word; ``None``: none runs.
    """
    fields = _stat(pid)
    if fields is None:
        return None if os.path.exists("/proc/self/stat") else _answers(pid)
    if fields[0] in _ENDED:
        return None
    return f"{_boot_id()}:{int(fields[19])}"


def is_process(pid: int, identity: str) -> bool:
    """Whether the process that had this identity still runs."""
    now = process_identity(pid) if pid > 0 else None
    return now is not None and (not now or not identity or now == identity)


def is_stopped(pid: int) -> bool:
    """Whether it was stopped by a signal, and does nothing until SIGCONT."""
    fields = _stat(pid)
    return fields is not None and fields[0] in _STOPPED


def _stat(pid: int) -> list[str] | None:
    """The fields of ``/proc/<pid>/stat`` behind the name, which is in parentheses and may hold anything."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].decode().split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _answers(pid: int) -> str | None:
    """Without ``/proc``: whether any process has this pid."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""
