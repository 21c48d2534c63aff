"""The janitor: deletes files of a region that nothing names any more. Nobody else deletes StoreFiles.

Of past epochs it may delete whatever the newest manifest does not name; of the current epoch only what
the manifest lists as released, because a flush or compaction may be writing the others.
"""

from __future__ import annotations

import logging

from hyperbase.common.names import family_directory
from regionserver.region.manifest import EPOCH_DIRECTORY, MANIFEST_DIRECTORY, commit_manifest, next_manifest
from regionserver.region.region import Region

logger = logging.getLogger(__name__)


def clean_region(region: Region) -> int:
    """Delete released files, leftovers of past epochs and superseded manifests; returns how many files.

    What cannot be deleted now is left to the next time.
    """
    try:
        return _clean(region)
    except OSError as error:
        logger.warning("cleaning failed region=%s error=%s", region.name, error)
        return 0


def _clean(region: Region) -> int:
    fs = region.services.fs
    with region.maintenance:
        if region.closed:
            return 0
        manifest = region.manifest
        named = {entry.path for entry in manifest.files()}
        doomed = [path for path in manifest.released if path not in named]
        for name in fs.list(region.directory):
            if name in (MANIFEST_DIRECTORY, EPOCH_DIRECTORY):
                continue
            directory = f"{region.directory}/{name}"
            for file in fs.list(directory):
                path = f"{directory}/{file}"
                epoch = file.partition("-")[0]
                if path not in named and epoch.isdigit() and int(epoch) < manifest.epoch:
                    doomed.append(path)
        for path in doomed:
            region.services.cache.evict_file(path)
            fs.delete(path)
        if manifest.released:
            commit_manifest(region, next_manifest(manifest, released=()))
        region.manifests.remove_older(region.manifest)
        return len(doomed)


def sweep_region(region: Region) -> None:
    """At opening, as the only owner: remove what a crash left."""
    clean_region(region)
    fs = region.services.fs
    try:
        for family in region.descriptor.family_names:
            fs.sweep_temporaries(f"{region.directory}/{family_directory(family)}")
        for name in (MANIFEST_DIRECTORY, EPOCH_DIRECTORY):
            fs.sweep_temporaries(f"{region.directory}/{name}")
    except OSError as error:
        logger.warning("sweeping failed region=%s error=%s", region.name, error)
