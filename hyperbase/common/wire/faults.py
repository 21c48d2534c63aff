"""Exceptions on the wire.

Fault := [class name, message, attributes]
Attributes are what programs read of an exception beside its text, by name. A class that the receiver does
not know becomes the nearest one it does: DoNotRetryIOException or HBaseIOException, as the sender's verdict
(attribute ``retry``) says, with the class's name before its message.
"""

from __future__ import annotations

from typing import Any

from hyperbase.common import errors
from hyperbase.common.errors import DoNotRetryIOException, HBaseIOException

_CLASSES: dict[str, type[HBaseIOException]] = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, HBaseIOException)
}
_OF_BATCHES = frozenset({"RetriesExhaustedWithDetailsException"})


def encode_fault(error: BaseException) -> tuple[str, str, dict[str, Any]]:
    """An exception for the wire. Others than the store's own say only that the server failed."""
    if isinstance(error, errors.RetriesExhaustedWithDetailsException):
        failures = [(row, encode_fault(cause)) for row, cause in error.failures]
        return type(error).__name__, str(error), {"failures": failures}
    attributes: dict[str, Any] = {}
    if isinstance(error, HBaseIOException):
        name = next(cls.__name__ for cls in type(error).__mro__ if cls.__name__ in _CLASSES)
        attributes["retry"] = not isinstance(error, DoNotRetryIOException)
        if error.errno is not None:
            attributes["errno"] = error.errno
        return name, _text(error), attributes
    if isinstance(error, OSError):
        return "HBaseIOException", f"{type(error).__name__}: {_text(error)}", {"errno": error.errno}
    return (
        "DoNotRetryIOException",
        f"the server failed to carry out the call: {type(error).__name__}; its log says more",
        {"retry": False},
    )


def _text(error: OSError) -> str:
    return error.strerror if error.errno is not None and error.strerror else str(error)


def decode_fault(fault: Any) -> HBaseIOException:
    """The exception that ``encode_fault`` sent; of anything malformed a DoNotRetryIOException."""
    try:
        name, message, attributes = fault
        if name in _OF_BATCHES:
            failures = [(row, decode_fault(cause)) for row, cause in attributes["failures"]]
            return errors.RetriesExhaustedWithDetailsException(failures)
        known = _CLASSES.get(name)
        if known is None:
            known = HBaseIOException if attributes.get("retry") else DoNotRetryIOException
            message = f"{name}: {message}"
        number = attributes.get("errno")
        return known(message) if number is None else known(number, message)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        return DoNotRetryIOException(f"the server answered with an error that cannot be read: {error!r}")
