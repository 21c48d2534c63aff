"""What can go wrong in a line, by the names Ruby gives it, since ``-n`` prints them."""

from __future__ import annotations


class ShellError(Exception):
    """An error that the user can put right by typing something else."""

    ruby_name = "RuntimeError"


class ArgumentError(ShellError):
    """A command was given something it cannot work with."""

    ruby_name = "ArgumentError"


class NameError_(ShellError):  # noqa: N801  # Ruby's NameError; Python's is another thing
    """A word that is neither a command nor a variable nor a constant."""

    ruby_name = "NameError"


class ShellSyntaxError(ShellError):
    """The line is not in the language."""

    ruby_name = "SyntaxError"


class IncompleteInput(ShellSyntaxError):
    """The line ends within a string, a bracket or a list: more of it may follow."""


class NotYetError(ShellError):
    """A command of HBase's shell that this version does not have."""

    ruby_name = "NotImplementedError"


class LeaveShell(Exception):  # not an error
    """``exit``."""

    def __init__(self, code: int = 0) -> None:
        super().__init__(code)
        self.code = code
