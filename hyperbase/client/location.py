"""Where a store is: which locations ``hyperbase.connect`` understands."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

from hyperbase.common.errors import IllegalArgumentException, WrongTypeException, shown

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def local_path(location: str | os.PathLike[str]) -> str:
    """The directory that a path or a ``file://`` URL names.

    Raises:
        IllegalArgumentException: a URL with another scheme, of another host, or nothing at all.
        TypeError: neither text nor a path.
    """
    path = os.fspath(location) if isinstance(location, os.PathLike) else location
    if not isinstance(path, str):
        raise WrongTypeException(f"a store's path is text or a pathlib.Path, not {shown(path)}")
    try:
        if b"\0" in os.fsencode(path):
            raise IllegalArgumentException(f"a store's path cannot hold a zero byte: {shown(path)}")
    except UnicodeEncodeError:
        raise IllegalArgumentException(f"no file system can have this path: {shown(path)}") from None
    if not path:
        raise IllegalArgumentException("the store's path is empty: name a directory, as in connect('./data')")
    match = _SCHEME.match(path)
    if match is None:
        return os.path.abspath(path)  # a later chdir must not move the store
    if match[1].lower() != "file":
        raise IllegalArgumentException(
            f"cannot connect to {path!r}: a store is opened by its directory, './data', or by "
            f"'file:///absolute/path', a server by 'hyperbase://host:port', a cluster by "
            f"'zk://host:port/hyperbase'; there is no client for {match[1]}://"
        )
    host, _, tail = path[match.end() :].partition("/")
    if host not in ("", "localhost"):
        raise IllegalArgumentException(
            f"cannot connect to {path!r}: {host!r} is read as a host, and files of other hosts are out "
            "of reach; write file:///absolute/path"
        )
    return "/" + unquote(tail)
