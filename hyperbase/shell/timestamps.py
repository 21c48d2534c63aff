"""Timestamps as HBase's shell prints them: local time, as Java's ``LocalDateTime.toString`` has it."""

from __future__ import annotations

import time

_DAY_S = 86_400


def format_timestamp(stamp_ms: int) -> str:
    """``1706702400123`` → ``2024-01-31T12:00:00.123`` (UTC); seconds and millis go when they are zero.

    The years past 9999, which Python's calendar does not know, print with a sign: ``+10000-01-01T00:00``.
    """
    seconds, millis = divmod(stamp_ms, 1000)
    try:
        offset = time.localtime(seconds).tm_gmtoff
    except (OverflowError, ValueError, OSError):
        offset = 0
    days, rest = divmod(seconds + offset, _DAY_S)
    year, month, day = _civil(days)
    minutes, second = divmod(rest, 60)
    shown = f"{year:04d}" if year <= 9999 else f"+{year}"
    text = f"{shown}-{month:02d}-{day:02d}T{minutes // 60:02d}:{minutes % 60:02d}"
    if second or millis:
        text += f":{second:02d}"
    return f"{text}.{millis:03d}" if millis else text


def _civil(days: int) -> tuple[int, int, int]:
    """Year, month and day of a number of days since 1970 (the proleptic Gregorian calendar)."""
    era, day_of_era = divmod(days + 719_468, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted_month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted_month + 2) // 5 + 1
    month = shifted_month + 3 if shifted_month < 10 else shifted_month - 9
    return year_of_era + era * 400 + (month <= 2), month, day
