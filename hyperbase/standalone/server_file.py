"""``server.json`` in a data directory: which process serves it, and where clients reach it.

    {"pid": 4711, "startcode": 1767323045678, "version": "0.1.0", "endpoints": {"rpc": "hyperbase://…"},
     "data": "/absolute/path", "process": "boot id:clock ticks"}

It is written, whole, when the server is ready, and removed when it has closed cleanly. A file without a live
server is what a crash leaves. A pid alone proves nothing, pids are used again: ``process`` says which
process it was, by the boot of the machine and the process's start in clock ticks since then.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hyperbase.common.errors import StoreFormatException
from hyperbase.common.process.identity import process_identity

SERVER_FILE = "server.json"
# As temporary files of the store's own are named: what a crash leaves goes with them at the next opening.
_TEMPORARY_PREFIX = ".tmp-"


@dataclass(frozen=True, slots=True)
class ServerFile:
    """What ``server.json`` says."""

    pid: int
    startcode: int  # ms since the epoch
    version: str
    endpoints: Mapping[str, str]
    data: str
    process: str = ""  # empty where the system does not tell

    @property
    def alive(self) -> bool:
        """Whether the process that wrote it still runs."""
        now = process_identity(self.pid)
        return now is not None and (not now or not self.process or now == self.process)

    def write(self) -> None:
        """Write it into its data directory: a reader sees all of it or none."""
        path = os.path.join(self.data, SERVER_FILE)
        temporary = os.path.join(self.data, f"{_TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(6)}")
        try:
            with open(temporary, "x", encoding="utf-8") as file:
                json.dump(asdict(self), file, indent=2)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise

    def remove(self) -> None:
        """Remove it, unless another server has written its own meanwhile."""
        with contextlib.suppress(FileNotFoundError, StoreFormatException):
            if read_server_file(self.data) == self:
                os.unlink(os.path.join(self.data, SERVER_FILE))


def read_server_file(directory: str) -> ServerFile | None:
    """What the data directory's ``server.json`` says; ``None``: none there, or one copied from elsewhere.

    Raises:
        StoreFormatException: it is damaged. OSError: it cannot be read.
    """
    path = os.path.join(directory, SERVER_FILE)
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise _damaged(path, error) from error
    try:
        there = _parsed(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, error) from error
    if os.path.isdir(there.data) and not os.path.samefile(there.data, directory):
        return None
    return there


def _parsed(found: Any) -> ServerFile:
    endpoints = {str(name): str(url) for name, url in found["endpoints"].items()}
    pid, startcode = int(found["pid"]), int(found["startcode"])
    if pid <= 0:
        raise ValueError(f"pid {pid}")
    version, process = str(found["version"]), str(found.get("process", ""))
    return ServerFile(pid, startcode, version, endpoints, str(found["data"]), process)


def _damaged(path: str, error: Exception) -> StoreFormatException:
    return StoreFormatException(
        f"{path} is damaged ({type(error).__name__}: {error}): when no server runs there, remove it"
    )
