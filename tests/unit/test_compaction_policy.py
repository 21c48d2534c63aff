"""What is compacted next, case by case."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hyperbase.common.config import StoreConfig
from hyperbase.common.errors import IllegalArgumentException
from regionserver.region.compaction_policy import (
    CompactionConfig,
    CompactionRequest,
    FileView,
    choose_files,
    choose_major,
)
from regionserver.region.matcher import StorePolicy

MIB = 1024 * 1024
RATIO_ONLY = CompactionConfig(min_size_bytes=10, max_files=5, blocking_files=16)


def files_of(*sizes: int) -> list[FileView]:
    """Files by age, the oldest first."""
    return [FileView(f"f{number}", size, sequence_id=number + 1) for number, size in enumerate(sizes)]


def sizes_of(request: CompactionRequest | None) -> list[int]:
    return [] if request is None else [file.size_bytes for file in request.files]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((), []),
        ((100,), []),
        ((100, 100), []),  # fewer than min_files
        ((500, 100, 23, 12, 12), [23, 12, 12]),  # the large ones are out of ratio
        ((500, 110, 60, 12, 12), []),
        ((100, 50, 23, 12, 12), [100, 50, 23, 12, 12]),
        ((7, 6, 5, 4, 3, 2, 1), [5, 4, 3, 2, 1]),  # max_files, then fewest bytes
        ((3, 3, 2), [3, 3, 2]),  # below min_size the ratio does not matter
        ((50, 51, 52, 3, 2, 1), [51, 52, 3, 2, 1]),
        ((1000, 1, 1, 1), [1, 1, 1]),
        ((500, 500, 500), [500, 500, 500]),
    ],
)
def test_the_exploring_policy(sizes: tuple[int, ...], expected: list[int]) -> None:
    assert sizes_of(choose_files(files_of(*sizes), RATIO_ONLY)) == expected


def test_files_are_taken_by_sequence_id_whatever_their_order() -> None:
    request = choose_files(list(reversed(files_of(1000, 1, 2, 3))), RATIO_ONLY)

    assert request is not None
    assert [file.sequence_id for file in request.files] == [2, 3, 4]
    assert not request.major
    assert request.size_bytes == 6


def test_a_selection_of_all_files_is_major() -> None:
    request = choose_files(files_of(5, 5, 5), RATIO_ONLY)

    assert request is not None
    assert request.major
    assert request.reason == "ratio"


def test_flushed_files_of_usual_size_join_under_the_defaults() -> None:
    assert sizes_of(choose_files(files_of(*[30 * MIB] * 4), CompactionConfig())) == [30 * MIB] * 4


def test_files_above_the_largest_size_stay_out() -> None:
    config = replace(RATIO_ONLY, max_size_bytes=99)

    assert sizes_of(choose_files(files_of(100, 20, 20, 20), config)) == [20, 20, 20]


def test_a_store_near_its_blocking_count_compacts_although_nothing_is_in_ratio() -> None:
    sizes = [4**power for power in range(16, 0, -1)]
    request = choose_files(files_of(*sizes), replace(RATIO_ONLY, blocking_files=16))

    assert request is not None
    assert request.reason == "stuck" or len(request.files) >= 3
    assert choose_files(files_of(*sizes[:10]), replace(RATIO_ONLY, blocking_files=16)) is None


def test_only_files_newer_than_those_under_compaction_are_eligible() -> None:
    files = files_of(5, 5, 5, 4, 4, 4)

    request = choose_files(files, RATIO_ONLY, compacting={"f1", "f2"})

    assert request is not None
    assert [file.name for file in request.files] == ["f3", "f4", "f5"]
    assert not request.major
    assert choose_files(files, RATIO_ONLY, compacting={"f5"}) is None


def test_halves_of_a_parent_are_rewritten_at_once() -> None:
    half = replace(files_of(10**9)[0], reference=True)

    request = choose_files([half], CompactionConfig())

    assert request == CompactionRequest((half,), True, "references")


def test_expired_files_go_first_and_alone() -> None:
    old, new = files_of(100, 100)
    old, new = replace(old, max_timestamp=5_000), replace(new, max_timestamp=9_500)
    policy = StorePolicy(ttl_ms=1_000, now_ms=10_000)

    assert choose_files([old, new], RATIO_ONLY, policy) == CompactionRequest((old,), False, "expired")
    assert choose_files([old, new], RATIO_ONLY, replace(policy, min_versions=1)) is None
    assert choose_files([old, new], RATIO_ONLY, replace(policy, read_point=0)) is None


def tombstone_store(deleted_share: float, rows: int = 10_000, width: int = 10) -> list[FileView]:
    """A file of ``rows`` rows, and one with a family marker for a share of them."""
    deleted = int(rows * deleted_share)
    return [
        FileView("puts", rows * width * 120, 1, cell_count=rows * width, row_count=rows),
        FileView(
            "markers",
            deleted * 30,
            2,
            cell_count=deleted,
            row_count=deleted,
            delete_count=deleted,
            family_marker_count=deleted,
        ),
    ]


def test_a_store_of_which_most_is_deleted_is_rewritten_whole() -> None:
    request = choose_files(tombstone_store(0.9), CompactionConfig(), StorePolicy())

    assert request is not None
    assert request.major
    assert request.reason == "tombstones"
    assert len(request.files) == 2


def test_tombstones_win_over_a_selection_that_would_keep_them() -> None:
    small = [FileView(f"s{number}", 5, 3 + number, cell_count=5, row_count=5) for number in range(3)]

    request = choose_files([*tombstone_store(0.9), *small], RATIO_ONLY, StorePolicy())

    assert request is not None
    assert request.major


@pytest.mark.parametrize(
    ("share", "policy"),
    [
        (0.05, StorePolicy()),
        (0.9, StorePolicy(keep_deleted="TRUE")),
        (0.9, StorePolicy(keep_deleted="TTL")),
        (0.9, StorePolicy(read_point=1)),  # a reader still needs what the markers hide
    ],
)
def test_tombstones_that_are_few_or_would_stay_do_not_count(share: float, policy: StorePolicy) -> None:
    assert choose_files(tombstone_store(share), CompactionConfig(), policy) is None


def test_a_handful_of_markers_is_left_alone() -> None:
    assert choose_files(tombstone_store(0.9, rows=20), CompactionConfig(), StorePolicy()) is None


def test_column_markers_count_one_put_each() -> None:
    files = [
        FileView("puts", 10**6, 1, cell_count=20_000, row_count=2_000),
        FileView("markers", 10**5, 2, cell_count=4_000, row_count=400, delete_count=4_000),
    ]

    request = choose_files(files, CompactionConfig(), StorePolicy())

    assert request is not None
    assert request.reason == "tombstones"


def test_major_compactions_come_with_the_interval_and_only_when_they_help() -> None:
    config = CompactionConfig(major_interval_s=100.0)
    written = [replace(file, created_ms=1_000) for file in files_of(100, 50)]

    assert choose_files(written, config, StorePolicy(now_ms=40_000)) is None
    late = choose_files(written, config, StorePolicy(now_ms=152_000))
    assert late is not None
    assert (late.reason, late.major) == ("interval", True)

    alone = [replace(written[0], from_major=True)]
    assert choose_files(alone, config, StorePolicy(now_ms=152_000)) is None
    assert choose_files(alone, config, StorePolicy(now_ms=152_000, ttl_ms=10_000)) is not None
    assert choose_files(written, replace(config, major_interval_s=0), StorePolicy(now_ms=10**12)) is None


def test_a_requested_major_compaction_takes_every_file() -> None:
    request = choose_major(files_of(10**12, 1, 1))

    assert request is not None
    assert request.major
    assert len(request.files) == 3
    assert choose_major([]) is None
    assert choose_major(files_of(1, 1), compacting={"f0"}) is None


def test_configuration_overrides_settings() -> None:
    config = CompactionConfig.of(
        StoreConfig(compaction_ratio=2.0),
        {
            "hbase.hstore.compaction.min": "2",
            "hbase.hregion.majorcompaction": "5000",
            "hbase.hstore.compaction.ratio": "1.5",
        },
    )

    assert (config.min_files, config.major_interval_s, config.ratio) == (2, 5.0, 1.5)
    assert CompactionConfig.of(StoreConfig()).ratio == pytest.approx(1.2)
    with pytest.raises(IllegalArgumentException, match=r"hbase\.hstore\.compaction\.max must be a number"):
        CompactionConfig.of(StoreConfig(), {"hbase.hstore.compaction.max": "many"})
