"""From the arguments of get, scan and count to the client's ``Get`` and ``Scan``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hyperbase.common.model import Get, Scan, TimeRange
from hyperbase.shell.cell_text import CellPrinter
from hyperbase.shell.constants import SCAN_OPTIONS
from hyperbase.shell.converters import Converter, converter, split_converter
from hyperbase.shell.errors import ArgumentError
from hyperbase.shell.strings import bytes_of
from hyperbase.shell.values import boolean, flatten, inspect, integer, ruby_class, to_bytes, to_s

if TYPE_CHECKING:
    from hyperbase.shell.session import Session

# What HBase needs and this store does not: accepted, and without effect.
_WITHOUT_EFFECT = ("CACHE", "ALLOW_PARTIAL_RESULTS", "READ_TYPE", "ISOLATION_LEVEL", "CONSISTENCY",
                   "REGION_REPLICA_ID", "ATTRIBUTES")  # fmt: skip


@dataclass(slots=True)
class Columns:
    """Columns that were asked for, and the converters named with them."""

    names: list[bytes] = field(default_factory=list)
    converters: dict[bytes, Converter] = field(default_factory=dict)

    @classmethod
    def of(cls, given: object) -> Columns:
        """From a string or an array of strings, each ``family[:qualifier[:converter]]``."""
        found = cls()
        for column in flatten(given if isinstance(given, list) else [given]):
            plain, convert = split_converter(to_s(column))
            name = bytes_of(plain)
            found.names.append(name)
            if convert is not None:
                found.converters[name] = convert
        return found


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """A scan and how it prints."""

    scan: Scan
    printer: CellPrinter
    metrics: Sequence[str] | None  # names to show, all when empty; None shows none


def cell_printer(session: Session, table: str, options: Mapping[str, Any], columns: Columns) -> CellPrinter:
    """How the cells of a get or scan with these options print."""
    name = options.get("FORMATTER")
    if "FORMATTER_CLASS" in options:
        name = f"c({to_s(options['FORMATTER_CLASS'])}).{to_s(name or 'toStringBinary')}"
    length = options.get("MAXLENGTH")
    return CellPrinter(
        session,
        table,
        columns.converters,
        None if name is None else converter(to_s(name)),
        None if length is None or length == -1 else max(0, integer(length, "MAXLENGTH")),
    )


def time_range(options: Mapping[str, Any]) -> TimeRange | None:
    """TIMESTAMP is exactly one, TIMERANGE is ``[from, to)``."""
    if options.get("TIMERANGE") is not None:
        given = options["TIMERANGE"]
        if not isinstance(given, list) or len(given) != 2:
            raise ArgumentError(f"TIMERANGE must be an array of two timestamps, not {inspect(given)}")
        return TimeRange(integer(given[0], "TIMERANGE"), integer(given[1], "TIMERANGE"))
    if options.get("TIMESTAMP") is not None:
        return TimeRange.at(integer(options["TIMESTAMP"], "TIMESTAMP"))
    return None


def refuse_later(options: Mapping[str, Any]) -> None:
    """Options that need a feature which is not there must not pass in silence."""
    for name in ("AUTHORIZATIONS", "VISIBILITY"):
        if options.get(name) is not None:
            raise ArgumentError(f"{name} needs visibility labels, which this version does not have")


def get_request(row: object, arguments: Sequence[Any]) -> tuple[Get, Mapping[str, Any], Columns]:
    """The Get, its options and its columns, from what follows the row in ``get 't', 'r', …``."""
    first = arguments[0] if arguments else None
    if isinstance(first, dict):
        options = dict(first)
        if len(arguments) > 1:
            raise ArgumentError(f"nothing may follow the options of a get: {inspect(arguments[1])}")
    else:
        columns = flatten(arguments)
        if any(isinstance(column, dict) for column in columns):
            raise ArgumentError(f"Failed parse of {inspect(list(arguments))}, Array")
        options = {"COLUMNS": columns} if columns else {}
    refuse_later(options)
    plain = {
        name: value
        for name, value in options.items()
        if name not in ("MAXLENGTH", "FILTER", "FORMATTER", "FORMATTER_CLASS", *_WITHOUT_EFFECT)
    }
    asked = plain.get("COLUMN") or plain.get("COLUMNS")
    if plain and not asked and not (plain.get("TIMESTAMP") or plain.get("TIMERANGE")):
        raise ArgumentError(f"Failed parse of {inspect(options)}, Hash")
    if asked is not None and not isinstance(asked, (str, list)):
        raise ArgumentError(f"Failed parse column argument type {inspect(options)}, {ruby_class(asked)}")
    columns_asked = Columns.of(asked if asked is not None else [])
    get = Get(
        to_bytes(row),
        columns_asked.names or None,
        integer(plain.get("VERSIONS") or 1, "VERSIONS"),
        time_range(plain),
        filter=_filter(options),
    )
    return get, options, columns_asked


def scan_request(session: Session, table: str, options: Mapping[str, Any]) -> ScanRequest:
    """The Scan that the options of ``scan`` describe.

    Raises:
        ArgumentError: an option's value is of the wrong kind.
    """
    refuse_later(options)
    asked = options.get("COLUMNS") or options.get("COLUMN") or []
    if not isinstance(asked, (str, list)):
        raise ArgumentError("COLUMNS must be specified as a String or an Array")
    columns = Columns.of(asked)
    limit = integer(options.get("LIMIT") or -1, "LIMIT")
    batch = integer(options.get("BATCH") or -1, "BATCH")
    prefix = options.get("ROWPREFIXFILTER")
    start, stop = options.get("STARTROW") or "", options.get("STOPROW") or options.get("ENDROW") or ""
    max_bytes = integer(options.get("MAX_RESULT_SIZE") or -1, "MAX_RESULT_SIZE")
    scan = Scan(
        start=to_bytes(start),
        stop=to_bytes(stop),
        prefix=None if prefix is None else to_bytes(prefix),
        reverse=boolean(options.get("REVERSED") or False, "REVERSED"),
        limit=limit if limit > 0 else None,
        batch=batch if batch > 0 else None,
        raw=boolean(options.get("RAW") or False, "RAW"),
        columns=columns.names or None,
        versions=max(0, integer(options.get("VERSIONS") or 1, "VERSIONS")),
        time_range=time_range(options),
        filter=_filter(options),
        cache_blocks=boolean(options.get("CACHE_BLOCKS", True), "CACHE_BLOCKS"),
        max_result_bytes=max_bytes if max_bytes > 0 else 2 * 1024 * 1024,
    )
    metrics: list[str] | None = None
    if options.get("METRICS") is not None:
        metrics = [to_s(name) for name in flatten([options["METRICS"]])]
    elif options.get("ALL_METRICS"):
        metrics = []
    return ScanRequest(scan, cell_printer(session, table, options, columns), metrics)


def ignored_options(session: Session, options: Mapping[str, Any], more: Sequence[str] = ()) -> None:
    """Tell of options that nobody knows, as create does."""
    for name in options:
        if name not in SCAN_OPTIONS and name not in more:
            session.say(f"An argument ignored (unknown or overridden): {to_s(name)}")


def _filter(options: Mapping[str, Any]) -> bytes | None:
    given = options.get("FILTER")
    if given is None:
        return None
    if not isinstance(given, str):
        raise ArgumentError(f"FILTER must be a String in the filter language, not {inspect(given)}")
    return bytes_of(given)
