"""What makes a schema unfit for a table: the faults HBase's master looks for before create and alter.

Source: HBase's TableDescriptorChecker; order and texts are its own, the two blanks in some texts included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hyperbase.common.schema_options import INT64, parse_int

if TYPE_CHECKING:
    from hyperbase.common.descriptors import ColumnFamilyDescriptor, TableDescriptor

SANITY_CHECKS = "hbase.table.sanity.checks"
ROW_PREFIX_LENGTH = "RowPrefixBloomFilter.prefix_length"

MIN_FILE_SIZE_BYTES = 2 * 2**20
MIN_FLUSH_SIZE_BYTES = 2**20
MIN_BLOCK_SIZE_BYTES, MAX_BLOCK_SIZE_BYTES = 1024, 16 * 2**20


def first_fault(table: TableDescriptor) -> str | None:
    """The first fault of the table, else of its families by name; ``None`` when there is none."""
    file_size = _size(table, table.max_file_size, "hbase.hregion.max.filesize")
    if file_size is not None and file_size < MIN_FILE_SIZE_BYTES:
        return (
            f'MAX_FILESIZE for table descriptor or "hbase.hregion.max.filesize" ({file_size}) '
            "is too small, which might cause over splitting into unmanageable number of regions."
        )
    flush_size = _size(table, table.memstore_flush_size, "hbase.hregion.memstore.flush.size")
    if flush_size is not None and flush_size < MIN_FLUSH_SIZE_BYTES:
        return (
            f'MEMSTORE_FLUSHSIZE for table descriptor or "hbase.hregion.memstore.flush.size" ({flush_size}) '
            "is too small, which might cause very frequent flushing."
        )
    if not table.families:
        return "Table should have at least one column family."
    if table.region_replication < 1:
        return "Table region replication should be at least one."
    faults = (_family_fault(table, family) for family in table.families)
    return next((fault for fault in faults if fault is not None), None)


def _size(table: TableDescriptor, size: int | None, key: str) -> int | None:
    override = table.configuration.get(key)
    return size if size is not None or override is None else parse_int(key, override, INT64)


def _family_fault(table: TableDescriptor, family: ColumnFamilyDescriptor) -> str | None:
    shown = family.name.decode("utf-8", "replace")
    if family.time_to_live <= 0:
        return f"TTL for column family {shown} must be positive."
    if not MIN_BLOCK_SIZE_BYTES <= family.block_size <= MAX_BLOCK_SIZE_BYTES:
        return f"Block size for column family {shown}  must be between 1K and 16MB."
    if family.min_versions < 0:
        return f"Min versions for column family {shown}  must be positive."
    if family.min_versions > family.max_versions:
        return f"Min versions for column family {shown} must be less than the Max versions."
    if family.replication_scope not in (0, 1):
        return f"Replication scope for column family {shown} is {family.replication_scope} which is invalid."
    if family.bloom_filter_type == "ROWPREFIX_FIXED_LENGTH":
        length = table.setting(ROW_PREFIX_LENGTH, family.name)
        if length is None or not length.isdecimal() or int(length) < 1:
            return f"{ROW_PREFIX_LENGTH} for column family {shown} must be a positive number, not {length}."
    if parse_int("DFS_REPLICATION", family.attributes.get("DFS_REPLICATION", 0)) < 0:
        return f"HFile Replication for column family {shown}  must be greater than zero."
    return None
