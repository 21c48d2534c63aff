"""Statements on a store made of dicts: whatever is typed, the session tells what is wrong and goes on."""

from __future__ import annotations

import io
import signal
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperbase.client.connection import Connection
from hyperbase.common.descriptors import ColumnFamilyDescriptor, TableDescriptor
from hyperbase.shell.errors import LeaveShell, ShellError
from hyperbase.shell.interpreter import CommandFailed, Interpreter
from hyperbase.shell.interrupts import Interrupts
from hyperbase.shell.modes import run_batch, run_one, statements
from hyperbase.shell.registry import commands
from hyperbase.shell.session import Session
from tests.support.fake_backend import FakeBackend


def interpreter(interactive: bool = True) -> Interpreter:
    backend = FakeBackend()
    backend.create_table(TableDescriptor("t", [ColumnFamilyDescriptor("f")]))
    connection = Connection(lambda: backend)  # type: ignore[arg-type, return-value]
    return Interpreter(Session(connection, out=io.StringIO(), interactive=interactive))


def printed(session: Interpreter) -> str:
    out = session.session.out
    assert isinstance(out, io.StringIO)
    return out.getvalue()


_ATOMS = ["'t'", "'r'", "'f:q'", "'f'", "5", "-1", "1.5", "nil", "true", '"\\xff"', "NAME", "''", "'h:1'"]
_KEYS = [
    "NAME",
    "COLUMNS",
    "VERSIONS",
    "LIMIT",
    "FILTER",
    "TIMERANGE",
    "TTL",
    "SPLITS",
    "METHOD",
    "CACHE",
    "ROWPREFIXFILTER",
    "FORMATTER",
    "MAXLENGTH",
    "INTERVAL",
    "TIMESTAMP",
    "'delete'",
    "METADATA",
    "NUMREGIONS",
    "SPLITALGO",
    "RAW",
    "METRICS",
    "BATCH",
]


def _array(values: list[str]) -> str:
    return f"[{', '.join(values)}]"


def _hash(pairs: list[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{key} => {value}" for key, value in pairs) + "}"


_VALUES = st.recursive(
    st.sampled_from(_ATOMS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(_array),
        st.lists(st.tuples(st.sampled_from(_KEYS), inner), max_size=3).map(_hash),
    ),
    max_leaves=4,
)
_COMMANDS = sorted(set(commands()) - {"processlist"})


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(_COMMANDS), st.lists(_VALUES, max_size=5))
def test_no_arguments_break_a_command(name: str, values: list[str]) -> None:
    session = interpreter()
    with suppress(ShellError):
        session.run(f"{name} {', '.join(values)}")
        assert "Took" in printed(session)
    assert "unexpected" not in printed(session).replace("syntax error, unexpected", "")


def test_an_error_that_nobody_expected_is_told_and_the_session_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = interpreter()

    def fail(*arguments: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr(FakeBackend, "list_tables", fail)
    session.run("list; x = 5")
    assert "ERROR: unexpected KeyError: 'surprise'" in printed(session)
    assert session.session.variables == {"x": 5}


def test_values_of_the_last_statement_show_at_the_prompt_only() -> None:
    session = interpreter()
    session.run("'a'; 5")
    assert printed(session) == "=> 5\n"
    quiet = interpreter(interactive=False)
    quiet.run("'a'; 5")
    assert printed(quiet) == ""


def test_leaving() -> None:
    for text, code in (
        ("exit", 0),
        ("quit", 0),
        ("exit 3", 3),
        ("exit(false)", 1),
        ("exit 'x'", 0),
        ("exit 999", 0),
    ):
        with pytest.raises(LeaveShell) as leaving:
            interpreter().run(text)
        assert leaving.value.code == code


def test_a_failed_command_ends_a_session_that_is_not_interactive() -> None:
    with pytest.raises(CommandFailed, match=r"^RuntimeError: Unknown table nope!$"):
        interpreter(interactive=False).run("describe_x = 1; get_splits 'nope'")
    assert run_batch(interpreter(interactive=False), ["x = 1\n", "nope\n", "exit\n"]) == 1
    assert run_one(interpreter(), "nope") is None


def test_lines_make_statements() -> None:
    found = list(statements(["a 1,\n", "2\n", "b\n", "]\n", "c {\n"]))
    assert [text for text, _ in found] == ["a 1,\n2\n", "b\n", "]\n", "c {\n"]
    assert [missing is None for _, missing in found] == [True, True, True, False]


def test_nesting_and_chains_that_are_too_deep_are_refused() -> None:
    with pytest.raises(ShellError, match="nested too deep"):
        interpreter().run("x" + ".size" * 5000)


def press_control_c(interrupts: Interrupts, times: int, stoppable: bool, steps: list[str]) -> None:
    """A command during which Ctrl-C is pressed; ``steps`` tells how far it came."""
    with interrupts.command(stoppable):
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)
        steps.append("done")


@pytest.mark.parametrize(
    ("times", "stoppable", "steps"),
    [(1, True, []), (1, False, ["done"]), (2, False, [])],  # the second ends anything
)
def test_a_command_that_writes_finishes_before_control_c_counts(
    times: int, stoppable: bool, steps: list[str]
) -> None:
    came: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        press_control_c(Interrupts(), times, stoppable, came)
    assert came == steps
