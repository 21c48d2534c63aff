"""How one client measures: repeat a call for a time, keep every call's duration, count its sockets' bytes."""

from __future__ import annotations

import os
import socket
import struct
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

_TCP_INFO_BYTES = 136
_BYTES_ACKED = 120  # offset in Linux's struct tcp_info; bytes_received follows


@dataclass
class Measurement:
    """What one client did between ``go`` and its answer."""

    ops: int
    seconds: float
    durations: Sequence[float]  # s, one for each call
    ends: Sequence[float] = field(default_factory=list)  # s, CLOCK_MONOTONIC, when each call ended

    def figures(self, work: str) -> dict[str, Any]:
        return {
            "work": work,
            "ops": self.ops,
            "seconds": self.seconds,
            "p50_us": percentile(self.durations, 50) * 1e6,
            "p99_us": percentile(self.durations, 99) * 1e6,
        }


def percentile(durations: Sequence[float], percent: float) -> float:
    """The smallest duration that ``percent`` of all do not exceed; 0 when there are none."""
    ordered = sorted(durations)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


def repeat(call: Callable[[], int], seconds: float, minimum_ops: int = 0) -> Measurement:
    """Call until both the time and the operations are reached; ``call`` returns the operations it was."""
    clock = time.monotonic  # on Linux the clock of perf_counter, and the same in every process
    durations, ends = array("d"), array("d")
    ops = 0
    now = begin = clock()
    deadline = begin + seconds
    while now < deadline or ops < minimum_ops:
        ops += call()
        after = clock()
        durations.append(after - now)
        ends.append(after)
        now = after
    return Measurement(ops, now - begin, durations, ends)


def write_samples(path: str, measurement: Measurement) -> None:
    """``(end, duration)`` pairs of doubles, for who wants to know what happened when."""
    pairs = array("d")
    for end, duration in zip(measurement.ends, measurement.durations, strict=True):
        pairs.extend((end, duration))
    with open(path, "wb") as file:
        pairs.tofile(file)


def read_samples(path: str) -> list[tuple[float, float]]:
    pairs = array("d")
    with open(path, "rb") as file:
        pairs.frombytes(file.read())
    return list(zip(pairs[::2], pairs[1::2], strict=True))


def within(samples: Sequence[tuple[float, float]], windows: Sequence[tuple[float, float]]) -> list[float]:
    """Durations of the calls that were under way, in part at least, during one of the windows."""
    return [
        duration
        for end, duration in samples
        if any(end >= begin and end - duration <= stop for begin, stop in windows)
    ]


def socket_totals() -> tuple[int, int]:
    """Bytes sent and acknowledged, and bytes received, by every TCP socket of this process."""
    sent = received = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(name))) as copy:
                info = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        except OSError:  # closed meanwhile, or not TCP
            continue
        if len(info) >= _TCP_INFO_BYTES:
            acked, got = struct.unpack_from("QQ", info, _BYTES_ACKED)
            sent += acked
            received += got
    return sent, received
