"""Nonces: a retried mutation must not apply twice.

A nonce is ``(client id, number, oldest number the client still waits for)``. A region remembers the
answers of the numbers from the oldest on; a number below it is refused, since nobody can be waiting.
"""

from __future__ import annotations

from typing import Any

from hyperbase.common.errors import OperationConflictException

Nonce = tuple[bytes, int, int]


class Nonces:
    """The answers a region remembers, by client. The caller holds the region's lock."""

    __slots__ = ("_clients",)

    def __init__(self) -> None:
        self._clients: dict[bytes, tuple[int, dict[int, Any]]] = {}

    def seen(self, nonce: Nonce) -> tuple[bool, Any]:
        """``(True, answer)`` when the number was applied already.

        Raises:
            OperationConflictException: the number is older than what the client said it waits for.
        """
        client, number, _ = nonce
        oldest, answers = self._clients.get(client, (0, {}))
        if number in answers:
            return True, answers[number]
        if number < oldest:
            raise OperationConflictException(
                f"mutation {number} of client {client.hex()} is older than {oldest}, the oldest it waits for"
            )
        return False, None

    def remember(self, nonce: Nonce, answer: Any) -> None:
        """Keep the answer, forget those the client no longer waits for."""
        client, number, oldest = nonce
        before, answers = self._clients.get(client, (0, {}))
        oldest = max(oldest, before)
        kept = {known: value for known, value in answers.items() if known >= oldest}
        kept[number] = answer
        self._clients[client] = (oldest, kept)

    def export(self) -> dict[bytes, Any]:
        """For the manifest."""
        return {
            client: [oldest, list(map(list, answers.items()))]
            for client, (oldest, answers) in self._clients.items()
        }

    def load(self, exported: dict[bytes, Any]) -> None:
        """Add what a manifest kept (several, for a merged region)."""
        for client, (oldest, answers) in exported.items():
            before, known = self._clients.get(client, (0, {}))
            self._clients[client] = (max(oldest, before), {**known, **dict(answers)})
