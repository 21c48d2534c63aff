"""ADMIN calls: changes of tables and their maintenance, by the master.

They take as long as they take: a compaction may run for hours. The keep-alive tells whether the master lives.
A change that is asked for again, after the connection was lost, has its number: it is carried out once. When
the master died, the next one is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hyperbase.client.network.commands import Call, Sleep, Steps
from hyperbase.client.network.locator import Locator
from hyperbase.client.network.nonces import Nonces
from hyperbase.client.network.retries import Retries, is_not_now
from hyperbase.common.errors import HBaseIOException
from hyperbase.common.wire.admin_codec import ADMIN_METHODS, encode_admin_arguments
from hyperbase.common.wire.messages import Method

_ADMIN = int(Method.ADMIN)


def admin_call(
    locator: Locator, nonces: Nonces, name: str, arguments: Sequence[Any], retries: Retries
) -> Steps[Any]:
    """The result of one method of the ``Backend`` protocol."""
    method = ADMIN_METHODS[name]
    wire = encode_admin_arguments(name, arguments)
    number = nonces.new()[0] if method.changes else None
    try:
        while True:
            master = ""
            try:
                master = yield from locator.master_address(retries)
                answer = yield Call(master, _ADMIN, (name, wire, number), retries.deadline)
                return method.result.decode(answer)
            except HBaseIOException as error:
                if master and not is_not_now(error):  # the change was tried, and failed
                    raise
                locator.master_failed(master, error)
                pause = retries.after(error)
            yield Sleep(pause)
    finally:
        if number is not None:
            nonces.done(number)
