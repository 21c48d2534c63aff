"""StoreFile: one immutable, sorted file of the cells of one family of one region.

The file is a plain Arrow IPC file, so any Arrow tool reads its cells as columns. ``store_file_format``
describes the bytes, ``StoreFileWriter`` makes a file, ``StoreFileReader`` answers from it.
"""

from __future__ import annotations

from regionserver.storage.block import Block
from regionserver.storage.store_file_format import FORMAT_VERSION, SCHEMA, StoreFileInfo
from regionserver.storage.store_file_reader import BlockNotCachedError, StoreFileReader
from regionserver.storage.store_file_writer import StoreFileWriter

__all__ = [
    "FORMAT_VERSION",
    "SCHEMA",
    "Block",
    "BlockNotCachedError",
    "StoreFileInfo",
    "StoreFileReader",
    "StoreFileWriter",
]
