"""COMMAND: what the active master has a region server do. Names and forms: ``command_codec``.

Every command is carried out by threads: those that may take long (they open, flush, compact) by some of their
own, so that hbase:meta can be written and the server asked meanwhile. A command about several regions has an
outcome for each. Opening what is open and closing what is not are OK; of two orders for one region the newer
counts (``orders``).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hyperbase.common.authorization import ADMIN, Authorizer
from hyperbase.common.catalog import META_DESCRIPTOR, region_directory
from hyperbase.common.errors import (
    HBaseIOException,
    IllegalArgumentException,
    NotServingRegionException,
)
from hyperbase.common.model import CheckAndMutate, Mutation
from hyperbase.common.region_info import META_REGION
from hyperbase.common.rpc.call import PENDING, Call
from hyperbase.common.rpc.server import Handler
from hyperbase.common.wire.command_codec import (
    NO_ORDER,
    HeldRegion,
    OpenRegion,
    Order,
    ServerReport,
    decode_command,
)
from hyperbase.common.wire.messages import Method
from regionserver.region.engine import Engine
from regionserver.region.metrics import (
    engine_metrics,
    memory_limit_bytes,
    memory_used_bytes,
    region_status,
)
from regionserver.region.mutations import mutate_rows
from regionserver.region.opening import Opening, open_regions
from regionserver.region.region import Region
from regionserver.region.split_policy import has_references, split_point, wants_split
from regionserver.server.orders import Orders
from regionserver.server.work import Completions, WorkPool

logger = logging.getLogger(__name__)

Outcome = Any  # a result, or the exception instead of it

QUICK_THREADS, LONG_THREADS = 4, 8
THREADS_FOR_REGIONS = 8  # of the commands under way together: opening waits for the disk, file after file
_LONG = frozenset({"open_regions", "close_regions", "flush_regions", "compact_regions", "split_point"})


class RegionCommands:
    """See the module.

    Args:
        server: this server's name.
        orders: with the epoch of the master that is active already.
        limit: how many commands may wait or be under way; each of both kinds.
        shut_down: has the server begin to stop; called on the event loop.
        metrics: numbers of the server's own, beside the engine's.
    """

    def __init__(
        self,
        engine: Engine,
        server: str,
        orders: Orders,
        completions: Completions,
        authorize: Authorizer,
        *,
        limit: int,
        shut_down: Callable[[], None],
        metrics: Callable[[], dict[str, float]] = dict,
    ) -> None:
        self._engine = engine
        self._server = server
        self._orders = orders
        self._authorize = authorize
        self._shut_down = shut_down
        self._metrics = metrics
        self._quick = WorkPool("command", QUICK_THREADS, limit, completions)
        self._long = WorkPool("region-command", LONG_THREADS, limit, completions)
        self._threads = ThreadPoolExecutor(THREADS_FOR_REGIONS, thread_name_prefix="hyperbase-region")
        self._opened_by: dict[bytes, Order] = {}
        self._rate = _Rate(engine)
        self._work: dict[str, Callable[..., Any]] = {
            "flush_regions": self.flush_regions,
            "compact_regions": self.compact_regions,
            "split_point": self.split_point,
            "compaction_states": self.compaction_states,
            "clear_block_cache": self.clear_block_cache,
            "roll_wal": self.roll_wal,
            "switch_compactions": self.switch_compactions,
        }

    def handlers(self) -> dict[int, Handler]:
        """By method number."""
        return {Method.COMMAND: self.command}

    def stop(self, *, wait: bool) -> None:
        """Drop what waits; ``wait`` until what is under way has ended."""
        self._quick.stop(wait=wait)
        self._long.stop(wait=wait)
        self._threads.shutdown(wait=wait)

    def command(self, call: Call, arguments: Any) -> Any:
        """COMMAND: see the module."""
        order, name, values, encode = decode_command(arguments)
        self._authorize(call.principal, ADMIN, "")
        self._orders.obey(order)
        if name == "shut_down":
            logger.info("told to shut down by the master epoch=%d", order.epoch)
            self._shut_down()
            return None
        work = self._prepare(name, order, values)
        pool = self._long if name in _LONG else self._quick
        pool.run(call, lambda: encode(work()))
        return PENDING

    def _prepare(self, name: str, order: Order, values: list[Any]) -> Callable[[], Any]:
        """The work of a command. What orders it takes precedence over is decided here, as it comes."""
        if name == "open_regions":
            (openings,) = values
            accepted = self._accept([opening.info.id16 for opening in openings], order)
            return lambda: self.open_regions(openings, order, accepted)
        if name == "close_regions":
            (regions,) = values
            accepted = self._accept(regions, order)
            return lambda: self.close_regions(regions, order, accepted)
        if name == "write_meta":
            mutations, conditions = values
            return lambda: self.write_meta(mutations, conditions, order)
        if name == "report":
            return lambda: self.report(order)
        work = self._work[name]
        return lambda: work(*values)

    def _accept(self, regions: Sequence[bytes], order: Order) -> list[bytes]:
        if len(set(regions)) != len(regions):
            raise IllegalArgumentException("malformed command: a region is named twice")
        return self._orders.accept(regions, order)

    # -- regions come and go -----------------------------------------------------------------------------

    def open_regions(
        self, openings: Sequence[OpenRegion], order: Order, accepted: Sequence[bytes]
    ) -> list[Outcome]:
        """Each region's first sequence id here, or why it is not served."""
        outcomes: dict[bytes, Outcome] = {}
        with self._orders.turn(accepted, order) as mine:
            wanted = []
            for opening in openings:
                region_id = opening.info.id16
                served = self._engine.regions.get(region_id)
                if region_id not in mine:
                    outcomes[region_id] = self._orders.refusal(region_id, order)
                elif served is not None:
                    outcomes[region_id] = served
                else:
                    wanted.append(_opening(opening))
            found = open_regions(self._engine, wanted, self._threads)
            outcomes |= {one.info.id16: outcome for one, outcome in zip(wanted, found, strict=True)}
            self._opened_by |= {r: order for r in mine if isinstance(outcomes[r], Region)}
        failed = sum(not isinstance(outcome, Region) for outcome in outcomes.values())
        logger.info("opened regions=%d failed=%d order=%d", len(outcomes) - failed, failed, order.number)
        return [_open_sequence_id(outcomes[opening.info.id16]) for opening in openings]

    def close_regions(
        self, regions: Sequence[bytes], order: Order, accepted: Sequence[bytes]
    ) -> list[Outcome]:
        """Each region is flushed and closed, or why it is not."""
        with self._orders.turn(accepted, order) as mine:

            def close(region_id: bytes) -> Outcome:
                if region_id not in mine:
                    return self._orders.refusal(region_id, order)
                return _attempt(lambda: self._close(region_id))

            outcomes = list(self._threads.map(close, regions))
        failed = sum(outcome is not None for outcome in outcomes)
        logger.info("closed regions=%d failed=%d order=%d", len(regions) - failed, failed, order.number)
        return outcomes

    def _close(self, region_id: bytes) -> None:
        region = self._engine.regions.get(region_id)
        if region is None:
            return
        self._engine.close_region(region)
        with region.compacting:  # one under way sees that the region is closed, and gives up
            self._opened_by.pop(region_id, None)

    def _find(self, region_id: bytes) -> Region:
        region = self._engine.regions.get(region_id)
        if region is None:
            raise NotServingRegionException(f"{self._server} does not serve region {region_id.hex()}")
        return region

    # -- maintenance -------------------------------------------------------------------------------------

    def flush_regions(self, regions: Sequence[bytes]) -> list[Outcome]:
        """Whether each region is in files now."""

        def flush(region_id: bytes) -> None:
            self._engine.flush(self._find(region_id))

        return list(self._threads.map(lambda region_id: _attempt(lambda: flush(region_id)), regions))

    def compact_regions(self, regions: Sequence[bytes], major: bool) -> list[Outcome]:
        """One after the other: two at a time would only take the disk from each other."""

        def compact(region_id: bytes) -> None:
            self._engine.compact(self._find(region_id), major=major)

        return [_attempt(lambda region_id=each: compact(region_id)) for each in regions]  # type: ignore[misc]

    def split_point(self, region_id: bytes) -> bytes:
        """The middle row of what is in files then; empty: there is none."""
        region = self._find(region_id)
        self._engine.flush(region)
        return split_point(region) or b""

    def compaction_states(self, regions: Sequence[bytes]) -> list[str]:
        """MAJOR, MINOR or NONE."""
        return [self._engine.compacting.get(region_id, "NONE") for region_id in regions]

    def clear_block_cache(self, regions: Sequence[bytes]) -> int:
        """How many blocks of the regions' files were in it."""
        cache = self._engine.cache
        before = cache.stats().block_count
        for region_id in regions:
            region = self._engine.regions.get(region_id)
            for _, reader in () if region is None else region.view.all_files:
                cache.evict_file(reader.path)
        return max(0, before - cache.stats().block_count)

    def roll_wal(self) -> None:
        """Begin the next segment of the log."""
        assert self._engine.wal is not None
        self._engine.wal.roll()

    def switch_compactions(self, on: bool) -> None:
        """Whether regions are compacted."""
        self._engine.compactions_enabled = on

    def write_meta(
        self, mutations: Sequence[Mutation], conditions: Sequence[CheckAndMutate], order: Order
    ) -> bool:
        """Change rows of hbase:meta, all or none; False: a condition does not hold."""
        with self._orders.writing(order):
            outcome = mutate_rows(self._find(META_REGION.id16), mutations, conditions).wait()
        return bool(outcome.success)

    # -- telling -----------------------------------------------------------------------------------------

    def report(self, order: Order) -> ServerReport:
        """What the server has, and how it does; no write of an older master is under way then."""
        self._orders.settle(order)
        engine = self._engine
        regions = sorted(engine.regions.values(), key=lambda region: region.info.sort_key())
        return ServerReport(
            self._server,
            tuple(self._held(region) for region in regions),
            clock_ms=engine.clock(),
            requests_per_second=self._rate.per_second(),
            used_memory_bytes=memory_used_bytes(),
            max_memory_bytes=memory_limit_bytes(engine),
            metrics={**engine_metrics(engine), **self._metrics()},
        )

    def _held(self, region: Region) -> HeldRegion:
        return HeldRegion(
            region.info,
            region_status(region),
            region.manifest.open_sequence_id,
            self._opened_by.get(region.id16, NO_ORDER),
            wants_split(region),
            has_references(region),
        )


class _Rate:
    """Requests of regions in a second, since the last time somebody asked."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._seen = 0
        self._at = time.monotonic()
        self._rate = 0.0

    def per_second(self) -> float:
        now, count = time.monotonic(), self._count()
        if now - self._at >= 1.0:
            self._rate = max(0, count - self._seen) / (now - self._at)
            self._seen, self._at = count, now
        return round(self._rate, 1)

    def _count(self) -> int:
        closed = self._engine.counters
        regions = list(self._engine.regions.values())
        ended = closed["readRequestCount"] + closed["writeRequestCount"]
        return ended + sum(region.reads + region.writes for region in regions)


def _opening(wanted: OpenRegion) -> Opening:
    descriptor = META_DESCRIPTOR if wanted.info.is_meta else wanted.descriptor
    return Opening(wanted.info, descriptor, region_directory(wanted.info), wanted.logs)


def _open_sequence_id(outcome: Outcome) -> Outcome:
    return outcome.manifest.open_sequence_id if isinstance(outcome, Region) else outcome


def _attempt(work: Callable[[], None]) -> Outcome:
    """None, or the error."""
    try:
        work()
    except (HBaseIOException, OSError) as error:
        return error
    return None
