"""docs/protocol.md: its worked examples are what the code writes and reads, its tables name what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from hyperbase.common import errors
from hyperbase.common.wire.frames import PREAMBLE, FrameDecoder, pack_frame
from hyperbase.common.wire.messages import OK, Method, request
from hyperbase.common.wire.model_codec import decode_result

DOC = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
REGION = bytes(range(16))


def hex_examples() -> list[bytes]:
    """The bytes of every hex listing under "Worked example"."""
    text = DOC.partition("## Worked example")[2]
    found = []
    for block in re.findall(r"```text\n(.*?)```", text, re.DOTALL):
        data = bytearray()
        for line in block.splitlines():
            offset, _, rest = line.partition("  ")
            assert int(offset, 16) == len(data), line
            data += bytes.fromhex(re.match(r"(?:[0-9a-f]{2} ?)+", rest)[0])  # type: ignore[index]
        found.append(bytes(data))
    return found


def messages(data: bytes) -> list[Any]:
    return list(FrameDecoder().feed(data))


def test_the_examples_are_what_the_code_writes() -> None:
    hello, row, answer = hex_examples()
    assert hello == PREAMBLE + pack_frame(request(Method.HELLO, 0, (1, {"client_id": bytes(16)})))
    assert row == pack_frame(request(Method.ROW, 7, (REGION, b"ada"), 5000))
    assert answer == pack_frame((7, OK, ((b"info:city",), (b"Paris",), 1000)))


def test_the_examples_are_what_the_code_reads() -> None:
    hello, row, answer = hex_examples()
    assert hello.startswith(PREAMBLE)
    assert messages(hello[len(PREAMBLE) :]) == [(1, 0, None, None, (1, {"client_id": bytes(16)}))]
    assert messages(row) == [(10, 7, 5000, None, (REGION, b"ada"))]
    [(call_id, kind, payload)] = messages(answer)
    assert (call_id, kind) == (7, OK)
    assert decode_result(b"ada", payload).to_dict_with_timestamps() == {b"info:city": (b"Paris", 1000)}


def test_every_method_is_in_the_table() -> None:
    listed = dict(re.findall(r"^\| (\d+) ([A-Z_]+) \|", DOC, re.MULTILINE))
    assert listed == {str(int(method)): method.name for method in Method}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\b[A-Z][A-Za-z]+Exception\b", DOC))))
def test_every_error_that_is_named_exists(name: str) -> None:
    assert issubclass(getattr(errors, name), errors.HBaseIOException)
