"""What the verbs of a file system cost: ``python -m benchmarks.storage ROOT…``.

A root is a path, an hdfs:// or an s3:// URL. Everything is written below a directory of its own under each
root, and deleted at the end. Times are in milliseconds: p50 and p99 of one thread's calls, or the one call.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import time
import uuid
from collections.abc import Callable

from regionserver.storage.filesystem import FileSystem
from regionserver.storage.opening import open_filesystem

FILE_BYTES = 32 << 20
BLOCK_BYTES = 64 << 10
SYNCS = 300
CALLS = 50
FENCES = 5


def main() -> None:
    """Measure every root that was given, and print a table for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storage", description=__doc__)
    parser.add_argument("roots", nargs="+", metavar="ROOT")
    for root in parser.parse_args().roots:
        fs = open_filesystem(root)
        directory = f"figures-{uuid.uuid4().hex[:8]}"
        print(root.partition("?")[0])
        try:
            for name, figure in measure(fs, lambda root=root: open_filesystem(root), directory):
                print(f"  {name:<44} {figure}", flush=True)
        finally:
            fs.delete_tree(directory)


def measure(fs: FileSystem, again: Callable[[], FileSystem], directory: str) -> list[tuple[str, str]]:
    """Return (what, figures) of each measurement."""
    figures = [
        ("create_if_absent, empty", calls(lambda n: fs.create_if_absent(f"{directory}/empty/{n}", b""))),
        (
            "create_if_absent, 2 KiB",
            calls(lambda n: fs.create_if_absent(f"{directory}/small/{n}", bytes(2048))),
        ),
        ("create_if_absent, name taken", calls(lambda n: fs.create_if_absent(f"{directory}/small/{n}", b""))),
        ("read, 2 KiB", calls(lambda n: fs.read(f"{directory}/small/{n}"))),
        (f"list, {CALLS} names", calls(lambda n: fs.list(f"{directory}/small"))),
    ]
    figures += logs(fs, directory)
    figures += files(fs, directory)
    figures += fences(fs, again, directory)
    return figures


def logs(fs: FileSystem, directory: str) -> list[tuple[str, str]]:
    """What it costs to begin a log and to sync groups of two sizes."""
    fs.make_directory(f"{directory}/logs")
    opened = []
    figure = calls(lambda n: opened.append(fs.open_log(f"{directory}/logs/{n:010d}.wal", 64 << 20)), count=10)
    figures = [("open_log, 64 MiB", figure)]
    for size in (1 << 10, 64 << 10):
        log = opened.pop()
        group = [random.randbytes(size)]

        def sync(number: int, log=log, group=group) -> None:  # type: ignore[no-untyped-def]
            log.write(group)
            log.sync()

        figures.append((f"log sync, {size >> 10} KiB", calls(sync, count=SYNCS)))
        figures.append(("log close", calls(lambda n, log=log: log.close(), count=1)))  # type: ignore[misc]
    for log in opened:
        log.close()
    return figures


def files(fs: FileSystem, directory: str) -> list[tuple[str, str]]:
    """What it costs to write a data file, and to read blocks of it in any order."""
    piece = random.randbytes(1 << 20)
    begin = time.perf_counter()
    writer = fs.open_writer(f"{directory}/file")
    for _ in range(FILE_BYTES >> 20):
        writer.write(piece)
    writer.commit()
    took = time.perf_counter() - begin
    reader = fs.open_reader(f"{directory}/file")
    chance = random.Random(1)

    def read(number: int) -> None:
        reader.read_at(chance.randrange(FILE_BYTES - BLOCK_BYTES), BLOCK_BYTES)

    figures = [
        (f"write and commit, {FILE_BYTES >> 20} MiB", f"{took * 1000:8.1f}"),
        (f"read_at, {BLOCK_BYTES >> 10} KiB", calls(read)),
    ]
    reader.close()
    return figures


def fences(fs: FileSystem, again: Callable[[], FileSystem], directory: str) -> list[tuple[str, str]]:
    """What it costs to fence a log of one segment whose writer has not closed it, and to read it then."""
    other = again()
    writers = []
    for number in range(FENCES):
        fs.lock(f"{directory}/WALs/{number}/LOCK").release()
        log = fs.open_log(f"{directory}/WALs/{number}/{1:010d}.wal", 1 << 20)
        writers.append(log)
        for _ in range(100):
            log.write([bytes(1000)])
            log.sync()
    fence = calls(
        lambda n: other.fence_log(f"{directory}/WALs/{n}", f"{directory}/WALs/{n}-aside"), count=FENCES
    )
    read = calls(lambda n: other.read(f"{directory}/WALs/{n}-aside/{1:010d}.wal"), count=FENCES)
    for log in writers:  # only now: a writer that is gone is fenced in no time
        with contextlib.suppress(OSError):
            log.close()
    return [("fence_log, its writer lives", fence), ("read of that log, 100 groups", read)]


def calls(call: Callable[[int], object], count: int = CALLS) -> str:
    """Call with 0, 1, …; return the times."""
    times = []
    for number in range(count):
        begin = time.perf_counter()
        call(number)
        times.append((time.perf_counter() - begin) * 1000)
    times.sort()
    return f"{times[count // 2]:8.2f} {times[min(count - 1, count * 99 // 100)]:8.2f}"


if __name__ == "__main__":
    main()
