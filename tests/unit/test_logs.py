"""Log records: facts with stable keys, as text and as JSON; nothing a value holds becomes anything else."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hyperbase.common.logs import JsonFormatter, TextFormatter, facts, set_up_logging


def record(template: str, *args: Any, level: int = logging.INFO, error: BaseException | None = None) -> Any:
    exc_info = (type(error), error, error.__traceback__) if error is not None else None
    made = logging.LogRecord("region.flush", level, "f.py", 1, template, args, exc_info)
    made.created = 1_767_323_045.678
    return made


def text(template: str, *args: Any, **more: Any) -> str:
    return TextFormatter().format(record(template, *args, **more))


def entry(template: str, *args: Any, **more: Any) -> dict[str, Any]:
    line = JsonFormatter().format(record(template, *args, **more))
    assert "\n" not in line
    assert line.isascii()
    loaded: dict[str, Any] = json.loads(line)
    return loaded


def test_a_record_is_an_event_and_its_fields() -> None:
    line = text("flushed region=%s cells=%d took_ms=%.1f", "t,,1", 500, 2.25)
    assert line == "2026-01-02T03:04:05.678Z INFO region.flush: flushed region=t,,1 cells=500 took_ms=2.2"
    assert entry("flushed region=%s cells=%d took_ms=%.1f", "t,,1", 500, 2.25) == {
        "time": "2026-01-02T03:04:05.678Z",
        "level": "INFO",
        "logger": "region.flush",
        "event": "flushed",
        "region": "t,,1",
        "cells": 500,
        "took_ms": "2.2",
    }


@pytest.mark.parametrize(
    ("template", "args", "event", "fields"),
    [
        ("started", (), "started", {}),
        ("100% sure=yes", (), "100% sure=yes", {}),
        ("%s failed region=%s", ("flush", "r"), "flush failed", {"region": "r"}),
        ("merged regions=%s,%s into=%s", ("a", "b", "c"), "merged", {"regions": "a,b", "into": "c"}),
        ("archiving failed: %s", ("no space",), "archiving failed: no space", {}),
        ("at=%r then %s more=%5.2f%%", (b"\0", "x", 1.0), "then x", {"at": "b'\\x00'", "more": " 1.00%"}),
        ("ratio=%s on=%s none=%s", (1.5, True, None), "", {"ratio": 1.5, "on": True, "none": "None"}),
        ("took_ms=%d", (2.75,), "", {"took_ms": 2}),
        ("odd=%s", (float("nan"),), "", {"odd": "nan"}),
        ("mapping %(a)s", ({"a": 1},), "mapping 1", {}),
    ],
)
def test_fields_are_found_in_the_template(
    template: str, args: tuple[Any, ...], event: str, fields: dict[str, Any]
) -> None:
    assert facts(record(template, *args)) == (event, fields)


@pytest.mark.parametrize("args", [(), (1,), (1, 2, 3), ("a", "b")])
def test_a_record_that_does_not_fit_its_arguments_is_still_written(args: tuple[Any, ...]) -> None:
    assert "flushed" in text("flushed cells=%d files=%d", *args)
    assert "flushed" in entry("flushed cells=%d files=%d", *args)["event"]


EVIL = "x\n2026-01-02 ERROR root: all lost level=%s \x1b[31m \u2028 \u202e \x85"


def test_what_a_value_holds_stays_inside_the_value() -> None:
    line = text("opened path=%s", EVIL)
    assert line.isprintable()
    assert 'path="x\\n2026' in line
    loaded = entry("opened path=%s", EVIL)
    assert loaded["path"] == EVIL
    assert set(loaded) == {"time", "level", "logger", "event", "path"}
    assert text("said %s", EVIL).isprintable()
    assert text("said " + EVIL).isprintable()


def test_values_are_quoted_where_they_would_not_be_told_apart() -> None:
    line = text("x a=%s b=%s c=%s d=%s", "two words", 'q"uote', "", "a=b")
    assert line.endswith('x a="two words" b="q\\"uote" c="" d="a=b"')


def test_reserved_names_are_not_taken() -> None:
    loaded = entry("left out event=%s level=%s error=%s", "flush", 5, "full")
    assert (loaded["event"], loaded["level"]) == ("left out", "INFO")
    assert (loaded["event_"], loaded["level_"], loaded["error"]) == ("flush", 5, "full")


def test_an_exception_is_a_field_and_its_traceback_cannot_be_mistaken_for_records() -> None:
    try:
        raise ValueError(EVIL)
    except ValueError as caught:
        error = caught
    first, *rest = text("flush failed region=%s", "r", error=error).split("\n")
    assert 'region=r error="ValueError: x\\n2026' in first
    assert rest
    assert all(line.startswith("  | ") and line.isprintable() for line in rest)
    loaded = entry("flush failed region=%s error=%s", "r", "mine", error=error)
    assert loaded["error"] == f"ValueError: {EVIL}"
    assert loaded["error_"] == "mine"
    assert loaded["traceback"].startswith("Traceback")


SCRIPT = """
import logging, sys
from hyperbase.common.logs import set_up_logging
set_up_logging(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
for number in range(int(sys.argv[6])):
    logging.getLogger("a.b").info("counted number=%d", number)
logging.getLogger("a.b").debug("whispered")
"""


def run_script(*words: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, words)], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    return done.stderr


def test_records_go_to_standard_error() -> None:
    lines = run_script("INFO", "json", "", 0, 5, 3).splitlines()
    assert [json.loads(line)["number"] for line in lines] == [0, 1, 2]
    assert len(run_script("DEBUG", "text", "", 0, 5, 3).splitlines()) == 4
    assert run_script("ERROR", "text", "", 0, 5, 3) == ""


def test_a_file_is_rotated_and_the_oldest_go(tmp_path: Path) -> None:
    assert run_script("INFO", "text", tmp_path / "s.log", 1000, 2, 100) == ""
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["s.log", "s.log.1", "s.log.2"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    assert (tmp_path / "s.log").read_text().splitlines()[-1].endswith("a.b: counted number=99")


def test_a_file_without_limit_grows(tmp_path: Path) -> None:
    run_script("INFO", "text", tmp_path / "s.log", 0, 5, 100)
    assert len((tmp_path / "s.log").read_text().splitlines()) == 100


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        set_up_logging("INFO", file=str(tmp_path / "missing" / "s.log"))
