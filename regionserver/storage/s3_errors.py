"""What S3 answers when it refuses, as errors of the operating system with one line of text.

obstore raises its own types, and ``FileNotFoundError``, with several lines that end in S3's answer as XML.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from types import ModuleType

_BY_CODE = {
    "NoSuchBucket": errno.ENOENT,
    "AccessDenied": errno.EACCES,
    "SignatureDoesNotMatch": errno.EACCES,
    "InvalidAccessKeyId": errno.EACCES,
    "ExpiredToken": errno.EACCES,
    "QuotaExceeded": errno.EDQUOT,
    "XMinioAdminBucketQuotaExceeded": errno.EDQUOT,
    "XMinioStorageFull": errno.ENOSPC,
    "InsufficientCapacity": errno.ENOSPC,
    "SlowDown": errno.EAGAIN,
    "ServiceUnavailable": errno.EAGAIN,
}
_REFUSAL = re.compile(r"<Code>(\w+)</Code>(?:<Message>([^<]*)</Message>)?")
_OS_ERROR = re.compile(r"code: (\d+),\s+kind: \w+")
_ROLE = re.compile(r"//169\.254\.1(69\.254|70\.2)/")  # where machines and containers ask for their role's


def error_types() -> ModuleType:
    """obstore's module of exceptions."""
    import obstore.exceptions

    return obstore.exceptions


@contextlib.contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise what obstore raises as an ``OSError`` that says what, and ``where``."""
    types = error_types()
    try:
        yield
    except FileNotFoundError as error:
        code, message = _reason(error)
        missing = "no such object" if code in ("", "NoSuchKey") else f"{code}: {message}"
        raise FileNotFoundError(errno.ENOENT, missing, where) from error
    except types.BaseError as error:
        raise os_error(error, where) from error


def os_error(error: Exception, where: str) -> OSError:
    """The error to raise for one of obstore's."""
    text = str(error)
    if _ROLE.search(text):
        ask = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role"
        return PermissionError(errno.EACCES, f"no credentials: {ask}", where)
    number = _OS_ERROR.search(text)
    if number is not None:
        return OSError(int(number[1]), f"S3 cannot be reached: {os.strerror(int(number[1]))}", where)
    code, message = _reason(error)
    if code:
        return OSError(_BY_CODE.get(code, errno.EIO), f"S3 refused: {code}: {message}", where)
    types = error_types()
    if isinstance(error, (types.PermissionDeniedError, types.UnauthenticatedError)):
        return PermissionError(errno.EACCES, "S3 refused: access denied", where)
    if "TimedOut" in text:
        return TimeoutError(errno.ETIMEDOUT, "S3 did not answer in time", where)
    return OSError(errno.EIO, f"S3 failed: {text.splitlines()[0]}", where)


def may_have_arrived(error: Exception) -> bool:
    """Whether nobody knows what became of a request: it was sent, and no answer of S3 came back."""
    return not _REFUSAL.search(str(error)) and "kind: Connect," not in str(error)


def _reason(error: Exception) -> tuple[str, str]:
    """The code and the message in S3's answer; empty when it is none of S3's."""
    found = _REFUSAL.search(str(error))
    return (found[1], found[2] or "") if found else ("", "")
