"""The beginning of a connection: what a client says of itself, and what was agreed."""

from __future__ import annotations

import ipaddress
import os
import pwd
from typing import Any, NamedTuple

from hyperbase.client.network.address import split_address
from hyperbase.common.config import ClientConfig
from hyperbase.common.errors import ConnectException
from hyperbase.common.wire.faults import decode_fault
from hyperbase.common.wire.frames import PREAMBLE, BadFrameException, pack_frame
from hyperbase.common.wire.messages import OK, PROTOCOL_VERSION, Method, request

HELLO_CALL_ID = 0


class Agreement(NamedTuple):
    """What both sides keep to."""

    max_frame_bytes: int  # that the server takes
    compress_from_bytes: int  # 0: never
    server: str = ""  # its name: host,port,startcode


def hello_bytes(client_id: bytes, config: ClientConfig, address: str) -> bytes:
    """What is sent first."""
    options = {
        "client": f"hyperbase-python pid={os.getpid()}",
        "client_id": client_id,
        "principal": system_user(),
        "compression": ["zstd"] if wants_compression(config, address) else [],
        "max_frame_bytes": config.max_frame_bytes,
    }
    return PREAMBLE + pack_frame(request(Method.HELLO, HELLO_CALL_ID, (PROTOCOL_VERSION, options)))


def system_user() -> str:
    """Who runs this process: the principal of its connections, as HBase's simple authentication has it."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def wants_compression(config: ClientConfig, address: str) -> bool:
    """Whether to ask for it: between processes of one machine it only costs time."""
    if config.compression != "auto":
        return config.compression == "zstd"
    host = split_address(address)[0]
    if host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


def read_hello(answer: Any, config: ClientConfig) -> Agreement:
    """What the server's first message says.

    Raises:
        HBaseIOException: it refuses. BadFrameException: it says something else.
    """
    if not isinstance(answer, tuple) or len(answer) != 3:
        raise BadFrameException("the server's first message is no answer to HELLO")
    _, kind, payload = answer
    if kind != OK:
        raise decode_fault(payload)
    try:
        squeeze = payload["compression"] == "zstd"
        return Agreement(
            min(int(payload["max_frame_bytes"]), config.max_frame_bytes),
            int(payload["compression_threshold_bytes"]) if squeeze else 0,
            str(payload["server"]),
        )
    except (TypeError, KeyError, ValueError) as error:
        raise BadFrameException(f"the server's answer to HELLO cannot be read: {error!r}") from error


def unreachable(address: str, error: OSError) -> ConnectException:
    """The error for a server that cannot be reached."""
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno is not None and error.errno > 0:  # asyncio has words of its own
        reason = os.strerror(error.errno)
    hint = (
        "; is it running? `hyperbase start` starts one" if isinstance(error, ConnectionRefusedError) else ""
    )
    return ConnectException(f"cannot connect to {address}: {reason}{hint}")
