"""Names of tables, namespaces, snapshots and families: what is legal, how it is split, printed and stored.

A table's full name is ``namespace:qualifier``; the namespace ``default`` is left out when printed, so
``default:t`` and ``t`` are one table and ``t`` is the canonical name.

Source: HBase's TableName and ColumnFamilyDescriptorBuilder, messages included.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from hyperbase.common.errors import IllegalArgumentException, WrongTypeException, shown

DEFAULT_NAMESPACE = "default"
SYSTEM_NAMESPACE = "hbase"
RESERVED_NAMESPACES = (DEFAULT_NAMESPACE, SYSTEM_NAMESPACE)
META_TABLE = "hbase:meta"
MAX_FAMILY_LENGTH = 127
MAX_FILE_NAME_BYTES = 255  # of one path component, on every common file system

_RECOVERED_EDITS = b"recovered.edits"
_PRINTED = [chr(byte) if 32 <= byte <= 126 and byte != 92 else f"\\x{byte:02X}" for byte in range(256)]


@lru_cache(maxsize=4096)
def split_table_name(name: str) -> tuple[str, str]:
    """``"ns:t"`` -> ``("ns", "t")``, ``"t"`` -> ``("default", "t")``; both parts are legal.

    Raises:
        IllegalArgumentException: the namespace or the qualifier is not legal.
    """
    namespace, colon, qualifier = name.partition(":")
    if not colon:
        namespace, qualifier = DEFAULT_NAMESPACE, name
    check_namespace_name(namespace)
    _check_qualifier(qualifier, "Table")
    return namespace, qualifier


def join_table_name(namespace: str, qualifier: str) -> str:
    """The canonical full name: ``("default", "t")`` -> ``"t"``, ``("ns", "t")`` -> ``"ns:t"``."""
    return qualifier if namespace == DEFAULT_NAMESPACE else f"{namespace}:{qualifier}"


def canonical_table_name(name: str | bytes) -> str:
    """The one spelling of a table's name, from text or UTF-8 bytes.

    Raises:
        IllegalArgumentException: the name is not legal.
    """
    if isinstance(name, bytes):
        try:
            name = name.decode("utf-8")
        except UnicodeDecodeError as error:
            raise IllegalArgumentException(f"Table name must be UTF-8: {shown(name)}") from error
    if not isinstance(name, str):
        raise WrongTypeException(f"Table name must be str or bytes, not {type(name).__name__}: {shown(name)}")
    return join_table_name(*split_table_name(name))


def table_directory(name: str) -> tuple[str, str]:
    """Path components of a table's directory, namespace first: ``("default", "t")``."""
    return split_table_name(name)


def family_directory(family: bytes) -> str:
    """The path component of a family's directory; ``family_of_directory`` is its inverse."""
    return family.decode("utf-8", "surrogateescape")


def family_of_directory(component: str) -> bytes:
    """The family whose files are in this directory."""
    return component.encode("utf-8", "surrogateescape")


def check_namespace_name(namespace: str) -> str:
    """The namespace itself when it is legal: letters and digits of any language and ``_``.

    Raises:
        IllegalArgumentException: it is empty or holds another character.
    """
    if not isinstance(namespace, str):
        raise WrongTypeException(f"a namespace's name must be str, not {shown(namespace)}")
    if not namespace:
        raise IllegalArgumentException("Namespace name must not be empty")
    for index, char in enumerate(namespace):
        if not (char == "_" or _is_alphanumeric(char)):
            raise IllegalArgumentException(
                f"Illegal character <{char}> at {index}. Namespaces may only contain "
                f"'alphanumeric characters' from any language and digits: {namespace}"
            )
    _check_file_name(namespace, "Namespace name")
    return namespace


def check_snapshot_name(name: str) -> str:
    """The snapshot name itself when it is legal: the rule of table qualifiers.

    Raises:
        IllegalArgumentException: it is not.
    """
    _check_qualifier(name, "Snapshot")
    return name


def check_family_name(family: bytes) -> bytes:
    """The family name itself when it is legal; its length is checked when it joins a table.

    Raises:
        IllegalArgumentException: it is empty, starts with ``.``, holds a control character, ``:``, ``/``
            or ``\\``, or is ``recovered.edits``.
    """
    if not family:
        raise IllegalArgumentException("Column Family name can not be empty")
    shown = family.decode("utf-8", "replace")
    if family[0] == ord("."):
        raise IllegalArgumentException(f"Column Family names cannot start with a period: {shown}")
    for byte in family:
        if byte < 0x20 or byte == 0x7F or byte in b":\\/":
            raise IllegalArgumentException(
                f"Illegal character <{byte}>. "
                f"Column Family names cannot contain control characters or colons: {shown}"
            )
    if family == _RECOVERED_EDITS:
        raise IllegalArgumentException("Column Family name cannot be: recovered.edits")
    return family


def to_string_binary(data: bytes) -> str:
    """Bytes as HBase prints them: printable ASCII as it is, ``\\`` and the rest as ``\\xHH``."""
    if data.isascii() and b"\\" not in data and (text := data.decode("ascii")).isprintable():
        return text
    return "".join(map(_PRINTED.__getitem__, data))


def _check_qualifier(qualifier: str, kind: str) -> None:
    if not qualifier:
        raise IllegalArgumentException(f"{kind} qualifier must not be empty")
    owner = "User-space table" if kind == "Table" else kind
    if qualifier[0] in ".-":
        raise IllegalArgumentException(
            f"Illegal first character <{ord(qualifier[0])}> at 0. {owner} qualifiers can only start with "
            f"'alphanumeric characters' from any language: {qualifier}"
        )
    for index, char in enumerate(qualifier):
        if not (char in "_-." or _is_alphanumeric(char)):
            raise IllegalArgumentException(
                f"Illegal character code:{ord(char)}, <{char}> at {index}. {owner} qualifiers may only "
                f"contain 'alphanumeric characters' and digits: {qualifier}"
            )
    _check_file_name(qualifier, f"{kind} qualifier")


def _is_alphanumeric(char: str) -> bool:
    if char < "\x80":
        return char.isalnum()
    # HBase looks at UTF-16 units, so a letter outside the basic plane is two surrogates: not alphabetic.
    return char <= "\uffff" and unicodedata.category(char) in ("Lu", "Ll", "Lt", "Lm", "Lo", "Nl", "Nd")


def _check_file_name(name: str, what: str) -> None:
    length = len(name.encode("utf-8"))
    if length > MAX_FILE_NAME_BYTES:
        raise IllegalArgumentException(
            f"{what} is {length} bytes long; it names a directory, so at most {MAX_FILE_NAME_BYTES}: "
            f"{name[:40]}..."
        )
