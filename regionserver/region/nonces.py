"""Nonces: a retried mutation must not apply twice.

A nonce is ``(client id, number, oldest number the client still waits for)``; for a group of rows, the number
is a tuple with one number for each row. A region remembers the answers of the numbers from the oldest on; a
number below it is refused, since nobody can be waiting. A client that was not heard of for ``FORGET_MS`` is
forgotten: no retry lasts that long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from hyperbase.common.errors import OperationConflictException

Nonce = tuple[bytes, "int | tuple[int, ...]", int]
FORGET_MS = 3_600_000

Row = TypeVar("Row")


class _Client:
    __slots__ = ("answers", "oldest", "used_ms")

    def __init__(self, oldest: int, answers: dict[int, Any], used_ms: int) -> None:
        self.oldest = oldest
        self.answers = answers
        self.used_ms = used_ms


class Nonces:
    """The answers a region remembers, by client. The caller holds the region's lock."""

    __slots__ = ("_clients",)

    def __init__(self) -> None:
        self._clients: dict[bytes, _Client] = {}

    def seen(self, client: bytes, number: int) -> tuple[bool, Any]:
        """``(True, answer)`` when the number was applied already.

        Raises:
            OperationConflictException: the number is older than what the client said it waits for.
        """
        known = self._clients.get(client)
        if known is None:
            return False, None
        if number in known.answers:
            return True, known.answers[number]
        if number < known.oldest:
            raise OperationConflictException(
                f"mutation {number} of client {client.hex()} is older than {known.oldest}, the oldest it "
                "waits for"
            )
        return False, None

    def unseen(self, nonce: Nonce, rows: Sequence[Row]) -> tuple[Nonce, Sequence[Row]]:
        """The rows of a group that were not applied yet, with their numbers."""
        client, numbers, oldest = nonce
        assert isinstance(numbers, tuple)
        fresh = [not self.seen(client, number)[0] for number in numbers]
        if all(fresh):
            return nonce, rows
        left = tuple(number for number, new in zip(numbers, fresh, strict=True) if new)
        return (client, left, oldest), [row for row, new in zip(rows, fresh, strict=True) if new]

    def remember(self, nonce: Nonce, answer: Any, now_ms: int) -> None:
        """Keep the answer, forget those the client no longer waits for."""
        client, number, oldest = nonce
        known = self._clients.get(client)
        if known is None:
            known = self._clients[client] = _Client(oldest, {}, now_ms)
        known.used_ms = now_ms
        if oldest > known.oldest:
            known.oldest = oldest
            answers = known.answers
            for old in [each for each in answers if each < oldest]:
                del answers[old]
        if isinstance(number, tuple):
            known.answers.update(dict.fromkeys(number, answer))
        else:
            known.answers[number] = answer

    def export(self, now_ms: int) -> dict[bytes, Any]:
        """For the manifest; forgets clients of long ago."""
        for client in [c for c, known in self._clients.items() if now_ms - known.used_ms > FORGET_MS]:
            del self._clients[client]
        return {
            client: [known.oldest, list(map(list, known.answers.items()))]
            for client, known in self._clients.items()
        }

    def load(self, exported: dict[bytes, Any], now_ms: int) -> None:
        """Add what a manifest kept (several, for a merged region)."""
        for client, (oldest, answers) in exported.items():
            known = self._clients.get(client)
            if known is None:
                self._clients[client] = _Client(oldest, dict(answers), now_ms)
            else:
                known.oldest = max(known.oldest, oldest)
                known.answers.update(dict(answers))
