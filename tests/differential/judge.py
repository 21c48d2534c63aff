"""The judge: a real HBase behind Judge.java, or its recorded answers; and what an engine is here.

``ask(op)`` answers one operation as a plain dict: ``{"results": [[cell, …], …]}`` with a cell as
``[row, family, qualifier, timestamp, type, value]`` (bytes as hex), ``{"ok": true}``, ``{"exists": bool}``,
``{"success": bool, …}``, ``{"outcomes": […]}`` or ``{"error": class name, "message": text}``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Protocol

Op = dict[str, Any]
Answer = dict[str, Any]

# A clock in milliseconds must move on between two operations: what shares a millisecond is masked.
PAUSE_S = 0.002


# What the judge answers when HBase itself breaks; README.md lists the cases.
FAULTS = ("Cannot invoke", "Unexpected size", "java.io.IOException$", "NullPointer", "Timeout", "timed out")


def is_fault(answer: dict[str, Any]) -> bool:
    """HBase failed instead of answering: there is nothing to compare with."""
    if "outcomes" in answer:
        return any(is_fault(outcome) for outcome in answer["outcomes"])
    text = f"{answer.get('error', '')} {answer.get('message', '')}$"
    return "error" in answer and any(fault in text for fault in FAULTS)


class Engine(Protocol):
    """One table's worth of answers at a time."""

    def ask(self, op: Op) -> Answer: ...

    def new_table(self, name: str) -> None:
        """Operations are about ``name`` from here on; the former table is dropped."""

    def close(self) -> None: ...


class HBase:
    """A running HBase, through Judge.java.

    Args:
        directory: where ``lib/*.jar`` is, HBase's client among them. Needs ``java`` and ``javac``.
    """

    def __init__(self, directory: Path) -> None:
        self._classes = tempfile.mkdtemp(prefix="judge-")
        jars = f"{directory}/lib/*"
        source = str(Path(__file__).with_name("Judge.java"))
        subprocess.run(["javac", "-nowarn", "-cp", jars, "-d", self._classes, source], check=True)
        self._process = subprocess.Popen(
            ["java", "-Xmx256m", "-cp", f"{self._classes}:{jars}", "Judge"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._table, self._faulty = "", False

    def new_table(self, name: str) -> None:
        if self._table and not self._faulty:  # a region that hangs cannot be closed
            self.ask({"op": "drop"})
        self._table, self._faulty = name, False

    def ask(self, op: Op) -> Answer:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        time.sleep(PAUSE_S)
        self._process.stdin.write(json.dumps({**op, "table": self._table}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        while line and not line.startswith("{"):  # a library that logs to stdout
            line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the judge ended; it was asked {op}")
        answer: Answer = json.loads(line)
        if "message" in answer:
            answer["message"] = answer["message"][:200]
        if is_fault(answer):
            self._faulty = True
        return answer

    def close(self) -> None:
        self.new_table("")
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        shutil.rmtree(self._classes)


class Recorded:
    """A judge's answers kept in a file: ``answers[i]`` belongs to operation ``i``."""

    def __init__(self, answers: list[Answer]) -> None:
        self._answers = iter(answers)

    def new_table(self, name: str) -> None:
        """The recording is about one table."""

    def ask(self, op: Op) -> Answer:
        return next(self._answers)

    def close(self) -> None:
        """Nothing is held open."""
