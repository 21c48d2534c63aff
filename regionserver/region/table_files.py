"""What stands in the directories of tables: their regions, and a copy of their schema.

``data/<namespace>/<table>/<region>/``       a region; region names do not begin with a dot
``data/<namespace>/<table>/.tabledesc/<n>``  the schema, ``n`` as 10 decimal digits; the highest counts

File := MAGIC b"HBTD0001" | crc32c u32 of the body | body (msgpack map). See docs/formats.md.

hbase:meta says what tables there are, and how they are; nothing reads these copies while it does. Together
with what every manifest says of its region they are enough to write hbase:meta anew.
Only who may change the table writes here: one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator

import google_crc32c
import msgpack

from hyperbase.common.catalog import META_DIRECTORY
from hyperbase.common.descriptors import TableDescriptor
from hyperbase.common.errors import CorruptHFileException, StoreFormatException
from hyperbase.common.names import join_table_name, table_directory
from regionserver.region.manifest import ManifestStore
from regionserver.storage.filesystem import FileSystem

MAGIC = b"HBTD0001"
DATA_DIRECTORY = "data"
DESCRIPTOR_DIRECTORY = ".tabledesc"


def tables_on_disk(fs: FileSystem) -> Iterator[str]:
    """Names of the tables that have a directory, hbase:meta among them."""
    for namespace in fs.list(DATA_DIRECTORY):
        for qualifier in fs.list(f"{DATA_DIRECTORY}/{namespace}"):
            yield join_table_name(namespace, qualifier)


def regions_of_table(fs: FileSystem, table: str) -> list[str]:
    """Paths of the region directories of a table, those that nothing names any more too."""
    directory = _directory(table)
    return [f"{directory}/{name}" for name in fs.list(directory) if not name.startswith(".")]


def regions_on_disk(fs: FileSystem) -> Iterator[tuple[str, str]]:
    """Table and path of every region directory, hbase:meta's too."""
    for table in tables_on_disk(fs):
        for path in regions_of_table(fs, table):
            yield table, path


def refuse_lost_catalogue(fs: FileSystem) -> None:
    """Raise when there are regions and no hbase:meta.

    It is made before the first table. Who went on with an empty one would take every region for a leftover.

    Raises:
        StoreFormatException
    """
    if ManifestStore(fs, META_DIRECTORY).names():
        return
    for table, path in regions_on_disk(fs):
        if path != META_DIRECTORY and ManifestStore(fs, path).names():
            raise StoreFormatException(
                f"hbase:meta is missing, and there are tables ({table}): its directory {META_DIRECTORY} was "
                "lost. Restore it, or have it written anew from the regions: hyperbase hbck --rebuild-meta"
            )


# -- schemas ---------------------------------------------------------------------------------------------


def encode_descriptor(descriptor: TableDescriptor) -> bytes:
    """The file's bytes."""
    body = msgpack.packb({"version": 1, "descriptor": descriptor.to_dict()})
    checksum: int = google_crc32c.value(body)
    return MAGIC + checksum.to_bytes(4, "big") + bytes(body)


def decode_descriptor(data: bytes, path: str) -> TableDescriptor:
    """Raises CorruptHFileException or StoreFormatException, naming the file."""
    if data[:4] != MAGIC[:4]:
        raise CorruptHFileException(f"{path} is not a table descriptor: it begins with {data[:8]!r}")
    if data[:8] != MAGIC:
        raise StoreFormatException(f"{path} has descriptor format {data[4:8]!r}: a newer version wrote it")
    if google_crc32c.value(data[12:]) != int.from_bytes(data[8:12], "big"):
        raise CorruptHFileException(f"{path} is damaged: its checksum does not match")
    fields = msgpack.unpackb(data[12:], strict_map_key=False)
    if fields["version"] != 1:
        raise StoreFormatException(f"{path} has version {fields['version']}: use a newer program")
    return TableDescriptor.from_dict(fields["descriptor"])


def has_descriptor(fs: FileSystem, table: str) -> bool:
    """Whether there is a copy of the table's schema."""
    return bool(fs.list(f"{_directory(table)}/{DESCRIPTOR_DIRECTORY}"))


def read_descriptor(fs: FileSystem, table: str) -> TableDescriptor | None:
    """The newest copy of a table's schema, or ``None`` if there is none.

    Raises:
        CorruptHFileException, StoreFormatException: it cannot be read.
    """
    directory = f"{_directory(table)}/{DESCRIPTOR_DIRECTORY}"
    names = fs.list(directory)
    if not names:
        return None
    path = f"{directory}/{names[-1]}"
    return decode_descriptor(fs.read(path), path)


def keep_descriptor(fs: FileSystem, descriptor: TableDescriptor) -> None:
    """See to it that the newest copy of the table's schema is this one."""
    directory = f"{_directory(descriptor.name)}/{DESCRIPTOR_DIRECTORY}"
    names = fs.list(directory)
    data = encode_descriptor(descriptor)
    if names and fs.read(f"{directory}/{names[-1]}") == data:
        return
    number = 1 + max(map(int, names), default=0)
    while not fs.create_if_absent(f"{directory}/{number:010d}", data):
        number += 1
    for name in names:
        fs.delete(f"{directory}/{name}")


def forget_descriptor(fs: FileSystem, table: str) -> None:
    """The table is gone."""
    fs.delete_tree(f"{_directory(table)}/{DESCRIPTOR_DIRECTORY}")


def _directory(table: str) -> str:
    namespace, qualifier = table_directory(table)
    return f"{DATA_DIRECTORY}/{namespace}/{qualifier}"
