"""What the parser makes of a line: a few kinds of nodes, which the interpreter evaluates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, number, true, false or nil."""

    value: object


@dataclass(frozen=True, slots=True)
class Constant:
    """``NAME``, ``VERSIONS``: in HBase's shell a constant's value is its own name."""

    name: str


@dataclass(frozen=True, slots=True)
class Variable:
    """A word alone: a variable, else a command without arguments."""

    name: str


@dataclass(frozen=True, slots=True)
class Pair:
    """``key => value`` among arguments; neighbours make one hash."""

    key: Node
    value: Node


@dataclass(frozen=True, slots=True)
class Array:
    items: tuple[Node | Pair, ...]


@dataclass(frozen=True, slots=True)
class Hash:
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Element:
    """``value[index]``."""

    value: Node
    index: Node


@dataclass(frozen=True, slots=True)
class Call:
    """A command, or with a target a method of a value."""

    name: str
    arguments: tuple[Node | Pair, ...] = ()
    target: Node | None = None


@dataclass(frozen=True, slots=True)
class Assign:
    name: str
    value: Node


Node = Union[Literal, Constant, Variable, Array, Hash, Element, Call]
Statement = Union[Node, Assign]
