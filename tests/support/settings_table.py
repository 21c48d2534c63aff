"""The tables of settings in ``docs/operations.md``: the dataclasses, and the comments above their fields.

``python -m tests.support.settings_table`` writes them into the page; a test compares.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from hyperbase.common.config.settings import FLAGS, SECTIONS, names_of
from hyperbase.common.config.units import human

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
BEGIN, END = "<!-- settings: begin -->\n", "<!-- settings: end -->\n"
_FIELD = re.compile(r"((?:^    # .*\n)+)    (\w+): \w+ = ", re.MULTILINE)


def sentences(section: str) -> dict[str, str]:
    """What the comment above each field says, on one line."""
    source = inspect.getsource(SECTIONS[section])
    found = {name: comment for comment, name in _FIELD.findall(source)}
    return {name: " ".join(found[name].replace("# ", "").split()) for name in names_of(section)}


def tables() -> str:
    """A table for each section: name, default with unit, sentence, flag."""
    lines: list[str] = []
    for section, group in SECTIONS.items():
        defaults = group()
        lines += [
            f"`[{section}]`, `HYPERBASE_{section.upper()}_…`",
            "",
            "| setting | default | |",
            "| --- | --- | --- |",
        ]
        for name, sentence in sentences(section).items():
            default = human(name, getattr(defaults, name)) or '""'
            flag = FLAGS.get(f"{section}.{name}")
            lines.append(f"| `{name}`{f' `{flag}`' if flag else ''} | {default} | {sentence} |")
        lines.append("")
    return "\n".join(lines) + "\n"


def written() -> str:
    """The tables as the page has them."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    head, tail = text.partition(BEGIN)[0], text.partition(END)[2]
    PAGE.write_text(head + BEGIN + "\n" + tables() + END + tail, encoding="utf-8")
