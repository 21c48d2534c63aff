"""HappyBase's own API tests, unchanged but for the import of happybase, pass on a directory and on a server.

The suite is taken from HappyBase's source distribution, which pip fetches once into ``.cache/happybase``.
As released in 1.3.0 it uses ``assert_raises`` without importing it (nose, which had it, was dropped), so it
cannot pass against any server. The name is lent to it from outside; the file stays as it is.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.service import Server

VERSION = "1.3.0"
ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "happybase"
IMPORT = "from happybase import "
TEST_COUNT = 25
CONFTEST = """\
import builtins

import pytest

builtins.assert_raises = pytest.raises
"""


def source_distribution() -> Path:
    """The cached archive; fetched when it is not there. Skips the test when no index can be reached."""
    archive = CACHE / f"happybase-{VERSION}.tar.gz"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        # Only happybase itself as source: what building its metadata needs may come as wheels.
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
        ]
        command += ["--no-binary", "happybase", "--dest", str(CACHE), f"happybase=={VERSION}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if not archive.exists():
            pytest.fail(f"happybase {VERSION} could not be downloaded: {done.stderr.strip()[-300:]}")
    return archive


def write_suite(directory: Path) -> Path:
    """HappyBase's tests/test_api.py with its one import of happybase replaced."""
    with tarfile.open(source_distribution()) as archive:
        member = archive.extractfile(f"happybase-{VERSION}/tests/test_api.py")
        assert member is not None
        text = member.read().decode("utf-8")
    assert text.count(IMPORT) == 1
    suite = directory / "test_api.py"
    suite.write_text(text.replace(IMPORT, "from hyperbase.happybase import "), encoding="utf-8")
    (directory / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    if find_spec("thriftpy2") is None:
        # One test raises thriftpy2's exception to play a lost connection: any exception does.
        package = directory / "thriftpy2"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "thrift.py").write_text("class TException(Exception):\n    pass\n", encoding="utf-8")
    return suite


@pytest.fixture(params=["directory", "server"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """What leads the suite to a store."""
    if request.param == "directory":
        yield {"HYPERBASE_STORE": str(tmp_path / "store")}
        return
    with Server("--data", tmp_path / "store", cwd=tmp_path) as server:
        yield {"HAPPYBASE_HOST": "127.0.0.1", "HAPPYBASE_PORT": str(server.port)}


def test_happybase_suite_passes(tmp_path: Path, store: dict[str, str]) -> None:
    suite = write_suite(tmp_path)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("HAPPYBASE_", "HYPERBASE_"))
    }
    environment.update(store)
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(tmp_path)])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    # Two of the tests run threads: what fails there must fail the test.
    command += ["-W", "error::pytest.PytestUnhandledThreadExceptionWarning"]
    done = subprocess.run(
        [*command, str(suite)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    report = done.stdout + done.stderr
    assert done.returncode == 0, report
    assert re.search(rf"\b{TEST_COUNT} passed\b", report), report
    assert not re.search(r"\b(failed|skipped|error)", report.splitlines()[-1]), report
