"""What a server sets for its whole process: it has it for itself, unlike an embedded store."""

from __future__ import annotations

import gc
import logging
import resource
import sys

logger = logging.getLogger(__name__)

# How long a thread may hold the interpreter while another wants it: the loop's answers wait no longer.
SWITCH_INTERVAL_S = 0.0005
# New objects between two collections of the youngest ones. What rows, cells and messages are made of holds no
# cycles; looking for them after every 700 objects, as is usual, only costs.
COLLECT_AFTER = 50_000


def tune_process() -> None:
    """Prepare this process to serve; called once, before the event loop starts."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    _raise_file_limit()
    _keep_pandas_out()
    gc.set_threshold(COLLECT_AFTER, 20, 20)
    gc.collect()
    gc.freeze()  # modules and classes stay anyway


def _raise_file_limit() -> None:
    """Every connection is an open file, and so is every StoreFile: take as many as the system grants."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError) as error:
            logger.warning("open files stay limited soft=%d hard=%d error=%s", soft, hard, error)


class _NoPandas:
    """An importer that has an answer for pandas only: there is none."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("a server does without pandas", name=name)


def _keep_pandas_out() -> None:
    """Have pyarrow find no pandas. At its first conversion it imports it, if it is there, for half a second
    in which no call is answered; a server converts nothing to or from it."""
    if "pandas" in sys.modules:
        return
    import pyarrow as pa

    sys.meta_path.insert(0, _NoPandas)
    try:
        pa.array([b""])
    finally:
        sys.meta_path.remove(_NoPandas)
