"""Settings: defaults, refusals, changes by name."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from hyperbase.common.config import StoreConfig
from hyperbase.common.errors import IllegalArgumentException


def test_defaults_hbase_users_know() -> None:
    config = StoreConfig()
    assert (config.compaction_min_files, config.compaction_max_files, config.compaction_ratio) == (3, 10, 1.2)
    assert (config.blocking_store_files, config.blocking_wait_s) == (16, 90)
    assert config.max_file_size_bytes == 10 * 2**30
    assert config.max_key_value_bytes == 10_485_760
    assert config.major_compaction_interval_s == 7 * 86_400
    assert config.memstore_blocking_size_bytes == 256 * 2**20


def test_it_is_a_value() -> None:
    assert StoreConfig() == StoreConfig()
    assert hash(StoreConfig()) == hash(StoreConfig())
    with pytest.raises(dataclasses.FrozenInstanceError):
        StoreConfig().wal_max_segments = 5  # type: ignore[misc]


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(StoreConfig)])
@pytest.mark.parametrize("value", [-1, "5", None, True, math.nan, math.inf])
def test_every_setting_refuses_what_cannot_work(name: str, value: Any) -> None:
    with pytest.raises(IllegalArgumentException, match=name):
        StoreConfig(**{name: value})


@pytest.mark.parametrize(
    "name", ["memstore_limit_bytes", "wal_segment_bytes", "janitor_interval_s", "compaction_ratio"]
)
def test_zero_is_refused_where_it_means_nothing(name: str) -> None:
    with pytest.raises(IllegalArgumentException, match=f"{name} must be positive"):
        StoreConfig(**{name: 0})


@pytest.mark.parametrize(
    "name",
    [
        "block_cache_bytes",
        "major_compaction_interval_s",
        "compaction_throughput_bytes_per_s",
        "flush_interval_s",
    ],
)
def test_zero_switches_off(name: str) -> None:
    assert getattr(StoreConfig(**{name: 0}), name) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"compaction_min_files": 11}, "compaction_max_files"),
        ({"compaction_min_files": 1}, "at least 2"),
        ({"memstore_limit_bytes": 2**20}, "memstore_flush_size_bytes .* must not exceed"),
        ({"blocking_store_files": 2}, "never starts"),
        ({"wal_segment_bytes": 1.5}, "wal_segment_bytes must be an integer, not float 1.5"),
    ],
)
def test_contradictions_and_fractions_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(IllegalArgumentException, match=message):
        StoreConfig(**settings)


def test_settings_change_by_name_also_from_text() -> None:
    config = StoreConfig().with_settings(wal_max_segments="8", blocking_wait_s="0.5", block_cache_bytes=0)
    assert (config.wal_max_segments, config.blocking_wait_s, config.block_cache_bytes) == (8, 0.5, 0)
    with pytest.raises(IllegalArgumentException, match="did you mean wal_max_segments"):
        config.with_settings(wal_max_segment=5)
    with pytest.raises(IllegalArgumentException, match="wal_max_segments"):
        config.with_settings(wal_max_segments="some")
    with pytest.raises(IllegalArgumentException, match="blocking_wait_s must be seconds"):
        config.with_settings(blocking_wait_s="long")
