"""What HDFS answers when it refuses, as errors of the operating system with one line of text.

For most hdfs-native raises ``RuntimeError`` with the text ``RPCError("<Java class>", "<message, stack>")``;
for the network ``OSError`` without ``errno``; and it panics (a ``BaseException``) on what it takes for a bug.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator

_BY_CLASS = {
    "AccessControlException": errno.EACCES,
    "AuthorizationException": errno.EACCES,
    "NSQuotaExceededException": errno.EDQUOT,
    "DSQuotaExceededException": errno.EDQUOT,
    "QuotaByStorageTypeExceededException": errno.EDQUOT,
    "ParentNotDirectoryException": errno.ENOTDIR,
    "PathIsNotDirectoryException": errno.ENOTDIR,
    "LeaseExpiredException": errno.ESTALE,
    "AlreadyBeingCreatedException": errno.EBUSY,
    "RecoveryInProgressException": errno.EBUSY,
    "SafeModeException": errno.EAGAIN,
    "StandbyException": errno.EAGAIN,
    "RetriableException": errno.EAGAIN,
}
_RPC_ERROR = re.compile(r'RPCError\("(?:[\w$]+\.)*([\w$]+)", "(.*)', re.DOTALL)
_ERROR = re.compile(r'\w+\("(.*)"\)', re.DOTALL)
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_NO_DATANODE = re.compile(r"could only be written to \d+ of the \d+ minReplication")
_STACK = re.compile(r"(?:\n|\\n)(?:\t|\\t)at .*", re.DOTALL)


@contextlib.contextmanager
def translated(path: str) -> Iterator[None]:
    """Raise what hdfs-native raises as an ``OSError`` that says what, and ``path``."""
    try:
        yield
    except (OSError, RuntimeError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise _os_error(error, path) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise OSError(errno.EIO, f"hdfs-native gave up: {error}", path) from error


def _os_error(error: Exception, path: str) -> OSError:
    text = str(error)
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, _first_line(text), path)
    if isinstance(error, FileExistsError):
        return FileExistsError(errno.EEXIST, _first_line(text), path)
    if isinstance(error, IsADirectoryError):
        return IsADirectoryError(errno.EISDIR, _first_line(text), path)
    refused = _RPC_ERROR.search(text)
    if refused is not None:
        java, message = refused.groups()
        if _NO_DATANODE.search(message):
            return OSError(
                errno.ENOSPC,
                f"no DataNode takes another block (full, or none running): {_first_line(message)}",
                path,
            )
        return OSError(_BY_CLASS.get(java, errno.EIO), f"HDFS refused: {java}: {_first_line(message)}", path)
    number = _OS_ERROR.search(text)
    if number is not None:
        code = int(number[1])
        return OSError(code, f"the NameNode or a DataNode cannot be reached: {os.strerror(code)}", path)
    other = _ERROR.fullmatch(text)
    return OSError(errno.EIO, f"HDFS failed: {_first_line(other[1] if other else text)}", path)


def _first_line(text: str) -> str:
    return _STACK.sub("", text).replace('\\"', '"').strip().rstrip('")')
