"""``hyperbase config``: every effective setting with its value, unit and source."""

from __future__ import annotations

import argparse
import json
from typing import Any

from hyperbase.cli.console import ExitCode, say
from hyperbase.cli.server_commands import add_settings_flags, settings_of


def add_parser(subparsers: Any) -> None:
    """Describe the command to argparse."""
    parser = subparsers.add_parser(
        "config",
        help="every setting: its value, unit, and where it comes from",
        description="Print every effective setting with its unit and source: default, a hyperbase.toml, "
        "an environment variable HYPERBASE_<SECTION>_<NAME>, or a flag.",
    )
    add_settings_flags(parser)
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Print them; an unknown key or a bad value is an error that names its source."""
    from hyperbase.common.config.checks import unit_of
    from hyperbase.common.config.units import human

    settings = settings_of(args)
    if args.json:
        sections: dict[str, dict[str, Any]] = {}
        for section, name, value, source in settings.values():
            entry = {"value": value, "unit": unit_of(name), "source": source}
            sections.setdefault(section, {})[name] = entry
        say(json.dumps({"files": settings.files, **sections}, indent=2))
        return ExitCode.CLEAN
    section = ""
    for current, name, value, source in settings.values():
        if current != section:
            say(f"\n[{current}]" if section else f"[{current}]")
            section = current
        shown = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else human(name, value)
        say(f"{name:<34} {shown:<24} {source}")
    return ExitCode.CLEAN
