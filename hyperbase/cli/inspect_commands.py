"""``hyperbase storefile``, ``wal`` and ``check``: look at a store's files without opening the store.

They read only. Damage that is found is printed, one line each, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import datetime
import os
from typing import Any

from hyperbase.cli.console import CommandError, ExitCode, human_bytes, say
from hyperbase.cli.values import printable
from hyperbase.common.errors import CorruptHFileException, StoreFormatException
from hyperbase.common.model import MAX_TIMESTAMP, CellType

VALUE_LIMIT = 80  # bytes of a value that `--cells` shows
_WAL_ENDINGS = {
    "trailer": "closed in good order",
    "sealed": "sealed by a recovery after a crash",
    "torn tail": "the writer is at work, or was killed: what follows was never acknowledged",
    "unused": "no record was ever written",
}


def add_parsers(subparsers: Any) -> None:
    """Describe the three commands to argparse."""
    parser = subparsers.add_parser("storefile", help="what is in a StoreFile; verifies every checksum")
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--cells", action="store_true", help="print every cell")
    parser.set_defaults(run=run_storefile)
    parser = subparsers.add_parser("wal", help="what is in a write-ahead log; verifies every record")
    parser.add_argument("file", metavar="FILE")
    parser.set_defaults(run=run_wal)
    parser = subparsers.add_parser(
        "check", help="verify a whole store: checksums, order, references, regions"
    )
    parser.add_argument("store", metavar="DIR")
    parser.set_defaults(run=run_check)


def _require_file(path: str) -> tuple[str, str]:
    """(directory, name) of an existing file."""
    if os.path.isdir(path):
        raise CommandError(f"{path} is a directory, a file is wanted")
    if not os.path.exists(path):
        raise CommandError(f"{path}: no such file")
    folder, name = os.path.split(os.path.abspath(path))
    return folder, name


def format_timestamp(stamp: int) -> str:
    """Milliseconds with the UTC time they stand for, where a calendar has it."""
    if stamp >= MAX_TIMESTAMP:
        return f"{stamp} (none)"
    try:
        moment = datetime.datetime.fromtimestamp(stamp / 1000, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return str(stamp)
    return f"{stamp} ({moment:%Y-%m-%d %H:%M:%S} UTC)"


def run_storefile(args: argparse.Namespace) -> ExitCode:
    """Describe one StoreFile, verify it, and print its cells when asked."""
    folder, name = _require_file(args.file)
    from regionserver.storage.local_filesystem import LocalFileSystem
    from regionserver.storage.store_file import StoreFileReader

    try:
        reader = StoreFileReader(LocalFileSystem(folder, read_only=True), name)
    except CorruptHFileException as error:
        say(f"damaged: {error}")
        return ExitCode.DAMAGE
    try:
        _say_storefile(args.file, reader.info)
        if args.cells:
            for index in range(reader.block_count):
                _say_cells(reader.batch(reader.first_block + index))
        reader.verify()
    except CorruptHFileException as error:
        say(f"damaged: {error}")
        return ExitCode.DAMAGE
    finally:
        reader.close()
    say("verified: every checksum, the order of cells and the counts are right")
    return ExitCode.CLEAN


def _say_storefile(path: str, info: Any) -> None:
    ratio = info.raw_bytes / info.file_bytes if info.file_bytes else 0
    lines = {
        "file": path,
        "format": f"StoreFile version {info.format_version} (Arrow IPC)",
        "family": printable(info.family),
        "rows": f"{info.row_count:,}, {printable(info.first_row, 60)} … {printable(info.last_row, 60)}",
        "cells": f"{info.cell_count:,} ({info.put_count:,} puts, {info.delete_count:,} delete markers)",
        "blocks": f"{info.block_count:,}, compression {info.compression}, Bloom filter {info.bloom}",
        "size": f"{human_bytes(info.file_bytes)} for {human_bytes(info.raw_bytes)} of cells ({ratio:.1f}×)",
        "timestamps": f"{format_timestamp(info.min_timestamp)} … {format_timestamp(info.max_timestamp)}",
        "sequence ids": f"{info.min_sequence_id} … {info.max_sequence_id}",
        "cell TTLs": "yes" if info.has_ttl else "no",
    }
    for label, text in lines.items():
        say(f"{label:<13} {text}")


def _say_cells(batch: Any) -> None:
    columns = [batch.column(n).to_pylist() for n in ("row", "qualifier", "timestamp", "type", "value")]
    for row, qualifier, stamp, kind, value in zip(*columns, strict=True):
        name = CellType(kind).name
        say(f"{printable(row)} {printable(qualifier)} {stamp} {name} {printable(value, VALUE_LIMIT)}")


def run_wal(args: argparse.Namespace) -> ExitCode:
    """Describe one log file, record by record."""
    folder, name = _require_file(args.file)
    from regionserver.storage.local_filesystem import LocalFileSystem
    from regionserver.storage.wal_reader import describe_log

    code = ExitCode.CLEAN
    for fact in describe_log(LocalFileSystem(folder, read_only=True), name):
        say(_wal_line(fact))
        if fact.get("ending") == "damage":
            code = ExitCode.DAMAGE
    return code


def _wal_line(fact: dict[str, Any]) -> str:
    from regionserver.storage.wal_format import EDIT, MARKER

    if fact["fact"] == "header":
        return f"segment {fact['segment']}, made at {format_timestamp(fact['created_ms'])}"
    at = f"offset {fact['offset']:>10}"
    if fact["fact"] == "record":
        kind = {EDIT: "edit", MARKER: "marker"}.get(fact["kind"], f"kind {fact['kind']}")
        number, size = fact["sequence_id"], fact["payload_bytes"]
        line = f"{at}  {kind}  region {fact['region']}  sequence id {number:>8}  {size:,} bytes"
        return line if fact["kind"] != MARKER else f"{line}  {_marker_text(fact['payload'])}"
    if fact["ending"] == "damage":
        return f"damaged: {fact['message']}"
    ending = _WAL_ENDINGS.get(fact["ending"], str(fact["ending"]))
    return f"{at}  {ending}; {fact['records']:,} records in {human_bytes(fact['file_bytes'])}"


def _marker_text(payload: bytes) -> str:
    from regionserver.region.markers import Marker

    try:
        return str(Marker.decode(payload))
    except StoreFormatException as error:
        return f"({error})"


def run_check(args: argparse.Namespace) -> ExitCode:
    """Verify a whole store; prints each problem."""
    if not os.path.isdir(args.store):
        raise CommandError(f"{args.store}: no such store")
    from hyperbase.cli.store_check import check

    result = check(args.store)
    for problem in result.problems:
        say(f"damaged: {problem}")
    files = result.files
    for path in files.unnamed_files:
        say(f"left over, harmless: {path}")
    say(
        f"{args.store}: {result.table_count} tables, {files.region_count} regions, "
        f"{files.file_count} StoreFiles with {files.cell_count:,} cells, "
        f"{files.segment_count} log segments with {files.record_count:,} records"
    )
    say(f"{len(result.problems)} problems" if result.problems else "sound")
    return ExitCode.DAMAGE if result.problems else ExitCode.CLEAN
