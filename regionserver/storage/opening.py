"""From the root of a store, as people write it, to the file system that it stands on.

Root := path | file:///path | hdfs://host:port/path?setting=value | s3://bucket/prefix?option=value
"""

from __future__ import annotations

import os
from urllib.parse import unquote, urlsplit

from regionserver.storage.filesystem import FileSystem
from regionserver.storage.local_filesystem import LocalFileSystem


def local_path(root: str | os.PathLike[str]) -> str | None:
    """Return the path when ``root`` is a directory of this machine, None when it is elsewhere."""
    text = os.fspath(root)
    scheme, separator, _ = text.partition("://")
    if not separator or "/" in scheme:
        return text
    if scheme != "file":
        return None
    parts = urlsplit(text)
    if parts.netloc not in ("", "localhost"):
        raise ValueError(f"not a file of this machine: {text!r}. Give file:///path")
    return unquote(parts.path)


def open_filesystem(root: str | os.PathLike[str], read_only: bool = False) -> FileSystem:
    """Return the file system of a root, and make sure that it answers.

    Raises:
        ValueError: a root or an option that nobody understands.
        ImportError: the package for HDFS or S3 is not installed; the message says which.
        OSError: it cannot be reached, refuses this user, or cannot do what a store needs.
    """
    path = local_path(root)
    if path is not None:
        return LocalFileSystem(path, read_only)
    url = os.fspath(root)
    scheme = url.partition("://")[0]
    # Imported here: each needs a package that only its users have.
    if scheme == "hdfs":
        from regionserver.storage.hdfs_filesystem import HdfsFileSystem

        hdfs = HdfsFileSystem(url, read_only)
        hdfs.verify()
        return hdfs
    if scheme == "s3":
        from regionserver.storage.s3_filesystem import S3FileSystem

        s3 = S3FileSystem(url, read_only)
        s3.verify()
        return s3
    raise ValueError(f"no storage is called {scheme!r}: give a path, or hdfs://, s3:// or file:// URL")
