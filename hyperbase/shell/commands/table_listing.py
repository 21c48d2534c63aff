"""list, get_table, list_regions, locate_region, show_filters."""

from __future__ import annotations

from typing import Any

from hyperbase.common.cluster_status import RegionStatus, split_server_name
from hyperbase.common.names import to_string_binary
from hyperbase.shell.cell_text import region_text
from hyperbase.shell.commands.table_lifecycle import matching_tables
from hyperbase.shell.errors import ArgumentError, ShellError
from hyperbase.shell.registry import command
from hyperbase.shell.session import Session
from hyperbase.shell.strings import bytes_binary
from hyperbase.shell.values import TableReference, inspect, to_s

_LEAST_WIDTHS = {
    "SERVER_NAME": 12,
    "REGION_NAME": 12,
    "START_KEY": 10,
    "END_KEY": 10,
    "SIZE": 5,
    "REQ": 5,
    "LOCALITY": 10,
}


@command("list", "ddl", ["list", "list 'abc.*'", "list 'ns:abc.*'", "list 'ns:.*'"], stoppable=True)
def list_tables(session: Session, regex: object = ".*") -> list[str]:
    """Print the tables, or those whose whole name matches a regular expression."""
    names = matching_tables(session, regex)
    session.formatter.header(["TABLE"])
    for name in names:
        session.formatter.row([name])
    session.formatter.footer(len(names))
    return names


@command("get_table", "ddl", ["t1 = get_table 't1'", "t1 = get_table 'ns1:t1'"])
def get_table(session: Session, table: object) -> TableReference:
    """Return a reference to a table, to keep in a variable: see table_help."""
    return session.reference(table)


@command(
    "list_regions",
    "ddl",
    [
        "list_regions 't1'",
        "list_regions 't1', 'host1'",
        "list_regions 't1', {SERVER_NAME => 'host1', LOCALITY_THRESHOLD => 0.8}",
        "list_regions 't1', {}, ['SERVER_NAME', 'start_key']",
    ],
    on_table=True,
    stoppable=True,
)
def list_regions(session: Session, table: object, options: Any = None, columns: Any = None) -> None:
    """Print the regions of an enabled table: server, name, keys, size in MB, requests, share of local data.

    Options: SERVER_NAME, with which the server's name has to begin; LOCALITY_THRESHOLD, the largest share.
    An array in the third place says which columns are printed.
    """
    name = session.table_name(table)
    if not session.admin.is_table_enabled(name):
        raise ShellError(f"Table {name} must be enabled.")
    if not isinstance(options, dict):
        options = {"SERVER_NAME": options} if options else {}
    chosen = _chosen_columns(columns)
    threshold = options.get("LOCALITY_THRESHOLD", 1.0)
    if not isinstance(threshold, float):
        raise ShellError("LOCALITY_THRESHOLD must be a float value")
    if not 0 <= threshold <= 1:
        raise ShellError("LOCALITY_THRESHOLD must be between 0 and 1.0, inclusive")
    server_prefix = to_s(options.get("SERVER_NAME"))
    loads = {
        region.name: region for server in session.admin.cluster_status().servers for region in server.regions
    }
    rows = []
    for info, server in session.admin.region_locations(name):
        load = loads.get(info.region_name, RegionStatus(info.region_name))
        if server.startswith(server_prefix) and load.locality <= threshold:
            values = {
                "SERVER_NAME": server,
                "REGION_NAME": info.region_name_text,
                "START_KEY": to_string_binary(info.start_key).strip(),
                "END_KEY": to_string_binary(info.end_key).strip(),
                "SIZE": str(load.store_file_bytes // (1024 * 1024)),
                "REQ": str(load.read_requests + load.write_requests),
                "LOCALITY": str(load.locality),
            }
            rows.append([values[column] for column in chosen])
    _print_boxed(session, chosen, rows)


def _chosen_columns(columns: Any) -> list[str]:
    if columns is None:
        return list(_LEAST_WIDTHS)
    possible = f"Possible values are {', '.join(_LEAST_WIDTHS)}."
    if not isinstance(columns, list):
        raise ShellError(f"{inspect(columns)} must be an array of strings. {possible}")
    chosen = list(dict.fromkeys(to_s(column).upper() for column in columns))
    for column in chosen:
        if column not in _LEAST_WIDTHS:
            raise ShellError(f"{column} is not a valid column. {possible}")
    return chosen


def _print_boxed(session: Session, columns: list[str], rows: list[list[str]]) -> None:
    widths = [
        max(_LEAST_WIDTHS[column], *(len(row[index]) for row in rows)) if rows else _LEAST_WIDTHS[column]
        for index, column in enumerate(columns)
    ]
    for row in [columns, ["-" * width for width in widths], *rows]:
        session.say("".join(f" {value:>{width}} |" for value, width in zip(row, widths, strict=True)))
    session.say(f" {len(rows)} rows")


@command(
    "locate_region",
    "ddl",
    ["locate_region 't1', 'key0'", "locate_region 't1', \"\\x00\\xff\""],
    on_table=True,
)
def locate_region(session: Session, table: object, row: object) -> None:
    """Print which region a row belongs to, and the server that has it."""
    name, key = session.table_name(table), bytes_binary(to_s(row))
    for info, server in session.admin.region_locations(name):
        if info.contains(key):
            host, port, _ = split_server_name(server)
            session.formatter.header(["HOST", "REGION"])
            session.formatter.row([f"{host}:{port}", region_text(info)])
            session.formatter.footer(1)
            return
    raise ArgumentError(f"no region of {name} holds {inspect(row)}")


@command(
    "show_filters", "ddl", ["show_filters", "scan 't1', {FILTER => \"PrefixFilter('a') AND PageFilter(5)\"}"]
)
def show_filters(session: Session) -> None:
    """Print the names of the filters that FILTER => "..." of get, scan and count knows."""
    from hyperbase.common.filters import registered_filters  # takes a moment: regular expressions

    for name in registered_filters():
        session.formatter.padded(name)
