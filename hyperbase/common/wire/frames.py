"""Frames: how messages are cut out of a byte stream.

Stream := PREAMBLE, only from the one who connects, then Frame*
Frame  := length u32 | flags u8 | body (length - 1 bytes)
          Big-endian; length counts flags and body. flags bit 0: the body is one zstd frame.
Body   := one msgpack value, an array; see messages.py

Invariants
  * A length above the limit is refused before anything is allocated for it, and so is a compressed body
    that would unpack to more. Both end the connection: nothing after them can be trusted.
  * Extension types, maps with other keys than text or bytes, and values behind the first are refused. So is
    a large message of more values than ``max_values``: one byte of it can cost 70 in memory.
Threads: a decoder belongs to one connection.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import msgpack
import zstandard

from hyperbase.common.errors import DoNotRetryIOException, HBaseIOException

PREAMBLE = b"HYPB\x01"  # the last byte is the version of the frames
HEADER = struct.Struct(">IB")
HEADER_BYTES = HEADER.size
COMPRESSED = 0x01
DEFAULT_MAX_FRAME_BYTES = 64 * 1024 * 1024
COMPRESSION_LEVEL = 1
# What a server takes in one request: a few hundred MB when all of them are the smallest objects there are.
MAX_REQUEST_VALUES = 4_000_000
COUNTED_FROM_BYTES = 256 * 1024  # a smaller message cannot cost much
assert HEADER_BYTES == 5


class BadFrameException(DoNotRetryIOException):
    """The peer does not speak this protocol, or sent more than a frame may hold: the connection ends."""


def _refuse_extension(code: int, data: bytes) -> Any:
    raise BadFrameException(f"a message holds a msgpack extension of type {code}")


def pack_frame(message: Any) -> bytes:
    """A message as one frame, uncompressed."""
    body: bytes = msgpack.packb(message, use_bin_type=True)
    return HEADER.pack(len(body) + 1, 0) + body


def pack_compressed(message: Any, threshold_bytes: int) -> bytes:
    """A message as one frame; bodies from the threshold on are compressed where that makes them smaller."""
    body: bytes = msgpack.packb(message, use_bin_type=True)
    if len(body) >= threshold_bytes:
        squeezed = compress_body(body)
        if len(squeezed) < len(body):
            return HEADER.pack(len(squeezed) + 1, COMPRESSED) + squeezed
    return HEADER.pack(len(body) + 1, 0) + body


class _ValueCount:
    """Counts the members of arrays and maps as they are unpacked, and stops at a limit."""

    __slots__ = ("_left",)

    def __init__(self, limit: int) -> None:
        self._left = limit

    def __call__(self, container: Any) -> Any:
        self._left -= 1 + len(container)
        if self._left < 0:
            raise BadFrameException("a message holds too many values: send it in parts")
        return container


def compress_body(body: bytes) -> bytes:
    """A body as one zstd frame, for ``COMPRESSED``."""
    return zstandard.ZstdCompressor(level=COMPRESSION_LEVEL).compress(body)


def unpack_body(body: bytes | memoryview, flags: int, max_bytes: int, max_values: int | None = None) -> Any:
    """The message in a frame's body; arrays are tuples.

    Raises:
        BadFrameException: not msgpack, an extension, trailing bytes, or too large when unpacked.
    """
    if flags:
        body = _decompressed(body, flags, max_bytes)
    limits: dict[str, Any] = {}
    if max_values is not None and len(body) >= COUNTED_FROM_BYTES:
        count = _ValueCount(max_values)
        limits = {
            "list_hook": count,
            "object_hook": count,
            "max_array_len": max_values,
            "max_map_len": max_values,
        }
    try:
        return msgpack.unpackb(
            body, use_list=False, raw=False, ext_hook=_refuse_extension, timestamp=0, **limits
        )
    except HBaseIOException:
        raise
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError, OverflowError) as error:
        # TypeError: a map's key is an array of maps, which cannot be hashed
        raise BadFrameException(
            f"a frame of {len(body)} bytes is not a message: {type(error).__name__} {error}"
        ) from error


def _decompressed(body: bytes | memoryview, flags: int, max_bytes: int) -> bytes:
    if flags != COMPRESSED:
        raise BadFrameException(f"a frame has unknown flags {flags:#04x}")
    try:
        size = zstandard.frame_content_size(body)
        if not 0 <= size <= max_bytes:
            raise BadFrameException(f"a compressed frame unpacks to {size} bytes, at most {max_bytes} may be")
        return zstandard.ZstdDecompressor().decompress(bytes(body), max_output_size=max_bytes)
    except zstandard.ZstdError as error:
        raise BadFrameException(f"a compressed frame is damaged: {error}") from error


class FrameDecoder:
    """Cuts messages out of what arrives; holds at most one incomplete frame."""

    __slots__ = ("_buffer", "max_frame_bytes", "max_values")

    def __init__(self, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES, max_values: int | None = None) -> None:
        self.max_frame_bytes = max_frame_bytes
        self.max_values = max_values
        self._buffer = bytearray()

    @property
    def pending_bytes(self) -> int:
        """What waits for the rest of its frame, or was not asked for yet."""
        return len(self._buffer)

    def keep(self, data: bytes) -> None:
        """Take what arrives and cut it later: ``feed(b"")`` goes on."""
        self._buffer += data

    def feed(self, data: bytes) -> Iterator[Any]:
        """Yield every message that is complete now; who stops asking finds the others the next time.

        Raises:
            BadFrameException: end the connection.
        """
        buffer = self._buffer
        if buffer:
            buffer += data
            source: bytes | bytearray = buffer
        else:
            source = data
        position, end = 0, len(source)
        view = memoryview(source)
        try:
            while end - position >= HEADER_BYTES:
                length, flags = HEADER.unpack_from(source, position)
                if not 0 < length <= self.max_frame_bytes:
                    raise BadFrameException(
                        f"a frame of {length} bytes was announced; at most {self.max_frame_bytes} may be "
                        "sent (max_frame_bytes)"
                    )
                stop = position + 4 + length
                if stop > end:
                    break
                with view[position + HEADER_BYTES : stop] as body:
                    message = unpack_body(body, flags, self.max_frame_bytes, self.max_values)
                position = stop
                yield message
        finally:
            view.release()
            if source is buffer:
                del buffer[:position]
            elif position < end:
                buffer += source[position:]
