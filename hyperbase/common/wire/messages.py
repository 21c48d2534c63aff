"""Messages: what a frame's body holds. docs/protocol.md has them all with their arguments.

Request  := [method, call id, timeout_ms | nil, header | nil, arguments]
Response := [call id, kind, payload]
header   := {"principal": who the call is made for, …}; nil: the connection's own principal
Call ids are chosen by the client, unique among its calls in flight, and any number of 32 bits.
Answers come in any order. A call is answered by OK or ERROR, or, if it is a stream, by ITEMs and then
END or ERROR.
"""

from __future__ import annotations

import enum
from typing import Any

PROTOCOL_VERSION = 1


class Method(enum.IntEnum):
    """What is asked for. On the wire: numbers are never reused."""

    HELLO = 1  # the first message of a connection
    PING = 2
    CANCEL = 3  # of another call; is not answered
    CREDIT = 4  # for a stream; is not answered
    REGISTRY = 5  # where hbase:meta and the master are
    DATA = 6  # a part of what the client sends to a call; is not answered

    ROW = 10
    GET = 11
    GET_MANY = 12
    PUT_ROWS = 13
    MUTATE = 14
    CHECK = 15
    MULTI = 16
    SCAN = 17
    ARROW_SCAN = 18
    ARROW_COLUMNS = 19
    ARROW_PUT = 20

    ADMIN = 30
    COMMAND = 31  # the master's, to a region server


class Kind(enum.IntEnum):
    """What a response is. On the wire: numbers are never reused."""

    OK = 0
    ERROR = 1
    ITEM = 2
    END = 3


class Priority(enum.IntEnum):
    """Classes of calls; each has its own limit, so that a flood of one leaves room for the others."""

    META = 0  # reads of hbase:meta, the registry
    ADMIN = 1
    SERVER = 2  # from another server
    USER = 3


# Ints, since an enum member costs msgpack a conversion.
OK, ERROR, ITEM, END = (int(kind) for kind in Kind)


# Instead of a count of rows in an ITEM of ARROW_SCAN: the Arrow stream goes on in the next ITEM.
GOES_ON = -1


def request(
    method: int, call_id: int, arguments: tuple[Any, ...], timeout_ms: int | None = None, header: Any = None
) -> tuple[Any, ...]:
    """A request as it is packed."""
    return int(method), call_id, timeout_ms, header, arguments
