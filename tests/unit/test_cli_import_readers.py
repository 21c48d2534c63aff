"""Readers of ``hyperbase import``: every record with its line, every broken one a reject, in chunks."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperbase.cli import json_stream
from hyperbase.cli.console import CommandError
from hyperbase.cli.json_stream import JsonElements, JsonError
from hyperbase.cli.readers import ReadOptions, Record, Reject, format_of, open_reader


def read(
    path: Path, options: ReadOptions | None = None, batch_rows: int = 100
) -> tuple[list[Record], list[Reject]]:
    reader = open_reader(str(path), options or ReadOptions())
    records: list[Record] = []
    rejects: list[Reject] = []
    done = 0
    try:
        for chunk in reader.chunks(batch_rows):
            assert len(chunk.records) + len(chunk.rejects) <= batch_rows
            assert chunk.done >= done
            done = chunk.done
            records += chunk.records
            rejects += chunk.rejects
    finally:
        reader.close()
    assert reader.total == 0 or done == reader.total
    return records, rejects


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_csv_keeps_text_and_line_numbers_across_quoted_newlines_and_blank_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'id,v\n1,"two\nlines"\n\n2,007\n3,\n')
    records, rejects = read(path)
    assert records == [
        (2, {"id": "1", "v": "two\nlines"}),
        (5, {"id": "2", "v": "007"}),
        (6, {"id": "3", "v": None}),
    ]
    assert rejects == []


def test_csv_rejects_a_row_of_another_width_and_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,v\n1,a\n2,b,c\n3\n4,d\n")
    records, rejects = read(path, batch_rows=2)
    assert [line for line, _ in records] == [2, 5]
    assert [(r.line, r.record) for r in rejects] == [(3, ["2", "b", "c"]), (4, ["3"])]
    assert rejects[0].reason == "3 fields where 2 are expected"


def test_csv_rejects_a_row_that_is_not_well_formed_and_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'id,v\n1,"a"b\n2,c\n')
    records, rejects = read(path)
    assert [values["id"] for _, values in records] == ["2"]
    assert [r.line for r in rejects] == [2]


def test_csv_without_header_takes_names_or_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dat", '1,"x",\\N\n2,"y",z\n')
    assert read(path, ReadOptions(header=False))[0] == [
        (1, {"c1": "1", "c2": "x", "c3": None}),
        (2, {"c1": "2", "c2": "y", "c3": "z"}),
    ]
    assert read(path, ReadOptions(columns=("a", "b", "c")))[0][1] == (2, {"a": "2", "b": "y", "c": "z"})


def test_skipped_lines_count(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "# made by hand\na,b\n1,2\n1\n")
    records, rejects = read(path, ReadOptions(skip_lines=1))
    assert records == [(3, {"a": "1", "b": "2"})]
    assert [r.line for r in rejects] == [4]


def test_csv_bytes_that_are_no_utf8_pass_unchanged(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b"\xef\xbb\xbfid,v\n1,caf\xe9\n")
    ((_, values),), _ = read(path)
    assert values["v"].encode("utf-8", "surrogateescape") == b"caf\xe9"
    assert read(path, ReadOptions(encoding="latin-1", columns=("a", "b")))[0][1][1]["b"] == "café"


def test_tsv_and_gzip(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv.gz", gzip.compress(b"id\tv\n1\tx,y\n"))
    assert read(path)[0] == [(2, {"id": "1", "v": "x,y"})]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "empty"),
        ("a.csv", "a,a\n1,2\n", "'a' twice"),
        ("a.csv", "a,\n1,2\n", "without a name"),
        ("a.xyz", "a\n", "unknown suffix"),
        ("a.parquet", "PAR1 but not really", "cannot be read as Parquet"),
        ("a.arrow", "ARROW1 but not really", "cannot be read as Arrow"),
        ("a.arrow", "", "cannot be read as Arrow"),
        ("a.json", "hello", "an array or objects are wanted"),
        ("a.json", '{"meta": 1, "features": [{"a": 1}, {"a": 2}]}', "--records features"),
    ],
)
def test_what_cannot_be_read_at_all_is_one_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = write(tmp_path / name, text)
    with pytest.raises(CommandError, match=message) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_json_lines_reject_by_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"a": 1}\n\n{"a": \n[1]\n{"a": {"b": [1, null]}}\n')
    records, rejects = read(path)
    assert records == [(1, {"a": 1}), (5, {"a": {"b": [1, None]}})]
    assert [r.line for r in rejects] == [3, 4]
    assert rejects[1].reason == "an object is wanted, not list"


def test_json_array_rejects_a_broken_element_and_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", '[\n{"a": 1},\n{"a": tru, "b": "]}\\""},\n7,\n{"a": 2}\n]\n')
    records, rejects = read(path)
    assert records == [(2, {"a": 1}), (5, {"a": 2})]
    assert [r.line for r in rejects] == [3, 4]
    assert rejects[0].record == '{"a": tru, "b": "]}\\""}'


def test_json_array_that_is_cut_off_keeps_what_came_before(tmp_path: Path) -> None:
    records, rejects = read(write(tmp_path / "a.json", '[{"a": 1}, {"a": 2'))
    assert [values for _, values in records] == [{"a": 1}]
    assert len(rejects) == 2
    assert rejects[-1].reason == "the file ends inside the array"


def test_json_member_and_flatten(tmp_path: Path) -> None:
    text = '{"meta": {"features": 1}, "features": [{"id": "x", "p": {"mag": 2.5, "q": {"r": null}}}]}'
    path = write(tmp_path / "a.geojson", text)
    records, _ = read(path, ReadOptions(records="features", flatten=True))
    assert records == [(1, {"id": "x", "p.mag": 2.5, "p.q.r": None})]
    with pytest.raises(CommandError, match="no member 'rows'"):
        read(path, ReadOptions(records="rows"))


def test_json_objects_behind_each_other_need_no_array(tmp_path: Path) -> None:
    records, _ = read(write(tmp_path / "a.json", '{"a": 1}\n{\n "a": 2\n}\n'))
    assert records == [(1, {"a": 1}), (2, {"a": 2})]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(values, max_size=8), st.integers(1, 40), st.sampled_from([None, 1]))
def test_a_json_array_is_read_whole_at_any_chunk_size(
    items: list[Any], chunk: int, indent: int | None
) -> None:
    text = json.dumps(items, indent=indent)
    saved, json_stream.CHUNK_CHARS = json_stream.CHUNK_CHARS, chunk
    try:
        found = list(JsonElements(io.StringIO(text), lines=False))
    finally:
        json_stream.CHUNK_CHARS = saved
    assert [value for _, value, _ in found] == items
    assert all(error is None for _, _, error in found)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet='{}[]",:\\ 12atrue\n', max_size=60))
def test_any_text_is_read_to_its_end_or_refused(text: str) -> None:
    try:
        found = list(JsonElements(io.StringIO("[" + text), lines=False))
    except JsonError:
        return
    assert len(found) <= len(text) + 1


def sample_table() -> pa.Table:
    return pa.table({"id": [1, 2, None], "name": ["a", None, "c"], "tags": [["x"], [], None]})


def test_parquet_arrow_and_stream_give_the_same_records(tmp_path: Path) -> None:
    table = sample_table()
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as sink:
        sink.write_table(table, max_chunksize=2)
    with pa.ipc.new_stream(str(tmp_path / "b.arrow"), table.schema) as sink:
        sink.write_table(table, max_chunksize=2)
    expected = [
        (1, {"id": 1, "name": "a", "tags": ["x"]}),
        (2, {"id": 2, "name": None, "tags": []}),
        (3, {"id": None, "name": "c", "tags": None}),
    ]
    for name in ("a.parquet", "a.arrow", "b.arrow"):
        assert read(tmp_path / name, batch_rows=1)[0] == expected


def test_a_truncated_arrow_file_is_named(tmp_path: Path) -> None:
    pq.write_table(sample_table(), tmp_path / "a.parquet")
    data = (tmp_path / "a.parquet").read_bytes()
    write(tmp_path / "cut.parquet", data[: len(data) // 2])
    with pytest.raises(CommandError, match=r"cut\.parquet"):
        read(tmp_path / "cut.parquet")


def test_format_by_suffix_looks_through_gz() -> None:
    assert format_of("x/y.JSONL.gz") == "jsonl"
    assert format_of("data.bin", "csv") == "csv"
