"""Which store a shell opens, and which of its words is a script.

The first word is a location if it is a URL or a directory, or if it does not exist and has no file
ending, as ``./data`` (the store is made then). Otherwise it is a script, and the rest are its arguments;
behind a location comes a script, if anything. Without a location the shell goes to the server of this
machine: ``server.json`` in the data directory tells where it listens. A directory that a running server
has open is reached through that server too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

from hyperbase.shell.errors import ArgumentError

SERVER_FILE = "server.json"
DEFAULT_DIRECTORY = "./hyperbase-data"


@dataclass(frozen=True, slots=True)
class Target:
    """What to open, and what to run in it."""

    location: str  # a directory or a URL
    script: str | None
    arguments: list[str]


def resolve(words: Sequence[str], data: str | None = None) -> Target:
    """The target that the words of the command line name; ``data`` is the server's directory.

    Raises:
        ArgumentError: no such script, or no server and no location.
    """
    rest = list(words)
    location = None
    if rest and _is_location(rest[0]):
        location = rest.pop(0)
    script = rest.pop(0) if rest else None
    if script is not None and not os.path.isfile(script):
        raise ArgumentError(f"{script}: no such script, and not a directory or URL either")
    if location is None:
        location = server_of(data or DEFAULT_DIRECTORY)
        if location is None:
            raise ArgumentError(
                f"no server is running on {data or DEFAULT_DIRECTORY}: run 'hyperbase start', or give a "
                "directory to open, as in 'hyperbase shell ./data'"
            )
    elif "://" not in location:
        location = server_of(location) or location
    return Target(location, script, rest)


def _is_location(word: str) -> bool:
    if "://" in word or os.path.isdir(word):
        return True
    return not os.path.exists(word) and not os.path.splitext(os.path.basename(word))[1]


def server_of(directory: str) -> str | None:
    """Where the running server that has this directory listens; None: there is none."""
    path = os.path.join(directory, SERVER_FILE)
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        pid, address = int(found["pid"]), str(found["endpoints"]["rpc"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArgumentError(f"{path} cannot be read: {error or type(error).__name__}") from error
    return address if _is_running(pid) else None


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's, but there
        return True
    return pid > 0
