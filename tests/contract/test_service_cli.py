"""``hyperbase start``, ``status``, ``stop`` and ``config`` as real processes: what they do, say and leave."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import hyperbase
from hyperbase.common.config import ServerConfig
from hyperbase.common.errors import StoreFormatException, StoreLockedException
from hyperbase.common.process.identity import process_identity
from hyperbase.common.process.life import ServerStartError, is_loopback
from hyperbase.common.region_info import META_REGION
from hyperbase.standalone.run import run
from hyperbase.standalone.server_file import SERVER_FILE, ServerFile, read_server_file
from tests.support.service import Server, environment, hyperbase_command

DATA = "hyperbase-data"  # the default directory


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    """An empty current directory; a daemon that is left in it is ended."""
    directory = tmp_path / "here"
    directory.mkdir()
    yield directory
    for path in directory.glob(f"*/{SERVER_FILE}"):
        try:
            there = read_server_file(str(path.parent))
        except StoreFormatException:
            continue
        if there is not None and there.alive and there.pid != os.getpid():
            os.kill(there.pid, signal.SIGKILL)


def said(*words: object, cwd: Path, code: int, **more: str) -> str:
    """What a command says, which is on one of the two outputs, without a traceback."""
    done = hyperbase_command(*words, cwd=cwd, **more)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stdout + done.stderr
    assert not (done.stdout and done.stderr)
    return done.stdout or done.stderr


# -- start, status, stop ---------------------------------------------------------------------------


def test_start_says_where_it_listens_and_stops_cleanly_on_sigterm(here: Path) -> None:
    with Server(cwd=here) as server:
        url = f"hyperbase://127.0.0.1:{server.port}"
        assert server.lines == [
            f"rpc      {url}  (loopback: this machine only)",
            "rest     not there yet: port 8080 is kept for it",
            "thrift   not there yet: port 9090 is kept for it",
            "console  not there yet: port 16010 is kept for it",
            "ready",
        ]
        socket.create_connection(("127.0.0.1", server.port), timeout=10).close()
        entry = json.loads((here / DATA / SERVER_FILE).read_text())
        assert entry["pid"] == server.process.pid
        assert entry["version"] == hyperbase.__version__
        assert entry["endpoints"] == {"rpc": url}
        assert entry["data"] == str(here / DATA)
        assert abs(entry["startcode"] / 1000 - time.time()) < 60

        text = said("status", cwd=here, code=0)
        assert text.startswith(f"running  pid {server.process.pid}, for ")
        assert f"\nrpc      {url}\n" in text
        assert "\nrest     not there yet\n" in text
        shown = json.loads(said("status", "--json", "--data", here / DATA, cwd=here.parent, code=0))
        assert shown["running"] is True
        assert shown["endpoints"] == {"rpc": url}
        assert 0 <= shown["uptime_s"] < 60

        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    assert not (here / DATA / SERVER_FILE).exists()
    assert " INFO hyperbase.common.process.life: stopping signal=SIGTERM\n" in server.log
    assert said("status", cwd=here, code=1) == f"not running: no server has {here / DATA} open\n"
    assert json.loads(said("status", "--json", cwd=here, code=1))["running"] is False


def test_doors_that_are_off_are_not_mentioned(here: Path) -> None:
    with Server("--rest-port", 0, "--thrift-port", 0, "--console-port", 0, cwd=here) as server:
        assert len(server.lines) == 2


def test_stop_waits_until_the_server_has_closed(here: Path) -> None:
    with Server(cwd=here) as server:
        assert said("stop", cwd=here, code=0).startswith(f"stopped pid {server.process.pid}, took ")
        assert server.wait() == 0
    assert said("stop", cwd=here, code=1) == f"hyperbase: not running: no server has {here / DATA} open\n"
    assert "there is no directory" in said("stop", "--data", "nowhere", cwd=here, code=1)
    assert "--timeout must be 0 or more" in said("stop", "--timeout", "-1", cwd=here, code=2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_and_a_closed_terminal_stop_it_cleanly_too(here: Path, number: signal.Signals) -> None:
    with Server(cwd=here) as server:
        server.signal(number)
        assert server.wait() == 0
    assert f"stopping signal={number.name}" in server.log
    assert not (here / DATA / SERVER_FILE).exists()


def test_it_is_ready_within_two_seconds_on_an_empty_directory(here: Path) -> None:
    took = []
    for number in range(3):
        began = time.perf_counter()
        with Server("--data", f"d{number}", cwd=here):
            took.append(time.perf_counter() - began)
    assert min(took) < 2, took  # 0.3 s on an idle machine


def test_asyncio_serves_where_uvloop_is_missing(here: Path) -> None:
    code = "import sys; sys.modules['uvloop'] = None; from hyperbase.cli.main import main; sys.exit(main())"
    with Server(cwd=here, program=(sys.executable, "-c", code)) as server:
        assert "uvloop is missing" in server.log
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


# -- the daemon ------------------------------------------------------------------------------------


def test_a_daemon_goes_on_when_the_command_has_ended(here: Path) -> None:
    text = said("start", "--daemon", "--port", 0, cwd=here, code=0)
    assert text.startswith("rpc      hyperbase://127.0.0.1:")
    assert text.endswith("\nready\n")
    there = read_server_file(str(here / DATA))
    assert there is not None
    assert there.alive
    assert os.getsid(there.pid) not in (os.getsid(0), there.pid)  # no terminal, and never one again
    assert os.readlink(f"/proc/{there.pid}/cwd") == "/"
    assert said("stop", cwd=here, code=0).startswith("stopped")
    log = (here / DATA / "server.log").read_text()
    assert "run: started data=" in log
    assert "run: stopped took_ms=" in log
    with hyperbase.connect(here / DATA):
        pass


def test_a_daemon_that_cannot_start_says_why(here: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = said("start", "--daemon", "--port", port, cwd=here, code=1)
    assert text.startswith(
        f"hyperbase: cannot listen on 127.0.0.1 port {port}: another program listens there"
    )
    assert text.count("\n") == 1
    assert "must be a port" in said("start", "--daemon", "--port", 70_000, cwd=here, code=2)
    assert not (here / DATA / SERVER_FILE).exists()


@pytest.mark.parametrize("closed", [">&- 2>&-", "<&- >&- 2>&-", "<&-"])
def test_streams_that_are_closed_are_not_given_to_the_store(here: Path, closed: str) -> None:
    command = f'exec "{sys.executable}" -m hyperbase.cli start --port 0 --log-file server.log {closed}'
    process = subprocess.Popen(
        ["bash", "-c", command],
        cwd=here,
        env=environment(),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 60
        while not (here / DATA / SERVER_FILE).exists() and time.monotonic() < until:
            time.sleep(0.02)
        links = [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)]
        assert not any(str(here) in link or "socket" in link for link in links), links
        assert said("stop", cwd=here, code=0)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


# -- what a crash leaves ---------------------------------------------------------------------------


def test_after_kill_9_it_is_not_running_and_starts_again(here: Path) -> None:
    with Server(cwd=here) as server:
        server.kill()
        pid = server.process.pid
    text = (
        f"not running: the server of {here / DATA} (pid {pid}) ended without closing; the next start replays"
    )
    assert said("status", cwd=here, code=1).startswith(text)
    assert text in said("stop", cwd=here, code=1)
    with Server(cwd=here) as server:
        assert f"pid {server.process.pid}" in said("status", cwd=here, code=0)
        assert said("stop", cwd=here, code=0)


def entry_of(directory: Path, pid: int, process: str, data: Path | None = None) -> ServerFile:
    directory.mkdir(exist_ok=True)
    there = ServerFile(pid, 1, "0.1.0", {"rpc": "hyperbase://127.0.0.1:1"}, str(directory), process)
    there.write()
    if data is not None:
        path = directory / SERVER_FILE
        path.write_text(path.read_text().replace(str(directory), str(data)))
    return there


def test_a_pid_that_another_process_has_now_is_not_the_server(here: Path) -> None:
    identity = process_identity(os.getpid())
    assert identity
    entry_of(here / DATA, os.getpid(), identity)
    assert said("status", cwd=here, code=0)
    assert f"running on {here / DATA} already: pid {os.getpid()}" in said("start", cwd=here, code=2)
    boot, _, ticks = identity.partition(":")
    for other in (f"{boot}:{int(ticks) + 1}", f"other-boot:{ticks}"):
        entry_of(here / DATA, os.getpid(), other)
        assert "ended without closing" in said("status", cwd=here, code=1)
        assert "ended without closing" in said("stop", cwd=here, code=1)  # and this process lives


def test_a_process_that_ended_and_was_not_waited_for_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process_identity(child.pid) is None
    child.wait()
    assert process_identity(child.pid) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": 0}', '{"pid": "x"}', "\xff"])
def test_a_damaged_server_file(here: Path, text: str) -> None:
    (here / DATA).mkdir()
    (here / DATA / SERVER_FILE).write_bytes(text.encode("latin-1"))
    for command in ("status", "stop"):
        said_text = said(command, cwd=here, code=2)
        assert said_text.startswith(
            f"hyperbase: StoreFormatException: {here / DATA / SERVER_FILE} is damaged"
        )
        assert said_text.count("\n") == 1


def test_a_damaged_server_file_is_replaced_by_a_start(here: Path) -> None:
    (here / DATA).mkdir()
    (here / DATA / SERVER_FILE).write_text("{")
    with Server(cwd=here):
        assert said("stop", cwd=here, code=0)


def test_the_copy_of_a_running_servers_directory_has_no_server(here: Path) -> None:
    with Server(cwd=here):
        shutil.copytree(here / DATA, here / "copy")
        assert "no server has" in said("status", "--data", "copy", cwd=here, code=1)
        assert "no server has" in said("stop", "--data", "copy", cwd=here, code=1)
        with Server("--data", "copy", cwd=here):
            assert said("stop", "--data", "copy", cwd=here, code=0)
        assert said("status", cwd=here, code=0)


def test_a_server_removes_its_own_file_only(tmp_path: Path) -> None:
    first, second = entry_of(tmp_path, 1, "a"), entry_of(tmp_path, 2, "b")
    first.remove()
    assert read_server_file(str(tmp_path)) == second
    second.remove()
    second.remove()
    assert list(tmp_path.iterdir()) == []


# -- what cannot be served -------------------------------------------------------------------------


def test_a_port_that_is_taken(here: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = hyperbase_command("start", "--port", port, cwd=here)
    assert done.returncode == 2
    assert done.stderr == (
        f"hyperbase: cannot listen on 127.0.0.1 port {port}: another program listens there; choose another "
        "port with --port, or 0 for any free one\n"
    )
    assert not (here / DATA / SERVER_FILE).exists()
    with hyperbase.connect(here / DATA):
        pass


@pytest.mark.parametrize("address", ["192.0.2.1", "no.such.host.invalid", ".."])
def test_an_address_of_another_machine(here: Path, address: str) -> None:
    text = said("start", "--port", 0, "--bind", address, cwd=here, code=2)
    assert text.startswith(f"hyperbase: cannot listen on {address} port 0: this machine has no such address")


def test_a_directory_that_another_process_has_open(here: Path) -> None:
    with hyperbase.connect(here / DATA):
        text = said("start", "--port", 0, cwd=here, code=2)
        assert text.startswith("hyperbase: StoreLockedException: ")
        assert f"locked by process {os.getpid()}" in text or str(os.getpid()) in text
        assert "no server has" in said("status", cwd=here, code=1)
    with Server(cwd=here) as server:
        text = said("start", "--port", 0, cwd=here, code=2)
        assert f"a server is running on {here / DATA} already: pid {server.process.pid}, hyperbase://" in text
        with pytest.raises(StoreLockedException, match=str(server.process.pid)):
            hyperbase.connect(here / DATA)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--data", "file"), "is a file: the data directory must be a directory"),
        (("--data", "/proc/self/none"), "none cannot be made: No such file or directory"),
        (("--data", "foreign", "--port", "0"), "holds 'photo.jpg' and no hyperbase.json"),
        (("--log-file", "no/such/server.log"), "server.log cannot be opened: No such file or directory"),
        (("--log-file", f"{DATA}/server.txt"), "where only names that end in .log are left alone"),
        (("--log-file", f"{DATA}/logs/server.log"), "stands in the data directory"),
        (("--port", "x"), "--port: port must be an integer, not 'x'"),
        (("--port", "70000"), "--port: port must be a port, 0 to 65535, not 70000"),
        (("--port", "8080"), "port and rest_port must differ, both are 8080"),
        (("--log-level", "loud"), "--log-level: log_level must be one of"),
        (("--config", "none.toml"), "none.toml cannot be read: No such file"),
    ],
)
def test_what_cannot_be_served_is_one_line_and_code_2(
    here: Path, words: tuple[str, ...], message: str
) -> None:
    (here / "file").touch()
    (here / "foreign").mkdir()
    (here / "foreign" / "photo.jpg").touch()
    text = said("start", *words, cwd=here, code=2)
    assert text.startswith("hyperbase: ")
    assert message in text
    assert text.count("\n") == 1


def test_a_directory_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hyperbase.common.config import load_settings

    monkeypatch.setattr(os, "access", lambda *_: False)
    settings = load_settings({"server.data_dir": str(tmp_path / "d")}, {}, tmp_path)
    with pytest.raises(ServerStartError, match="cannot be read and written by this user"):
        run(settings, print)


def test_a_server_that_others_reach_says_so(here: Path) -> None:
    with Server("--bind", "0.0.0.0", cwd=here) as server:
        assert "(warning: other machines reach it, and there is no authentication yet)" in server.lines[0]
        assert (
            "WARNING hyperbase.common.process.life: other machines reach this server bind=0.0.0.0\n"
            in server.log
        )
    assert is_loopback("127.0.0.53")
    assert is_loopback("::1")
    assert is_loopback("localhost")
    assert not is_loopback("::")
    assert not is_loopback("example.org")


# -- a server that is slow to stop, or fails to ----------------------------------------------------

SLOW = """
import asyncio, os, sys, time
import hyperbase.standalone.server as module

class Slow:
    address, endpoints, startcode = ("127.0.0.1", 1), {"rpc": "hyperbase://127.0.0.1:1"}, 5
    replayed_rows = 0

    def __init__(self, config):
        self.config = config

    async def start(self):
        pass

    async def stop(self):
        print("stopping", flush=True)
        while not os.path.exists("go"):
            await asyncio.sleep(0.01) if HOW == "waiting" else time.sleep(0.01)
        if HOW == "failing":
            raise OSError(28, "No space left on device")

module.StandaloneServer = Slow
from hyperbase.cli.main import main
sys.exit(main())
"""


def slow(here: Path, how: str) -> Server:
    return Server(cwd=here, program=(sys.executable, "-c", f"HOW = {how!r}\n{SLOW}"))


def stopping(server: Server) -> None:
    """Wait until it is about to stop."""
    assert server.process.stdout is not None
    assert server.process.stdout.readline() == "stopping\n"


@pytest.mark.parametrize("how", ["waiting", "busy"])
def test_stop_gives_up_waiting_and_can_be_repeated(here: Path, how: str) -> None:
    with slow(here, how) as server:
        pid = server.process.pid
        text = said("stop", "--timeout", "0.1", cwd=here, code=1)
        assert text.startswith(
            f"hyperbase: pid {pid} is still stopping after 0.1 s; wait on with hyperbase stop"
        )
        assert "still stopping" in said("stop", "--timeout", "0", cwd=here, code=1)
        assert said("status", cwd=here, code=0)
        (here / "go").touch()
        assert server.wait() == 0
    assert not (here / DATA / SERVER_FILE).exists()


@pytest.mark.parametrize("how", ["waiting", "busy"])
def test_a_second_sigterm_changes_nothing_and_a_second_sigint_ends_it_at_once(here: Path, how: str) -> None:
    with slow(here, how) as server:
        server.signal(signal.SIGTERM)
        stopping(server)
        server.signal(signal.SIGTERM)
        assert said("status", cwd=here, code=0)
        server.signal(signal.SIGINT)
        assert server.wait() == 1
        assert server.log.endswith(
            "hyperbase: interrupted again, ended without closing: no acknowledged write is lost, "
            "the next start replays the log\n"
        )
    assert "ended without closing" in said("status", cwd=here, code=1)


def test_a_server_that_could_not_close_says_so_and_so_does_stop(here: Path) -> None:
    (here / "go").touch()
    with slow(here, "failing") as server:
        text = said("stop", cwd=here, code=1)
        assert text.startswith(
            f"hyperbase: pid {server.process.pid} ended without closing cleanly, its log says"
        )
        assert server.wait() == 1
        assert "ERROR hyperbase.standalone.run: stopped without closing cleanly" in server.log
        assert "No space left on device" in server.log


# -- one directory, both ways ----------------------------------------------------------------------


def test_a_directory_moves_between_a_program_and_a_server(here: Path) -> None:
    (here / DATA).mkdir()
    (here / DATA / "hyperbase.toml").write_text("[server]\nrest_port = 0\n")
    with Server("--log-file", f"{DATA}/node.log", cwd=here) as server:
        assert not any(line.startswith("rest") for line in server.lines)
        assert said("stop", cwd=here, code=0)
        assert server.log == ""
    with hyperbase.connect(here / DATA) as db:
        db.create_table("t", {"f": {}})
        db.table("t").put(b"r1", {b"f:q": b"1"})
    writer = (
        "import hyperbase, os, sys\ndb = hyperbase.connect(sys.argv[1])\n"
        "db.table('t').put(b'r2', {b'f:q': b'2'})\nos._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", writer, DATA], cwd=here, env=environment())
    assert done.returncode == 9
    with Server(cwd=here):
        assert said("stop", cwd=here, code=0)
    # The server replayed what the killed program had written, and flushed it: nothing is left to replay.
    for segment in (here / DATA / "WALs").iterdir():
        # The catalogue's own edits are in the last segment too; they are flushed, as all others are.
        text = said("wal", segment, cwd=here, code=0)
        edits = [line for line in text.splitlines() if "  edit  " in line]
        assert all(META_REGION.id16.hex() in line for line in edits)
        assert "closed in good order" in text
    assert said("check", DATA, cwd=here, code=0).endswith("sound\n")
    with hyperbase.connect(here / DATA, read_only=True) as db:
        assert dict(db.table("t").scan()) == {b"r1": {b"f:q": b"1"}, b"r2": {b"f:q": b"2"}}


def test_what_a_server_leaves_in_an_unused_directory_is_not_foreign(here: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said("start", "--daemon", "--port", taken.getsockname()[1], cwd=here, code=1)
    assert not (here / DATA / "hyperbase.json").exists()  # the port is taken before the store is opened
    (here / DATA / "server.log.3").touch()
    (here / DATA / SERVER_FILE).touch()
    (here / DATA / "hyperbase.toml").touch()
    with hyperbase.connect(here / DATA) as db:
        assert db.admin.list_tables() == []


# -- logs ------------------------------------------------------------------------------------------


def test_logs_as_json(here: Path) -> None:
    with Server("--log-format", "json", "--log-level", "debug", cwd=here) as server:
        said("stop", cwd=here, code=0)
        server.wait()
    entries = [json.loads(line) for line in server.log.splitlines()]
    started = next(entry for entry in entries if entry["event"] == "started")
    assert started["level"] == "INFO"
    assert started["logger"] == "hyperbase.standalone.run"
    assert started["pid"] == server.process.pid
    assert started["data"] == str(here / DATA)
    assert isinstance(started["took_ms"], int)
    assert {"time", "level", "logger", "event"} <= entries[-1].keys()


def test_a_quiet_server(here: Path) -> None:
    with Server(cwd=here, HYPERBASE_LOG="error") as server:
        said("stop", cwd=here, code=0)
        server.wait()
        assert server.log == ""


# -- settings --------------------------------------------------------------------------------------


def test_settings_come_from_file_environment_and_flags(here: Path) -> None:
    (here / "hyperbase.toml").write_text('[server]\ndata_dir = "mine"\nconsole_port = 0\nrest_port = 1\n')
    with Server("--rest-port", 3, cwd=here, HYPERBASE_SERVER_THRIFT_PORT="0") as server:
        assert [line.split("  ")[0] for line in server.lines] == ["rpc", "rest", "ready"]
        assert "port 3 " in server.lines[1]
        assert (here / "mine" / SERVER_FILE).exists()
        assert said("status", cwd=here, code=0)
        assert said("stop", cwd=here, code=0)


def test_config_shows_every_value_with_unit_and_source(here: Path) -> None:
    path = here / "hyperbase.toml"
    path.write_text('[server]\nmax_frame_bytes = "32 MiB"\n[client]\nmax_retries = 7\n')
    more = {"HYPERBASE_STORE_WAL_ROLL_INTERVAL_S": "5 min"}
    lines = said("config", "--port", 5, cwd=here, code=0, **more).splitlines()
    shown = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if line and line[0] != "["}
    assert [line for line in lines if line.startswith("[")] == ["[server]", "[store]", "[client]"]
    assert shown["port"].split() == ["5", "--port"]
    assert shown["data_dir"].split() == ['"./hyperbase-data"', "default"]
    assert shown["wal_roll_interval_s"].split() == ["300", "s", "HYPERBASE_STORE_WAL_ROLL_INTERVAL_S"]
    assert shown["max_retries"].split() == ["7", str(path)]
    found = json.loads(said("config", "--json", cwd=here, code=0, **more))
    assert found["files"] == [str(path)]
    assert found["server"]["max_frame_bytes"] == {"value": 2**25, "unit": "bytes", "source": str(path)}
    assert found["store"]["wal_roll_interval_s"]["value"] == 300
    assert len(found["server"]) == len(ServerConfig.kinds()) - 1


def test_a_misspelt_setting_is_refused_by_start_and_config(here: Path) -> None:
    (here / "hyperbase.toml").write_text("[server]\nprot = 5\n")
    for command in ("start", "config"):
        assert "did you mean port?" in said(command, cwd=here, code=2)
    assert "no directory" in said("status", "--data", "nowhere", cwd=here, code=1)  # needs no settings


def test_status_stop_and_config_do_not_load_the_engine(here: Path) -> None:
    code = (
        "import sys\nfrom hyperbase.cli.main import main\nmain(sys.argv[1:])\n"
        "heavy = {'pyarrow', 'numpy', 'asyncio', 'hyperbase.embedded', 'regionserver'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    with Server(cwd=here):
        for command in ("status", "config", "stop"):
            done = subprocess.run(
                [sys.executable, "-c", code, command],
                cwd=here,
                env=environment(),
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
