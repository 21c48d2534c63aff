"""Split keys of a new table: given, read from a file, or computed as HBase's RegionSplitter does."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hyperbase.shell.errors import ArgumentError
from hyperbase.shell.strings import bytes_binary
from hyperbase.shell.values import flatten, inspect, integer, to_s


def _hex_string(regions: int) -> list[bytes]:
    step = 2**32 // regions
    return [b"%08x" % (step * index) for index in range(1, regions)]


def _decimal_string(regions: int) -> list[bytes]:
    step = 10**8 // regions
    return [b"%08d" % (step * index) for index in range(1, regions)]


def _uniform(regions: int) -> list[bytes]:
    step = 2**64 // regions
    return [(step * index).to_bytes(8, "big") for index in range(1, regions)]


ALGORITHMS: dict[str, Callable[[int], list[bytes]]] = {
    "HexStringSplit": _hex_string,
    "UniformSplit": _uniform,
    "DecimalStringSplit": _decimal_string,
}
MAX_REGIONS = 100_000


def take_splits(options: dict[Any, Any]) -> list[bytes] | None:
    """The split keys that a hash of create asks for; what is used is taken out of it.

    Raises:
        ArgumentError: a file that is not there, an algorithm nobody knows, a number missing or too small.
    """
    if "SPLITS_FILE" in options:
        path = to_s(options.pop("SPLITS_FILE"))
        if not os.path.exists(path):
            raise ArgumentError(f"Splits file {path} doesn't exist")
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            options["SPLITS"] = [line.rstrip("\r\n") for line in file]
    if "SPLITS" in options:
        given = options.pop("SPLITS")
        if not isinstance(given, list):
            raise ArgumentError(f"SPLITS must be an Array, not {inspect(given)}")
        return [bytes_binary(to_s(key)) for key in flatten(given)]
    if "NUMREGIONS" not in options and "SPLITALGO" not in options:
        return None
    if "NUMREGIONS" not in options:
        raise ArgumentError("Number of regions must be specified")
    if "SPLITALGO" not in options:
        raise ArgumentError("Split algorithm must be specified")
    regions = integer(options.pop("NUMREGIONS"), "NUMREGIONS")
    if regions <= 1:
        raise ArgumentError("Number of regions must be greater than 1")
    if regions > MAX_REGIONS:
        raise ArgumentError(f"NUMREGIONS must not be greater than {MAX_REGIONS}")
    name = to_s(options.pop("SPLITALGO")).rpartition(".")[2]
    if name not in ALGORITHMS:
        raise ArgumentError(f"SPLITALGO must be one of {', '.join(ALGORITHMS)}, not {name}")
    return ALGORITHMS[name](regions)
