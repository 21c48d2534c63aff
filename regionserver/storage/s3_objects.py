"""Objects in one bucket below one prefix, through obstore: put if absent, read, list, delete.

``put_new`` is what everything else stands on: one request with ``If-None-Match: *``, which S3 answers for
exactly one of all that race. A request may reach S3 while its answer is lost, and is then repeated; "exists"
may therefore mean oneself. Equal contents prove nothing (two owners claim an epoch with the same empty file):
every call writes a token of its own beside the contents, and who finds his own was first.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from regionserver.storage.s3_errors import error_types, may_have_arrived, os_error, translated

if TYPE_CHECKING:
    from obstore.store import S3Store

CHUNK_BYTES = 16 << 20  # a longer object is uploaded in parts of this size
_CONNECTIONS_PER_UPLOAD = 4
_LONGEST_REQUEST = timedelta(seconds=120)
_RETRY_FOR = timedelta(seconds=60)
_TOKEN = "hyperbase-token"
_ATTEMPTS = 5


class Objects:
    """The objects of one prefix; keys are "/"-separated and relative to it. Any number of threads."""

    def __init__(self, url: str, *, retries: int = 10) -> None:
        """Connect to nothing yet.

        Args:
            retries: how often a request that the network or the server let fail is repeated, within a minute.
            url: ``s3://bucket/prefix?option=value``. Options are obstore's for S3, such as ``endpoint``,
                ``region``, ``access_key_id`` and ``secret_access_key``. What is not given comes from the
                environment (AWS_ENDPOINT_URL …), credentials also from the role of machine or container.
        """
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.netloc:
            raise ValueError(f"not an S3 URL: {_public(url)!r}. Give s3://bucket/prefix")
        self._native = _package()
        self._errors = error_types()
        self.url = _public(url).rstrip("/")
        self._retries = retries
        self._store = self._open(parts.netloc, parts.path.strip("/"), dict(parse_qsl(parts.query)))

    def put_new(self, key: str, data: bytes) -> bool:
        """Create an object; True for exactly one of all that try, whatever is repeated on the way."""
        token = secrets.token_hex(16)
        lost: Exception | None = None
        for _ in range(_ATTEMPTS):
            with self.translated(key):
                try:
                    self._put(key, data, token)
                    return True
                except self._errors.AlreadyExistsError:
                    lost = None
                except self._errors.GenericError as error:
                    if not may_have_arrived(error):
                        raise
                    lost = error
            owner = self._token_of(key)
            if owner is not None:
                return owner == token
            # It never arrived; or it was there and is deleted; or S3 refused both of two that came at once.
        if lost is not None:
            raise os_error(lost, self._where(key)) from lost
        raise BlockingIOError(errno.EAGAIN, "others create and delete it all the time", self._where(key))

    def read(self, key: str) -> bytes:
        """Return a whole object. ``FileNotFoundError`` when missing."""
        with self.translated(key):
            return bytes(self._native.get(self._store, key).bytes())

    def read_range(self, key: str, offset: int, length: int) -> bytes:
        """Return ``length`` bytes, at least one, from ``offset``; fewer at the end of the object."""
        with self.translated(key):
            return bytes(self._native.get_range(self._store, key, start=offset, length=length))

    def size(self, key: str) -> int:
        """Return an object's bytes. ``FileNotFoundError`` when missing."""
        with self.translated(key):
            return int(self._native.head(self._store, key)["size"])

    def upload(self, key: str) -> Any:
        """Begin to upload an object of any length; it is there after ``close``, and never in part."""
        return self._native.open_writer(
            *(self._store, key), buffer_size=CHUNK_BYTES, max_concurrency=_CONNECTIONS_PER_UPLOAD
        )

    def list_below(self, key: str) -> list[tuple[str, int]]:
        """Return (key, bytes) of every object below ``key``, ascending; "" is the prefix itself."""
        with self.translated(key):
            found = self._native.list(self._store, key or None, chunk_size=1000).collect()
            return sorted((entry["path"], int(entry["size"])) for entry in found)

    def any_below(self, key: str) -> bool:
        """Whether there is any object below ``key``."""
        with self.translated(key):
            return any(self._native.list(self._store, key or None, chunk_size=1))

    def names(self, key: str) -> list[str]:
        """Return the names directly below ``key``, of objects and of what has objects below it."""
        with self.translated(key):
            found = self._native.list_with_delimiter(self._store, key or None)
        keys = [*found["common_prefixes"], *(entry["path"] for entry in found["objects"])]
        return [name.rpartition("/")[2] for name in keys]

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; missing ones are fine."""
        if keys:
            with self.translated(keys[0]):
                self._native.delete(self._store, list(keys))

    def _put(self, key: str, data: bytes, token: str) -> None:
        attributes = {_TOKEN: token}
        self._native.put(self._store, key, data, mode="create", use_multipart=False, attributes=attributes)

    def _token_of(self, key: str) -> str | None:
        with self.translated(key):
            try:
                found = self._native.get(self._store, key, options={"head": True})
            except FileNotFoundError:
                return None
            return str(found.attributes.get(_TOKEN, ""))

    def _open(self, bucket: str, prefix: str, options: dict[str, str]) -> S3Store:
        store_types = _store_types()
        endpoint = options.get("endpoint") or os.environ.get("AWS_ENDPOINT_URL_S3")
        endpoint = endpoint or os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT") or ""
        try:
            store: S3Store = store_types.S3Store(
                bucket,
                prefix=prefix or None,
                config=options,
                client_options={"allow_http": endpoint.startswith("http://"), "timeout": _LONGEST_REQUEST},
                retry_config={"max_retries": self._retries, "retry_timeout": _RETRY_FOR},
            )
        except self._errors.UnknownConfigurationKeyError as error:
            raise ValueError(f"{self.url}: {str(error).splitlines()[0]}") from error
        return store

    def translated(self, key: str) -> AbstractContextManager[None]:
        """Raise what obstore raises as an ``OSError`` with one line of text, and where."""
        return translated(self._where(key))

    def _where(self, key: str) -> str:
        return f"{self.url}/{key}"


def _public(url: str) -> str:
    """The URL without its options: they may hold a secret."""
    return url.partition("?")[0]


def _package() -> ModuleType:
    try:
        import obstore
    except ImportError as error:
        raise ImportError("s3:// needs the package obstore: pip install 'hyperbase[s3]'") from error
    return obstore


def _store_types() -> ModuleType:
    import obstore.store

    return obstore.store
