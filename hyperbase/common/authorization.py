"""Who may do what: the one question that every service asks before it acts.

Principals come with connections and requests; until authentication exists nobody checks that they are who
they say, and ``allow_all`` answers every question.
"""

from __future__ import annotations

from typing import Protocol

READ, WRITE, ADMIN = "read", "write", "admin"


class Authorizer(Protocol):
    """Decides; raises AccessDeniedException, which names principal, action and target."""

    def __call__(self, principal: str, action: str, target: str) -> None: ...


def allow_all(principal: str, action: str, target: str) -> None:
    """Everybody may do everything."""
