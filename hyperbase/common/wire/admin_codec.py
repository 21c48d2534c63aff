"""What ADMIN calls carry: the methods of the client's ``Backend`` protocol, by name.

ADMIN arguments := [method name, [argument, ...], nonce | nil]; the payload is the result.
nonce           := a number of this client's; a repeated one gets the answer of the first
Each argument and result has a form; descriptors travel as the maps that their ``to_dict`` makes, regions as
HBase's serialized RegionInfo.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from hyperbase.common.cluster_status import ClusterStatus, ProcedureStatus, RegionPlace
from hyperbase.common.descriptors import NamespaceDescriptor, TableDescriptor
from hyperbase.common.errors import IllegalArgumentException
from hyperbase.common.inconsistency import Inconsistency
from hyperbase.common.region_info import RegionInfo


class Form(NamedTuple):
    """How a value travels."""

    name: str
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def _checked(kind: type | tuple[type, ...], name: str) -> Form:
    def decode(value: Any) -> Any:
        if not isinstance(value, kind):
            raise IllegalArgumentException(
                f"malformed request: {str(value)[:64]!r} stands where {name} belongs"
            )
        return value

    return Form(name, lambda value: value, decode)


def list_of(form: Form) -> Form:
    return Form(
        f"[{form.name}, …]",
        lambda values: [form.encode(value) for value in values],
        lambda values: [form.decode(value) for value in values],
    )


def _optional(form: Form) -> Form:
    return Form(
        f"{form.name} | nil",
        lambda value: None if value is None else form.encode(value),
        lambda value: None if value is None else form.decode(value),
    )


NOTHING = _checked(type(None), "nil")
TEXT = _checked(str, "text")
FLAG = _checked(bool, "true or false")
BYTES = _checked(bytes, "bytes")
METRICS = _checked(dict, "a map")
TABLE = Form("table", lambda table: table.to_dict(), TableDescriptor.from_dict)
NAMESPACE = Form("namespace", lambda space: space.to_dict(), NamespaceDescriptor.from_dict)
INTEGER = _checked(int, "an integer")
STATUS = Form("cluster status", lambda status: status.to_dict(), ClusterStatus.from_dict)
PLACE = Form("region's place", lambda place: place.to_dict(), RegionPlace.from_dict)
PROCEDURE = Form("procedure", lambda procedure: procedure.to_dict(), ProcedureStatus.from_dict)
FINDING = Form("inconsistency", lambda finding: finding.to_dict(), Inconsistency.from_dict)
REGION = Form("region", lambda region: region.to_bytes(), RegionInfo.from_bytes)

LOCATION = Form(
    "[region, server]",
    lambda location: (REGION.encode(location[0]), TEXT.encode(location[1])),
    lambda location: (REGION.decode(location[0]), TEXT.decode(location[1])),
)


class AdminMethod(NamedTuple):
    """One method: the forms of its arguments and of its result, and whether it changes anything."""

    arguments: tuple[Form, ...]
    result: Form = NOTHING
    changes: bool = True


ADMIN_METHODS: dict[str, AdminMethod] = {
    "create_namespace": AdminMethod((NAMESPACE,)),
    "alter_namespace": AdminMethod((NAMESPACE,)),
    "describe_namespace": AdminMethod((TEXT,), NAMESPACE, False),
    "drop_namespace": AdminMethod((TEXT,)),
    "list_namespaces": AdminMethod((), list_of(TEXT), False),
    "create_table": AdminMethod((TABLE, _optional(list_of(BYTES)))),
    "alter_table": AdminMethod((TABLE,)),
    "describe_table": AdminMethod((TEXT,), TABLE, False),
    "list_tables": AdminMethod((), list_of(TEXT), False),
    "table_exists": AdminMethod((TEXT,), FLAG, False),
    "enable_table": AdminMethod((TEXT,)),
    "disable_table": AdminMethod((TEXT,)),
    "is_table_enabled": AdminMethod((TEXT,), FLAG, False),
    "truncate_table": AdminMethod((TEXT, FLAG)),
    "drop_table": AdminMethod((TEXT,)),
    "regions": AdminMethod((TEXT,), list_of(REGION), False),
    "flush": AdminMethod((TEXT,)),
    "compact": AdminMethod((TEXT, FLAG)),
    "split": AdminMethod((TEXT, _optional(BYTES))),
    "merge_regions": AdminMethod((TEXT, TEXT)),
    "cluster_status": AdminMethod((), STATUS, False),
    "region_locations": AdminMethod((TEXT,), list_of(LOCATION), False),
    "compaction_state": AdminMethod((TEXT,), TEXT, False),
    "switch": AdminMethod((TEXT, _optional(FLAG)), FLAG),
    "roll_wal": AdminMethod(()),
    "clear_block_cache": AdminMethod((TEXT,), INTEGER),
    "metrics": AdminMethod((), METRICS, False),
    "servers": AdminMethod((), list_of(TEXT), False),
    "region_states": AdminMethod((TEXT,), list_of(PLACE), False),
    "move": AdminMethod((TEXT, TEXT)),
    "assign": AdminMethod((TEXT,)),
    "unassign": AdminMethod((TEXT,)),
    "balance": AdminMethod((FLAG, FLAG), list_of(TEXT)),
    "procedures": AdminMethod((), list_of(PROCEDURE), False),
    "decommission": AdminMethod((list_of(TEXT), FLAG)),
    "recommission": AdminMethod((TEXT, list_of(TEXT))),
    "decommissioned": AdminMethod((), list_of(TEXT), False),
    "hbck": AdminMethod((FLAG,), list_of(FINDING)),
}


def encode_admin_arguments(name: str, arguments: Sequence[Any]) -> list[Any]:
    """The arguments of a call, for the wire."""
    forms = ADMIN_METHODS[name].arguments
    return [form.encode(argument) for form, argument in zip(forms, arguments, strict=True)]


def decode_admin_call(name: Any, arguments: Any) -> tuple[AdminMethod, list[Any]]:
    """The method and what to call it with.

    Raises:
        IllegalArgumentException: no such method, or arguments that are not of its forms.
    """
    method = ADMIN_METHODS.get(name) if isinstance(name, str) else None
    if method is None:
        raise IllegalArgumentException(f"there is no admin method {str(name)[:64]!r} here")
    if not isinstance(arguments, (tuple, list)) or len(arguments) != len(method.arguments):
        raise IllegalArgumentException(
            f"{name} takes {len(method.arguments)} arguments: "
            + ", ".join(form.name for form in method.arguments)
        )
    try:
        return method, [form.decode(value) for form, value in zip(method.arguments, arguments, strict=True)]
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        if isinstance(error, IllegalArgumentException):
            raise
        raise IllegalArgumentException(f"malformed {name}: {type(error).__name__}: {error}") from error
