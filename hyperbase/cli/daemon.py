"""Leaving the terminal: the process that was started waits until the one that stays is ready, and ends.

parent ──fork──> go-between: setsid ──fork──> the daemon
Until the daemon is ready its output goes to the parent through a pipe; afterwards to the log file.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from hyperbase.cli.console import ExitCode, say, warn


class Daemon:
    """The daemon's side: in a session of its own, without terminal, telling the parent what happens."""

    def __init__(self, write_end: int) -> None:
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(write_end, 1)
        os.dup2(write_end, 2)
        os.close(null)
        os.close(write_end)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def release(self, log_file: str) -> None:
        """Let the parent go. What the interpreter itself still has to say goes to the log file."""
        sys.stdout.flush()
        sys.stderr.flush()
        log = os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        os.chdir("/")  # a daemon keeps no file system busy but its data's


def fork(last_line: str) -> Daemon | ExitCode:
    """Become two processes. The daemon gets its side; the parent its exit code, when that is known.

    The parent passes on what the daemon says until ``last_line``; a daemon that ends before has failed.
    """
    sys.path[:] = [os.path.abspath(entry) for entry in sys.path]  # the daemon changes its directory
    sys.stdout.flush()
    sys.stderr.flush()
    read_end, write_end = os.pipe()
    between = os.fork()
    if between:
        os.close(write_end)
        os.waitpid(between, 0)
        return _follow(read_end, last_line)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.close(read_end)
    return Daemon(write_end)


def _follow(read_end: int, last_line: str) -> ExitCode:
    with os.fdopen(read_end, encoding="utf-8", errors="backslashreplace") as pipe:
        lines = []
        for text in pipe:
            lines.append(text.rstrip("\n"))
            if lines[-1] == last_line:
                with contextlib.suppress(BrokenPipeError):
                    say("\n".join(lines))
                return ExitCode.CLEAN
    warn("\n".join(lines) if lines else "hyperbase: the server ended before it was ready")
    return ExitCode.DAMAGE
