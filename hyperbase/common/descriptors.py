"""Schemas: what a table, a column family and a namespace are, as plain frozen values.

Settings the engine uses are fields. HBase's other attributes are kept in ``attributes`` under their
upper-case name, with text values, and come back as they were given. ``configuration`` overrides settings
of the site by their dotted name, a family's before its table's.

A descriptor can be made that no table may have; ``TableDescriptor.check`` is the gate, as in HBase's
master. Types and names are checked when a descriptor is made.

Source: HBase's ColumnFamilyDescriptor, TableDescriptor, TableDescriptorChecker, messages included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from hyperbase.common.argument_checks import check_items, check_kind, check_mapping
from hyperbase.common.errors import (
    DoNotRetryIOException,
    IllegalArgumentException,
    InvalidFamilyOperationException,
    NoSuchColumnFamilyException,
    StoreFormatException,
)
from hyperbase.common.model import Durability, to_bytes
from hyperbase.common.names import (
    MAX_FAMILY_LENGTH,
    RESERVED_NAMESPACES,
    canonical_table_name,
    check_family_name,
    check_namespace_name,
    split_table_name,
)
from hyperbase.common.schema_check import SANITY_CHECKS, first_fault
from hyperbase.common.schema_options import (
    FOREVER,
    INT64,
    parse_bool,
    parse_bytes,
    parse_choice,
    parse_int,
    parse_seconds,
    parse_text,
    parse_text_mapping,
    plain_text,
    unknown_option,
)
from hyperbase.common.split_keys import check_split_keys, uniform_split_keys

__all__ = [
    "DEFAULT_MAX_VERSIONS",
    "FOREVER",
    "THRIFT_MAX_VERSIONS",
    "ColumnFamilyDescriptor",
    "NamespaceDescriptor",
    "TableDescriptor",
    "check_split_keys",
    "uniform_split_keys",
]

DEFAULT_MAX_VERSIONS = 1
THRIFT_MAX_VERSIONS = 3  # what a family gets that is created through Thrift or HappyBase

# How a compression people name is stored: natively, by the nearest of the same speed class otherwise.
STORAGE_COMPRESSIONS = {
    "NONE": "NONE",
    "LZ4": "LZ4",
    "ZSTD": "ZSTD",
    "SNAPPY": "LZ4",
    "LZO": "LZ4",
    "GZ": "ZSTD",
    "BZIP2": "ZSTD",
    "LZMA": "ZSTD",
    "BROTLI": "ZSTD",
}
STORAGE_BLOOMS = {"NONE": "NONE", "ROW": "ROW", "ROWCOL": "ROWCOL", "ROWPREFIX_FIXED_LENGTH": "ROW"}
KEEP_DELETED_CELLS = ("FALSE", "TRUE", "TTL")
DATA_BLOCK_ENCODINGS = ("NONE", "PREFIX", "DIFF", "FAST_DIFF", "ROW_INDEX_V1")

_Parser = Callable[[str, Any], Any]


def _one_of(choices: Iterable[str]) -> _Parser:
    known = tuple(choices)
    return lambda option, value: parse_choice(option, value, known)


def _size(option: str, value: Any) -> int:
    return parse_bytes(option, value)


_FAMILY_FIELDS: dict[str, _Parser] = {
    "max_versions": parse_int,
    "min_versions": parse_int,
    "time_to_live": parse_seconds,
    "compression": _one_of(STORAGE_COMPRESSIONS),
    "bloom_filter_type": _one_of(STORAGE_BLOOMS),
    "in_memory": parse_bool,
    "block_cache_enabled": parse_bool,
    "block_size": lambda option, value: parse_bytes(option, value, limit=2**31 - 1),
    "keep_deleted_cells": _one_of(KEEP_DELETED_CELLS),
    "replication_scope": parse_int,
    "new_version_behavior": parse_bool,
    "data_block_encoding": _one_of(DATA_BLOCK_ENCODINGS),
}
# HBase's names of fields, in lower case.
_FAMILY_ALIASES = {
    "versions": "max_versions",
    "ttl": "time_to_live",
    "bloomfilter": "bloom_filter_type",
    "blockcache": "block_cache_enabled",
    "blocksize": "block_size",
}
_FAMILY_ATTRIBUTES: dict[str, _Parser] = {
    "INDEX_BLOCK_ENCODING": _one_of(("NONE", "PREFIX_TREE")),
    "CACHE_DATA_ON_WRITE": parse_bool,
    "CACHE_INDEX_ON_WRITE": parse_bool,
    "CACHE_BLOOMS_ON_WRITE": parse_bool,
    "EVICT_BLOCKS_ON_CLOSE": parse_bool,
    "PREFETCH_BLOCKS_ON_OPEN": parse_bool,
    "COMPRESS_TAGS": parse_bool,
    "COMPRESSION_COMPACT": _one_of(STORAGE_COMPRESSIONS),
    "COMPRESSION_COMPACT_MAJOR": _one_of(STORAGE_COMPRESSIONS),
    "COMPRESSION_COMPACT_MINOR": _one_of(STORAGE_COMPRESSIONS),
    "IS_MOB": parse_bool,
    "MOB_THRESHOLD": _size,
    "MOB_COMPACT_PARTITION_POLICY": _one_of(("DAILY", "WEEKLY", "MONTHLY")),
    "IN_MEMORY_COMPACTION": _one_of(("NONE", "BASIC", "EAGER", "ADAPTIVE")),
    "STORAGE_POLICY": plain_text,
    "DFS_REPLICATION": parse_int,
    "ENCRYPTION": plain_text,
    "ENCRYPTION_KEY": plain_text,
}
# HappyBase's options that HBase itself ignores: the type is checked, the value is not kept.
_FAMILY_IGNORED = ("bloom_filter_vector_size", "bloom_filter_nb_hashes")

_TABLE_FIELDS: dict[str, _Parser] = {
    "max_file_size": _size,
    "memstore_flush_size": _size,
    "read_only": parse_bool,
    "durability": lambda option, value: parse_durability(value),
}
_TABLE_ALIASES = {
    "max_filesize": "max_file_size",
    "memstore_flushsize": "memstore_flush_size",
    "readonly": "read_only",
}
_TABLE_ATTRIBUTES: dict[str, _Parser] = {
    "COMPACTION_ENABLED": parse_bool,
    "SPLIT_ENABLED": parse_bool,
    "MERGE_ENABLED": parse_bool,
    "REGION_REPLICATION": parse_int,
    "SPLIT_POLICY": plain_text,
    "FLUSH_POLICY": plain_text,
    "NORMALIZATION_ENABLED": parse_bool,
    "NORMALIZER_TARGET_REGION_COUNT": parse_int,
    "NORMALIZER_TARGET_REGION_SIZE": lambda option, value: parse_int(option, value, INT64),
    "NORMALIZER_TARGET_REGION_SIZE_MB": lambda option, value: parse_int(option, value, INT64),
    "PRIORITY": parse_int,
    "OWNER": plain_text,
    "RSGROUP": plain_text,
}


@dataclass(frozen=True, slots=True)
class ColumnFamilyDescriptor:
    """Schema of one column family.

    Args:
        name: bytes, or text taken as UTF-8.
        max_versions: versions of a cell that reads may see, at least 1. min_versions: those of them that
            outlive ``time_to_live``.
        time_to_live: seconds; ``FOREVER`` is no expiry. block_size: bytes of a StoreFile block.

    Raises:
        IllegalArgumentException: an illegal name, a value of the wrong type, ``max_versions < 1``.
    """

    name: bytes
    max_versions: int = DEFAULT_MAX_VERSIONS
    min_versions: int = 0
    time_to_live: int = FOREVER
    compression: str = "NONE"
    bloom_filter_type: str = "ROW"
    in_memory: bool = False
    block_cache_enabled: bool = True
    block_size: int = 65_536
    keep_deleted_cells: str = "FALSE"
    replication_scope: int = 0
    new_version_behavior: bool = False
    data_block_encoding: str = "NONE"
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)
    configuration: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "name", check_family_name(_name_bytes(self.name)))
        for option, parse in _FAMILY_FIELDS.items():
            set_field(self, option, parse(option, getattr(self, option)))
        set_field(self, "attributes", parse_text_mapping("attributes", self.attributes))
        set_field(self, "configuration", parse_text_mapping("configuration", self.configuration))
        if self.max_versions < 1:
            raise IllegalArgumentException("Maximum versions must be positive")

    @classmethod
    def from_options(
        cls,
        name: bytes | str,
        options: Mapping[str, Any] | None = None,
        default_max_versions: int = DEFAULT_MAX_VERSIONS,
    ) -> ColumnFamilyDescriptor:
        """A family from HappyBase's or HBase's options; ``cf``, ``cf:`` and ``cf:x`` all name ``cf``.

        See ``with_options`` for the options, and for what is raised.
        """
        family = _name_bytes(name).partition(b":")[0]
        return cls(family, max_versions=default_max_versions).with_options(options)

    def with_options(self, options: Mapping[str, Any] | None) -> ColumnFamilyDescriptor:
        """A copy with some options changed.

        Args:
            options: by HappyBase's name (``max_versions``, ``time_to_live``), by HBase's in lower or upper
                case (``TTL``, ``keep_deleted_cells``), or dotted (configuration). ``CONFIGURATION`` and
                ``METADATA`` take mappings. ``None`` leaves an option as it is. A ``time_to_live`` of 0 or
                less is FOREVER, as through Thrift; a ``TTL`` of 0 or less is left for ``check`` to refuse.

        Raises:
            IllegalArgumentException: an unknown option (the closest is named) or an unfit value.
        """
        changes: dict[str, Any] = {}
        attributes, configuration = dict(self.attributes), dict(self.configuration)
        for key, value in {} if options is None else check_mapping(options, "options").items():
            option = parse_text("option name", key)
            lower = option.lower()
            known = _FAMILY_ALIASES.get(lower, lower)
            if value is None:
                _require_known(option, _family_option_names(), f"column family {_shown(self.name)}")
            elif known in _FAMILY_FIELDS:
                changes[known] = _FAMILY_FIELDS[known](option, value)
                if lower == "time_to_live" and changes[known] <= 0:
                    changes[known] = FOREVER
            elif lower in _FAMILY_IGNORED:
                parse_int(option, value)
            elif not _take_attribute(option, value, _FAMILY_ATTRIBUTES, attributes, configuration):
                raise unknown_option(option, _family_option_names(), f"column family {_shown(self.name)}")
        return replace(self, **changes, attributes=attributes, configuration=configuration)

    @property
    def storage_compression(self) -> str:
        """``NONE``, ``LZ4`` or ``ZSTD``: how StoreFiles of this family are written."""
        return STORAGE_COMPRESSIONS[self.compression]

    @property
    def storage_bloom(self) -> str:
        """``NONE``, ``ROW`` or ``ROWCOL``: the Bloom filter its StoreFiles carry."""
        return STORAGE_BLOOMS[self.bloom_filter_type]

    @property
    def time_to_live_ms(self) -> int:
        """Milliseconds after which a cell expires; 0 is never."""
        return 0 if self.time_to_live == FOREVER else self.time_to_live * 1000

    def to_happybase(self) -> dict[str, Any]:
        """What HappyBase's ``Table.families()`` returns for this family."""
        return {
            "name": self.name + b":",
            "max_versions": self.max_versions,
            "compression": self.compression,
            "in_memory": self.in_memory,
            "bloom_filter_type": self.bloom_filter_type,
            "bloom_filter_vector_size": 0,
            "bloom_filter_nb_hashes": 0,
            "block_cache_enabled": self.block_cache_enabled,
            "time_to_live": self.time_to_live,
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values for msgpack; ``from_dict`` is the inverse."""
        return _plain_fields(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ColumnFamilyDescriptor:
        """Absent settings have their default. Raises StoreFormatException for one that is not known."""
        return cls(**_known_fields(cls, data))


@dataclass(frozen=True, slots=True)
class TableDescriptor:
    """Schema of one table; families are kept in the order of their names.

    Args:
        name: ``"t"`` or ``"ns:t"``; ``"default:t"`` becomes ``"t"``.
        max_file_size, memstore_flush_size: bytes; ``None`` is the store's own setting.

    Raises:
        IllegalArgumentException: an illegal name, a family twice or with a name that is too long, a value
            of the wrong type.
    """

    name: str
    families: Sequence[ColumnFamilyDescriptor] = ()
    max_file_size: int | None = None
    memstore_flush_size: int | None = None
    read_only: bool = False
    durability: Durability = Durability.USE_DEFAULT
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)
    configuration: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "name", canonical_table_name(self.name))
        families = [check_kind(one, ColumnFamilyDescriptor) for one in check_items(self.families, "families")]
        ordered = tuple(sorted(families, key=lambda family: family.name))
        for before, family in zip((None, *ordered), ordered, strict=False):
            if before is not None and before.name == family.name:
                raise IllegalArgumentException(
                    f"Family '{_shown(family.name)}' already exists so cannot be added"
                )
            if len(family.name) > MAX_FAMILY_LENGTH:
                raise IllegalArgumentException(
                    f"The length of family name is bigger than {MAX_FAMILY_LENGTH}"
                )
        set_field(self, "families", ordered)
        for option, parse in _TABLE_FIELDS.items():
            value = getattr(self, option)
            if value is not None or option not in ("max_file_size", "memstore_flush_size"):
                set_field(self, option, parse(option, value))
        set_field(self, "attributes", parse_text_mapping("attributes", self.attributes))
        set_field(self, "configuration", parse_text_mapping("configuration", self.configuration))

    def with_options(self, options: Mapping[str, Any] | None) -> TableDescriptor:
        """A copy with some table options changed, by HBase's name in lower or upper case, or dotted.

        ``CONFIGURATION`` and ``METADATA`` take mappings; ``coprocessor$1`` and the like are kept.

        Raises:
            IllegalArgumentException: an unknown option (the closest is named) or an unfit value.
        """
        changes: dict[str, Any] = {}
        attributes, configuration = dict(self.attributes), dict(self.configuration)
        for key, value in {} if options is None else check_mapping(options, "options").items():
            option = parse_text("option name", key)
            known = _TABLE_ALIASES.get(option.lower(), option.lower())
            if value is None:
                _require_known(option, _table_option_names(), f"table {self.name}")
            elif known in _TABLE_FIELDS:
                changes[known] = _TABLE_FIELDS[known](option, value)
            elif option.lower().startswith("coprocessor$"):
                attributes[option] = plain_text(option, value)
            elif not _take_attribute(option, value, _TABLE_ATTRIBUTES, attributes, configuration):
                raise unknown_option(option, _table_option_names(), f"table {self.name}")
        return replace(self, **changes, attributes=attributes, configuration=configuration)

    @property
    def namespace(self) -> str:
        """The table's namespace, ``"default"`` when its name has none."""
        return split_table_name(self.name)[0]

    @property
    def family_names(self) -> tuple[bytes, ...]:
        """Names of the families, ascending."""
        return tuple(family.name for family in self.families)

    def family(self, name: bytes | str) -> ColumnFamilyDescriptor:
        """The family of that name.

        Raises:
            NoSuchColumnFamilyException: the table has none.
        """
        name = _name_bytes(name)
        for family in self.families:
            if family.name == name:
                return family
        known = ", ".join(map(_shown, self.family_names))
        raise NoSuchColumnFamilyException(
            f"Column family {_shown(name)} does not exist in table {self.name}: its families are {known}"
        )

    def with_family(self, family: ColumnFamilyDescriptor, *, modify: bool = False) -> TableDescriptor:
        """A copy with a family added, or with ``modify`` replaced.

        Raises:
            InvalidFamilyOperationException: it exists already, or with ``modify`` does not exist.
        """
        check_kind(family, ColumnFamilyDescriptor)
        called, exists = _shown(family.name), family.name in self.family_names
        if exists and not modify:
            raise InvalidFamilyOperationException(
                f"Column family '{called}' in table '{self.name}' already exists so cannot be added"
            )
        if modify and not exists:
            raise InvalidFamilyOperationException(
                f"Family '{called}' does not exist, so it cannot be modified"
            )
        others = [other for other in self.families if other.name != family.name]
        return replace(self, families=[*others, family])

    def without_family(self, name: bytes | str) -> TableDescriptor:
        """A copy without that family.

        Raises:
            InvalidFamilyOperationException: it does not exist, or is the last.
        """
        name = _name_bytes(name)
        if name not in self.family_names:
            raise InvalidFamilyOperationException(
                f"Family '{_shown(name)}' does not exist, so it cannot be deleted"
            )
        if len(self.families) == 1:
            raise InvalidFamilyOperationException(
                f"Family '{_shown(name)}' is the only column family in the table, so it cannot be deleted"
            )
        return replace(self, families=[family for family in self.families if family.name != name])

    @property
    def compaction_enabled(self) -> bool:
        """Whether the store compacts the table by itself."""
        return self._flag("COMPACTION_ENABLED", default=True)

    @property
    def split_enabled(self) -> bool:
        """Whether regions split by themselves."""
        return self._flag("SPLIT_ENABLED", default=True)

    @property
    def merge_enabled(self) -> bool:
        """Whether regions may be merged."""
        return self._flag("MERGE_ENABLED", default=True)

    @property
    def region_replication(self) -> int:
        """Copies of each region, the writable one included."""
        return parse_int("REGION_REPLICATION", self.attributes.get("REGION_REPLICATION", 1))

    def setting(self, key: str, family: bytes | None = None) -> str | None:
        """A dotted setting as this schema overrides it, the family's before the table's; else ``None``."""
        layers: list[Mapping[str, str]] = [self.configuration, self.attributes]
        if family is not None:
            described = self.family(family)
            layers = [described.configuration, described.attributes, *layers]
        return next((layer[key] for layer in layers if key in layer), None)

    def check(self, site_configuration: Mapping[str, str] | None = None) -> None:
        """Refuse a schema that would harm, as HBase's master does before create and alter.

        ``hbase.table.sanity.checks=false``, here or in the site's configuration, lets everything pass.

        Raises:
            DoNotRetryIOException: the first fault.
        """
        enabled = self.setting(SANITY_CHECKS) or (site_configuration or {}).get(SANITY_CHECKS, "true")
        if enabled.strip().lower() == "false":
            return
        fault = first_fault(self)
        if fault is not None:
            raise DoNotRetryIOException(
                f"{fault} Set {SANITY_CHECKS} to false at conf or table descriptor "
                "if you want to bypass sanity checks"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for msgpack; ``from_dict`` is the inverse."""
        families = [family.to_dict() for family in self.families]
        return {**_plain_fields(self), "families": families, "durability": int(self.durability)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TableDescriptor:
        """Absent settings have their default. Raises StoreFormatException for one that is not known."""
        known = _known_fields(cls, data)
        known["families"] = [ColumnFamilyDescriptor.from_dict(family) for family in known.get("families", ())]
        return cls(**known)

    def _flag(self, name: str, *, default: bool) -> bool:
        return parse_bool(name, self.attributes.get(name, default))


@dataclass(frozen=True, slots=True)
class NamespaceDescriptor:
    """A namespace: a group of tables with properties of its own.

    Raises:
        IllegalArgumentException: an illegal name, or properties that are not text.
    """

    name: str
    configuration: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        check_namespace_name(self.name)
        object.__setattr__(self, "configuration", parse_text_mapping("configuration", self.configuration))

    @property
    def reserved(self) -> bool:
        """Whether the store itself needs it: ``default`` and ``hbase``."""
        return self.name in RESERVED_NAMESPACES

    def to_dict(self) -> dict[str, Any]:
        """Plain values for msgpack; ``from_dict`` is the inverse."""
        return _plain_fields(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NamespaceDescriptor:
        """Raises StoreFormatException for a setting that is not known."""
        return cls(**_known_fields(cls, data))


def parse_durability(value: Any) -> Durability:
    """A ``Durability``, its number or its name in any case.

    Raises:
        IllegalArgumentException: none of these.
    """
    if isinstance(value, str):
        return Durability[parse_choice("durability", value, Durability.__members__)]
    return Durability.of(value)


def _take_attribute(
    option: str,
    value: Any,
    known: Mapping[str, _Parser],
    attributes: dict[str, str],
    configuration: dict[str, str],
) -> bool:
    """Put an option that is no field where it belongs; False: nobody knows it."""
    upper = option.upper()
    if upper in known:
        attributes[upper] = plain_text(option, known[upper](option, value))
    elif upper == "CONFIGURATION":
        configuration.update(parse_text_mapping(option, value))
    elif upper in ("METADATA", "ATTRIBUTES"):
        attributes.update(parse_text_mapping(option, value))
    elif "." in option:
        configuration[option] = plain_text(option, value)
    else:
        return False
    return True


def _require_known(option: str, known: Iterable[str], what: str) -> None:
    names = set(known)
    if option.lower() not in names and "." not in option:
        raise unknown_option(option, names, what)


def _family_option_names() -> set[str]:
    attributes = {name.lower() for name in _FAMILY_ATTRIBUTES}
    return {*_FAMILY_FIELDS, *_FAMILY_ALIASES, *_FAMILY_IGNORED, *attributes, "configuration", "metadata"}


def _table_option_names() -> set[str]:
    attributes = {name.lower() for name in _TABLE_ATTRIBUTES}
    return {*_TABLE_FIELDS, *_TABLE_ALIASES, *attributes, "configuration", "metadata"}


def _name_bytes(name: object) -> bytes:
    return to_bytes(name, "column family name")  # type: ignore[arg-type]  # anything else is refused there


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def _plain_fields(
    descriptor: ColumnFamilyDescriptor | TableDescriptor | NamespaceDescriptor,
) -> dict[str, Any]:
    plain = {item.name: getattr(descriptor, item.name) for item in fields(descriptor)}
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in plain.items()}


def _known_fields(
    kind: type[ColumnFamilyDescriptor] | type[TableDescriptor] | type[NamespaceDescriptor],
    data: Mapping[str, Any],
) -> dict[str, Any]:
    unknown = set(data) - {item.name for item in fields(kind)}
    if unknown:
        # Dropping what a newer version wrote would lose it at the next alter.
        raise StoreFormatException(
            f"{kind.__name__} holds settings this version does not know: {', '.join(sorted(unknown))}; "
            "it was written by a newer version"
        )
    return dict(data)
