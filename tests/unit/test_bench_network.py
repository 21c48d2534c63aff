"""The network benchmark's own logic: keys, timing, ratios, tables, markers, its clients' protocol."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hyperbase
from benchmarks.network import __main__ as main
from benchmarks.network import report, worker
from benchmarks.network.calls import CALLS
from benchmarks.network.data import BATCH, CELLS, READ, WRITE, Source, key, make_pool
from benchmarks.network.echo import round_trips
from benchmarks.network.measure import percentile, read_samples, repeat, within, write_samples
from benchmarks.network.processes import listener, machine_busy, status_kib, tree
from benchmarks.network.report import BEGIN, END, Measure, Ratio, insert_section, ratio, reached, short
from benchmarks.network.rounds import Arena, Timing, run
from benchmarks.network.section import Circumstances, section_text
from benchmarks.network.server import EchoServer, load, prepare
from benchmarks.network.team import Sample, Worker, WorkerFailed, combine
from benchmarks.network.works import ASYNC, ECHO, GROUPS, HAPPYBASE, HYPERBASE, JAVA, Contestant, Group, Line

# -- what is written and read ------------------------------------------------------------------------------


def test_keys_are_those_of_the_java_client() -> None:
    assert key(0) == b"0" * 16
    assert key(1) == b"0000002654435761"
    assert key(20_000_000) == b"%016d" % (20_000_000 * 2_654_435_761 % 10**15)


def test_keys_of_different_rows_differ() -> None:
    assert len({key(number) for number in range(10_000)}) == 10_000


def test_a_row_has_ten_columns_of_a_hundred_bytes() -> None:
    row = make_pool(1)[0]
    assert len(row) == CELLS
    assert {len(value) for value in row.values()} == {100}


def test_clients_write_different_rows() -> None:
    first, second = Source(0, 10), Source(1, 10)
    assert not {first.new_row()[0] for _ in range(100)} & {second.new_row()[0] for _ in range(100)}


# -- measuring ---------------------------------------------------------------------------------------------


def test_percentiles() -> None:
    assert percentile([], 99) == 0
    assert percentile([5.0], 99) == 5
    assert percentile([float(n) for n in range(100)], 50) == 50
    assert percentile([float(n) for n in range(100)], 99) == 99


def test_repeat_goes_on_until_the_operations_are_reached() -> None:
    measured = repeat(lambda: 10, 0.0, 25)
    assert measured.ops == 30
    assert len(measured.durations) == len(measured.ends) == 3


def test_samples_survive_their_file(tmp_path: Path) -> None:
    measured = repeat(lambda: 1, 0.0, 3)
    write_samples(str(tmp_path / "s"), measured)
    assert read_samples(str(tmp_path / "s")) == list(zip(measured.ends, measured.durations, strict=True))


def test_a_call_counts_when_it_overlaps_a_window() -> None:
    samples = [(1.0, 0.5), (2.0, 0.4), (3.0, 0.9), (4.0, 0.1)]  # end, duration
    assert within(samples, [(1.9, 2.2)]) == [0.4, 0.9]
    assert within(samples, []) == []


def test_clients_figures_are_combined() -> None:
    figures = [
        {"ops": 100, "seconds": 2.0, "p50_us": 10.0, "p99_us": 50.0},
        {"ops": 300, "seconds": 3.0, "p50_us": 20.0, "p99_us": 40.0},
    ]
    assert combine(figures) == Sample(150.0, 15.0, 50.0)


# -- the works ---------------------------------------------------------------------------------------------


def test_every_work_has_a_call() -> None:
    for group in GROUPS.values():
        for contestant in group.contestants:
            assert contestant.work in CALLS
        for line in group.lines:
            assert line.ours in group.contestants
            assert line.java in group.contestants


@pytest.mark.parametrize("work", CALLS)
def test_a_call_does_its_work_on_a_table(work: str, tmp_path: Path) -> None:
    with hyperbase.connect(tmp_path / "d") as connection:
        prepare(connection, 1200)
        call = CALLS[work](Source(0, 1200), connection.table(READ), connection.table(WRITE))
        counts = [call() for _ in range(3)]
        if work in ("batch_put", "multi_get"):
            assert counts == [BATCH] * 3
        elif work == "full_scan":
            assert counts == [1000, 200, 1000]
        elif work in ("scan_arrow", "scan_arrow_cells"):
            while counts[-1]:  # 0 is the end of one scan
                counts.append(call())
            assert sum(counts[: counts.index(0)]) == 1200
        else:
            assert counts == [1] * 3
        if work in ("batch_put", "single_put"):
            assert sum(1 for _ in connection.table(WRITE).scan()) == sum(counts)


def test_reading_an_empty_table_is_no_speed(tmp_path: Path) -> None:
    with hyperbase.connect(tmp_path / "d") as connection:
        prepare(connection, 0)
        call = CALLS["get"](Source(0, 100), connection.table(READ), connection.table(WRITE))
        with pytest.raises(AssertionError, match="is the table loaded"):
            call()


def test_loading_in_parts_loads_every_row(tmp_path: Path) -> None:
    with hyperbase.connect(tmp_path / "d") as connection:
        prepare(connection, 0)
        load(connection, READ, 1001, flushes=4)
        assert {row for row, _ in connection.table(READ).scan()} == {key(n) for n in range(1001)}


# -- clients and servers -----------------------------------------------------------------------------------


def test_a_worker_warms_up_and_answers_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with hyperbase.connect(tmp_path / "d") as connection:
        prepare(connection, 300)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"go 0.01 {tmp_path / 'samples'}\ngo 0.01\n"))
    assert worker.main(["hyperbase", str(tmp_path / "d"), "get", "0", "300", "0", "5"]) == 0
    ready, *answers = capsys.readouterr().out.splitlines()
    assert ready.startswith("ready {")
    assert [json.loads(answer)["work"] for answer in answers] == ["get", "get"]
    assert len(read_samples(str(tmp_path / "samples"))) == json.loads(answers[0])["ops"]


def test_the_echo_answers_with_the_wanted_size(tmp_path: Path) -> None:
    server = EchoServer(tmp_path / "log")
    try:
        assert listener(server.port) is not None
        for request_bytes, response_bytes in ((0, 0), (9, 200_000), (200_000, 5)):
            call = round_trips(server.port, request_bytes, response_bytes)
            call()
            call()
        client = Worker(
            [
                *(sys.executable, "-m", "benchmarks.network.worker", "echo"),
                *(f"{server.port}:1000:2000", "single_put", "0", "1", "0", "50"),
            ],
            tmp_path / "client",
        )
        sizes = client.wait_ready()
        client.go(0.01)
        assert client.figures(0.01)["ops"] > 0
        client.close()
        assert sizes["response_bytes"] == 2000
        assert 900 <= sizes["request_bytes"] <= 1000  # what the last call sent may not be acknowledged yet
    finally:
        server.stop()


def test_a_worker_that_ends_is_named_with_its_error(tmp_path: Path) -> None:
    client = Worker([sys.executable, "-c", "raise SystemExit('no such server')"], tmp_path / "log")
    with pytest.raises(WorkerFailed, match="no such server"):
        client.wait_ready()
    client.close()


def test_a_worker_that_is_silent_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    client = Worker([sys.executable, "-c", "input()"], tmp_path / "log")
    with pytest.raises(WorkerFailed, match="did not answer"):
        client.read_line(0.01)
    client.close()


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    with hyperbase.connect(tmp_path / "d") as connection:
        prepare(connection, 300)
    echo = EchoServer(tmp_path / "log")
    yield Arena(str(tmp_path / "d"), [], echo, None, 300, tmp_path)
    echo.stop()


BRIEF = Timing(rounds=3, seconds=0.01, warm_up_s=0)


def test_contestants_take_turns_and_hbase_is_left_out(arena: Arena) -> None:
    failures: list[str] = []
    # An embedded store tells no sizes: 0 bytes are the shortest frames.
    results = run(GROUPS["get"], arena, BRIEF, failures)
    assert failures == []
    assert {one.side: len(samples) for one, samples in results.items()} == {HYPERBASE: 3, ECHO: 3}


def test_a_client_that_fails_is_left_out_and_named(arena: Arena) -> None:
    failures: list[str] = []
    arena.location = "hyperbase://127.0.0.1:1"
    group = GROUPS["get"]
    alone = Group("x", [group.contestants[0], Contestant(ECHO, "get")], group.lines)
    assert run(alone, arena, BRIEF, failures) == {}
    assert [failure.split(":")[0] for failure in failures] == ["get, 1 of hyperbase", "get, 1 of echo"]
    assert report.comparison_table([(alone, {})]).count("\n") == 1


def test_memory_and_children_of_a_process() -> None:
    assert status_kib(os.getpid(), "VmRSS") > 1000
    assert os.getpid() in tree(os.getppid())
    assert status_kib(2**22 + 1, "VmRSS") == 0


# -- the report --------------------------------------------------------------------------------------------


def test_a_ratio_is_that_of_the_rounds_not_of_the_medians() -> None:
    assert ratio([10.0, 20.0, 90.0], [10.0, 10.0, 30.0]) == Ratio(2.0, 1.0, 3.0)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.5, "0.5"), (812.4, "812"), (9_712.0, "9.7 k"), (48_300.0, "48 k"), (5_210_000.0, "5.21 M")],
)
def test_numbers_are_short(number: float, text: str) -> None:
    assert short(number) == text


OURS, THEIRS = Contestant(HYPERBASE, "get"), Contestant(JAVA, "get")


@pytest.mark.parametrize(
    ("line", "rate", "times", "share", "met"),
    [
        (Line("w", "/s", OURS, THEIRS, 6), 1.0, Ratio(6.0, 5, 7), None, True),
        (Line("w", "/s", OURS, THEIRS, 6), 1.0, Ratio(5.9, 5, 7), None, False),
        (Line("w", "/s", OURS, THEIRS, 6), 1.0, None, None, None),
        (Line("w", "/s", OURS, THEIRS, 6, 5e6), 4e5, None, None, False),
        (Line("w", "/s", OURS, THEIRS, 6, 5e6), 6e5, None, None, None),
        (Line("w", "/s", OURS, THEIRS, 6, 5e6), 6e5, Ratio(6.0, 5, 7), None, True),
        (Line("w", "/s", OURS, THEIRS, 6, echo_share=0.5), 1.0, Ratio(7.0, 5, 7), Ratio(0.4, 0, 1), False),
        (Line("w", "/s", OURS, THEIRS, 6, echo_share=0.5), 1.0, Ratio(7.0, 5, 7), Ratio(0.5, 0, 1), True),
    ],
)
def test_reached_means_every_aim(
    line: Line, rate: float, times: Ratio | None, share: Ratio | None, met: bool | None
) -> None:
    assert reached(line, rate, times, share) is met


def _samples(*rates: float) -> list[Sample]:
    return [Sample(rate, 10.0, 20.0) for rate in rates]


def test_the_comparison_table_has_a_line_for_each_aim() -> None:
    group = GROUPS["single_put_8"]
    results = {
        group.contestants[0]: _samples(8000.0, 9000.0, 10000.0),
        Contestant(ECHO, "single_put", 8): _samples(80000.0, 80000.0, 80000.0),
        Contestant(JAVA, "single_put", 8): _samples(4000.0, 4000.0, 4000.0),
        Contestant(HAPPYBASE, "single_put", 8): _samples(2000.0, 2000.0, 2000.0),
        Contestant(ASYNC, "single_put"): _samples(15000.0, 15000.0, 15000.0),
    }
    lines = report.comparison_table([(group, results)]).splitlines()
    assert lines[2] == (
        "| single put, 8 clients | 9.0 k /s | 80 k | 4.0 k | 2.0 k | 0.11 | 2.25 (2.00–2.50) | ≥ 2× | yes |"
    )
    assert lines[3] == (
        "| single put, 32 asyncio writers, × 8 clients | 15 k /s | – | 4.0 k | – | – | 3.75 (3.75–3.75) "
        "| ≥ 4× | **no** |"
    )


def test_without_hbase_its_columns_are_empty() -> None:
    group = GROUPS["get"]
    results = {OURS: _samples(100.0), Contestant(ECHO, "get"): _samples(160.0)}
    line = report.comparison_table([(group, results)]).splitlines()[2]
    assert line == ("| get row, 1 client | 100 /s | 160 | – | – | 0.62 | – | ≥ 6×, ≥ 0.5 of the echo | – |")
    assert "| get row, 1 client | 10 / 20 | 10 / 20 | – | – |" in report.latency_table([(group, results)])


def test_measures_say_what_is_not_reached() -> None:
    text = report.measure_table([Measure("p99", "3 ms", "≤ 2 ms", False), Measure("idle", "1 ms", "", None)])
    assert "| p99 | 3 ms | ≤ 2 ms | **no** |" in text
    assert "| idle | 1 ms |  | – |" in text
    assert report.measure_table([]) == ""


def test_the_section_names_its_circumstances() -> None:
    group = GROUPS["get"]
    circumstances = Circumstances(Timing(), 50_000, 60.0, [0.01, 0.02, 0.5], True, shared_hbase=True)
    text = section_text([(group, {OURS: _samples(100.0)})], [], circumstances)
    assert text.startswith("## Over the network\n")
    assert "5 interleaved rounds of 4 s, medians; it took 1 minutes" in text
    assert "HBase 2.6.1 (one that ran already)" in text
    assert "Others used 2% of the cores, 50% at most." in text


def test_figures_of_a_busy_machine_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "PAGE", tmp_path / "page.md")
    main.PAGE.write_text("# Page\n")
    assert "50% busy" in main._write_page("text", [0.0, 0.5, 0.6], busy_ok=False)[0]
    assert main.PAGE.read_text() == "# Page\n"
    assert main._write_page("text", [0.0, 0.01, 0.6], busy_ok=False) == []
    assert BEGIN in main.PAGE.read_text()
    assert main._write_page("text", [0.5], busy_ok=True) == []


def test_how_busy_the_machine_is() -> None:
    assert 0.0 <= machine_busy(0.05) <= 1.0


def test_a_section_goes_to_the_end_and_then_replaces_itself() -> None:
    page = "# Benchmarks\n\ntext\n"
    once = insert_section(page, "one\n")
    assert once == f"# Benchmarks\n\ntext\n\n{BEGIN}\none\n{END}\n"
    assert (
        insert_section(once + "\nafter\n", "two") == f"# Benchmarks\n\ntext\n\n{BEGIN}\ntwo\n{END}\n\nafter\n"
    )


@pytest.mark.parametrize("page", [BEGIN, END, f"{END}\n{BEGIN}"])
def test_half_a_pair_of_markers_is_an_error(page: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        insert_section(page, "text")
