"""Strings of the shell: Ruby's quoting in, HBase's printing out.

A string may hold any bytes. Here it is text in which bytes that are not UTF-8 are lone surrogates
(``surrogateescape``), so it sorts, prints and compares like text and gives its bytes back exactly.
"""

from __future__ import annotations

import re

from hyperbase.shell.errors import ShellSyntaxError

_SIMPLE = {
    "n": b"\n",
    "t": b"\t",
    "r": b"\r",
    "0": b"\0",
    "a": b"\a",
    "b": b"\b",
    "e": b"\x1b",
    "f": b"\f",
    "v": b"\v",
    "s": b" ",
    "\n": b"",
}
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F ]{1,80})\}|(.))", re.DOTALL
)
_BINARY_ESCAPE = re.compile(rb"\\x([0-9a-fA-F]{2})")
_RUBY_CONTROLS = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\a": "\\a", "\b": "\\b", "\x1b": "\\e",
                  "\f": "\\f", "\v": "\\v", '"': '\\"', "\\": "\\\\"}  # fmt: skip


def text_of(data: bytes) -> str:
    """Bytes as a string of the shell."""
    return data.decode("utf-8", "surrogateescape")


def bytes_of(text: str) -> bytes:
    """The bytes of a string of the shell."""
    return text.encode("utf-8", "surrogateescape")


def unquote_single(body: str) -> str:
    """What stands between single quotes: ``\\'`` and ``\\\\`` are escapes, nothing else is."""
    return re.sub(r"\\(['\\])", r"\1", body)


def unquote_double(body: str) -> str:
    """What stands between double quotes, escapes resolved.

    Raises:
        ShellSyntaxError: ``#{...}``, a broken ``\\x`` or ``\\u``, or a code point that does not exist.
    """
    out = bytearray()
    position = 0
    while position < len(body):
        char = body[position]
        if char == "#" and body[position + 1 : position + 2] == "{":
            raise ShellSyntaxError('"#{...}" is not evaluated here; write \\#{ for the text itself')
        if char != "\\":
            out += bytes_of(char)
            position += 1
            continue
        match = _ESCAPE.match(body, position)
        if match is None or match[5] in ("x", "u"):
            raise ShellSyntaxError(
                f"invalid escape {body[position : position + 4]!r} in a double-quoted string"
            )
        out += _escaped(match)
        position = match.end()
    return text_of(bytes(out))


def _escaped(match: re.Match[str]) -> bytes:
    hexadecimal, octal, code, codes, other = match.groups()
    if hexadecimal is not None:
        return bytes([int(hexadecimal, 16)])
    if octal is not None:
        return bytes([int(octal, 8) & 0xFF])
    if code is not None or codes is not None:
        return b"".join(_code_point(each) for each in ([code] if code is not None else codes.split()))
    return _SIMPLE.get(other, bytes_of(other))


def _code_point(digits: str) -> bytes:
    number = int(digits, 16)
    if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        raise ShellSyntaxError(f"invalid Unicode code point \\u{digits}")
    return chr(number).encode("utf-8")


def inspect_string(text: str) -> str:
    """A string as Ruby's ``inspect`` shows it: in double quotes, ready to be typed in again."""
    out = []
    for char in text:
        code = ord(char)
        if char in _RUBY_CONTROLS:
            out.append(_RUBY_CONTROLS[char])
        elif 0xDC80 <= code <= 0xDCFF:
            out.append(f"\\x{code - 0xDC00:02X}")
        elif code < 32 or code == 127:
            out.append(f"\\x{code:02X}")
        else:
            out.append(char)
    return f'"{"".join(out)}"'


def bytes_binary(text: str) -> bytes:
    """As HBase's ``Bytes.toBytesBinary``: ``\\x41`` in the text is one byte. Split keys are read so."""
    return _BINARY_ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), bytes_of(text))
