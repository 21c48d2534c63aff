"""HBase's filter language: text to filter.

    expr  := orexp ; orexp := andexp { OR andexp } ; andexp := unary { AND unary }
    unary := [SKIP|WHILE] unary | '(' expr ')' | Name '(' [arg {sep arg}] ')'
    arg   := 'bytes' ('' is one quote) | bare number, boolean or operator ; sep := commas and spaces

Keywords are upper case. AND and OR stand between a space or ``)`` and a space or ``(``; SKIP and WHILE
begin the text or follow a space or parenthesis. ``a OR b OR c`` is one list of three.

As in HBase a ``)`` may be missing at the very end, and a shunting yard reads the operators, so oddities
such as ``()F()`` or an operator after its operands pass too. Unlike HBase, which loses track there,
``(a OR b AND c)`` is read as the grammar says.

Source: Apache HBase 2.6, ParseFilter.
"""

from __future__ import annotations

import re

from hyperbase.common.errors import IllegalArgumentException, WrongTypeException, shown
from hyperbase.common.filters.arguments import BUILT_IN, FilterFactory
from hyperbase.common.filters.base import Filter
from hyperbase.common.filters.filter_list import FilterList, Operator
from hyperbase.common.filters.wrapper_filters import SkipFilter, WhileMatchFilter
from hyperbase.common.model import FilterLike, to_bytes

MAX_DEPTH = 100  # nested SKIP, WHILE and lists; Java runs out of stack some hundreds later

_BINDING = {b"SKIP": 1, b"WHILE": 1, b"AND": 2, b"OR": 3}
_WRAPPERS: dict[bytes, type[SkipFilter | WhileMatchFilter]] = {
    b"SKIP": SkipFilter,
    b"WHILE": WhileMatchFilter,
}
_KEYWORD = re.compile(rb"(?<=[ )])(?:OR|AND)(?=[ (])|(?<![^ ()])(?:SKIP|WHILE)(?=[ (])")
_QUOTED = re.compile(rb"'(?:[^']|'')*'(?!')")
# One filter call: up to the first ')' outside quotes; '' toggles twice and so changes nothing.
_CALL = re.compile(rb"[^')]*(?:'[^']*'[^')]*)*\)")
_BARE = re.compile(rb"[^ ,)]+")
_NAME_END = re.compile(rb"[( ]")

_registered: dict[str, FilterFactory] = dict(BUILT_IN)


def register_filter(name: str, factory: FilterFactory) -> None:
    """Add a filter to the language.

    Args:
        name: as it is written before its arguments.
        factory: makes the filter from its arguments, which are as ``filters.arguments`` describes.
    """
    _registered[name] = factory


def registered_filters() -> list[str]:
    """The names of the language's filters, HBase's 19 first."""
    return list(_registered)


def resolve_filter(filter: FilterLike | None) -> Filter | None:
    """A filter as it is, a filter string parsed, ``None`` for none.

    Raises IllegalArgumentException: the text is not a filter string.
    """
    if filter is None or isinstance(filter, Filter):
        return filter
    if isinstance(filter, str | bytes | bytearray | memoryview):
        return parse_filter(filter if isinstance(filter, str) else bytes(filter))
    raise WrongTypeException(
        f"filter must be a Filter, str or bytes, not {type(filter).__name__}: {shown(filter)}"
    )


def parse_filter(text: str | bytes) -> Filter:
    """Parse a filter string such as ``PrefixFilter('a') AND (KeyOnlyFilter() OR PageFilter(5))``.

    Args:
        text: str is taken as UTF-8.

    Raises:
        IllegalArgumentException: with HBase's words, mostly ``Incorrect filter string Name(...)`` or
            ``Incorrect Filter String``, and what is wrong.
    """
    try:
        data = to_bytes(text, "filter string")
    except WrongTypeException:
        raise
    except IllegalArgumentException as error:
        raise IllegalArgumentException(f"Incorrect Filter String: {error}") from error
    return _Parser(data).parse()


class _Parser:
    """A shunting yard: operators wait on one stack until their operands are complete on the other."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.operators: list[bytes] = []  # b"(" and the keywords
        self.filters: list[tuple[Filter, int]] = []  # with their depth

    def parse(self) -> Filter:
        """The one filter the text describes."""
        data, at = self.data, 0
        while at < len(data):
            byte = data[at : at + 1]
            keyword = _KEYWORD.match(data, at)
            if keyword is not None:
                self._keyword(keyword.group())
                at = keyword.end()
            elif byte in b" \t":
                at += 1
            elif byte == b"(":
                self.operators.append(byte)
                at += 1
            elif byte == b")":
                self._close()
                at += 1
            else:
                at = self._call(at)
        while self.operators:
            self._reduce_top()
        if len(self.filters) != 1:
            why = "two filters need AND or OR between them" if self.filters else "there is no filter"
            raise IllegalArgumentException(f"Incorrect Filter String: {why}")
        return self.filters[0][0]

    def _keyword(self, keyword: bytes) -> None:
        while self.operators and self.operators[-1] != b"(":
            if _BINDING[self.operators[-1]] >= _BINDING[keyword]:
                break
            self._reduce_top()
        self.operators.append(keyword)

    def _close(self) -> None:
        while self.operators and self.operators[-1] != b"(":
            self._reduce_top()
        if not self.operators:
            raise IllegalArgumentException("Mismatched parenthesis: there is one ) too many")
        self.operators.pop()

    def _call(self, at: int) -> int:
        """Read one ``Name(arguments)``; returns where it ends."""
        match = _CALL.match(self.data, at)
        if match is None:
            raise IllegalArgumentException(
                f"Incorrect Filter String: {_show(self.data[at : at + 80])} has no closing parenthesis"
            )
        self.filters.append((_simple_filter(match.group()), 1))
        return match.end()

    def _reduce_top(self) -> None:
        """Apply the operator on top to its operands."""
        operator = self.operators[-1]
        if operator == b"(":
            # Only at the end of the text: the missing ) is forgiven.
            if not self.filters:
                raise IllegalArgumentException("Incorrect Filter String: there is no filter")
            self.operators.pop()
        elif operator in _WRAPPERS:
            self.operators.pop()
            (inner, depth) = self._operands(1, operator)[0]
            self._push(_WRAPPERS[operator](inner), depth + 1)
        else:
            count = 1
            while self.operators and self.operators[-1] == operator:
                self.operators.pop()
                count += 1
            members = self._operands(count, operator)
            how = Operator.MUST_PASS_ALL if operator == b"AND" else Operator.MUST_PASS_ONE
            self._push(FilterList(how, [f for f, _ in members]), max(depth for _, depth in members) + 1)

    def _operands(self, count: int, operator: bytes) -> list[tuple[Filter, int]]:
        if len(self.filters) < count:
            needs = "a %s wraps a filter" if operator in _WRAPPERS else "an %s needs two filters"
            raise IllegalArgumentException("Incorrect input string - " + needs % operator.decode())
        operands = self.filters[-count:]
        del self.filters[-count:]
        return operands

    def _push(self, made: Filter, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise IllegalArgumentException(f"Incorrect Filter String: nested more than {MAX_DEPTH} deep")
        self.filters.append((made, depth))


def _simple_filter(call: bytes) -> Filter:
    """The filter of one ``Name(arguments)``."""
    name_end = _NAME_END.search(call)
    if name_end is None or name_end.start() == 0:
        raise IllegalArgumentException(f"Incorrect Filter Name: {_show(call)}")
    name = call[: name_end.start()].decode("utf-8", "replace")
    arguments = _split_arguments(call)
    factory = _registered.get(name)
    if factory is None:
        raise IllegalArgumentException(f"Filter Name {name} not supported")
    try:
        return factory(arguments)
    except (IllegalArgumentException, UnicodeDecodeError) as error:
        raise IllegalArgumentException(f"Incorrect filter string {_show(call)}: {error}") from error


def _split_arguments(call: bytes) -> list[bytes]:
    """The arguments as written, quoted ones with their outer quotes."""
    at = call.find(b"(")
    if at < 0:
        raise IllegalArgumentException(f"Incorrect argument list: {_show(call)}")
    at += 1
    arguments = []
    while at < len(call):
        if call[at] in b" ,)":
            at += 1
            continue
        if call[at] == ord("'"):
            quoted = _QUOTED.match(call, at)
            if quoted is None:
                raise IllegalArgumentException(f"Incorrect argument list: {_show(call)}")
            arguments.append(b"'" + quoted.group()[1:-1].replace(b"''", b"'") + b"'")
            at = quoted.end() + 1  # what follows a quoted argument is taken for a separator, whatever it is
        else:
            bare = _BARE.match(call, at)
            assert bare is not None  # the byte here is no separator
            arguments.append(bare.group())
            at = bare.end()
    return arguments


def _show(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
