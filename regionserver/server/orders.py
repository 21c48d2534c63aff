"""Orders: which commands of masters a region server obeys.

An order is (master epoch, number). A master older than one that was heard of is refused. Of the orders to
open or close one region the newest counts: one that is not newer than the last, or that is overtaken while it
waits for its turn, is refused. So what a replaced master has under way cannot take effect late.

hbase:meta: who has heard of a new master begins no write of an older one, and ``settle`` waits for those that
had begun. A master that reads hbase:meta after that finds all there will ever be of its predecessors.

Threads: any number. Whoever has a region's turn is alone with it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from hyperbase.common.errors import StaleMasterException
from hyperbase.common.wire.command_codec import NO_ORDER, Order


class Orders:
    """See the module.

    Args:
        epoch: of the master that was active when the server started; 0: there was none.
    """

    def __init__(self, epoch: int) -> None:
        self._lock = threading.Lock()
        self._written = threading.Condition(self._lock)
        self._writing: Counter[int] = Counter()  # writes of hbase:meta under way, by their master's epoch
        self._epoch = epoch
        # For each region that was ever opened or closed here:
        self._newest: dict[bytes, Order] = {}
        self._turns: dict[bytes, threading.Lock] = {}

    @property
    def epoch(self) -> int:
        """Of the newest master that was heard of."""
        return self._epoch

    def obey(self, order: Order) -> None:
        """From now on its master is the one to obey.

        Raises:
            StaleMasterException: another master has replaced it.
        """
        with self._lock:
            self._check(order)
            self._epoch = order.epoch

    def _check(self, order: Order) -> None:
        if order.epoch < self._epoch:
            raise StaleMasterException(
                f"a master of epoch {order.epoch} commands: one of epoch {self._epoch} has replaced it"
            )

    @contextmanager
    def writing(self, order: Order) -> Iterator[None]:
        """A write of hbase:meta from its beginning until it is durable.

        Raises:
            StaleMasterException: another master was heard of since the order came.
        """
        with self._lock:
            self._check(order)
            self._writing[order.epoch] += 1
        try:
            yield
        finally:
            with self._written:
                self._writing[order.epoch] -= 1
                self._written.notify_all()

    def settle(self, order: Order) -> None:
        """Return when no write of an older master is under way."""
        with self._written:
            self._written.wait_for(
                lambda: not any(count for epoch, count in self._writing.items() if epoch < order.epoch)
            )

    def accept(self, regions: Iterable[bytes], order: Order) -> list[bytes]:
        """An order to open or close regions has come. Returns those for which it is the newest."""
        with self._lock:
            accepted = [region for region in regions if self._newest.get(region, NO_ORDER) < order]
            self._newest.update(dict.fromkeys(accepted, order))
        return accepted

    @contextmanager
    def turn(self, accepted: Iterable[bytes], order: Order) -> Iterator[set[bytes]]:
        """Be alone with the regions; gives those for which the order is still the newest."""
        with self._lock:  # sorted, so that no two wait for each other
            locks = [self._turns.setdefault(region, threading.Lock()) for region in sorted(set(accepted))]
        with ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            with self._lock:
                replaced = order.epoch < self._epoch
                mine = {region for region in accepted if self._newest[region] == order and not replaced}
            yield mine

    def refusal(self, region: bytes, order: Order) -> StaleMasterException:
        """Why an order is not carried out for a region."""
        newest = self._newest.get(region, NO_ORDER)
        return StaleMasterException(
            f"order {order.number} of epoch {order.epoch} for region {region.hex()} is not newer than the "
            f"last ({newest.number} of epoch {newest.epoch}), or a master of epoch {self._epoch} was heard of"
        )
