"""When a region has outgrown its limit, and where it would be cut: pure questions about its files."""

from __future__ import annotations

from regionserver.region.region import Region


def wants_split(region: Region) -> bool:
    """Its largest Store exceeds MAX_FILESIZE, and it could be split: no file is another region's."""
    descriptor, manifest = region.descriptor, region.manifest
    if region.info.is_meta or not descriptor.split_enabled:
        return False
    limit = descriptor.max_file_size or region.services.config.max_file_size_bytes
    stores = manifest.stores.values()
    largest = max((sum(entry.size_bytes for entry in entries) for entries in stores), default=0)
    return largest > limit and not has_references(region)


def has_references(region: Region) -> bool:
    """Some of its files are those of the regions that it was made of."""
    return any(entry.reference for entry in region.manifest.files())


def split_point(region: Region) -> bytes | None:
    """The middle row of the largest file of the largest Store, if it can divide the region."""
    stores = [files for files in region.view.files.values() if files]
    if not stores:
        return None
    largest = max(stores, key=lambda files: sum(reader.info.file_bytes for reader in files))
    row = max(largest, key=lambda reader: reader.info.file_bytes).middle_row()
    if row is None or row == region.info.start_key or not region.info.contains(row):
        return None
    return row
