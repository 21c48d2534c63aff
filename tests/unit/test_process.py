"""What a server sets for its process: pandas stays out of it, threads take turns, files are many."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc, resource, sys
from hyperbase.common.process.tuning import SWITCH_INTERVAL_S, tune_process

tune_process()
import pyarrow as pa

pa.array([b"a", b"b"]).to_pylist()
pa.table({"a": [1, 2]}).to_pylist()
assert "pandas" not in sys.modules
assert abs(sys.getswitchinterval() - SWITCH_INTERVAL_S) < 1e-6
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
assert soft == hard
assert gc.isenabled()
import pandas  # whoever asks for it by name gets it

assert pandas.__version__
"""


def test_a_tuned_process() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
