"""``docs/operations.md`` names every setting and flag as the program has it."""

from __future__ import annotations

import argparse
import re

import pytest

from hyperbase.cli import cluster_commands
from hyperbase.cli.main import build_parser
from hyperbase.common.config.settings import SECTIONS, names_of
from tests.support.settings_table import PAGE, sentences, tables, written


def test_the_tables_of_settings_are_up_to_date() -> None:
    assert written() == "\n" + tables(), "run: python -m tests.support.settings_table"


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_has_a_sentence(section: str) -> None:
    said = sentences(section)
    assert list(said) == names_of(section)
    assert [
        name for name, sentence in said.items() if not re.fullmatch(r"[A-Z\"].+\.|.+: [0-9.]+", sentence)
    ] == []


@pytest.mark.parametrize("command", ["start", "status", "stop", "config", "regionserver", "hbck"])
def test_every_flag_of_the_server_commands_is_explained(command: str) -> None:
    parsers = build_parser()._subparsers
    assert parsers is not None
    (actions,) = (a for a in parsers._group_actions if isinstance(a, argparse._SubParsersAction))
    page = PAGE.read_text(encoding="utf-8")
    options = {option for action in actions.choices[command]._actions for option in action.option_strings}
    flags = {option for option in options if option.startswith("--")} - {"--help"}
    assert [flag for flag in sorted(flags) if not re.search(rf"{flag}\b", page)] == []


def test_every_flag_of_the_cluster_commands_is_explained() -> None:
    parser = argparse.ArgumentParser()
    cluster_commands.add_parser(parser.add_subparsers())
    assert parser._subparsers is not None
    (cluster,) = parser._subparsers._group_actions[0].choices.values()  # type: ignore[union-attr, call-overload]
    page = PAGE.read_text(encoding="utf-8").partition("## A cluster")[2]
    for command in cluster._subparsers._group_actions[0].choices.values():
        flags = {
            option for action in command._actions for option in action.option_strings if option[1] == "-"
        }
        assert [flag for flag in sorted(flags - {"--help"}) if not re.search(rf"{flag}\b", page)] == []
