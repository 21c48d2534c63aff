"""The archive of the write-ahead log: segments whose every edit is in StoreFiles, kept for a while.

An archived segment is ``<archive>/<number>-<archived ms>.wal``; a seal goes with it. Segments are archived
oldest first, so the live log never has a hole.
"""

from __future__ import annotations

from regionserver.storage.filesystem import FileSystem
from regionserver.storage.wal_format import SEALED_SUFFIX, ClosedSegment, archived_name, parse_name


def archive_segment(fs: FileSystem, segment: ClosedSegment, archive: str, now_ms: int) -> str:
    """Move a closed segment, and its seal, into ``archive``; return its new path.

    Raises:
        OSError: it is still where it was, or already in the archive.
    """
    target = f"{archive}/{archived_name(segment.number, now_ms)}"
    move_segment(fs, segment.path, target)
    return target


def move_segment(fs: FileSystem, path: str, target: str) -> None:
    """Move a closed segment together with its seal.

    Raises:
        OSError: as ``FileSystem.archive``.
    """
    try:
        seal = fs.read(path + SEALED_SUFFIX)
    except FileNotFoundError:
        seal = None
    if seal is not None:
        # The copy first: at no moment may a reader find the segment without the seal that ends it.
        fs.create_if_absent(target + SEALED_SUFFIX, seal)
    fs.archive(path, target)
    if seal is not None:
        fs.delete(path + SEALED_SUFFIX)


def clean_archive(fs: FileSystem, archive: str, ttl_s: float, limit_bytes: int, now_s: float) -> list[str]:
    """Delete archived segments: those older than ``ttl_s``, the oldest while they exceed ``limit_bytes``.

    Args:
        now_s: seconds since the epoch.

    Returns:
        The paths that were deleted.
    """
    found = []
    for name in fs.list(archive):
        parsed = parse_name(name)
        if parsed is not None and parsed[1] is not None:
            path = f"{archive}/{name}"
            found.append((parsed[1], path, fs.size(path)))
    found.sort()
    total = sum(size for _, _, size in found)
    deleted = []
    for archived_ms, path, size in found:
        if archived_ms > (now_s - ttl_s) * 1000 and total <= limit_bytes:
            break
        fs.delete(path)
        fs.delete(path + SEALED_SUFFIX)
        deleted.append(path)
        total -= size
    return deleted
