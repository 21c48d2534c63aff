"""The shell's language: what parses to what, what is refused how, and that no text breaks the parser."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hyperbase.shell.errors import IncompleteInput, ShellError, ShellSyntaxError
from hyperbase.shell.lexer import MAX_DEPTH, tokenize
from hyperbase.shell.parser import parse
from hyperbase.shell.strings import bytes_binary, bytes_of, inspect_string, text_of, unquote_double
from hyperbase.shell.syntax import (
    Array,
    Assign,
    Call,
    Constant,
    Element,
    Hash,
    Literal,
    Pair,
    Statement,
    Variable,
)


def one(source: str) -> Statement:
    (statement,) = parse(source)
    return statement


def value(source: str) -> object:
    """The literal that is the only argument of a call."""
    call = one(f"x {source}")
    assert isinstance(call, Call)
    (argument,) = call.arguments
    assert isinstance(argument, Literal)
    return argument.value


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"'a\n\x41'", r"a\n\x41"),
        (r"'it\'s \\ here'", r"it's \ here"),
        ('"a\\n\\t\\x41\\101\\u00e9\\u{1F600 42}\\e\\s\\q"', "a\n\tAA\u00e9\U0001f600B\x1b q"),
        ('"\\x0"', "\0"),
        ('"two\nlines"', "two\nlines"),
        (":sym", "sym"),
        (':"a b"', "a b"),
        ("5", 5),
        ("-5", -5),
        ("+1_000", 1000),
        ("0x1F", 31),
        ("-0b101", -5),
        ("017", 15),
        ("1.5", 1.5),
        ("-2e3", -2000.0),
        ("true", True),
        ("false", False),
        ("nil", None),
    ],
)
def test_literals(source: str, expected: object) -> None:
    found = value(source)
    assert found == expected
    assert type(found) is type(expected)


def test_double_quoted_bytes_come_back_exactly() -> None:
    text = value('"\\x00\\xff\\xc3\\xa9"')
    assert isinstance(text, str)
    assert bytes_of(text) == b"\x00\xff\xc3\xa9"


@pytest.mark.parametrize("source", ['"\\u{110000}"', '"\\ud800"', '"\\xg"', '"#{1}"'])
def test_strings_that_are_refused(source: str) -> None:
    with pytest.raises(ShellSyntaxError):
        parse(f"x {source}")


def test_a_command_takes_hashes_with_and_without_braces() -> None:
    versions = Pair(Constant("VERSIONS"), Literal(5))
    assert one("create 't', {VERSIONS => 5}") == Call("create", (Literal("t"), Hash((versions,))))
    assert one("create 't', VERSIONS => 5") == Call("create", (Literal("t"), versions))
    assert one("create('t', VERSIONS => 5)") == Call("create", (Literal("t"), versions))
    assert one("create ('t')") == Call("create", (Literal("t"),))
    assert one("alter 't', 'delete' => 'f'") == Call(
        "alter", (Literal("t"), Pair(Literal("delete"), Literal("f")))
    )


def test_variables_table_methods_and_elements() -> None:
    assert parse("t = get_table 't'; t.scan {LIMIT => 1}") == [
        Assign("t", Call("get_table", (Literal("t"),))),
        Call("scan", (Hash((Pair(Constant("LIMIT"), Literal(1)),)),), target=Variable("t")),
    ]
    assert one("t.put('r', 'f:q', 'v')").target == Variable("t")  # type: ignore[union-attr]
    assert one("t.count") == Call("count", target=Variable("t"))
    assert one("x = ARGV[0]") == Assign("x", Element(Constant("ARGV"), Literal(0)))
    assert one("get [1]") == Call("get", (Array((Literal(1),)),))
    assert one("disable_all (list 'x')") == Call("disable_all", (Call("list", (Literal("x"),)),))


def test_lines_go_on_in_brackets_and_behind_commas_and_end_elsewhere() -> None:
    assert len(parse("scan 't', {\n  COLUMNS => [\n'a',\n'b',\n],\n}\nlist # and so on\n\n;;list")) == 3
    assert parse("put 't',\n 'r',\n 'f:q', 'v'") == parse("put 't', 'r', 'f:q', 'v'")
    assert parse("put 't', \\\n 'r'") == parse("put 't', 'r'")
    assert parse("# nothing\n") == []


@pytest.mark.parametrize(
    "source", ["scan 't', {", "put 't',", "x =", "get 't', 'r", 'put "', "a(", "[1, 2", "t."]
)
def test_unfinished_text_says_so(source: str) -> None:
    with pytest.raises(IncompleteInput):
        parse(source)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("scan 't' 'u'", "near: 'u'"),
        ("scan 't')", "unexpected ')'"),
        ("scan {1 => 2]", "unexpected ']'"),
        ("scan ‘t’", "typographic quotes"),
        ("list.each { |x| x }", "blocks are Ruby"),
        ("a => 1", "syntax error"),
        ("x " + "[" * (MAX_DEPTH + 1), "nested"),
        ("x " + "9" * 1001, "digits"),
        ("x 09", "octal"),
    ],
)
def test_what_is_not_in_the_language(source: str, words: str) -> None:
    with pytest.raises(ShellSyntaxError, match=re.escape(words)):
        parse(source)


_FRAGMENTS = st.sampled_from(
    ["put", " ", "'", '"', "\\", "{", "}", "[", "]", "(", ")", ",", "=>", "=", ".", ";", "\n", "#", ":a",
     "NAME", "'t'", "1", "-1.5e3", "0x", "true", "t", '"\\x00"', "\\u{", "é", "#{", "->", "&", "x.y"]
)  # fmt: skip


@settings(deadline=None)  # the first one reads the grammar
@given(st.one_of(st.text(max_size=60), st.lists(_FRAGMENTS, max_size=25).map("".join)))
@example("x.y" * 5000)
@example("a(" * 90 + ")" * 90)
@example("'\ud800'")
@example("1e999999")
def test_no_text_breaks_the_parser(source: str) -> None:
    with suppress(ShellError):
        assert isinstance(parse(source), list)


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_can_be_typed_and_are_shown_as_they_can_be_typed(data: bytes) -> None:
    text = text_of(data)
    assert bytes_of(text) == data
    shown = inspect_string(text).replace("#{", "\\#{")
    assert unquote_double(shown[1:-1]) == text
    typed = '"' + "".join(f"\\x{byte:02x}" for byte in data) + '"'
    assert value(typed) == text


def test_split_keys_know_escapes_in_single_quotes_too() -> None:
    assert bytes_binary(r"a\x00\xFF\xzz") == rb"a" + b"\x00\xff" + rb"\xzz"


def test_tokens_say_where_they_are() -> None:
    assert [(token.kind, token.position) for token in tokenize("a 'b'")] == [
        ("NAME", 0),
        ("SINGLE", 2),
        ("NEWLINE", 5),
    ]
