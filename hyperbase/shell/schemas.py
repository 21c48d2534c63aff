"""Schemas from and to the hashes of create, alter and describe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hyperbase.common.descriptors import ColumnFamilyDescriptor, TableDescriptor
from hyperbase.common.schema_options import FOREVER
from hyperbase.shell.constants import FAMILY_ATTRIBUTES, TABLE_ATTRIBUTES
from hyperbase.shell.errors import ArgumentError
from hyperbase.shell.strings import text_of
from hyperbase.shell.values import inspect, ruby_class, to_bytes, to_s

if TYPE_CHECKING:
    from hyperbase.shell.session import Session

_BYTE_UNITS = (("TB", 2**40), ("GB", 2**30), ("MB", 2**20), ("KB", 2**10), ("B", 1))
_TIME_UNITS = (("DAY", 86_400), ("HOUR", 3_600), ("MINUTE", 60), ("SECOND", 1))


def take_family(
    session: Session, options: Mapping[Any, Any], existing: TableDescriptor | None
) -> ColumnFamilyDescriptor:
    """The family that a hash with NAME describes: a new one, or the table's with changes."""
    name = to_bytes(options["NAME"])
    family = None
    if existing is not None and name in existing.family_names:
        family = existing.family(name)
    family = family or ColumnFamilyDescriptor(name)
    known, unknown = _sorted_out(options, FAMILY_ATTRIBUTES)
    for mapping in ("CONFIGURATION", "METADATA"):
        _require_hash(mapping, known)
    family = family.with_options(known)
    for key in unknown:
        if key != "NAME":
            session.say(f"Unknown argument ignored for column family {text_of(name)}: {key}")
    return family


def take_table_options(
    table: TableDescriptor, options: Mapping[Any, Any]
) -> tuple[TableDescriptor, list[str]]:
    """The table with its options changed, and the keys that are none."""
    known, unknown = _sorted_out(options, TABLE_ATTRIBUTES)
    for mapping in ("CONFIGURATION", "METADATA"):
        _require_hash(mapping, known)
    return table.with_options(known), unknown


def _sorted_out(options: Mapping[Any, Any], known: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    names = set(known)
    given = {to_s(key): value for key, value in options.items()}
    return (
        {key: _plain(value) for key, value in given.items() if key in names},
        [key for key in given if key not in names],
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {to_s(key): to_s(item) for key, item in value.items()}
    return value


def _require_hash(name: str, options: Mapping[str, Any]) -> None:
    if name in options and not isinstance(options[name], dict):
        raise ArgumentError(f"{name} must be a Hash type")


def unset_attribute(table: TableDescriptor, key: str) -> TableDescriptor:
    """Without that attribute, be it one with a name of its own, metadata or configuration.

    Raises:
        ArgumentError: the table does not have it.
    """
    default = TableDescriptor(table.name)
    field = {"MAX_FILESIZE": "max_file_size", "MEMSTORE_FLUSHSIZE": "memstore_flush_size",
             "READONLY": "read_only", "DURABILITY": "durability"}.get(key)  # fmt: skip
    if field is not None and getattr(table, field) != getattr(default, field):
        return replace(table, **{field: getattr(default, field)})
    if key in table.attributes:
        return replace(table, attributes={k: v for k, v in table.attributes.items() if k != key})
    if key in table.configuration:
        return unset_configuration(table, key)
    raise ArgumentError(f"Could not find attribute: {key}")


def unset_configuration(table: TableDescriptor, key: str) -> TableDescriptor:
    """Without that setting.

    Raises:
        ArgumentError: the table does not override it.
    """
    if key not in table.configuration:
        raise ArgumentError(f"Could not find configuration: {key}")
    return replace(table, configuration={k: v for k, v in table.configuration.items() if k != key})


def table_text(table: TableDescriptor) -> str:
    """``t``, or ``t, {TABLE_ATTRIBUTES => {…}}`` when there are any."""
    named: dict[str, str] = {}
    metadata = dict(table.configuration)
    if table.max_file_size is not None:
        named["MAX_FILESIZE"] = byte_text(table.max_file_size)
    if table.memstore_flush_size is not None:
        named["MEMSTORE_FLUSHSIZE"] = byte_text(table.memstore_flush_size)
    if table.read_only:
        named["READONLY"] = "true"
    if table.durability.name != "USE_DEFAULT":
        named["DURABILITY"] = table.durability.name
    coprocessors = {}
    for key, value in table.attributes.items():
        if key in ("PRIORITY", "REGION_REPLICATION"):
            named[key] = value
        elif key.lower().startswith("coprocessor$"):
            coprocessors[key] = value
        else:
            metadata[key] = value
    parts = [f"{key} => '{value}'" for key, value in sorted(named.items())]
    parts += [f"{key} => '{value}'" for key, value in sorted(coprocessors.items())]
    if metadata:
        parts.append(_hash_text("METADATA", metadata))
    return f"{table.name}, {{TABLE_ATTRIBUTES => {{{', '.join(parts)}}}}}" if parts else table.name


def family_text(family: ColumnFamilyDescriptor) -> str:
    """A family as HBase describes it, in HBase's order."""
    attributes = family.attributes
    values = {
        "NAME": text_of(family.name),
        "INDEX_BLOCK_ENCODING": attributes.get("INDEX_BLOCK_ENCODING", "NONE"),
        "MOB_THRESHOLD": attributes.get("MOB_THRESHOLD"),
        "VERSIONS": str(family.max_versions),
        "KEEP_DELETED_CELLS": family.keep_deleted_cells,
        "DATA_BLOCK_ENCODING": family.data_block_encoding,
        "TTL": time_text(family.time_to_live),
        "MIN_VERSIONS": str(family.min_versions),
        "REPLICATION_SCOPE": str(family.replication_scope),
        "BLOOMFILTER": family.bloom_filter_type,
        "IN_MEMORY": _flag(family.in_memory),
        "IS_MOB": attributes.get("IS_MOB"),
        "COMPRESSION": family.compression,
        "BLOCKCACHE": _flag(family.block_cache_enabled),
        "BLOCKSIZE": byte_text(family.block_size),
    }
    parts = [f"{key} => '{value}'" for key, value in values.items() if value is not None]
    metadata = {key: value for key, value in attributes.items() if key not in values}
    if family.new_version_behavior:
        metadata["NEW_VERSION_BEHAVIOR"] = "true"
    if metadata:
        parts.append(_hash_text("METADATA", metadata))
    if family.configuration:
        parts.append(_hash_text("CONFIGURATION", family.configuration))
    return "{" + ", ".join(parts) + "}"


def _hash_text(name: str, values: Mapping[str, str]) -> str:
    inner = ", ".join(f"'{key}' => '{value}'" for key, value in sorted(values.items()))
    return f"{name} => {{{inner}}}"


def _flag(value: bool) -> str:
    return "true" if value else "false"


def byte_text(size: int) -> str:
    """``65536 B (64KB)``; below a kilobyte the number alone."""
    if size < 1024:
        return f"{size} B"
    parts, rest = [], size
    for unit, factor in _BYTE_UNITS:
        count, rest = divmod(rest, factor)
        if count:
            parts.append(f"{count}{unit}")
    return f"{size} B ({' '.join(parts)})"


def time_text(seconds: int) -> str:
    """``2592000 SECONDS (30 DAYS)``; below a minute the number alone.

    HBase makes its last word plural by the minutes (``1 MINUTE 40 SECOND``), and so do we.
    """
    if seconds == FOREVER:
        return "FOREVER"
    if seconds < 60:
        return f"{seconds} SECOND{'' if seconds == 1 else 'S'}"
    counts, rest = [], seconds
    for _, factor in _TIME_UNITS:
        count, rest = divmod(rest, factor)
        counts.append(count)
    parts = []
    for (unit, _), count, decides in zip(_TIME_UNITS, counts, [*counts[:3], counts[2]], strict=True):
        if count:
            parts.append(f"{count} {unit}{'' if decides == 1 else 'S'}")
    return f"{seconds} SECONDS ({' '.join(parts)})"


def check_schema_argument(argument: object) -> None:
    """Raises ArgumentError for what is neither a String nor a Hash."""
    if not isinstance(argument, (str, dict)):
        raise ArgumentError(f"{ruby_class(argument)} of {inspect(argument)} is not of Hash or String type")
