"""One client process, driven by lines on its standard input.

    python -m benchmarks.network.worker SIDE LOCATION WORK CLIENT ROWS WARM_UP_S WARM_UP_OPS

It connects, warms up, prints ``ready`` and one JSON object ``{request_bytes, response_bytes}`` of a call, and
then answers every line ``go SECONDS [SAMPLES]`` with one JSON line ``{work, ops, seconds, p50_us, p99_us}``;
it ends with its input. SAMPLES is a file for the end and duration of every call. java/HBaseBench.java speaks
the same, without sizes and SAMPLES.

SIDE is hyperbase, hyperbase-async (32 writers on one connection), happybase or echo; LOCATION is what that
side connects to: a Hyperbase location, ``host:port`` of a Thrift server, ``port:request:response`` of an echo
server.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from array import array
from collections.abc import Callable
from typing import Any

from benchmarks.network.calls import CALLS, Call
from benchmarks.network.data import BATCH, READ, SCAN_CALL, WRITE, Source
from benchmarks.network.echo import round_trips
from benchmarks.network.measure import Measurement, repeat, socket_totals, write_samples

WRITERS = 32
OPS_PER_CALL = {"batch_put": BATCH, "multi_get": BATCH, "full_scan": SCAN_CALL}  # 1 for the others


def main(arguments: list[str]) -> int:
    side, location, work, client, rows, warm_up_s, warm_up_ops = arguments
    source = Source(int(client), int(rows))
    if side == "hyperbase-async":
        return asyncio.run(_async_main(location, source, work, float(warm_up_s), int(warm_up_ops)))
    make_call = SIDES[side](location, source, work)
    call = make_call()
    before = socket_totals()
    warm = repeat(call, float(warm_up_s), int(warm_up_ops))
    del call
    _print_ready(before, len(warm.durations))
    for line in sys.stdin:
        words = line.split()
        call = make_call()
        measured = repeat(call, float(words[1]))
        del call  # and with it the scanner it may have open
        _print_figures(work, measured, words[2:])
    return 0


def _print_ready(before: tuple[int, int], calls: int) -> None:
    after = socket_totals()
    sizes = {
        "request_bytes": (after[0] - before[0]) // calls,
        "response_bytes": (after[1] - before[1]) // calls,
    }
    print("ready", json.dumps(sizes), flush=True)


def _print_figures(work: str, measured: Measurement, samples: list[str]) -> None:
    if samples:
        write_samples(samples[0], measured)
    print(json.dumps(measured.figures(work)), flush=True)


def _hyperbase(location: str, source: Source, work: str) -> Callable[[], Call]:
    import hyperbase

    connection = hyperbase.connect(location)
    return lambda: CALLS[work](source, connection.table(READ), connection.table(WRITE))


def _happybase(location: str, source: Source, work: str) -> Callable[[], Call]:
    import happybase

    host, port = location.split(":")
    connection = happybase.Connection(host, int(port), autoconnect=False)

    def make_call() -> Call:
        connection.close()  # HBase's Thrift server hangs up after a minute of silence
        connection.open()
        return CALLS[work](source, connection.table(READ), connection.table(WRITE))

    return make_call


def _echo(location: str, source: Source, work: str) -> Callable[[], Call]:
    port, request_bytes, response_bytes = map(int, location.split(":"))
    round_trip = round_trips(port, request_bytes, response_bytes)
    ops = OPS_PER_CALL.get(work, 1)

    def call() -> int:
        round_trip()
        return ops

    return lambda: call


SIDES: dict[str, Callable[[str, Source, str], Callable[[], Call]]] = {  # a call for each measurement
    "hyperbase": _hyperbase,
    "happybase": _happybase,
    "echo": _echo,
}


async def _async_main(location: str, source: Source, work: str, warm_up_s: float, warm_up_ops: int) -> int:
    import hyperbase.aio

    if work != "single_put":
        raise ValueError(f"asyncio writers put single rows; there is no {work!r} of theirs")
    connection = await hyperbase.aio.connect(location)
    try:
        table = connection.table(WRITE)
        before = socket_totals()
        warm = await _write(table, source, warm_up_s, warm_up_ops)
        _print_ready(before, len(warm.durations))
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            words = line.split()
            measured = await _write(table, source, float(words[1]), 0)
            _print_figures(work, measured, words[2:])
    finally:
        await connection.close()
    return 0


async def _write(table: Any, source: Source, seconds: float, minimum_ops: int) -> Measurement:
    """32 tasks, each putting one row after the other."""
    clock = time.monotonic
    durations, ends = array("d"), array("d")
    begin = clock()
    deadline = begin + seconds

    async def writer() -> None:
        now = clock()
        while now < deadline or len(ends) < minimum_ops:
            await table.put(*source.new_row())
            after = clock()
            durations.append(after - now)
            ends.append(after)
            now = after

    await asyncio.gather(*(writer() for _ in range(WRITERS)))
    return Measurement(len(ends), clock() - begin, durations, ends)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
