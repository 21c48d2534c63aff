"""Where CI runs, Hypothesis draws the same examples every time: a change is judged by what it changes.

Elsewhere it looks further with each run, and prints how to repeat what it finds.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True, database=None)
if os.environ.get("CI"):
    settings.load_profile("ci")
