"""Log records as facts with stable keys: ``flushed region=%s cells=%d`` is an event and two fields.

text := 2026-01-02T03:04:05.678Z INFO regionserver.region.flush: flushed region=t,,1 cells=500
json := {"time": …, "level": …, "logger": …, "event": "flushed", "region": "t,,1", "cells": 500}

Fields are found in the record's template, not in its finished text: what a value holds never becomes a field,
a record or a colour. Values with spaces or quotes are quoted, what is not printable is escaped, and the lines
of a traceback begin with ``  | ``.
"""

from __future__ import annotations

import datetime
import functools
import json
import logging
import math
import re
import sys
import traceback
from typing import Any

_FIELD = re.compile(r"(?<!\S)(\w+)=(\S*%\S*)")
_SPEC = re.compile(r"%(?:%|[#0\- +]*\d*(?:\.\d+)?[hlL]?[diouxXeEfFgGcrsa])")
_LONE_SPEC = re.compile(r"%[a-z]")
_PLAIN = re.compile(r"[^\s\"'=\\]+")
_RESERVED = frozenset({"time", "level", "logger", "event", "error", "traceback"})


def set_up_logging(
    level: str, format_name: str = "text", file: str = "", max_bytes: int = 0, backups: int = 5
) -> None:
    """Send this process's records to standard error, or to a file that is rotated at ``max_bytes``.

    Raises:
        OSError: the file cannot be opened.
    """
    handler: logging.Handler
    if file:
        from logging.handlers import RotatingFileHandler

        handler = RotatingFileHandler(file, maxBytes=max_bytes, backupCount=backups, encoding="utf-8")
    else:
        handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if format_name == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.raiseExceptions = False  # a full disk under the log file is no reason for tracebacks elsewhere


class TextFormatter(logging.Formatter):
    """One line for each record, for people and for ``grep``."""

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter``."""
        event, fields = facts(record)
        words = [f"{_time(record)} {record.levelname} {record.name}:", escaped(event)]
        words += [f"{name}={_quoted(value)}" for name, value in fields.items()]
        error, trace = _failure(record)
        if error:
            words.append(f"error={_quoted(error)}")
        return "\n".join([" ".join(words), *(f"  | {escaped(line)}" for line in trace.splitlines())])


class JsonFormatter(logging.Formatter):
    """One JSON object in one line for each record, for programs."""

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter``."""
        event, fields = facts(record)
        error, trace = _failure(record)
        entry: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "event": event,
        }
        if error:
            entry |= {"error": error, "traceback": trace}
        for name, value in fields.items():
            # "error" is a field like others, unless the record's exception took the name.
            taken = name in entry or (name in _RESERVED and name != "error")
            entry[f"{name}_" if taken else name] = value
        return json.dumps(entry)  # ASCII, and control characters escaped


def facts(record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
    """The event and the fields of a record; numbers stay numbers."""
    template = str(record.msg)
    if not record.args:
        return template, {}
    if not isinstance(record.args, tuple):
        return _message(record), {}
    event_template, field_templates, counts = _split(template)
    if sum(counts) != len(record.args):
        return _message(record), {}
    try:
        return _fill(event_template, field_templates, counts, record.args)
    except (TypeError, ValueError):
        return _message(record), {}


def _fill(
    event_template: list[str],
    field_templates: list[tuple[str, str]],
    counts: list[int],
    args: tuple[Any, ...],
) -> tuple[str, dict[str, Any]]:
    """Hand the arguments out to pieces of the event and to fields, which follow each other in turn."""
    words, fields, start = [], {}, 0
    for index, count in enumerate(counts):
        given = args[start : start + count]
        start += count
        if index % 2 == 0:
            words.append(event_template[index // 2] % given)
            continue
        name, value_template = field_templates[index // 2]
        fields[name] = _value(value_template, given)
    return " ".join(word for word in words if word), fields


def _value(template: str, given: tuple[Any, ...]) -> Any:
    """A number as itself, when the template shows it whole; else the text that the template makes."""
    if len(given) == 1 and _LONE_SPEC.fullmatch(template):
        value = given[0]
        if isinstance(value, (int, float)) and math.isfinite(value):
            return int(value) if template in ("%d", "%i") and not isinstance(value, bool) else value
    return template % given


@functools.lru_cache(maxsize=1024)
def _split(template: str) -> tuple[list[str], list[tuple[str, str]], list[int]]:
    """Pieces of the event; name and template of each field; how many arguments each takes, in turn."""
    pieces, fields, end = [], [], 0
    for match in _FIELD.finditer(template):
        pieces.append(template[end : match.start()].strip())
        fields.append((match[1], match[2]))
        end = match.end()
    pieces.append(template[end:].strip())
    counts = []
    for index, piece in enumerate(pieces):
        counts.append(_argument_count(piece))
        if index < len(fields):
            counts.append(_argument_count(fields[index][1]))
    return pieces, fields, counts


def _argument_count(template: str) -> int:
    return sum(spec != "%%" for spec in _SPEC.findall(template))


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # a record that does not fit its arguments is still worth a line
        return f"{record.msg} {record.args!r}"


def _failure(record: logging.LogRecord) -> tuple[str, str]:
    """("Type: message", traceback) of the record's exception, or two empty texts."""
    if not record.exc_info or record.exc_info[1] is None:
        return "", ""
    error = record.exc_info[1]
    lines = traceback.format_exception(record.exc_info[0], error, record.exc_info[2])
    return f"{type(error).__name__}: {error}", "".join(lines)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def escaped(text: str) -> str:
    """``text`` with everything that would move a terminal's cursor or begin a line made visible."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _quoted(value: object) -> str:
    text = str(value)
    if text.isprintable() and _PLAIN.fullmatch(text):
        return text
    return '"' + escaped(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'
