"""``python -m hyperbase.cli`` is the ``hyperbase`` command."""

import sys

from hyperbase.cli.main import main

sys.exit(main())
