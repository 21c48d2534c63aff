"""One server on one directory, with every role in one process: what ``hyperbase start`` runs.

Importing this package loads nothing: ``status`` and ``stop`` do not wait for the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperbase.standalone.server import StandaloneServer

__all__ = ["StandaloneServer"]


def __getattr__(name: str) -> Any:
    if name != "StandaloneServer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hyperbase.standalone.server import StandaloneServer

    return StandaloneServer
