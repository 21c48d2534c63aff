"""From characters to tokens: the part of Ruby's lexical rules that shell commands are written in.

A line end separates statements, except within brackets and behind ``,`` ``=>`` ``=`` ``.``, where the
line goes on. ``(`` behind a name opens its arguments, ``[`` right behind a value takes an element of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from hyperbase.shell.errors import IncompleteInput, ShellSyntaxError
from hyperbase.shell.strings import unquote_double, unquote_single

MAX_DEPTH = 100  # of brackets: nobody types more, and the evaluation of a value recurses

_TOKEN = re.compile(
    r"""(?P<SPACE>[ \t\r\f\v]+|\\\n|,(?=\s*[\]})]))
  | (?P<COMMENT>\#[^\n]*)
  | (?P<NEWLINE>[\n;])
  | (?P<SINGLE>'(?:[^'\\]|\\.)*')
  | (?P<DOUBLE>"(?:[^"\\]|\\.)*")
  | (?P<FLOAT>[+-]?\d[\d_]*(?:\.\d[\d_]*(?:[eE][+-]?\d+)?|[eE][+-]?\d+))
  | (?P<INT>[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|\d[\d_]*))
  | (?P<SYMBOL>:(?:[A-Za-z_]\w*|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'))
  | (?P<CONST>[A-Z]\w*)
  | (?P<NAME>[^\W\dA-Z]\w*[?!]?(?!=>))
  | (?P<ARROW>=>)
  | (?P<EQUAL>=(?!=))
  | (?P<COMMA>,) | (?P<DOT>\.)
  | (?P<LPAR>\() | (?P<RPAR>\)) | (?P<LSQB>\[) | (?P<RSQB>\]) | (?P<LBRACE>\{) | (?P<RBRACE>\})
    """,
    re.VERBOSE | re.DOTALL,
)
_OPEN = {"LPAR": "RPAR", "CALL_LPAR": "RPAR", "LSQB": "RSQB", "INDEX_LSQB": "RSQB", "LBRACE": "RBRACE"}
_GOES_ON = ("COMMA", "ARROW", "EQUAL", "DOT")
_VALUE_ENDS = ("NAME", "CONST", "RSQB", "RPAR", "SINGLE", "DOUBLE")
_WORDS = {"true": "TRUE", "false": "FALSE", "nil": "NIL"}
_HINTS = {
    "‘": "typographic quotes: type ' or \"",
    "’": "typographic quotes: type ' or \"",
    "“": "typographic quotes: type ' or \"",
    "”": "typographic quotes: type ' or \"",
    "|": "blocks are Ruby; this shell has commands, literals and variables",
    "@": "instance variables are Ruby; this shell has plain variables",
    "$": "global variables are Ruby; this shell has plain variables",
}


class Lexeme(NamedTuple):
    """A token: its kind, its value (a string without quotes, a number), and where it begins."""

    kind: str
    value: object
    position: int


def tokenize(source: str) -> Iterator[Lexeme]:
    """The tokens of one or more statements; a NEWLINE comes last.

    Raises:
        IncompleteInput: the text ends within something.
        ShellSyntaxError: a character or a string that is not in the language.
    """
    closers: list[tuple[str, int]] = []
    last = "NEWLINE"
    position = 0
    while position < len(source):
        match = _TOKEN.match(source, position)
        if match is None:
            raise _unexpected(source, position)
        kind = str(match.lastgroup)
        start, text, position = position, match[0], match.end()
        if kind in ("SPACE", "COMMENT"):
            continue
        if kind == "NEWLINE":
            if text == "\n" and (closers or last in _GOES_ON):
                continue
        elif kind == "LPAR" and last == "NAME":
            kind = "CALL_LPAR"
        elif kind == "LSQB" and last in _VALUE_ENDS and source[start - 1] not in " \t\n":
            kind = "INDEX_LSQB"
        elif kind == "NAME" and last != "DOT":
            kind = _WORDS.get(text, kind)
        if kind in _OPEN:
            closers.append((_OPEN[kind], start))
            if len(closers) > MAX_DEPTH:
                raise ShellSyntaxError(f"brackets are nested more than {MAX_DEPTH} deep")
        elif kind in ("RPAR", "RSQB", "RBRACE"):
            if not closers or closers.pop()[0] != kind:
                raise ShellSyntaxError(f"syntax error, unexpected {text!r}{_place(source, start)}")
        yield Lexeme(kind, _value(kind, text), start)
        last = kind
    if closers or last in _GOES_ON:
        raise IncompleteInput("syntax error, unexpected end of input")
    yield Lexeme("NEWLINE", "\n", len(source))


def _value(kind: str, text: str) -> object:
    if kind == "SINGLE":
        return unquote_single(text[1:-1])
    if kind == "DOUBLE":
        return unquote_double(text[1:-1])
    if kind == "SYMBOL":
        if text[1] in "'\"":
            return (unquote_single if text[1] == "'" else unquote_double)(text[2:-1])
        return text[1:]
    if kind == "INT":
        return _integer(text)
    if kind == "FLOAT":
        return float(text.replace("_", ""))
    return text


def _integer(text: str) -> int:
    digits = text.lstrip("+-").replace("_", "").lower()
    if len(digits) > 1000:
        raise ShellSyntaxError("an integer of more than 1,000 digits")
    if digits.startswith("0x"):
        number = int(digits[2:] or "0", 16)
    elif digits.startswith("0b"):
        number = int(digits[2:] or "0", 2)
    elif digits.startswith("0") and len(digits) > 1:
        if set(digits) & set("89"):
            raise ShellSyntaxError(f"Invalid octal digit in {text}")
        number = int(digits, 8)  # as Ruby reads it
    else:
        number = int(digits)
    return -number if text.startswith("-") else number


def _place(source: str, position: int) -> str:
    line = source.count("\n", 0, position) + 1
    column = position - (source.rfind("\n", 0, position) + 1) + 1
    return f" at column {column}" if line == 1 else f" at line {line}, column {column}"


def _unexpected(source: str, position: int) -> ShellSyntaxError:
    char = source[position]
    if char in "'\"" or (char == ":" and source[position + 1 : position + 2] in ("'", '"')):
        return IncompleteInput("unterminated string meets end of file")
    hint = _HINTS.get(char)
    return ShellSyntaxError(
        f"syntax error, unexpected {char!r}{_place(source, position)}" + (f" ({hint})" if hint else "")
    )
