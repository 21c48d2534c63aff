"""Regions that go from server to server: killed or without power at every step, or moved under load."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hyperbase.common.errors import NotServingRegionException
from regionserver.region.region import Region
from regionserver.storage.local_filesystem import LocalFileSystem
from regionserver.storage.memory_filesystem import MemoryFileSystem, SimulatedCrash
from tests.support.cluster_engines import OTHER, REGION, ServerEngine, put, rows_of, set_log_aside
from tests.support.waiting import wait_for

ROWS = [b"a%02d" % number for number in range(20)]
LATER = [b"b%02d" % number for number in range(20)]


def steps_of(act: Callable[[MemoryFileSystem], None], fs: MemoryFileSystem) -> int:
    """How many steps the file system sees."""
    before = len(fs.steps)
    act(fs)
    return len(fs.steps) - before


def interrupted(act: Callable[[MemoryFileSystem], None], fs: MemoryFileSystem, step: int) -> bool:
    """Do it, and die at a step; whether it was done before."""
    last = len(fs.steps) + step

    def die(name: str, number: int) -> None:
        if number == last:
            raise SimulatedCrash(name)

    fs.step_hook = die
    try:
        act(fs)
    except SimulatedCrash:
        return False
    return not fs.dead


def dead_server() -> tuple[MemoryFileSystem, str]:
    """A root with the sealed log of a server that had rows in files and in memory."""
    fs = MemoryFileSystem()
    server = ServerEngine(fs, "dead")
    region = server.open()
    put(region, *ROWS[:10])
    server.engine.flush(region)
    put(region, *ROWS[10:])
    put(server.open(OTHER), b"n")
    return fs, server.set_log_aside()


def open_with(log: str) -> Callable[[MemoryFileSystem], None]:
    def act(fs: MemoryFileSystem) -> None:
        heir = ServerEngine(fs, "heir")
        heir.try_to_open(REGION, OTHER, logs=(log,))
        put(heir.engine.regions[REGION.id16], *LATER)

    return act


@pytest.mark.parametrize("loss", ["killed", "no power", "no power, and some of what was not synced"])
def test_a_server_that_dies_while_it_opens_regions_changes_nothing(loss: str) -> None:
    fs, log = dead_server()
    count = steps_of(open_with(log), fs)
    assert count > 40
    for step in range(1, count + 1):
        fs, log = dead_server()
        interrupted(open_with(log), fs, step)
        left = fs.after_kill() if loss == "killed" else fs.after_crash(None if loss == "no power" else step)
        logs = [log, *([set_log_aside(left, "WALs/heir,1,1")] if left.list("WALs/heir,1,1") else [])]
        third = ServerEngine(left, "third")
        found = rows_of(third.open(logs=tuple(logs)))
        assert found[: len(ROWS)] == ROWS, step
        assert found[len(ROWS) :] in ([], LATER), step
        assert rows_of(third.open(OTHER, logs=tuple(logs))) == [b"n"]


@pytest.mark.parametrize("power", [True, False])
def test_a_region_that_was_closed_needs_no_log_and_any_other_does(power: bool) -> None:
    def setting() -> tuple[MemoryFileSystem, ServerEngine, Region]:
        fs = MemoryFileSystem()
        server = ServerEngine(fs, "one")
        region = server.open()
        put(region, *ROWS)
        return fs, server, region

    fs, server, region = setting()
    count = steps_of(lambda _: server.engine.close_region(region), fs)
    for step in range(1, count + 2):
        fs, server, region = setting()
        closed = interrupted(lambda _: server.engine.close_region(region), fs, step)  # noqa: B023
        left = fs.after_kill() if power else fs.after_crash(step)
        log = set_log_aside(left, server.log)
        heir = ServerEngine(left, "heir")
        assert rows_of(heir.open(logs=() if closed else (log,))) == ROWS, step
    assert closed


def test_regions_that_move_under_load_lose_nothing_and_are_at_one_place_at_a_time(tmp_path: Path) -> None:
    fs = LocalFileSystem(tmp_path)
    engines = [
        ServerEngine(fs, name, memstore_flush_size_bytes=30_000, memstore_limit_bytes=10**7)
        for name in ("one", "two")
    ]
    engines[0].open(REGION)
    acked: list[list[bytes]] = [[], [], []]
    over = threading.Event()

    def write(number: int) -> None:
        chance = random.Random(number)
        count = 0
        while not over.is_set():
            row = b"%d-%06d" % (number, count)
            region = chance.choice(engines).engine.regions.get(REGION.id16)
            try:
                if region is None:  # others run
                    wait_for(lambda: over.is_set() or any(REGION.id16 in e.engine.regions for e in engines))
                    continue
                put(region, row, value=bytes(100))
            except NotServingRegionException:
                continue
            acked[number].append(row)
            count += 1

    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    for move in range(30):
        source, target = engines[move % 2], engines[(move + 1) % 2]
        done = len(acked[0])
        region = source.engine.regions[REGION.id16]
        source.engine.flush(region) if move % 5 == 0 else None
        source.engine.close_region(region)
        assert REGION.id16 not in source.engine.regions
        opened = target.open(REGION)
        assert opened.manifest.epoch == region.manifest.epoch + 1
        wait_for(lambda: len(acked[0]) >= done + 5)  # noqa: B023
    over.set()
    for writer in writers:
        writer.join()
    assert rows_of(opened) == sorted(row for rows in acked for row in rows)
    for holder in engines:
        holder.engine.close()
    assert rows_of(ServerEngine(fs, "three").open(REGION)) == sorted(row for rows in acked for row in rows)
