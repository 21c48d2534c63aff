"""Where settings come from: defaults, ``hyperbase.toml``, the environment, flags; the later wins.

File: the one that is named, or else ``hyperbase.toml`` in the current directory, and over it the one in the
data directory. It has the tables ``[server]``, ``[store]`` and ``[client]``; paths start from its directory.
Environment: ``HYPERBASE_<SECTION>_<NAME>``, for example ``HYPERBASE_STORE_BLOCK_CACHE_BYTES``.

Nothing is passed over in silence: an unknown key or a value that does not fit is an error that names the
file, variable or flag, the key, and the closest key there is. Each value remembers where it came from.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hyperbase.common.config.checks import CheckedSettings
from hyperbase.common.config.client_config import ClientConfig
from hyperbase.common.config.server_config import ServerConfig
from hyperbase.common.config.store_config import StoreConfig, derived_flush_size_bytes
from hyperbase.common.config.units import number_of_text
from hyperbase.common.errors import IllegalArgumentException
from hyperbase.common.schema_options import unknown_option

SETTINGS_FILE = "hyperbase.toml"
SECTIONS: Mapping[str, type[CheckedSettings]] = {
    "server": ServerConfig,
    "store": StoreConfig,
    "client": ClientConfig,
}
FLAGS: Mapping[str, str] = {
    "server.data_dir": "--data",
    "server.bind": "--bind",
    "server.port": "--port",
    "server.rest_port": "--rest-port",
    "server.thrift_port": "--thrift-port",
    "server.console_port": "--console-port",
    "server.zookeeper_url": "--zookeeper",
    "server.info_port": "--info-port",
    "server.log_level": "--log-level",
    "server.log_format": "--log-format",
    "server.log_file": "--log-file",
}
DEFAULT = "default"

_PATHS = frozenset({"data_dir", "log_file"})
_PREFIX = "HYPERBASE_"
_LOG_VARIABLE = "HYPERBASE_LOG"  # a log level for every command; HYPERBASE_SERVER_LOG_LEVEL goes before it
_OTHER_VARIABLES = frozenset(
    {_LOG_VARIABLE, "HYPERBASE_STORE", "HYPERBASE_TRACEBACK", "HYPERBASE_SESSION_FILE"}
)
_LOOKS_LIKE = 0.85  # difflib's ratio from which a variable of no section is taken for a misspelt one


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that was decided, and by whom.

    ``sources`` has one entry for each value: ``"server.port"`` to ``"default"``, the path of a file, the name
    of a variable, or a flag.
    """

    server: ServerConfig
    client: ClientConfig
    sources: Mapping[str, str]
    files: tuple[str, ...] = ()  # those that were read, the one that counts more last

    @property
    def store(self) -> StoreConfig:
        """The server's store."""
        return self.server.store

    def values(self) -> Iterator[tuple[str, str, Any, str]]:
        """(section, name, value, source) of every setting, in the order of the dataclasses."""
        for section, group in (("server", self.server), ("store", self.store), ("client", self.client)):
            for name in names_of(section):
                yield section, name, getattr(group, name), self.sources[f"{section}.{name}"]


def names_of(section: str) -> list[str]:
    """The settings of a section, without the sections inside it."""
    return [name for name, kind in SECTIONS[section].kinds().items() if kind in ("int", "float", "str")]


def load_settings(
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    directory: str | os.PathLike[str] = ".",
    *,
    config_file: str | None = None,
) -> Settings:
    """Gather the settings.

    Args:
        flags: ``{"server.port": 16000}``, see ``FLAGS``; values or texts, ``None`` was not given.
        environ: variables; those of other programs are passed over. Nothing: ``os.environ``.
        directory: where ``hyperbase.toml`` is looked for.
        config_file: read this file and no other.

    Raises:
        IllegalArgumentException: an unknown key, or a value that does not fit; its source is named.
        OSError: a file that is there or was named cannot be read.
    """
    gathered = _Gathered()
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    variables = os.environ if environ is None else environ
    if config_file is not None:
        gathered.take_file(config_file)
        gathered.take_environment(variables)
        gathered.take_flags(given)
        return gathered.settings()
    here = os.path.join(directory, SETTINGS_FILE)
    if os.path.exists(here):
        gathered.take_file(here)
    above = _Gathered()
    above.take_environment(variables)
    above.take_flags(given)
    chosen = above.values.get("server.data_dir") or gathered.values.get("server.data_dir")
    data_dir = os.path.join(directory, chosen or ServerConfig().data_dir)
    inside = os.path.join(data_dir, SETTINGS_FILE)
    if os.path.exists(inside) and not (os.path.exists(here) and os.path.samefile(inside, here)):
        gathered.take_file(inside, of_data_dir=True)
    gathered.values |= above.values
    gathered.sources |= above.sources
    return gathered.settings()


@dataclass(slots=True)
class _Gathered:
    """What the sources said so far, each value checked alone."""

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)

    def take(self, section: str, name: str, raw: Any, source: str, place: str) -> None:
        """One value; ``place`` says in an error where it stands."""
        group = SECTIONS[section]
        try:
            value = _typed(group, name, raw)
            group.check_value(name, value)
        except IllegalArgumentException as error:
            raise IllegalArgumentException(f"{place}: {error}") from error
        self.values[f"{section}.{name}"] = value
        self.sources[f"{section}.{name}"] = source

    def take_file(self, path: str, *, of_data_dir: bool = False) -> None:
        """Every value of a file; one in the data directory cannot say where that is."""
        path = os.path.abspath(path)
        for section, table in _read_toml(path).items():
            if section not in SECTIONS:
                raise _unknown_table(path, section, table)
            if not isinstance(table, dict):
                raise IllegalArgumentException(f"{path}: {section} must be a table, [{section}]")
            for name, raw in table.items():
                if name not in names_of(section):
                    raise unknown_option(name, names_of(section), f"[{section}] in {path}")
                if of_data_dir and name == "data_dir":
                    raise IllegalArgumentException(
                        f"{path} [{section}]: data_dir cannot be set in the data directory itself; "
                        f"set it with --data, HYPERBASE_SERVER_DATA_DIR, or a {SETTINGS_FILE} elsewhere"
                    )
                if name in _PATHS and isinstance(raw, str) and raw:
                    raw = os.path.join(os.path.dirname(path), os.path.expanduser(raw))
                self.take(section, name, raw, path, f"{path} [{section}]")
        self.files.append(path)

    def take_environment(self, environ: Mapping[str, str]) -> None:
        """Every variable that is a setting. One that looks like a setting and is none is an error."""
        names = {
            f"{_PREFIX}{section.upper()}_{name.upper()}": (section, name)
            for section in SECTIONS
            for name in names_of(section)
        }
        level = environ.get(_LOG_VARIABLE)
        if level:
            self.take("server", "log_level", level, _LOG_VARIABLE, _LOG_VARIABLE)
        for variable, text in environ.items():
            if variable in names:
                self.take(*names[variable], text, variable, variable)
            elif variable.startswith(_PREFIX) and variable not in _OTHER_VARIABLES:
                _refuse_misspelt(variable, text, list(names))

    def take_flags(self, flags: Mapping[str, Any]) -> None:
        """What the command line says."""
        for key, raw in flags.items():
            section, _, name = key.partition(".")
            flag = FLAGS[key]
            self.take(section, name, raw, flag, flag)

    def settings(self) -> Settings:
        """Make the groups; values that contradict each other are refused with their sources."""
        derived = derived_flush_size_bytes(self._of("store"))
        if derived is not None and derived != StoreConfig().memstore_flush_size_bytes:
            self.values["store.memstore_flush_size_bytes"] = derived
            self.sources["store.memstore_flush_size_bytes"] = "half of memstore_limit_bytes"
        store = self._make("store")
        server = self._make("server", store=store)
        client = self._make("client")
        assert isinstance(server, ServerConfig)
        assert isinstance(client, ClientConfig)
        keys = [f"{section}.{name}" for section in SECTIONS for name in names_of(section)]
        sources = {key: self.sources.get(key, DEFAULT) for key in keys}
        return Settings(server, client, sources, tuple(self.files))

    def _of(self, section: str) -> dict[str, Any]:
        prefix = f"{section}."
        return {key.removeprefix(prefix): v for key, v in self.values.items() if key.startswith(prefix)}

    def _make(self, section: str, **groups: CheckedSettings) -> CheckedSettings:
        try:
            return SECTIONS[section](**self._of(section), **groups)
        except IllegalArgumentException as error:
            named = [name for name in names_of(section) if re.search(rf"\b{name}\b", str(error))]
            sources = "; ".join(f"{n} from {self.sources.get(f'{section}.{n}', DEFAULT)}" for n in named)
            raise IllegalArgumentException(f"[{section}]: {error} ({sources})") from error


def _typed(group: type[CheckedSettings], name: str, raw: Any) -> Any:
    """A value as the group wants it, from what a file, variable or flag has."""
    kind = group.kinds()[name]
    if not isinstance(raw, str):
        return raw
    if kind != "str":
        return number_of_text(name, raw, integer=kind == "int")
    choices = {choice.lower(): choice for choice in group.CHOICES.get(name, ())}
    return choices.get(raw.strip().lower(), raw)


def _read_toml(path: str) -> dict[str, Any]:
    import tomllib

    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise IllegalArgumentException(f"{path} is not valid TOML: {error}") from error
    except OSError as error:
        raise type(error)(f"the settings in {path} cannot be read: {error.strerror}") from error


def _unknown_table(path: str, name: str, value: Any) -> IllegalArgumentException:
    """The error for a table or key that stands outside the three tables."""
    homes = [section for section in SECTIONS if name in names_of(section)]
    if homes and not isinstance(value, dict):
        return IllegalArgumentException(f"{path}: {name} belongs in the table [{homes[0]}]")
    return unknown_option(name, SECTIONS, path)


def _refuse_misspelt(variable: str, text: str, names: list[str]) -> None:
    """Raise for a variable that was meant as a setting; others belong to somebody else."""
    for section in SECTIONS:
        prefix = f"{_PREFIX}{section.upper()}_"
        if variable.startswith(prefix):
            raise unknown_option(variable, [n for n in names if n.startswith(prefix)], "the environment")
    # A cluster manager that knows a service of this name sets HYPERBASE_PORT=tcp://… : no setting.
    bare = variable.removeprefix(_PREFIX).lower()
    homes = [] if "://" in text else [section for section in SECTIONS if bare in names_of(section)]
    meant = [f"{_PREFIX}{section.upper()}_{bare.upper()}" for section in homes]
    meant = meant or difflib.get_close_matches(variable, names, n=1, cutoff=_LOOKS_LIKE)
    if meant:
        raise unknown_option(variable, meant, "the environment")
