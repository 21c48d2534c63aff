"""Settings from file, environment and flags: which wins, how values are written, what is refused and how."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from hyperbase.common.config import ClientConfig, ServerConfig, Settings, StoreConfig, load_settings
from hyperbase.common.config.settings import FLAGS, SECTIONS, names_of
from hyperbase.common.config.units import human, number_of_text
from hyperbase.common.errors import IllegalArgumentException


def load(directory: Path, **given: Any) -> Settings:
    """``flags`` and ``environ`` are empty unless given."""
    return load_settings(
        given.get("flags", {}), given.get("environ", {}), directory, config_file=given.get("config_file")
    )


def write(directory: Path, text: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "hyperbase.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(directory: Path, **given: Any) -> str:
    with pytest.raises(IllegalArgumentException) as caught:
        load(directory, **given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- the groups themselves -------------------------------------------------------------------------


def test_nothing_given_is_the_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.server == ServerConfig()
    assert settings.store == StoreConfig()
    assert settings.client == ClientConfig()
    assert set(settings.sources.values()) == {"default"}
    assert settings.files == ()


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_refuses_what_cannot_work(section: str) -> None:
    group = SECTIONS[section]
    for name in names_of(section):
        bad = (None, True, -1, [1], 5) if group.kinds()[name] == "str" else (None, True, -1, "5", 1j)
        for value in bad:
            with pytest.raises(IllegalArgumentException, match=rf"\b{name} must be"):
                group(**{name: value})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"port": 65_536}, "port must be a port, 0 to 65535, not 65536"),
        ({"rest_port": 100_000}, "rest_port must be a port"),
        ({"bind": ""}, "bind must not be empty"),
        ({"bind": "a\nb"}, "bind must not hold control characters"),
        ({"log_level": "LOUD"}, "log_level must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL, not 'LOUD'"),
        ({"log_format": "xml"}, "log_format must be one of text, json"),
        ({"handler_threads": 0}, "handler_threads must be positive"),
        ({"log_backups": 0}, "log_backups must be positive"),
        (
            {"keepalive_timeout_s": 15.0},
            r"keepalive_timeout_s \(15\) must exceed keepalive_interval_s \(15\)",
        ),
        ({"max_inflight_bytes": 1}, "a frame of that size could never be taken"),
        ({"port": 8080}, "port and rest_port must differ, both are 8080"),
        ({"store": None}, "store must be a StoreConfig, not NoneType None"),
    ],
)
def test_a_server_that_cannot_work(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(IllegalArgumentException, match=message):
        ServerConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"retry_delay_ms": 5000}, r"retry_delay_max_ms \(3000\) must not be below retry_delay_ms \(5000\)"),
        ({"compression": "gzip"}, "compression must be one of auto, off, zstd"),
        ({"keepalive_interval_s": 60}, "must exceed"),
    ],
)
def test_a_client_that_cannot_work(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(IllegalArgumentException, match=message):
        ClientConfig(**settings)


def test_doors_may_all_be_off() -> None:
    config = ServerConfig(port=0, rest_port=0, thrift_port=0, console_port=0)
    assert config.rest_port == config.thrift_port == 0


# -- precedence ------------------------------------------------------------------------------------


def test_the_later_source_wins_and_is_remembered(tmp_path: Path) -> None:
    here = write(tmp_path, '[server]\nport = 1\nrest_port = 2\nthrift_port = 3\nbind = "::1"\n')
    inside = write(tmp_path / "hyperbase-data", "[server]\nrest_port = 12\nthrift_port = 13\n")
    environ = {"HYPERBASE_SERVER_THRIFT_PORT": "23", "HYPERBASE_SERVER_CONSOLE_PORT": "24"}
    settings = load(tmp_path, environ=environ, flags={"server.console_port": 34, "server.bind": None})
    server = settings.server
    assert (server.port, server.rest_port, server.thrift_port, server.console_port) == (1, 12, 23, 34)
    assert server.bind == "::1"
    assert settings.files == (str(here), str(inside))
    wanted = {
        "server.port": str(here),
        "server.rest_port": str(inside),
        "server.thrift_port": "HYPERBASE_SERVER_THRIFT_PORT",
        "server.console_port": "--console-port",
        "server.bind": str(here),
        "server.log_level": "default",
    }
    assert {key: settings.sources[key] for key in wanted} == wanted


def test_the_data_directory_whose_file_is_read_is_the_chosen_one(tmp_path: Path) -> None:
    for number, name in enumerate(("of-file", "of-environment", "of-flag", "hyperbase-data"), start=1):
        write(tmp_path / name, f"[server]\nport = {number}\n")
    flags = {"server.data_dir": str(tmp_path / "of-flag")}
    environ = {"HYPERBASE_SERVER_DATA_DIR": str(tmp_path / "of-environment")}
    assert load(tmp_path).server.port == 4
    write(tmp_path, '[server]\ndata_dir = "of-file"\n')
    assert load(tmp_path).server.port == 1
    assert load(tmp_path, environ=environ).server.port == 2
    assert load(tmp_path, environ=environ, flags=flags).server.port == 3


def test_a_named_file_is_the_only_one(tmp_path: Path) -> None:
    write(tmp_path, "[server]\nport = 1\n")
    write(tmp_path / "hyperbase-data", "[server]\nrest_port = 2\n")
    named = write(tmp_path / "etc", '[server]\ndata_dir = "data"\nlog_file = "log/server.log"\n')
    settings = load(tmp_path, config_file=str(named))
    assert (settings.server.port, settings.server.rest_port) == (16_000, 8080)
    assert settings.server.data_dir == str(tmp_path / "etc" / "data")
    assert settings.server.log_file == str(tmp_path / "etc" / "log" / "server.log")
    assert settings.files == (str(named),)


def test_a_server_in_its_data_directory_reads_the_file_there_once(tmp_path: Path) -> None:
    path = write(tmp_path, '[server]\ndata_dir = "."\nport = 5\n')
    settings = load(tmp_path)
    assert settings.files == (str(path),)
    assert settings.server.port == 5


def test_all_sections_from_all_sources(tmp_path: Path) -> None:
    write(tmp_path, '[store]\nblock_cache_bytes = "1 GiB"\n[client]\nmax_retries = 0\ncompression = "OFF"\n')
    environ = {
        "HYPERBASE_STORE_WAL_SEGMENT_BYTES": "16m",
        "HYPERBASE_CLIENT_OPERATION_TIMEOUT_S": "5 min",
        "HYPERBASE_CLIENT_RETRY_DELAY_MS": "1.5s",
        "HYPERBASE_SERVER_LOG_FORMAT": "JSON",
    }
    settings = load(tmp_path, environ=environ)
    assert settings.store == StoreConfig(block_cache_bytes=2**30, wal_segment_bytes=2**24)
    assert settings.client == ClientConfig(
        max_retries=0, compression="off", operation_timeout_s=300.0, retry_delay_ms=1500
    )
    assert settings.server == ServerConfig(log_format="json", store=settings.store)


def test_the_flush_size_follows_a_lower_memory_limit(tmp_path: Path) -> None:
    settings = load(tmp_path, environ={"HYPERBASE_STORE_MEMSTORE_LIMIT_BYTES": "64m"})
    assert settings.store.memstore_flush_size_bytes == 32 * 2**20
    assert settings.sources["store.memstore_flush_size_bytes"] == "half of memstore_limit_bytes"
    settings = load(tmp_path, environ={"HYPERBASE_STORE_MEMSTORE_LIMIT_BYTES": "1g"})
    assert settings.store.memstore_flush_size_bytes == StoreConfig().memstore_flush_size_bytes
    assert settings.sources["store.memstore_flush_size_bytes"] == "default"


def test_hyperbase_log_is_a_level_for_the_server_too(tmp_path: Path) -> None:
    environ = {"HYPERBASE_LOG": "debug", "HYPERBASE_STORE": "./data", "HYPERBASE_TRACEBACK": "1"}
    settings = load(tmp_path, environ=environ)
    assert settings.server.log_level == "DEBUG"
    assert settings.sources["server.log_level"] == "HYPERBASE_LOG"
    settings = load(tmp_path, environ=environ | {"HYPERBASE_SERVER_LOG_LEVEL": "ERROR"})
    assert settings.server.log_level == "ERROR"


def test_values_lists_everything_once(tmp_path: Path) -> None:
    listed = [f"{section}.{name}" for section, name, _, _ in load(tmp_path).values()]
    assert listed == [f"{section}.{name}" for section in SECTIONS for name in names_of(section)]
    assert "server.store" not in listed
    assert set(FLAGS) <= set(listed)


# -- how values are written ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("a_bytes", "64 MiB", 64 * 2**20),
        ("a_bytes", "64MB", 64 * 2**20),
        ("a_bytes", "64m", 64 * 2**20),
        ("a_bytes", "1.5 GiB", 3 * 2**29),
        ("a_bytes", "10 kb", 10_240),
        ("a_bytes", "2T", 2**41),
        ("a_bytes", "67_108_864", 2**26),
        ("a_bytes", "5 bytes", 5),
        ("a_bytes_per_s", "50 MiB/s", 50 * 2**20),
        ("a_bytes_per_s", "50m", 50 * 2**20),
        ("a_s", "10s", 10.0),
        ("a_s", "0.5", 0.5),
        ("a_s", "500 ms", 0.5),
        ("a_s", "2m", 120.0),
        ("a_s", "5 min", 300.0),
        ("a_s", "1h", 3600.0),
        ("a_s", "7 days", 604_800.0),
        ("a_s", "1e3", 1000.0),
        ("a_ms", "20", 20),
        ("a_ms", "1.5s", 1500),
        ("a_ms", "250ms", 250),
        ("a_count", " 10_000 ", 10_000),
        ("a_ratio", "1.2", 1.2),
    ],
)
def test_texts_are_numbers_in_the_unit_of_the_name(name: str, text: str, value: float) -> None:
    integer = isinstance(value, int)
    number = number_of_text(name, text, integer=integer)
    assert number == value
    assert type(number) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a_bytes", "64 MX", 'a_bytes must be bytes, or a size such as "64 MiB" or "64m", not \'64 MX\''),
        ("a_bytes", "10s", "a_bytes must be bytes"),
        ("a_bytes", "", "a_bytes must be bytes"),
        ("a_bytes", "1.5", "a_bytes must be a whole number, not '1.5'"),
        ("a_bytes", "٣", "a_bytes must be bytes"),
        ("a_s", "64m iB", "a_s must be seconds, or a time such as"),
        ("a_ms", "0.5ms", "a_ms must be a whole number"),
        ("a_ms", "soon", "a_ms must be milliseconds"),
        ("a_count", "5k", "a_count must be an integer, not '5k'"),
        ("a_count", "1.5", "a_count must be a whole number"),
        ("a_bytes_per_s", "5 parsec", "a_bytes_per_s must be bytes a second"),
    ],
)
def test_texts_that_are_no_such_number(name: str, text: str, message: str) -> None:
    with pytest.raises(IllegalArgumentException, match=re.escape(message)):
        number_of_text(name, text, integer=not name.endswith("_s") or name.endswith("per_s"))


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("a_bytes", 64 * 2**20, "64 MiB"),
        ("a_bytes", 1000, "1000 bytes"),
        ("a_bytes", 0, "0 bytes"),
        ("a_bytes_per_s", 2**20, "1 MiB/s"),
        ("a_s", 604_800.0, "604800 s"),
        ("a_s", 0.5, "0.5 s"),
        ("a_ms", 20, "20 ms"),
        ("a_count", 10_000, "10000"),
        ("a_ratio", 1.2, "1.2"),
        ("a_text", "b", "b"),
    ],
)
def test_values_are_shown_with_their_unit(name: str, value: object, text: str) -> None:
    assert human(name, value) == text


@pytest.mark.parametrize("section", SECTIONS)
def test_what_is_shown_can_be_written(section: str) -> None:
    group = SECTIONS[section]
    for name in names_of(section):
        kind, default = group.kinds()[name], getattr(group(), name)
        if kind != "str":
            assert number_of_text(name, human(name, default), integer=kind == "int") == default


# -- errors name the source, the key and the closest key -------------------------------------------


def test_an_unknown_key_of_a_file(tmp_path: Path) -> None:
    path = write(tmp_path, "[server]\nprot = 1\n")
    assert refused(tmp_path) == f"unknown option 'prot' for [server] in {path}; did you mean port?"


def test_a_group_is_no_key(tmp_path: Path) -> None:
    write(tmp_path, "[server.store]\nblock_cache_bytes = 1\n")
    assert "unknown option 'store' for [server]" in refused(tmp_path)


def test_an_unknown_table(tmp_path: Path) -> None:
    path = write(tmp_path, "[severs]\nport = 1\n")
    assert refused(tmp_path) == f"unknown option 'severs' for {path}; did you mean server?"


def test_a_key_outside_its_table(tmp_path: Path) -> None:
    path = write(tmp_path, "wal_max_segments = 1\n")
    assert refused(tmp_path) == f"{path}: wal_max_segments belongs in the table [store]"


def test_a_table_that_is_none(tmp_path: Path) -> None:
    path = write(tmp_path, "server = 5\n")
    assert refused(tmp_path) == f"{path}: server must be a table, [server]"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('port = "many"', "port must be an integer, not 'many'"),
        ("port = 1.5", "port must be an integer, not float 1.5"),
        ("port = true", "port must be an integer, not bool True"),
        ("port = 70000", "port must be a port, 0 to 65535, not 70000"),
        ("port = []", "port must be an integer, not list []"),
        ("port = -1", "port must be 0 or more, not -1"),
        ("scanner_lease_s = inf", "scanner_lease_s must be finite, not inf"),
        ("scanner_lease_s = 0", "scanner_lease_s must be positive, not 0"),
        ("bind = 5", "bind must be text, not int 5"),
        ('max_frame_bytes = "64 MX"', "max_frame_bytes must be bytes, or a size such as"),
        (
            'log_level = "chatty"',
            "log_level must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL, not 'chatty'",
        ),
    ],
)
def test_a_bad_value_of_a_file(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path, f"[server]\n{line}\n")
    assert refused(tmp_path).startswith(f"{path} [server]: {message}")


def test_a_file_that_is_no_toml(tmp_path: Path) -> None:
    path = write(tmp_path, "[server\n")
    assert refused(tmp_path).startswith(f"{path} is not valid TOML: ")
    path.write_bytes(b'[server]\nbind = "\xff"\n')
    assert refused(tmp_path).startswith(f"{path} is not valid TOML: ")


def test_a_named_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"the settings in .*/no\.toml cannot be read: No such file"):
        load(tmp_path, config_file=str(tmp_path / "no.toml"))
    with pytest.raises(IsADirectoryError, match="cannot be read"):
        load(tmp_path, config_file=str(tmp_path))


def test_the_data_directory_is_not_set_inside_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "hyperbase-data", '[server]\ndata_dir = "x"\n')
    assert refused(tmp_path).startswith(
        f"{path} [server]: data_dir cannot be set in the data directory itself"
    )


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        (
            "HYPERBASE_SERVER_PROT",
            "1",
            "unknown option 'HYPERBASE_SERVER_PROT' for the environment; did you mean HYPERBASE_SERVER_PORT?",
        ),
        ("HYPERBASE_SEVER_PORT", "1", "did you mean HYPERBASE_SERVER_PORT?"),
        ("HYPERBASE_PORT", "1", "did you mean HYPERBASE_SERVER_PORT?"),
        ("HYPERBASE_BLOCK_CACHE_BYTES", "1", "did you mean HYPERBASE_STORE_BLOCK_CACHE_BYTES?"),
        ("HYPERBASE_STORE_DIR", "1", "unknown option 'HYPERBASE_STORE_DIR' for the environment"),
        ("HYPERBASE_SERVER_PORT", "x", "HYPERBASE_SERVER_PORT: port must be an integer, not 'x'"),
        ("HYPERBASE_SERVER_PORT", "", "HYPERBASE_SERVER_PORT: port must be an integer, not ''"),
        ("HYPERBASE_LOG", "chatty", "HYPERBASE_LOG: log_level must be one of"),
    ],
)
def test_a_bad_variable(tmp_path: Path, variable: str, text: str, message: str) -> None:
    assert message in refused(tmp_path, environ={variable: text})


def test_variables_of_others_are_theirs(tmp_path: Path) -> None:
    environ = {
        "PATH": "/bin",
        "HYPERBASE_SERVICE_HOST": "10.0.0.1",  # as a cluster manager tells of a service of this name
        "HYPERBASE_PORT": "tcp://10.0.0.1:16000",
        "HYPERBASE_PORT_16000_TCP": "tcp://10.0.0.1:16000",
        "HYPERBASE_PROPERTY_SEED": "5",
    }
    assert load(tmp_path, environ=environ).server == ServerConfig()


def test_a_bad_flag(tmp_path: Path) -> None:
    assert refused(tmp_path, flags={"server.rest_port": 70_000}) == (
        "--rest-port: rest_port must be a port, 0 to 65535, not 70000"
    )


def test_a_contradiction_names_both_sources(tmp_path: Path) -> None:
    path = write(tmp_path, "[server]\nrest_port = 5\n")
    assert refused(tmp_path, flags={"server.port": 5}) == (
        f"[server]: port and rest_port must differ, both are 5 (port from --port; rest_port from {path})"
    )
