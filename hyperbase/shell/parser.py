"""From text to statements, by an LALR grammar. Nothing is evaluated here.

The grammar is read when the first line is parsed: a shell that starts shows its prompt before that.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedInput
from lark.lexer import Lexer

from hyperbase.shell.errors import ShellSyntaxError
from hyperbase.shell.lexer import tokenize
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

GRAMMAR = r"""
start: (NEWLINE | statement NEWLINE)*

?statement: NAME EQUAL _value -> assign
          | _value
_value: command | expression

command: NAME arguments                   -> call
       | postfix DOT method arguments     -> method_call

arguments: argument (COMMA argument)*
?argument: expression
         | expression ARROW expression    -> pair

?expression: postfix
?postfix: primary
        | postfix DOT method                              -> method_call
        | postfix DOT method CALL_LPAR [_within] RPAR     -> method_call
        | postfix INDEX_LSQB expression RSQB              -> element
_within: arguments | command_alone
command_alone: command
?method: NAME | CONST

?primary: (SINGLE | DOUBLE | SYMBOL | INT | FLOAT)        -> literal
        | TRUE                                            -> true
        | FALSE                                           -> false
        | NIL                                             -> nil
        | CONST                                           -> constant
        | NAME                                            -> variable
        | NAME CALL_LPAR [_within] RPAR                   -> call
        | LSQB [arguments] RSQB                           -> array
        | LBRACE [pair (COMMA pair)*] RBRACE              -> hash
        | LPAR _value RPAR                                -> parenthesis
pair: expression ARROW expression

%declare NEWLINE NAME CONST EQUAL ARROW COMMA DOT LPAR CALL_LPAR RPAR LSQB INDEX_LSQB RSQB LBRACE RBRACE
%declare SINGLE DOUBLE SYMBOL INT FLOAT TRUE FALSE NIL
"""


class _Tokens(Lexer):
    """Our lexer as lark wants one."""

    def __init__(self, lexer_conf: object) -> None:
        pass

    def lex(self, data: Any) -> Iterator[Token]:  # type: ignore[override]  # of a custom lexer
        for kind, value, position in tokenize(data):
            token = Token(kind, "", position)
            token.value = value
            yield token


class _Builder(Transformer[Token, Any]):
    """Makes the nodes while the parser reduces."""

    def start(self, children: list[Any]) -> list[Statement]:
        return [child for child in children if not isinstance(child, Token)]

    def assign(self, children: list[Any]) -> Assign:
        return Assign(children[0].value, children[2])

    def arguments(self, children: list[Any]) -> tuple[Any, ...]:
        return tuple(child for child in children if not isinstance(child, Token))

    def command_alone(self, children: list[Any]) -> tuple[Any, ...]:
        return tuple(children)

    def call(self, children: list[Any]) -> Call:
        return Call(children[0].value, _arguments(children[1:]))

    def method_call(self, children: list[Any]) -> Call:
        return Call(children[2].value, _arguments(children[3:]), target=children[0])

    def element(self, children: list[Any]) -> Element:
        return Element(children[0], children[2])

    def pair(self, children: list[Any]) -> Pair:
        return Pair(children[0], children[2])

    def literal(self, children: list[Any]) -> Literal:
        return Literal(children[0].value)

    def true(self, children: list[Any]) -> Literal:
        return Literal(True)

    def false(self, children: list[Any]) -> Literal:
        return Literal(False)

    def nil(self, children: list[Any]) -> Literal:
        return Literal(None)

    def constant(self, children: list[Any]) -> Constant:
        return Constant(children[0].value)

    def variable(self, children: list[Any]) -> Variable:
        return Variable(children[0].value)

    def array(self, children: list[Any]) -> Array:
        return Array(_arguments(children))

    def hash(self, children: list[Any]) -> Hash:
        return Hash(tuple(child for child in children if isinstance(child, Pair)))

    def parenthesis(self, children: list[Any]) -> Any:
        return children[1]


def _arguments(children: list[Any]) -> tuple[Any, ...]:
    """The one tuple of arguments among brackets and commas, or none."""
    return next((child for child in children if isinstance(child, tuple)), ())


@lru_cache(maxsize=1)
def _parser() -> Lark:
    return Lark(GRAMMAR, parser="lalr", lexer=_Tokens, transformer=_Builder(), maybe_placeholders=False)


def parse(source: str) -> list[Statement]:
    """The statements of a text.

    Raises:
        IncompleteInput: the text ends within a string, bracket or list.
        ShellSyntaxError: it is not in the language.
    """
    list(tokenize(source))  # its errors first: they know what is missing
    try:
        statements: list[Statement] = _parser().parse(source)  # type: ignore[assignment]
    except UnexpectedInput as error:
        raise ShellSyntaxError(_describe(source, error)) from None
    return statements


def _describe(source: str, error: UnexpectedInput) -> str:
    token = getattr(error, "token", None)
    if token is None or token.start_pos is None or token.start_pos >= len(source):
        return "syntax error, unexpected end of input"
    if token.type == "NEWLINE":
        return f"syntax error, unexpected end of the statement at column {token.start_pos + 1}"
    rest = source[token.start_pos :].split("\n", 1)[0]
    shown = rest if len(rest) <= 30 else rest[:27] + "..."
    return f"syntax error at column {token.start_pos + 1}, near: {shown}"
