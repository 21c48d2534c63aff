"""Fault points: named places where a test may have the process die, stop, fail or wait.

``HYPERBASE_FAULT=name[:nth]:kill|stop|error|delay`` acts when the place is passed for the nth time (the
first, if none is given); several are separated by commas. ``kill`` is SIGKILL, ``stop`` SIGSTOP, ``error`` an
HBaseIOException, ``delay`` one second. Without the variable a place costs a comparison.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from hyperbase.common.errors import HBaseIOException, IllegalArgumentException

VARIABLE = "HYPERBASE_FAULT"
ACTIONS = ("kill", "stop", "error", "delay")
DELAY_S = 1.0
_known: set[str] = set()
_passed: Counter[str] = Counter()
_lock = threading.Lock()


class Fault(NamedTuple):
    """What happens where."""

    point: str
    nth: int
    action: str


def declare(names: Iterable[str]) -> None:
    """Say that there are these places, so that they can be listed."""
    _known.update(names)


def known() -> list[str]:
    """Every place that was declared, sorted."""
    return sorted(_known)


def parse_faults(text: str) -> list[Fault]:
    """Read the variable.

    Raises:
        IllegalArgumentException: another form; the message names the part that is wrong.
    """
    faults = []
    for part in filter(None, text.split(",")):
        name, *rest = part.split(":")
        nth = rest.pop(0) if len(rest) == 2 else "1"
        if not name or len(rest) != 1 or rest[0] not in ACTIONS or not (nth.isdecimal() and int(nth)):
            raise IllegalArgumentException(
                f"{VARIABLE}: {part!r} is not name[:nth]:action, action one of {', '.join(ACTIONS)}"
            )
        faults.append(Fault(name, int(nth), rest[0]))
    return faults


_faults = parse_faults(os.environ.get(VARIABLE, ""))


def fault_point(name: str) -> None:
    """A place is passed."""
    if not _faults:
        return
    with _lock:
        _passed[name] += 1
        count = _passed[name]
    for fault in _faults:
        if fault.point == name and fault.nth == count:
            _act(fault)


def _act(fault: Fault) -> None:
    if fault.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault.action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif fault.action == "delay":
        time.sleep(DELAY_S)
    else:
        raise HBaseIOException(f"fault point {fault.point}: an error was asked for ({VARIABLE})")
