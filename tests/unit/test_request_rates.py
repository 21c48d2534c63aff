"""Requests per second, from counts that servers report now and then."""

from __future__ import annotations

from hyperbase.common.cluster_status import RegionStatus
from hyperbase.common.region_info import RegionInfo
from hyperbase.common.server_name import ServerName
from hyperbase.common.wire.command_codec import HeldRegion, ServerReport
from master.rates import SAMPLE_S, Rates, RequestRates

SERVER, OTHER = ServerName("a", 1, 1), ServerName("b", 1, 1)
REGION = RegionInfo("t", b"", b"", 1)


def reports(reads: int, writes: int, server: ServerName = SERVER) -> dict[ServerName, ServerReport]:
    status = RegionStatus(REGION.region_name, read_requests=reads, write_requests=writes)
    return {server: ServerReport(str(server), (HeldRegion(REGION, status),))}


def test_a_rate_is_taken_over_the_last_minutes() -> None:
    now = [0.0]
    rates = RequestRates(lambda: now[0])
    assert rates.of(reports(10, 0)) == {}
    rates.note(reports(100, 10))
    now[0] = 10.0
    assert rates.of(reports(200, 30)) == {REGION.encoded_name: Rates(10.0, 2.0)}
    for _ in range(3):  # what was long ago does not count
        now[0] += SAMPLE_S
        rates.note(reports(1000, 10))
    now[0] += SAMPLE_S
    assert rates.of(reports(1000, 10)) == {REGION.encoded_name: Rates(0.0, 0.0)}


def test_a_region_that_was_opened_anew_counts_from_nothing() -> None:
    now = [0.0]
    rates = RequestRates(lambda: now[0])
    rates.note(reports(1000, 1000))
    now[0] = 10.0
    assert rates.of(reports(50, 20)) == {REGION.encoded_name: Rates(5.0, 2.0)}
    assert rates.of(reports(50, 20, OTHER)) == {}
