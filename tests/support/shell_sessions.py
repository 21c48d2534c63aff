"""Sessions of the shell as text: run the lines behind the prompts, compare what comes out.

A transcript is what a session with piped input prints: prompts, lines, output. What changes from run to
run (times taken, stamps of now, names of regions and servers) is replaced by fixed words before that.
"""

from __future__ import annotations

import io
import re
import time
from pathlib import Path

import hyperbase
from hyperbase.shell.interpreter import Interpreter
from hyperbase.shell.modes import run_piped
from hyperbase.shell.session import Session

_PROMPT = re.compile(r"hbase:\d{3}:\d[>*] ?(.*)")
_CHANGING = (
    (re.compile(r"Took \d+\.\d{4} seconds"), "Took 0.0000 seconds"),
    (re.compile(r"timestamp=20(?:2[5-9]|[3-9]\d)-[-T:.\d]+"), "timestamp=NOW"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "ENCODED"),
    (re.compile(r",\d{13}\.ENCODED"), ",CREATED.ENCODED"),
    (re.compile(r"(localhost[,:]0[, ])\d{13}"), r"\1STARTED"),
    (re.compile(r"(requestsPerSecond|usedHeapMB|maxHeapMB|maxCacheSize)=[\d.]+"), r"\1=N"),
    (re.compile(r"\|\s+\d+ \|        1\.0 \|"), "| N |        1.0 |"),
    (re.compile(r"MILLIS_BETWEEN_NEXTS \d+"), "MILLIS_BETWEEN_NEXTS N"),
    (re.compile(re.escape(hyperbase.__version__)), "VERSION"),
    (re.compile(r"(?m)^\S+ \(auth:SIMPLE\)\n(?:    groups: .*\n)?"), "USER\n"),
    (re.compile(r"Aggregate load: \d+"), "Aggregate load: N"),
)


def lines_typed(transcript: str) -> list[str]:
    """The lines behind the prompts, and the answers to questions, which stand there as ``<answer``."""
    lines = []
    for line in transcript.splitlines():
        match = _PROMPT.fullmatch(line)
        if match is not None:
            lines.append(match[1])
        elif line.startswith("<"):
            lines.append(line[1:])
    return lines[:-1] if lines and not lines[-1] else lines


def replay(lines: list[str], store: Path | str) -> str:
    """What a session with these lines of input prints, on a directory or on the server of that URL."""
    time.tzset()
    out = io.StringIO()
    source = io.StringIO("".join(f"{line}\n" for line in lines))

    def answer(question: str) -> str:
        reply = source.readline()
        out.write(f"{question}<{reply}")
        return reply

    with hyperbase.connect(store) as connection:
        run_piped(
            Interpreter(Session(connection, out=out, ask=answer, local=isinstance(store, Path))), source
        )
    return out.getvalue()


def fixed(transcript: str) -> str:
    """The transcript with what changes replaced."""
    for pattern, words in _CHANGING:
        transcript = pattern.sub(words, transcript)
    return "\n".join(line.rstrip() for line in transcript.splitlines()) + "\n"
