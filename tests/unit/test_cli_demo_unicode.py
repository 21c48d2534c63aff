"""The demo's data set: every assigned character once, keys in code point order, 2002 beside today."""

from __future__ import annotations

import itertools
import unicodedata

from hyperbase.cli import demo_unicode


def test_rows_are_sorted_and_hold_both_editions() -> None:
    rows = list(itertools.takewhile(lambda row: row[0] < 0x300, demo_unicode.rows()))
    keys = [key for _, key, _, _ in rows]
    assert keys == sorted(set(keys))
    by_key = {key: (before, now) for _, key, before, now in rows}
    before, now = by_key[b"0000AD"]
    assert before[b"prop:category"] == b"Pd"
    assert now[b"prop:category"] == b"Cf"
    assert by_key[b"0000BD"][1][b"num:numeric"] == b"0.5"
    assert by_key[b"000041"][1][b"map:lower"] == b"a"
    assert b"map:upper" not in by_key[b"000041"][1]


def test_what_was_set_in_2002_is_set_today() -> None:
    """Else today's newest version would be the one of 2002."""
    for _, _, before, now in itertools.islice(demo_unicode.rows(), 20_000):
        assert before.keys() <= now.keys()


def test_dates() -> None:
    assert demo_unicode.OLD_STAMP == 1_017_187_200_000
    assert demo_unicode.current_date() > demo_unicode.OLD_DATE
    assert unicodedata.ucd_3_2_0.unidata_version == "3.2.0"
