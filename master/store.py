"""The master's own store: one region under MasterData, with what must outlive the active master.

| row | columns |
|---|---|
| ``p`` + procedure number (8 bytes) | p:kind, p:step, p:data (msgpack), p:nonce |
| ``s`` + name | s:on: a switch |
| ``d`` + ``host:port`` | s:on: a server that is decommissioned, whatever its start code |

Its log is fenced as a region server's is: the next active master moves the directory aside and replays it,
and claims the region's next epoch. Whoever was replaced can neither log nor commit any more.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgpack

from hyperbase.common.config import StoreConfig
from hyperbase.common.descriptors import ColumnFamilyDescriptor, TableDescriptor
from hyperbase.common.errors import MasterNotRunningException, StoreFailedException
from hyperbase.common.model import Delete, Mutation, Put, Result, Scan
from hyperbase.common.region_info import RegionInfo
from hyperbase.common.server_name import ServerName
from regionserver.region.engine import Engine
from regionserver.region.mutations import mutate_rows
from regionserver.region.region import Region
from regionserver.storage.filesystem import FileSystem

logger = logging.getLogger(__name__)

ROOT = "MasterData"
LOGS, ARCHIVE = f"{ROOT}/WALs", f"{ROOT}/oldWALs"
DESCRIPTOR = TableDescriptor("master:store", [ColumnFamilyDescriptor(b"p"), ColumnFamilyDescriptor(b"s")])
REGION = RegionInfo("master:store", b"", b"", 1)
DIRECTORY = f"{ROOT}/data/store"
LOCK = "LOCK"
SEGMENT_BYTES = 2 * 1024 * 1024  # procedures are few and small
FENCED = "-splitting"
_NUMBER = struct.Struct(">Q")


class StoredProcedure(NamedTuple):
    """A procedure as it was when its last step was done."""

    number: int
    kind: str
    step: str
    data: dict[str, Any]


class MasterStore:
    """See the module. Thread-safe.

    Args:
        check_owner: raises while this master may not act, or for ever.
        confirm: returns once it is certain that this master was active until now; raises
            MasterNotRunningException.
        on_failure: told that the log takes nothing any more, and why.
    """

    def __init__(
        self,
        fs: FileSystem,
        server: ServerName,
        config: StoreConfig,
        check_owner: Callable[[], None],
        confirm: Callable[[], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._fs = fs
        self._confirm = confirm
        self._on_failure = on_failure
        self._directory = f"{LOGS}/{server}"
        fs.make_directory(self._directory)
        self._lock = fs.lock(f"{self._directory}/{LOCK}")
        self._engine = Engine(
            fs,
            config.with_settings(wal_segment_bytes=SEGMENT_BYTES),
            wal_directory=self._directory,
            archive_directory=f"{ARCHIVE}/{server}",
            deletes_files=False,
            check_owner=check_owner,
        )
        self._region = self._open()

    def _open(self) -> Region:
        """Fence the logs of earlier masters, replay them, serve.

        One that was stopped in the middle and replaced must not do that to its successor's.
        """
        fs, engine = self._fs, self._engine
        before = [name for name in fs.list(LOGS) if f"{LOGS}/{name}" != self._directory]
        for name in before:
            if not name.endswith(FENCED):
                self._confirm()
                fs.fence_log(f"{LOGS}/{name}", f"{LOGS}/{name}{FENCED}")
        fenced = sorted({name.removesuffix(FENCED) + FENCED for name in before})
        self._confirm()
        region = engine.open_region(REGION, DESCRIPTOR, DIRECTORY, serve=False)
        for name in fenced:
            engine.replay_log([region], directory=f"{LOGS}/{name}", seal=True)
        engine.start()
        engine.serve_region(region)
        for name in fenced:
            self._confirm()
            fs.delete_tree(f"{LOGS}/{name}")
        return region

    def procedures(self) -> Iterator[StoredProcedure]:
        """Those that are not done, oldest first."""
        for result in self._rows(b"p"):
            cells = result.to_dict()
            (number,) = _NUMBER.unpack(result.row[1:])
            data = msgpack.unpackb(cells[b"p:data"], strict_map_key=False)
            yield StoredProcedure(number, cells[b"p:kind"].decode(), cells[b"p:step"].decode(), data)

    def save(self, procedure: StoredProcedure) -> None:
        """Durable when it returns."""
        put = Put(_row(procedure.number)).add(b"p:kind", procedure.kind.encode())
        put.add(b"p:step", procedure.step.encode())
        self._write(put.add(b"p:data", msgpack.packb(procedure.data)))

    def remove(self, number: int) -> None:
        """A procedure is done."""
        self._write(Delete(_row(number)))

    def switches(self) -> dict[str, bool]:
        """Those that were ever set."""
        return {result.row[1:].decode(): result.value(b"s:on") == b"1" for result in self._rows(b"s")}

    def set_switch(self, name: str, on: bool) -> None:
        """Durable when it returns."""
        self._write(Put(b"s" + name.encode()).add(b"s:on", b"1" if on else b"0"))

    def decommissioned(self) -> list[str]:
        """Addresses of servers that are to get no regions, sorted."""
        return [result.row[1:].decode() for result in self._rows(b"d")]

    def set_decommissioned(self, addresses: Iterable[str], on: bool) -> None:
        """Durable when it returns."""
        for address in addresses:
            row = b"d" + address.encode()
            self._write(Put(row).add(b"s:on", b"1") if on else Delete(row))

    def close(self) -> None:
        """Flush and close: the next master replays nothing."""
        self._engine.close()
        self._lock.release()

    def abandon(self) -> None:
        """Another master is active: touch nothing any more."""
        self._engine.abandon()
        self._lock.release()

    def _write(self, mutation: Mutation) -> None:
        """First the effect, then the check: what a master writes that was replaced is read by nobody."""
        try:
            mutate_rows(self._region, [mutation]).wait()
        except StoreFailedException as error:
            # It may be in the log or not: the next master finds out, and whoever asked shall ask that one.
            self._on_failure(f"its log failed: {error}")
            raise MasterNotRunningException(f"this master's log failed: {error}") from error
        self._confirm()

    def _rows(self, prefix: bytes) -> Iterator[Result]:
        scanner = self._region.open_scanner(Scan(prefix, bytes([prefix[0] + 1])))
        while (chunk := scanner.next_chunk()) is not None:
            yield from chunk
        scanner.close()


def _row(number: int) -> bytes:
    return b"p" + _NUMBER.pack(number)
