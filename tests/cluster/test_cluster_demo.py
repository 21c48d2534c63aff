"""``hyperbase cluster demo``, with less data: a cluster from start to stop, and two deaths in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperbase.cli import cluster_demo
from hyperbase.cli.main import main


def test_the_demo_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster_demo, "LOADED_ROWS", 3000)
    monkeypatch.setattr(cluster_demo, "SETTLE_ROWS", 300)
    code = main(["cluster", "demo", "--dir", str(tmp_path / "cluster")])
    said = capsys.readouterr().out
    assert code == 0, said
    assert "3,000 of the 3,000 that were loaded" in said
    assert "acknowledged writes 0 are missing" in said
    assert said.count("s after the kill") == 2
    assert "stopped 6 processes" in said
