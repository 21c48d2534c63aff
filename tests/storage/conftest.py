"""One empty tree on each kind of storage, and a file system on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from regionserver.storage.filesystem import FileSystem
from tests.support.storage_backends import FENCING_NAMES, NAMES, SHARED_NAMES, StorageBackend


@pytest.fixture(params=NAMES)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> StorageBackend:
    """Every kind."""
    return StorageBackend(request.param, tmp_path)


@pytest.fixture(params=SHARED_NAMES)
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> StorageBackend:
    """Every kind that another process can open."""
    return StorageBackend(request.param, tmp_path)


@pytest.fixture(params=FENCING_NAMES)
def fencing(request: pytest.FixtureRequest, tmp_path: Path) -> StorageBackend:
    """Every kind whose fences stop a writer that lives; on one machine a lock or a lease does."""
    return StorageBackend(request.param, tmp_path)


@pytest.fixture
def fs(backend: StorageBackend) -> FileSystem:
    """A file system on an empty tree of every kind."""
    return backend.open()
