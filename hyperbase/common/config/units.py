"""Settings as people write them: ``64 MiB``, ``64m``, ``10s``, ``500ms``; and back, for people to read.

The units a text may carry follow from the unit the setting's name ends in. All sizes are binary, as HBase's
and Java's are: ``64 MB`` is ``64 MiB``. A number without unit is in the setting's own unit.
"""

from __future__ import annotations

import re

from hyperbase.common.config.checks import unit_of
from hyperbase.common.errors import IllegalArgumentException

_SIZES: dict[str, int] = {"": 1, "b": 1, "bytes": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZES |= {f"{letter}{rest}": _SIZES[letter] for letter in "kmgt" for rest in ("b", "ib")}
_MILLISECONDS: dict[str, int] = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 1),
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1000),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60_000),
    **dict.fromkeys(("h", "hour", "hours"), 3_600_000),
    **dict.fromkeys(("d", "day", "days"), 86_400_000),
}
# For each unit of a setting: what the units of a text are worth, what one of the setting's own is worth,
# and what the text should have been.
_UNITS: dict[str, tuple[dict[str, int], int, str]] = {
    "bytes": (_SIZES, 1, 'bytes, or a size such as "64 MiB" or "64m"'),
    "bytes/s": (
        {f"{size}{end}": worth for size, worth in _SIZES.items() for end in ("", "/s")},
        1,
        'bytes a second, or a size such as "50 MiB"',
    ),
    "s": (_MILLISECONDS | {"": 1000}, 1000, 'seconds, or a time such as "10s", "500ms" or "5 min"'),
    "ms": (_MILLISECONDS | {"": 1}, 1, 'milliseconds, or a time such as "500ms" or "2s"'),
}
_QUANTITY = re.compile(r"([+-]?)([0-9][0-9_]*)(?:\.([0-9]+))?\s*([a-z/]*)", re.IGNORECASE | re.ASCII)


def number_of_text(name: str, text: str, *, integer: bool) -> int | float:
    """The number that ``text`` stands for, in the unit of the setting ``name``.

    Raises:
        IllegalArgumentException: no number, an unknown unit, or a fraction where an integer is wanted.
    """
    plain = ({"": 1}, 1, "an integer" if integer else "a number")
    worths, own, wanted = _UNITS.get(unit_of(name), plain)
    match = _QUANTITY.fullmatch(text.strip())
    worth = None if match is None else worths.get(match[4].lower())
    if match is None or worth is None:
        number = None if integer else _float_of_text(text)
        if number is None:
            raise IllegalArgumentException(f"{name} must be {wanted}, not {text!r}")
        return number
    decimals = match[3] or ""
    digits = int(match[2].replace("_", "") + decimals) * (-1 if match[1] == "-" else 1)
    numerator, denominator = digits * worth, own * int("1" + "0" * len(decimals))
    if not integer:
        return numerator / denominator
    if numerator % denominator:
        raise IllegalArgumentException(f"{name} must be a whole number, not {text!r}")
    return numerator // denominator


def _float_of_text(text: str) -> float | None:
    """``1e3``, ``inf`` and ``nan`` too: whether they fit is the setting's own check."""
    try:
        return float(text)
    except ValueError:
        return None


def human(name: str, value: object) -> str:
    """A setting's value with its unit, sizes in the largest unit that divides them: ``64 MiB``."""
    unit = unit_of(name)
    if not isinstance(value, (int, float)):
        return str(value)
    if unit.startswith("bytes"):
        for factor, word in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
            if value and value % factor == 0:
                return f"{int(value) // factor} {word}{unit.removeprefix('bytes')}"
    return f"{value:.12g} {unit}".strip() if isinstance(value, float) else f"{value} {unit}".strip()
