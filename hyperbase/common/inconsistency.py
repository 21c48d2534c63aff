"""What ``hbck`` finds: one thing about a store or cluster that is not as it should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Inconsistency:
    """One finding.

    Args:
        kind: what it is, one of the names in ``master.hbck``: ``hole``, ``overlap``, ``not_served`` …
        about: the region (encoded name), table, server or path it concerns.
        text: the same for people, with what can be done.
        server: where, if it is about a region on a server.
        repaired: what was done about it; empty: nothing, it is as it was.
    """

    kind: str
    about: str
    text: str
    server: str = ""
    repaired: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """The same for the same finding of another look."""
        return self.kind, self.about, self.server

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Inconsistency:
        """The inverse of ``to_dict``; what a newer version has added is left out."""
        names = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in names})

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)
