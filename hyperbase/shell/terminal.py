"""The prompt on a terminal: line editing, history in a file, completion, colours of the language.

Importing prompt-toolkit takes a moment, so only this module does, and only a terminal gets here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.lexers import Lexer
from prompt_toolkit.styles import Style

from hyperbase.shell import completion
from hyperbase.shell.highlight import highlight
from hyperbase.shell.interpreter import Interpreter
from hyperbase.shell.modes import print_banner, prompt_text, run_one, statements
from hyperbase.shell.session import Session

HISTORY_VARIABLE = "HYPERBASE_SHELL_HISTORY"
_STYLE = Style.from_dict(
    {
        "command": "bold",
        "string": "ansigreen",
        "number": "ansicyan",
        "constant": "ansiblue",
        "comment": "ansibrightblack",
    }
)


class _Completer(Completer):
    def __init__(self, session: Session) -> None:
        self._inner = completion.Completer(session)
        self.pending = ""  # earlier lines of the statement

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        length, names = self._inner.candidates(self.pending + document.text_before_cursor)
        for name in names:
            yield Completion(name, start_position=-length)


class _Lexer(Lexer):
    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        def line(number: int) -> StyleAndTextTuples:
            text = document.lines[number]
            return [(f"class:{kind}" if kind else "", part) for kind, part in highlight(text)]

        return line


def history_file() -> Path:
    """Where lines are kept between sessions."""
    given = os.environ.get(HISTORY_VARIABLE)
    return Path(given) if given else Path.home() / ".hyperbase_shell_history"


def _history() -> History:
    path = history_file()
    try:
        path.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))


def run_terminal(interpreter: Interpreter) -> int:
    """Prompt, run, and again, until exit or the end of the input; returns the exit code."""
    session = interpreter.session
    colours = session.colours
    completer = _Completer(session)
    prompt: PromptSession[str] = PromptSession(
        history=_history(),
        completer=completer,
        complete_while_typing=False,
        lexer=_Lexer() if colours else None,
        style=_STYLE if colours else None,
        include_default_pygments_style=False,
        enable_history_search=True,
    )
    plain: PromptSession[str] = PromptSession(history=InMemoryHistory())

    def ask(question: str) -> str:
        session.out.write(question)
        session.out.flush()
        try:
            return plain.prompt("")
        except EOFError:
            return ""

    session.answer_with(ask)
    print_banner(session)
    session.out.flush()
    number, pending = 1, ""
    while True:
        completer.pending = pending
        try:
            line = prompt.prompt(prompt_text(number, int(bool(pending)), bool(pending)))
        except KeyboardInterrupt:  # what was typed is dropped
            pending = ""
            continue
        except EOFError:
            return 0
        number += 1 + line.count("\n")
        typed, pending = pending + line + "\n", ""
        for text, missing in statements(typed.splitlines(keepends=True)):  # what was pasted may be several
            if missing is not None:
                pending = text
                break
            code = run_one(interpreter, text)
            if code is not None:
                return code
