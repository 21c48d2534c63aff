"""Where the regions of a table are: read from hbase:meta, and remembered until they move.

The first look at a table reads all of its rows with one scan; afterwards only regions that are not known any
more are looked for, each by the few rows of its range. What several threads or tasks look for at the same
time is read once. hbase:meta itself is found by asking a server for the REGISTRY, or ZooKeeper.

Threads: any number; a table's entry is replaced whole.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from hyperbase.client.network.commands import Blocking, Call, Calls, Once, Parts, Sleep, Steps
from hyperbase.client.network.regions import (
    Place,
    Regions,
    check_state,
    covering,
    part_scan,
    read_places,
    table_scan,
    without_hole,
)
from hyperbase.client.network.registry import Registry, other_cluster
from hyperbase.client.network.retries import Retries, is_not_now, is_unreachable, may_have_moved
from hyperbase.common.errors import (
    ConnectException,
    DoNotRetryIOException,
    HBaseIOException,
    PleaseHoldException,
    TableNotEnabledException,
    TableNotFoundException,
)
from hyperbase.common.model import Get, Result, Scan
from hyperbase.common.names import META_TABLE
from hyperbase.common.region_info import META_REGION
from hyperbase.common.wire.messages import Method
from hyperbase.common.wire.model_codec import decode_result, decode_results, encode_get, encode_scan
from hyperbase.common.zookeeper.location import ZooKeeperLocation

Source = Sequence[str] | ZooKeeperLocation  # servers that the program named, or whom to ask for them

FEW_REGIONS = 4  # looked for one by one; more are read with the whole table
CONNECT_PAUSE_S = 0.1  # between two looks for a cluster that is about to start
_META_CREDIT = 1 << 30  # a table's rows are taken as they come
_SCAN, _GET, _PING, _REGISTRY = int(Method.SCAN), int(Method.GET), int(Method.PING), int(Method.REGISTRY)


class Locator:
    """Knows servers to ask, the master, hbase:meta's place, and the regions of the tables in use."""

    __slots__ = ("_cluster_id", "_lock", "_meta", "_servers", "_source", "master", "one_process", "tables")

    def __init__(self, source: Source) -> None:
        self._source: Source = source if isinstance(source, ZooKeeperLocation) else list(source)
        self._servers: list[str] = []  # as the last registry had them; who answered last stands first
        self._cluster_id = ""
        self._meta = ""  # address; empty: ask
        self._lock = threading.Lock()  # for replacing the entry of a table
        self.master = ""  # likewise
        self.one_process = False  # nothing can move
        self.tables: dict[str, Regions] = {}

    # -- regions

    def known(self, table: str, row: bytes) -> Place | None:
        """The region of a row, when it is known where that is."""
        regions = self.tables.get(table)
        if regions is None:
            return None
        place = regions.of(row)
        return place if place.address else None

    def regions(self, table: str, retries: Retries, rows: Iterable[bytes] = ()) -> Steps[Regions]:
        """The table's regions; those of ``rows`` with the newest that hbase:meta says, if they were unknown.

        Raises:
            TableNotFoundException, TableNotEnabledException
        """
        if table == META_TABLE:
            meta = yield from self._meta_address(retries)
            return Regions([Place(META_REGION.id16, b"", b"", meta)])
        found = self.tables.get(table)
        if found is None:
            return (yield from self._table(table, retries))
        unknown = found.unknown(rows)
        return (yield from self.look_for(table, unknown, retries)) if unknown else found

    def find(
        self, table: str, choose: Callable[[Regions], Place | None], retries: Retries
    ) -> Steps[Place | None]:
        """The region that ``choose`` takes of the table's."""
        regions = yield from self.regions(table, retries)
        place = choose(regions)
        if place is not None and not place.address:
            place = choose((yield from self.look_for(table, [place], retries)))
        return place

    def failed(self, place: Place | None, error: HBaseIOException) -> None:
        """A call to a region's server ended so: what that says of where regions are is forgotten."""
        address = "" if place is None else place.address
        if place is None or not address:
            return  # it failed while it was looked for, or another call on it failed just before
        if is_unreachable(error):
            self.forget_server(address)
        elif may_have_moved(error):
            place.forget()
        if not place.address and place.id16 == META_REGION.id16:
            self._forget_meta(address)

    def master_failed(self, address: str, error: HBaseIOException) -> None:
        """A call to the master ended so: one that did not take it may not be the active one any more."""
        if is_unreachable(error):
            self.forget_server(address)
        elif self.master == address and is_not_now(error):
            self.master = ""

    def forget_server(self, address: str) -> None:
        """A server is out of reach: whatever was there may be elsewhere."""
        self._forget_meta(address)
        if self.master == address:
            self.master = ""
        for regions in list(self.tables.values()):
            for place in regions.places:
                if place.address == address:
                    place.forget()

    def _forget_meta(self, address: str) -> None:
        if self._meta == address:
            self._meta = ""

    def look_for(self, table: str, unknown: Sequence[Place], retries: Retries) -> Steps[Regions]:
        """The regions after a look for those that are unknown. One that was not assigned a moment ago is
        left so."""
        latest = time.monotonic() - retries.config.retry_delay_ms / 1000
        due = [place for place in unknown if place.read_at <= latest]
        if len(due) > FEW_REGIONS:
            return (yield from self._table(table, retries))
        for place in due:
            key = ("region", table, place.start_key, place.end_key)
            yield Once(key, partial(self._read_part, table, place, retries), retries.deadline)
        found = self.tables.get(table)
        return (yield from self._table(table, retries)) if found is None else found

    def _table(self, table: str, retries: Retries) -> Steps[Regions]:
        """All of the table's regions, read anew."""
        found: Regions = yield Once(
            ("table", table), partial(self._read_table, table, retries), retries.deadline
        )
        return found

    def _read_table(self, table: str, retries: Retries) -> Steps[Regions]:
        (answer,) = yield from self._ask_meta([(_SCAN, _scan_arguments(table_scan(table)))], retries)
        places, state = read_places(table, _scanned(answer))
        self._check_state(table, state)
        found = Regions(covering(places, b"", b""))
        with self._lock:
            self.tables[table] = found
        return found

    def _read_part(self, table: str, old: Place, retries: Retries) -> Steps[None]:
        """Look where the rows of a region are now."""
        low, high = old.start_key, old.end_key
        scan = part_scan(table, low, high)
        if scan is None:
            yield from self._table(table, retries)
            return
        wanted = Get(table.encode("utf-8"), columns=[b"table:state"])
        calls = [(_SCAN, _scan_arguments(scan)), (_GET, (META_REGION.id16, encode_get(wanted)))]
        rows, state = yield from self._ask_meta(calls, retries)
        self._check_state(table, decode_result(wanted.row, state).to_dict().get(b"table:state"))
        found, _ = read_places(table, _scanned(rows))
        part = [place for place in found if low <= place.start_key and (not high or place.start_key < high)]
        joined: Regions | None = None
        if without_hole(part, low, high):
            with self._lock:
                known = self.tables.get(table)
                joined = known.with_part(part) if known is not None else None
                if joined is not None:
                    self.tables[table] = joined
        if joined is None:  # merged with what was before it, or in the middle of a change
            yield from self._table(table, retries)

    def _check_state(self, table: str, state: bytes | None) -> None:
        try:
            check_state(table, state)
        except (TableNotFoundException, TableNotEnabledException):
            self.tables.pop(table, None)
            raise

    def _ask_meta(
        self, calls: Sequence[tuple[int, tuple[object, ...]]], retries: Retries
    ) -> Steps[list[object]]:
        """Answers of the server of hbase:meta; it is forgotten when it does not give all of them."""
        meta = yield from self._meta_address(retries)
        answers: list[object] = yield Calls([Call(meta, *call, retries.deadline) for call in calls])
        for answer in answers:
            if isinstance(answer, HBaseIOException):
                if is_unreachable(answer):
                    self.forget_server(meta)
                self._forget_meta(meta)
                raise answer
        return answers

    # -- servers

    def _meta_address(self, retries: Retries) -> Steps[str]:
        if not self._meta:
            yield Once("registry", lambda: self._ask_registry(retries), retries.deadline)
        meta = self._meta
        if not meta:
            raise PleaseHoldException("hbase:meta is not served yet: wait and retry")
        return meta

    def master_address(self, retries: Retries) -> Steps[str]:
        """The active master.

        Raises:
            PleaseHoldException: there is none at the moment.
        """
        if not self.master:
            yield Once("registry", lambda: self._ask_registry(retries), retries.deadline)
        master = self.master
        if not master:
            raise PleaseHoldException("no master is active yet: wait and retry")
        return master

    def _ask_registry(self, retries: Retries) -> Steps[None]:
        """Find the master and hbase:meta by asking one server after the other; if none answers, ZooKeeper."""
        last: HBaseIOException | None = None
        named: Sequence[str] = () if isinstance(self._source, ZooKeeperLocation) else self._source
        for address in dict.fromkeys((*self._servers, *named)):
            try:
                answer = yield Call(address, _REGISTRY, (), _one_of_several(retries))
                found = Registry.of_answer(answer)
                if self._cluster_id not in ("", found.cluster_id) and address not in named:
                    raise other_cluster(address, found.cluster_id, self._cluster_id)
            except PleaseHoldException:
                raise  # it is one of the cluster's servers, and says how it is
            except HBaseIOException as error:
                if last is None or not isinstance(error, DoNotRetryIOException):
                    last = error
                continue
            self._learn(found, address)
            return
        if isinstance(self._source, ZooKeeperLocation):
            yield from self._ask_zookeeper(self._source, retries)
            return
        assert last is not None
        raise last

    def _ask_zookeeper(self, location: ZooKeeperLocation, retries: Retries) -> Steps[None]:
        timeout_s = retries.config.connect_timeout_s
        if retries.deadline is not None:
            timeout_s = max(0.05, min(timeout_s, retries.deadline - time.monotonic()))

        def ask() -> Registry:
            from hyperbase.client.network.zookeeper import look_up  # loads kazoo

            return look_up(location, timeout_s)

        self._learn((yield Blocking(ask)), "")

    def _learn(self, found: Registry, told_by: str) -> None:
        first = [told_by] if told_by in found.servers else []
        self._servers = [*first, *(server for server in found.servers if server not in first)]
        self._cluster_id = found.cluster_id
        self.one_process = found.one_process
        self.master, self._meta = found.master, found.meta

    def connect(self, retries: Retries) -> Steps[None]:
        """See that somebody answers.

        Raises:
            HBaseIOException: nobody does, or there is no such cluster.
        """
        if isinstance(self._source, ZooKeeperLocation):
            yield from self._connect_cluster(self._source, retries)
        else:
            yield from _connect_server(self._source, retries)

    def _connect_cluster(self, location: ZooKeeperLocation, retries: Retries) -> Steps[None]:
        """Within ``connect_timeout_s``: a cluster that is about to start is waited for, but not for long."""
        end = _one_of_several(retries)
        while True:
            try:
                yield from self._ask_zookeeper(location, retries)
                yield from self._answering_server(location, end)
                return
            except HBaseIOException as error:
                no_zookeeper = isinstance(error, ConnectException) and not self._cluster_id
                if no_zookeeper or isinstance(error, DoNotRetryIOException) or time.monotonic() >= end:
                    raise
            yield Sleep(CONNECT_PAUSE_S)

    def _answering_server(self, location: ZooKeeperLocation, end: float) -> Steps[None]:
        last: HBaseIOException | None = None
        for number, address in enumerate(self._servers):
            now = time.monotonic()
            deadline = now + max(end - now, 0.05) / (len(self._servers) - number)  # the next may answer
            try:
                yield Call(address, _PING, (), deadline)
                break
            except HBaseIOException as error:
                last = error
        else:
            why = "it has none" if last is None else f"the last one: {last}"
            raise ConnectException(f"no region server of the cluster at {location} answers: {why}") from last
        if not self._meta:
            raise PleaseHoldException(
                f"the cluster at {location} does not serve hbase:meta at the moment: is a master running?"
            )


def _connect_server(servers: Sequence[str], retries: Retries) -> Steps[None]:
    """Ask each address until one answers; where nobody listens at all of them, that is the answer."""
    while True:
        nobody = True
        trouble: HBaseIOException | None = None
        for address in servers:
            try:
                yield Call(address, _PING, (), retries.deadline)
                return
            except HBaseIOException as error:
                trouble = error
                nobody = nobody and _nobody_listens(error)
        assert trouble is not None
        if nobody:
            raise trouble
        yield Sleep(retries.after(trouble))


def _nobody_listens(error: HBaseIOException) -> bool:
    cause = error.__cause__
    return isinstance(error, ConnectException) and isinstance(
        cause, (ConnectionRefusedError, socket.gaierror)
    )


def _one_of_several(retries: Retries) -> float:
    """Until when to wait for one server, where another one may answer."""
    deadline = time.monotonic() + retries.config.connect_timeout_s
    return deadline if retries.deadline is None else min(deadline, retries.deadline)


def _scan_arguments(scan: Scan) -> tuple[object, ...]:
    return META_REGION.id16, encode_scan(scan), _META_CREDIT


def _scanned(answer: object) -> Iterable[Result]:
    assert isinstance(answer, Parts)
    for chunk in (*answer.items, answer.end[0]):
        if chunk is not None:
            yield from decode_results(chunk)
