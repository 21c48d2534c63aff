"""Requests per second of each region, from the counts that servers report.

A rate is taken over the last minutes: against the older of two samples, of which a new one takes the other's
place every ``SAMPLE_S``. A region whose count fell was opened anew meanwhile and counts from nothing.
Threads: any number.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from hyperbase.common.server_name import ServerName
from hyperbase.common.wire.command_codec import ServerReport

SAMPLE_S = 120.0

_Counts = dict[tuple[ServerName, str], tuple[int, int]]  # server and encoded name → reads and writes


class Rates(NamedTuple):
    """Of one region, per second."""

    reads: float = 0.0
    writes: float = 0.0


class RequestRates:
    """See the module."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._samples: list[tuple[float, _Counts]] = []  # one or two, the older first

    def note(self, reports: Mapping[ServerName, ServerReport]) -> None:
        """Servers were asked."""
        now = self._clock()
        with self._lock:
            if not self._samples or now - self._samples[-1][0] >= SAMPLE_S:
                self._samples = [*self._samples[-1:], (now, _counts(reports))]

    def of(self, reports: Mapping[ServerName, ServerReport]) -> dict[str, Rates]:
        """By encoded name; regions that nobody has seen long enough are left out."""
        now, counts = self._clock(), _counts(reports)
        with self._lock:
            if not self._samples or now <= self._samples[0][0]:
                return {}
            since, before = self._samples[0]
        rates = {}
        for key, (reads, writes) in counts.items():
            if key in before:
                old_reads, old_writes = before[key]
                rates[key[1]] = Rates(
                    _since(reads, old_reads) / (now - since), _since(writes, old_writes) / (now - since)
                )
        return rates


def _counts(reports: Mapping[ServerName, ServerReport]) -> _Counts:
    return {
        (server, held.info.encoded_name): (held.status.read_requests, held.status.write_requests)
        for server, report in reports.items()
        for held in report.regions
    }


def _since(count: int, before: int) -> int:
    return count - before if count >= before else count
