"""The units in ``docs/systemd`` are what systemd takes, and start what this program has."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hyperbase.cli.main import build_parser

UNITS = sorted((Path(__file__).resolve().parents[2] / "docs" / "systemd").glob("*.service"))
PROGRAM = "/opt/hyperbase/bin/hyperbase"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_what_this_program_has(unit: Path) -> None:
    (command,) = re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)
    program, *words = shlex.split(command.replace("%i", "1"))
    assert program == PROGRAM
    assert hasattr(build_parser().parse_args(words), "run")


@pytest.mark.parametrize("program", filter(None, [shutil.which("systemd-analyze")]))
def test_systemd_takes_the_units(tmp_path: Path, program: str) -> None:
    copies = []
    for unit in UNITS:
        copy = tmp_path / unit.name.replace("@", "@1")
        text = unit.read_text().replace(PROGRAM, sys.executable).replace("User=hyperbase", "User=root")
        copy.write_text(text)
        copies.append(str(copy))
    done = subprocess.run(
        [program, "verify", "--man=no", "--recursive-errors=no", *copies],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if "hyperbase" in line], done.stderr
