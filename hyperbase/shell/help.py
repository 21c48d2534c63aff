"""``help``: everything by group, one group, one command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hyperbase
from hyperbase.shell.registry import GROUPS, Command, commands, group_commands

if TYPE_CHECKING:
    from hyperbase.shell.session import Session

_FOOTER = """\
SHELL USAGE:
Names of tables, rows and columns are quoted; commas separate arguments; a line goes on while a bracket is
open or a comma is last. Options are hashes, whose keys are mostly constants, which need no quotes:

  {'key1' => 'value1', NAME => 'value2'}

The braces of a hash that comes last may be left out. 'single quotes' take what is in them as it is,
"double quotes" know escapes, so that binary keys and values can be typed:

  hbase> get 't1', "key\\x03\\x3f\\xcd"
  hbase> put 't1', "test\\xef\\xff", 'f1:', "\\x01\\x33\\x40"

Tables can be held in variables: t = get_table 't1'; t.scan. For how values are decoded, see help
'converters'; press Ctrl-C to stop a command, Ctrl-D or type exit to leave."""

CONVERTERS = """\
A column in a get or scan may name a converter behind it, which says how its values are printed:

  hbase> scan 't1', {COLUMNS => ['cf:count:toLong', 'cf:name']}
  hbase> get 't1', 'r1', {COLUMN => 'cf:price:c(org.apache.hadoop.hbase.util.Bytes).toDouble'}

  toString                 UTF-8 text
  toStringBinary           bytes, \\xHH where they cannot be printed (how values print without a converter)
  toHex                    hexadecimal digits
  toInt, toLong, toShort   big-endian integers of 4, 8 and 2 bytes
  toFloat, toDouble        IEEE numbers of 4 and 8 bytes
  toBigDecimal             HBase's form of a decimal number
  toBoolean                one byte, 0 is false
  len                      the length in bytes

FORMATTER => 'toString' uses a converter for everything that is printed: row, column and value. A part of
a column name that is no converter's name belongs to the qualifier, which may hold colons."""


def show_help(session: Session, topic: str | None) -> None:
    """Print the help on a command or group, or the list of them."""
    say = session.say
    if topic is not None:
        found = commands().get(topic)
        if found is not None:
            return _show_command(session, found)
        if topic in GROUPS:
            return _show_group(session, topic)
        if topic in ("converters", "\\\\", "\\"):
            return say(CONVERTERS)
        say(f"ERROR: Invalid command or command group name: {topic}")
        say()
    say(f"HBase Shell, Hyperbase version {hyperbase.__version__}")
    say("Type 'help \"COMMAND\"', (e.g. 'help \"get\"' -- the quotes are necessary) for help on a command.")
    say("Commands are grouped. Type 'help \"COMMAND_GROUP\"', (e.g. 'help \"general\"') for help on a group.")
    say()
    say("COMMAND GROUPS:")
    for group in GROUPS:
        say(f"  Group name: {group}")
        say("  Commands: " + ", ".join(entry.name for entry in group_commands(group)))
        say()
    if topic is None:
        say(_FOOTER)
    return None


def _show_command(session: Session, entry: Command) -> None:
    session.say(entry.help)
    session.say()
    session.say("Examples:" if len(entry.examples) > 1 else "Example:")
    session.say()
    for example in entry.examples:
        session.say(f"  hbase> {example}")
    if entry.on_table and entry.examples[0].split(" ")[0] == entry.name:
        session.say()
        session.say(f"A table reference knows it too: t = get_table 't1'; t.{entry.name} ...")
    if entry.aliases:
        session.say()
        session.say(f"Also called {', '.join(entry.aliases)}.")
    session.say()


def _show_group(session: Session, group: str) -> None:
    session.say(GROUPS[group])
    session.say()
    for entry in group_commands(group):
        session.say(f"Command: {entry.name}")
        _show_command(session, entry)
