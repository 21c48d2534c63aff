"""One file in HDFS: written block by block, published when all of it can be read, read at any offset."""

from __future__ import annotations

import contextlib
import errno
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from regionserver.storage.hdfs_errors import translated
from regionserver.storage.remote_files import start

if TYPE_CHECKING:
    import hdfs_native

logger = logging.getLogger(__name__)

_CLOSERS = 64  # closes under way at one time, each of some 500 ms; those above wait for their turn
_LONGEST_PAUSE_S = 0.1


class Blocks:
    """A file open for writing. An hsync covers its current block only, so each is synced when it is full."""

    def __init__(self, writer: hdfs_native.FileWriter, path: str, block_bytes: int) -> None:
        self._writer = writer
        self._block_bytes = block_bytes
        self._dirty = False
        self.path = path  # absolute, in HDFS
        self.written = 0

    def write(self, data: bytes) -> None:
        """Add ``data`` at the end."""
        at = 0
        with translated(self.path):
            while at < len(data):
                room = self._block_bytes - self.written % self._block_bytes
                piece = data[at : at + room] if at or room < len(data) else data
                self._dirty = True
                self._writer.write(piece)
                at += len(piece)
                self.written += len(piece)
                if self.written % self._block_bytes == 0:
                    self.hsync()

    def hsync(self) -> None:
        """Return when everything written is on the disks of every DataNode that has it."""
        if self._dirty:
            with translated(self.path):
                self._writer.hsync()
            self._dirty = False

    def close(self) -> None:
        """Give the lease back. Takes some 500 ms when anything was written: see ``Closer``."""
        with translated(self.path):
            self._writer.close()


class Closer:
    """Closes files in the background: they can be read long before the close returns.

    The close sends the last packet, tells the NameNode that the file is complete, is told that no DataNode
    has reported the last block yet, and asks again after 500 ms. The report comes within milliseconds, and
    from then on the file is whole for every reader, with or without the second question.
    """

    def __init__(self, client: hdfs_native.Client) -> None:
        self._client = client
        self._threads = ThreadPoolExecutor(_CLOSERS, thread_name_prefix="hdfs-close")

    def close(self, blocks: Blocks, *, wait: bool = True) -> None:
        """Begin to close; with ``wait`` return when all that was written can be read."""
        closing = start(self._threads, blocks.close)
        if wait:
            self._wait_until_readable(closing, blocks)
        closing.add_done_callback(lambda done: _report(done, blocks.path))

    def _wait_until_readable(self, closing: Future[None], blocks: Blocks) -> None:
        pause = 0.001
        while not closing.done():
            time.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_PAUSE_S)
            with translated(blocks.path):
                if blocks.written and len(self._client.read(blocks.path)) == blocks.written:
                    return
        closing.result()


def _report(closing: Future[None], path: str) -> None:
    error = closing.exception()
    if error is not None:
        # Its lease was taken, by a fence or the end of HDFS's patience. What was hsynced is not lost.
        logger.info("a file was not closed by its writer path=%s error=%s", path, error)


class HdfsReader:
    """A ``RandomAccessFile`` in HDFS."""

    def __init__(self, file: hdfs_native.FileReader, path: str, closed: Callable[[str], None]) -> None:
        self._file: hdfs_native.FileReader | None = file
        self._path = path
        self._closed = closed
        self._size = len(file)

    @property
    def size(self) -> int:
        """Bytes in the file when it was opened."""
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset``; fewer only at the end of the file."""
        file = self._file
        if file is None:
            raise ValueError(f"read of a closed file: {self._path}")
        length = min(length, self._size - offset)
        if length <= 0:
            return b""
        with translated(self._path):
            data = file.read_range(offset, length)
        if len(data) != length:
            raise OSError(
                errno.EIO, f"HDFS gave {len(data)} of {length} bytes at offset {offset}", self._path
            )
        return data

    def close(self) -> None:
        """Give the handle back; a second call does nothing."""
        if self._file is not None:
            self._file = None
            self._closed(self._path)

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            self.close()


class HdfsWriter:
    """A ``FileWriter`` in HDFS: a temporary file that gets its name when it can be read."""

    def __init__(self, client: hdfs_native.Client, closer: Closer, blocks: Blocks, target: str) -> None:
        self._client = client
        self._closer = closer
        self._blocks: Blocks | None = blocks
        self._target = target
        self._written = 0

    def write(self, data: bytes) -> None:
        """Add ``data`` at the end."""
        if self._blocks is None:
            raise ValueError(f"write to a finished file: {self._target}")
        self._blocks.write(data)
        self._written += len(data)

    def tell(self) -> int:
        """Return the bytes written so far."""
        return self._written

    def commit(self) -> None:
        """Make contents and name durable, then visible. ``FileExistsError``: the name is taken."""
        blocks = self._blocks
        if blocks is None:
            raise ValueError(f"commit of a finished file: {self._target}")
        try:
            # Sync before rename: a crash must never show the name without its bytes.
            blocks.hsync()
            self._closer.close(blocks)
            with translated(self._target):
                self._client.rename(blocks.path, self._target, overwrite=False)
        except BaseException:
            self.abort()
            raise
        self._blocks = None

    def abort(self) -> None:
        """Throw the file away; after ``commit`` or a second time it does nothing."""
        blocks, self._blocks = self._blocks, None
        if blocks is not None:
            # What cannot be deleted now is left to the sweep; the error that led here matters more.
            with contextlib.suppress(OSError), translated(blocks.path):
                self._client.delete(blocks.path)

    def __del__(self) -> None:
        # Nobody finished it: its temporary file is left to the sweep, as after a crash.
        self._blocks = None
