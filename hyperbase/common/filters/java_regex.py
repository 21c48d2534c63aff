"""Java's regular expressions on the ``regex`` package: the same language, as far as the two overlap.

Where Java and ``regex`` read a construct differently it is rewritten (``\\Q..\\E``, ``\\z``, ``\\Z``, ``$``,
``\\h``, ``\\v``, POSIX classes, ...); what Java refuses and ``regex`` would take for an extension of its
own (fuzzy matching, recursion, verbs, named lists) is refused. Not covered: ``\\G``, canonical equivalence,
``.`` stopping at other line ends than ``\\n`` when DOTALL is off.

Source: java.util.regex.Pattern.
"""

from __future__ import annotations

from typing import Any

import regex

from hyperbase.common.errors import IllegalArgumentException, shown

UNIX_LINES = 1
CASE_INSENSITIVE = 2
COMMENTS = 4
MULTILINE = 8
LITERAL = 16
DOTALL = 32
UNICODE_CASE = 64
CANON_EQ = 128
UNICODE_CHARACTER_CLASS = 256

_FLAGS = {
    CASE_INSENSITIVE: regex.IGNORECASE,
    COMMENTS: regex.VERBOSE,
    MULTILINE: regex.MULTILINE,
    DOTALL: regex.DOTALL,
}

# POSIX classes know only ASCII in Java; in ``regex`` they follow Unicode.
_POSIX = {
    "Lower": "a-z",
    "Upper": "A-Z",
    "ASCII": r"\x00-\x7f",
    "Alpha": "a-zA-Z",
    "Digit": "0-9",
    "Alnum": "a-zA-Z0-9",
    "Punct": r"!-/:-@\[-`{-~",
    "Graph": "!-~",
    "Print": r"\x20-~",
    "Blank": r"\x20\t",
    "Cntrl": r"\x00-\x1f\x7f",
    "XDigit": "0-9a-fA-F",
    "Space": r"\x20\t\n\x0b\f\r",
}
_HORIZONTAL = r"\x20\t\xa0\u1680\u180e\u2000-\u200a\u202f\u205f\u3000"
_VERTICAL = r"\n\x0b\f\r\x85\u2028\u2029"
_SETS = {"h": _HORIZONTAL, "v": _VERTICAL}
_ASCII_SETS = {"d": _POSIX["Digit"], "w": "a-zA-Z0-9_", "s": _POSIX["Space"]}
_LAST_LINE_END = r"(?=(?:\r\n|[\n\r\x85\u2028\u2029])?\Z)"
_SAME_ESCAPES = frozenset("abdDfnrRsStwWBAX")

_REPETITION = regex.compile(r"\{\d+(?:,\d*)?\}")
_GROUP = regex.compile(r"\(\?(?:[:=!>]|<[=!]|<[a-zA-Z][a-zA-Z0-9]*>)")
_INLINE_FLAGS = regex.compile(r"\(\?([idmsuxU]*)(?:-([idmsuxU]*))?([:)])")
_PROPERTY = regex.compile(r"\{(\^?[A-Za-z0-9_=\- ]+)\}|([A-Za-z])")
_ANY_PROPERTY = regex.compile(r"\\[pP](?:\{([^}]*)\}|(.))", regex.DOTALL)
_GROUP_NAME = regex.compile(r"<([a-zA-Z][a-zA-Z0-9]*)>")
_HEX = regex.compile(r"\{([0-9a-fA-F]{1,6})\}|([0-9a-fA-F]{2})")
_UNICODE = regex.compile(r"([0-9a-fA-F]{4})")
_OCTAL = regex.compile(r"([0-3]?[0-7]{1,2})")


def compile_java(pattern: str, flags: int) -> Any:
    """Compile ``pattern`` as Java would, with Java's flag bits.

    Raises IllegalArgumentException: it is not a pattern Java accepts.
    """
    options = regex.VERSION1
    for bit, option in _FLAGS.items():
        if flags & bit:
            options |= option
    # Java's \d, \w, \s and its folding of case know only ASCII, its \p{L} knows Unicode. The ASCII option
    # would cripple the latter, so where a pattern has one the former are spelled out.
    unicode = bool(flags & (UNICODE_CHARACTER_CLASS | UNICODE_CASE))
    mixed = any((one or two) not in _POSIX for one, two in _ANY_PROPERTY.findall(pattern))
    if not unicode and not mixed:
        options |= regex.ASCII
    try:
        if flags & LITERAL:
            return regex.compile(regex.escape(pattern), options)
        multiline = bool(flags & MULTILINE)
        translator = _Translator(pattern, multiline, _ASCII_SETS if mixed and not unicode else {})
        return regex.compile(translator.translate(), options)
    except (regex.error, RecursionError, OverflowError, ValueError) as error:
        if isinstance(error, IllegalArgumentException):
            raise
        raise IllegalArgumentException(f"illegal regular expression {shown(pattern)}: {error}") from error


class _Translator:
    """One pass over a Java pattern; each method consumes one construct and emits its counterpart."""

    def __init__(self, pattern: str, multiline: bool, spelled_out: dict[str, str]) -> None:
        self.pattern = pattern
        self.sets = _SETS | spelled_out
        self.at = 0
        self.out: list[str] = []
        self.depth = 0  # nesting of character classes
        self.multiline = multiline

    def translate(self) -> str:
        """The pattern in the ``regex`` package's language."""
        while self.at < len(self.pattern):
            char = self.pattern[self.at]
            if char == "\\":
                self._escape()
            elif self.depth:
                self._in_class(char)
            elif char == "[":
                self._open_class()
            elif char == "(":
                self._group()
            elif char == "{":
                self._take(_REPETITION, "illegal repetition")
            elif char == "$" and not self.multiline:
                self._emit(_LAST_LINE_END)
            else:
                self._emit(char)
        if self.depth:
            raise self._error("unclosed character class")
        return "".join(self.out)

    def _emit(self, text: str, width: int = 1) -> None:
        self.out.append(text)
        self.at += width

    def _error(self, why: str) -> IllegalArgumentException:
        return IllegalArgumentException(
            f"illegal regular expression {shown(self.pattern)}: {why} near index {self.at}"
        )

    def _take(self, form: Any, why: str) -> None:
        """Copy what ``form`` matches here."""
        match = form.match(self.pattern, self.at)
        if match is None:
            raise self._error(why)
        self._emit(match.group(), len(match.group()))

    def _group(self) -> None:
        rest = self.pattern[self.at : self.at + 2]
        if rest == "(*":
            raise self._error("dangling meta character '*'")
        if rest != "(?":
            self._emit("(")
            return
        match = _INLINE_FLAGS.match(self.pattern, self.at)
        if match is None:
            self._take(_GROUP, "unknown group type")
            return
        on, off, end = match.groups()
        self.multiline = self.multiline or "m" in on
        # i, m, s and x mean the same in both; d, u and U have no counterpart inside a pattern.
        kept_on = "".join(c for c in on if c in "imsx")
        kept_off = "".join(c for c in off or "" if c in "imsx")
        switches = kept_on + ("-" + kept_off if kept_off else "")
        empty = "(?:" if end == ":" else ""
        self._emit(f"(?{switches}{end}" if switches else empty, len(match.group()))

    def _open_class(self) -> None:
        self.depth += 1
        self._emit("[")
        if self.pattern.startswith("^", self.at):
            self._emit("^")
        if self.pattern.startswith("]", self.at):
            self._emit("\\]")

    def _in_class(self, char: str) -> None:
        if char == "[":
            self._open_class()
        elif char == "]":
            self.depth -= 1
            self._emit("]")
        elif char in "|~" or (char == "-" and self.pattern.startswith("--", self.at - 1)):
            self._emit("\\" + char)  # set operators of ``regex`` that Java does not have
        else:
            self._emit(char)

    def _escape(self) -> None:
        if self.at + 1 >= len(self.pattern):
            raise self._error("unexpected internal error: the pattern ends in a backslash")
        char = self.pattern[self.at + 1]
        if char == "Q":
            end = self.pattern.find("\\E", self.at)
            literal = self.pattern[self.at + 2 : end if end >= 0 else None]
            self._emit(regex.escape(literal, special_only=False), 2 + len(literal) + (2 if end >= 0 else 0))
        elif not char.isascii() or not char.isalnum():
            self._emit(regex.escape(char, special_only=False), 2)
        elif char.lower() in self.sets:
            self._set(self.sets[char.lower()], negated=char.isupper(), width=2)
        elif char in _SAME_ESCAPES or char in "123456789":
            if self.depth and char in "bBARX123456789":
                raise self._error(f"\\{char} inside a character class")
            self._emit("\\" + char, 2)
        else:
            self._other_escape(char)

    def _other_escape(self, char: str) -> None:
        if char in "pP":
            self._property(negated=char == "P")
        elif char == "z" and not self.depth:
            self._emit(r"\Z", 2)
        elif char == "Z" and not self.depth:
            self._emit(_LAST_LINE_END, 2)
        elif char == "k" and not self.depth:
            name = self._argument(_GROUP_NAME, "\\k is not followed by '<' for named capturing group")
            self._emit(f"(?P={name})", 0)
        elif char == "e":
            self._emit(r"\x1b", 2)
        elif char == "c" and self.at + 2 < len(self.pattern):
            self._code_point(ord(self.pattern[self.at + 2]) ^ 64, width=3)
        elif char == "x":
            digits = self._argument(_HEX, "illegal hexadecimal escape sequence")
            self._code_point(int(digits, 16))
        elif char == "u":
            digits = self._argument(_UNICODE, "illegal Unicode escape sequence")
            self._code_point(int(digits, 16))
        elif char == "0":
            digits = self._argument(_OCTAL, "illegal octal escape sequence")
            self._code_point(int(digits, 8))
        else:
            raise self._error("illegal/unsupported escape sequence")

    def _argument(self, form: Any, why: str) -> str:
        """Step over a two-character escape and the argument after it, which is returned."""
        match = form.match(self.pattern, self.at + 2)
        if match is None:
            raise self._error(why)
        self.at = match.end()
        return str(next(group for group in match.groups() if group is not None))

    def _code_point(self, code: int, width: int = 0) -> None:
        if code > 0x10FFFF:
            raise self._error("illegal hexadecimal escape sequence")
        self._emit(f"\\U{code:08x}", width)

    def _set(self, members: str, negated: bool, width: int) -> None:
        self._emit(f"[^{members}]" if negated else f"[{members}]", width)

    def _property(self, negated: bool) -> None:
        name = self._argument(_PROPERTY, "unknown character property")
        if name in _POSIX:
            self._set(_POSIX[name], negated, 0)
        elif name.startswith("^"):
            raise self._error("unknown character property")
        else:
            self._emit(f"\\{'P' if negated else 'p'}{{{name}}}", 0)
