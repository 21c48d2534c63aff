"""The Python in README.md and docs/ runs, and prints what the comments behind it say.

The ``python`` blocks of a page are one program, run in an empty directory of their own. Blocks of other
kinds (``text``, ``sh``) are not run.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hyperbase
from hyperbase import Admin, Batch, Connection, Table, filters
from hyperbase.common.config import ServerConfig
from tests.support.standalone import ServerThread

SERVER_URL = "hyperbase://127.0.0.1:16000"  # of which pages say that a server with a table "users" is there
ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
_PRINTED = re.compile(r"^\s*print\(.*\)\s+# (.*)$")


def program(page: Path) -> list[str]:
    """The page's Python, each line where it stands in the page, so that tracebacks point there."""
    lines, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            inside = line == "```python"
            line = ""
        lines.append(line if inside else "")
    return lines


WITH_PYTHON = [page for page in PAGES if any(program(page))]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.name)
def test_the_examples_run(page: Path, tmp_path: Path) -> None:
    lines = program(page)
    if any(SERVER_URL in line for line in lines):
        with ServerThread(ServerConfig(data_dir=str(tmp_path / "served"))) as server:
            with hyperbase.connect(server.url) as db:
                db.create_table("users", {"info": {}})
            run_page(page, [line.replace(SERVER_URL, server.url) for line in lines], tmp_path)
    else:
        run_page(page, lines, tmp_path)


def run_page(page: Path, lines: list[str], tmp_path: Path) -> None:
    """Run the page's Python as one program, which prints what the page says."""
    script = tmp_path / f"{page.stem}.py"
    script.write_text("\n".join(lines), encoding="utf-8")
    directory = tmp_path / "empty"
    directory.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    environment.pop("HYPERBASE_STORE", None)
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    wanted = [match[1].strip() for line in lines if (match := _PRINTED.match(line)) is not None]
    assert done.stdout.splitlines() == wanted


def test_every_public_name_is_shown() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    names = set(hyperbase.__all__) | set(filters.__all__)
    for owner in (Connection, Table, Batch, Admin):
        names |= {name for name, _ in inspect.getmembers(owner) if not name.startswith("_")}
    missing = [name for name in names - {"table_class"} if not re.search(rf"\b{name}\b", text)]
    assert missing == []
