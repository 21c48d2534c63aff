"""The shell on an embedded store: sessions compared line by line, its modes and exit codes, a terminal."""

from __future__ import annotations

import errno
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import hyperbase
from hyperbase.common.config import ServerConfig
from tests.support.shell_sessions import fixed, lines_typed, replay
from tests.support.standalone import ServerThread

ROOT = Path(__file__).resolve().parents[2]
SESSIONS = sorted((Path(__file__).parent / "shell_sessions").glob("*.txt"))
GUIDE = ROOT / "docs" / "shell.md"


@pytest.fixture(autouse=True)
def utc() -> Iterator[None]:
    """Timestamps print in local time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize("path", SESSIONS, ids=lambda path: path.stem)
def test_sessions(path: Path, tmp_path: Path) -> None:
    """To record anew what a session prints: tests/support/shell_sessions.py, ``fixed(replay(...))``."""
    expected = path.read_text(encoding="utf-8")
    assert fixed(replay(lines_typed(expected), tmp_path / "s")) == expected


NETWORK = [path for path in SESSIONS if path.stem != "tools"]  # where the server's name is typed


@pytest.mark.parametrize("path", NETWORK, ids=lambda path: path.stem)
def test_sessions_on_a_server(path: Path, tmp_path: Path) -> None:
    expected = path.read_text(encoding="utf-8")
    with ServerThread(ServerConfig(data_dir=str(tmp_path / "s"))) as server:
        assert fixed(replay(lines_typed(expected), server.url)) == expected


def test_the_session_in_the_guide(tmp_path: Path) -> None:
    blocks = re.findall(r"```console\n(hbase:001:0> .*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    out = fixed(replay(lines_typed(blocks[0]), tmp_path / "s"))
    assert out[out.index("hbase:001") :].splitlines()[:-1] == fixed(blocks[0]).splitlines()


# -- modes -----------------------------------------------------------------------------------------------


def shell(*words: object, given: str = "") -> tuple[int, str, str]:
    """Exit code, output, errors of ``hyperbase shell``."""
    done = subprocess.run(
        [sys.executable, "-m", "hyperbase.cli", "shell", *map(str, words)],
        input=given.encode("utf-8", "surrogateescape"),
        capture_output=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    return done.returncode, fixed(done.stdout.decode("utf-8", "surrogateescape")), done.stderr.decode()


def test_noninteractive_reads_input_and_stops_at_the_first_error(tmp_path: Path) -> None:
    text = "create 't', 'f'\nput 't', 'r', 'f:q',\n 'v'\n"
    code, out, err = shell(tmp_path / "s", "-n", given=text + "get 'nope', 'r'\nput 't', 'r2', 'f:q', 'v'\n")
    assert (code, err) == (1, "")
    assert out == (
        "Created table t\nTook 0.0000 seconds\nTook 0.0000 seconds\nTook 0.0000 seconds\n"
        "ERROR RuntimeError: Unknown table nope!\n"
    )
    code, out, _ = shell("--noninteractive", tmp_path / "s", given="count 't'\n")
    assert (code, out) == (0, "1 row(s)\nTook 0.0000 seconds\n")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("nope", "ERROR NameError: undefined local variable or method `nope' for main:Object"),
        ("put 't'", "ERROR ArgumentError: wrong number of arguments (given 1, expected 4..6)"),
        ("list 't", "ERROR SyntaxError: unterminated string meets end of file"),
        ("list ]", "ERROR SyntaxError: syntax error, unexpected ']' at column 6"),
        ("drop 't'", "ERROR ArgumentError: Table t does not exist."),
        (
            "drop_namespace 'default'",
            "ERROR ConstraintException: Reserved namespace default cannot be removed.",
        ),
        (
            "list_snapshots",
            "ERROR NotImplementedError: list_snapshots is not in this version of the shell yet",
        ),
    ],
)
def test_errors_of_every_kind_end_it_with_one_line(tmp_path: Path, text: str, line: str) -> None:
    code, out, err = shell(tmp_path, "-e", text)
    assert (code, out.splitlines()[-1], err) == (1, line, "")


def test_execute_runs_commands_in_order_and_exit_gives_the_code(tmp_path: Path) -> None:
    code, out, _ = shell(tmp_path / "s", "-e", "create 't', 'f'; list", "-e", "exit 3; list")
    assert code == 3
    assert out.count("TABLE") == 1


def test_a_script_gets_its_arguments_and_the_prompt_comes_after_it(tmp_path: Path) -> None:
    script = tmp_path / "a.hb"
    script.write_text("create ARGV[0], 'f'\nnope\nget 'nope', 'r'\nlist # goes on\n")
    code, out, _ = shell(tmp_path / "s", script, "t9", given="exists 't9'\n")
    assert code == 0
    assert "NameError: undefined" in out
    assert "ERROR: Unknown table nope!" in out
    assert out.index("TABLE\nt9") < out.index("hbase:001:0> exists 't9'") < out.index("=> true")
    script.write_text("list\nexit\n")
    code, out, _ = shell(tmp_path / "s", script, given="version\n")
    assert (code, "hbase:001" in out) == (0, False)
    script.write_text("nope\nlist\n")
    code, out, _ = shell("-n", tmp_path / "s", script)
    assert (code, "TABLE" in out) == (1, False)


def test_piped_input_is_a_session_with_prompts_and_code_0(tmp_path: Path) -> None:
    code, out, _ = shell(tmp_path / "s", given="get 'nope', 'r'\nlist")
    assert code == 0
    assert "\n\nERROR: Unknown table nope!\n\nFor usage try 'help \"get\"'\n\nTook" in out
    assert out.endswith("=> []\nhbase:003:0>\n")


def test_any_bytes_pass_through(tmp_path: Path) -> None:
    text = "create 't', 'f'\nput 't', 'r\udcff', 'f:q', \"\\xfe\u00e9\"\n"
    text += 'x = "\\xfe"\nputs x\nscan "t\\xfe"\n'
    code, out, err = shell(tmp_path / "s", "-n", given=text)
    assert (code, err) == (1, "")
    assert "\udcfe\n" in out
    with hyperbase.connect(tmp_path / "s") as db:
        assert db.table("t").row(b"r\xff") == {b"f:q": b"\xfe\xc3\xa9"}


def test_wrong_usage_is_one_line(tmp_path: Path) -> None:
    for words, part in (
        (["--data", tmp_path / "none"], "no server is running on"),
        (["missing.hb"], "no such script"),
        ([tmp_path / "s", "-D", "a=b"], "unknown setting -D a"),
    ):
        code, out, err = shell(*words)
        assert (code, out, err.count("\n")) == (2, "\n" if out else "", 1)
        assert part in err


def test_debug_shows_where_an_error_came_from(tmp_path: Path) -> None:
    code, out, _ = shell(tmp_path, "-d", "-e", "get 'nope', 'r'")
    assert code == 1
    assert "Traceback" in out
    assert out.splitlines()[-1] == "ERROR RuntimeError: Unknown table nope!"


def test_timestamps_can_be_numbers(tmp_path: Path) -> None:
    text = "create 't', 'f'; put 't', 'r', 'f:q', 'v', 5; scan 't'"
    _, out, _ = shell(tmp_path, "-D", "hbase.shell.timestamp.format.epoch=true", "-e", text)
    assert "timestamp=5, value=v" in out


def test_it_starts_without_what_it_does_not_need() -> None:
    code = (
        "import sys, hyperbase.shell.main, hyperbase.shell.registry as r; r.commands(); "
        "sys.exit(bool({'pyarrow', 'numpy', 'prompt_toolkit', 'lark', 'regex'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# -- a terminal ------------------------------------------------------------------------------------------


class Terminal:
    """``hyperbase shell`` in a pseudo-terminal of 100 columns."""

    def __init__(self, words: Sequence[object], history: Path) -> None:
        environment = {
            **os.environ,
            "TERM": "xterm",
            "COLUMNS": "100",
            "LINES": "50",
            "NO_COLOR": "1",
            "HYPERBASE_SHELL_HISTORY": str(history),
            "PROMPT_TOOLKIT_NO_CPR": "1",
        }
        leader, follower = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hyperbase.cli", "shell", *map(str, words)],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: _make_controlling(follower),
        )
        os.close(follower)
        self._leader = leader
        self.seen = ""

    def type(self, keys: str) -> None:
        os.write(self._leader, keys.encode())

    def expect(self, pattern: str, timeout_s: float = 60.0) -> str:
        """Wait until the pattern shows behind what was expected before; returns the text up to its end."""
        deadline = time.monotonic() + timeout_s
        while (match := re.search(pattern, self.seen)) is None:
            left = deadline - time.monotonic()
            if left <= 0 or not self._read(left):
                raise AssertionError(f"{pattern!r} did not come; there was {self.seen!r}")
        text, self.seen = self.seen[: match.end()], self.seen[match.end() :]
        return text

    def _read(self, timeout_s: float) -> bool:
        ready, _, _ = select.select([self._leader], [], [], timeout_s)
        if not ready:
            return False
        try:
            data = os.read(self._leader, 65536)
        except OSError as error:
            if error.errno != errno.EIO:  # what Linux says when the other side is closed
                raise
            return False
        self.seen += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]", "", data.decode("utf-8", "replace"))
        return bool(data)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        os.close(self._leader)


def _make_controlling(descriptor: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with hyperbase.connect(tmp_path / "s") as db:
        db.create_table("users", {"info": {}})
        table = db.table("users")
        with table.batch(wal=False) as batch:
            for number in range(20_000):
                batch.put(b"row%06d" % number, {b"info:n": b"value"})
    opened = Terminal([tmp_path / "s"], tmp_path / "history")
    try:
        yield opened
    finally:
        opened.close()


def test_a_terminal_session(terminal: Terminal, tmp_path: Path) -> None:
    terminal.expect(r"HBase Shell\s+Use \"help\"")
    terminal.expect(r"hbase:001:0>")
    terminal.type("scan 'us\t")
    terminal.expect(r"users'")
    terminal.type(", {LIM\t")
    terminal.expect(r"LIMIT")
    terminal.type(" => 1}\r")
    text = terminal.expect(r"1 row\(s\)\s+Took \d\.\d{4} seconds +")
    assert re.search(r"ROW +COLUMN\+CELL", text)
    assert re.search(r" row000000 +column=info:n, timestamp=\S+, value=value", text)
    terminal.expect(r"hbase:002:0>")
    terminal.type("get 'users',\r")
    terminal.expect(r"hbase:003:1\*")
    terminal.type("'row000001'\r")
    terminal.expect(r"1 row\(s\)")
    terminal.expect(r"hbase:004:0>")
    terminal.type("nonsense \x03")  # Ctrl-C drops the line
    terminal.type("disable_all 'users'\r")
    terminal.expect(r"Disable the above 1 tables \(y/n\)\?")
    terminal.type("n\r")
    terminal.expect(r"Took")
    terminal.expect(r"hbase:005:0>")
    terminal.type("is_enabled 'users'\r")
    terminal.expect(r"=> true")
    terminal.expect(r"hbase:006:0>")
    terminal.type("\x04")  # Ctrl-D
    assert terminal.process.wait(60) == 0
    assert "+scan 'users', {LIMIT => 1}" in (tmp_path / "history").read_text()


def test_control_c_stops_a_scan_and_not_the_shell(terminal: Terminal) -> None:
    terminal.expect(r"hbase:001:0>")
    terminal.type("count 'users', INTERVAL => 1\r")
    terminal.expect(r"Current count: 5\d\d,")
    terminal.type("\x03")
    terminal.expect(r"count: interrupted")
    terminal.expect(r"hbase:002:0>")
    terminal.type("count 'users', INTERVAL => 100000\r")
    terminal.expect(r"20000 row\(s\)")
    terminal.type("exit 7\r")
    assert terminal.process.wait(60) == 7
