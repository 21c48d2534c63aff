"""``python -m tests.support.unchecked_server``: ``hyperbase`` without the check of the lease.

Its region servers answer and commit whatever their lease says. Tests of the lease must fail with it.
"""

from __future__ import annotations

import sys

from hyperbase.cli.main import main
from hyperbase.cluster.gate import LeaseGate


def remove_the_check() -> None:
    """A gate that is always open."""
    LeaseGate.__call__ = lambda self: True  # type: ignore[method-assign]
    LeaseGate.check_owner = lambda self: None  # type: ignore[method-assign]
    LeaseGate._changed = lambda self, state: None  # type: ignore[method-assign]


if __name__ == "__main__":
    remove_the_check()
    sys.exit(main())
