"""``FILE.rejects.jsonl``: the rows an import did not take, one JSON object a line.

Each has ``line`` (where the row starts in the input, from 1), ``reason`` and ``record`` (what it held). The
file exists only when there was something to reject, and says what the last run rejected.
"""

from __future__ import annotations

import contextlib
import json
import os
from types import TracebackType
from typing import TextIO

from hyperbase.cli.readers import Reject
from hyperbase.cli.values import printable


class RejectFile:
    """Collects rejects; a context manager."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.count = 0
        self._file: TextIO | None = None

    def __enter__(self) -> RejectFile:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        return self

    def add(self, reject: Reject) -> None:
        """Write one line."""
        if self._file is None:
            self._file = open(self.path, "w", encoding="utf-8")  # noqa: SIM115 (closed in __exit__)
        entry = {"line": reject.line, "reason": reject.reason, "record": reject.record}
        self._file.write(json.dumps(entry, default=_readable) + "\n")
        self.count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


def _readable(value: object) -> str:
    return printable(value) if isinstance(value, bytes) else str(value)
