"""The program the demo kills, ``python -m hyperbase.cli.demo_writer DIR``: a writer.

Row ``%08d`` of table ``events`` gets two cells; its number is printed only after ``put`` has returned.
"""

from __future__ import annotations

import itertools
import sys

TABLE = "events"
FAMILY = "e"


def event_row(number: int) -> bytes:
    """Row key of an event."""
    return b"%08d" % number


def event_cells(number: int) -> dict[bytes, bytes]:
    """What an event holds: two cells, so that half a row would show."""
    return {b"e:number": b"%d" % number, b"e:square": b"%d" % (number * number)}


def main() -> None:
    """Write until killed."""
    import hyperbase

    with hyperbase.connect(sys.argv[1]) as db:
        table = db.table(TABLE)
        for number in itertools.count():
            table.put(event_row(number), event_cells(number))
            print(number, flush=True)


if __name__ == "__main__":
    main()
