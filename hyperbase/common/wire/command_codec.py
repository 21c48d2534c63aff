"""What the master tells region servers: COMMAND calls, by name.

COMMAND arguments := [order, name, [argument, ...]]; the payload is the result.
order             := [master epoch, number]: the czxid of the master's lock, and a number that rises with each
                     command of this master. A region server obeys no master older than one it has heard of,
                     and opens or closes no region for an order older than the last one for that region.
outcome           := [OK, result] | [ERROR, fault], for each region of a command about several.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hyperbase.common.cluster_status import RegionStatus
from hyperbase.common.descriptors import TableDescriptor
from hyperbase.common.errors import HBaseIOException, IllegalArgumentException
from hyperbase.common.model import Action, CheckAndMutate, Mutation
from hyperbase.common.region_info import RegionInfo
from hyperbase.common.wire.admin_codec import (
    BYTES,
    FLAG,
    INTEGER,
    NOTHING,
    TEXT,
    AdminMethod,
    Form,
    list_of,
)
from hyperbase.common.wire.faults import decode_fault, encode_fault
from hyperbase.common.wire.messages import ERROR, OK
from hyperbase.common.wire.model_codec import decode_action, encode_action


class Order(NamedTuple):
    """Who commands, and the how manieth command it is."""

    epoch: int
    number: int


NO_ORDER = Order(0, 0)


@dataclass(frozen=True, slots=True)
class OpenRegion:
    """A region to open. ``logs``: directories of logs whose edits of it may be in no file yet."""

    info: RegionInfo
    descriptor: TableDescriptor
    logs: tuple[str, ...] = ()

    def to_wire(self) -> Any:
        return self.info.to_bytes(), self.descriptor.to_dict(), self.logs

    @classmethod
    def from_wire(cls, fields: Any) -> OpenRegion:
        info, descriptor, logs = fields
        return cls(RegionInfo.from_bytes(info), TableDescriptor.from_dict(descriptor), tuple(logs))


@dataclass(frozen=True, slots=True)
class HeldRegion:
    """A region that a server has open, as it tells the master."""

    info: RegionInfo
    status: RegionStatus
    open_sequence_id: int = 0
    last_order: Order = NO_ORDER  # of its opening
    wants_split: bool = False  # it has outgrown MAX_FILESIZE and could be split
    has_references: bool = False  # to files of the region it was split from

    def to_wire(self) -> Any:
        return (
            self.info.to_bytes(),
            self.status.to_dict(),
            self.open_sequence_id,
            tuple(self.last_order),
            self.wants_split,
            self.has_references,
        )

    @classmethod
    def from_wire(cls, fields: Any) -> HeldRegion:
        info, status, opened, order, wants_split, has_references = fields
        return cls(
            RegionInfo.from_bytes(info),
            RegionStatus.from_dict(status),
            opened,
            Order(*order),
            wants_split,
            has_references,
        )


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What a region server tells of itself when the master asks."""

    server: str  # host,port,startcode
    regions: tuple[HeldRegion, ...] = ()
    clock_ms: int = 0
    requests_per_second: float = 0.0
    used_memory_bytes: int = 0
    max_memory_bytes: int = 0
    metrics: dict[str, float] = field(default_factory=dict)

    def to_wire(self) -> Any:
        return (
            self.server,
            [region.to_wire() for region in self.regions],
            self.clock_ms,
            self.requests_per_second,
            self.used_memory_bytes,
            self.max_memory_bytes,
            self.metrics,
        )

    @classmethod
    def from_wire(cls, fields: Any) -> ServerReport:
        server, regions, *rest = fields
        return cls(server, tuple(HeldRegion.from_wire(region) for region in regions), *rest)


def _outcome_of(form: Form) -> Form:
    """A result, or the error instead of it."""

    def encode(value: Any) -> Any:
        if isinstance(value, BaseException):
            return ERROR, encode_fault(value)
        return OK, form.encode(value)

    def decode(value: Any) -> Any:
        kind, payload = value
        return decode_fault(payload) if kind == ERROR else form.decode(payload)

    return Form(f"outcome of {form.name}", encode, decode)


def _decode_mutation(value: Any) -> Mutation:
    action = decode_action(value)
    if not isinstance(action, Mutation):
        raise IllegalArgumentException("malformed request: not a Put or Delete")
    return action


def _decode_check(value: Any) -> CheckAndMutate:
    action: Action = decode_action(value)
    if not isinstance(action, CheckAndMutate):
        raise IllegalArgumentException("malformed request: not a condition")
    return action


OPEN = Form("region to open", OpenRegion.to_wire, OpenRegion.from_wire)
REPORT = Form("server report", ServerReport.to_wire, ServerReport.from_wire)
MUTATION = Form("mutation", encode_action, _decode_mutation)
CONDITION = Form("condition", encode_action, _decode_check)
REGION_ID = BYTES  # 16 bytes
OPENED = INTEGER  # the region's first sequence id

COMMANDS: dict[str, AdminMethod] = {
    # What the server has; the master of this order is the one to obey from now on.
    "report": AdminMethod((), REPORT, False),
    # Replay, flush what was replayed, serve. A region that is open already is an OK.
    "open_regions": AdminMethod((list_of(OPEN),), list_of(_outcome_of(OPENED))),
    # Flush and close. A region that is not open is an OK: it is closed when this was answered.
    "close_regions": AdminMethod((list_of(REGION_ID),), list_of(_outcome_of(NOTHING))),
    "flush_regions": AdminMethod((list_of(REGION_ID),), list_of(_outcome_of(NOTHING))),
    "compact_regions": AdminMethod((list_of(REGION_ID), FLAG), list_of(_outcome_of(NOTHING))),
    # Flushes; the middle row, empty where there is none.
    "split_point": AdminMethod((REGION_ID,), BYTES),
    "compaction_states": AdminMethod((list_of(REGION_ID),), list_of(TEXT), False),
    "clear_block_cache": AdminMethod((list_of(REGION_ID),), INTEGER),
    "roll_wal": AdminMethod(()),
    "switch_compactions": AdminMethod((FLAG,)),
    # Several rows of hbase:meta, all or none, in one log record, if every condition holds; whether they did.
    "write_meta": AdminMethod((list_of(MUTATION), list_of(CONDITION)), FLAG),
    # Flush, close everything and end.
    "shut_down": AdminMethod(()),
}


def encode_command(order: Order, name: str, arguments: Sequence[Any]) -> tuple[Any, ...]:
    """The arguments of a COMMAND call."""
    forms = COMMANDS[name].arguments
    values = [form.encode(argument) for form, argument in zip(forms, arguments, strict=True)]
    return tuple(order), name, values


def decode_command(arguments: Any) -> tuple[Order, str, list[Any], Callable[[Any], Any]]:
    """The order, the command's name and arguments, and how its result travels.

    Raises:
        IllegalArgumentException: no such command, or arguments that are not of its forms.
    """
    try:
        (epoch, number), name, values = arguments
        if type(epoch) is not int or type(number) is not int:
            raise IllegalArgumentException("malformed request: an order is two numbers")
        method = COMMANDS[name]
        decoded = [form.decode(value) for form, value in zip(method.arguments, values, strict=True)]
    except HBaseIOException:
        raise
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise IllegalArgumentException(f"malformed command: {type(error).__name__}: {error}") from error
    return Order(epoch, number), name, decoded, method.result.encode
