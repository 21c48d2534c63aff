"""A crash at any step of any procedure leaves a store that opens, is whole, holds what was acknowledged."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest

from hyperbase.common.descriptors import ColumnFamilyDescriptor, NamespaceDescriptor, TableDescriptor
from hyperbase.common.model import Append, Delete, Increment, Put, RowMutations
from hyperbase.embedded.backend import EmbeddedBackend
from regionserver.region import arrow_load
from regionserver.storage.memory_filesystem import SimulatedCrash
from tests.support.crash_matrix import (
    Model,
    Run,
    Scenario,
    TableModel,
    archive_log,
    base_state,
    check_left,
    crash_at,
    crash_everywhere,
    open_store,
)

BULK_STAMP = 5_000_000_000_000


def table(name: str, *families: str) -> TableDescriptor:
    return TableDescriptor(name, [ColumnFamilyDescriptor(family.encode()) for family in families])


def create(run: Run, name: str, *families: str, splits: tuple[bytes, ...] = ()) -> None:
    model = TableModel(tuple(sorted(family.encode() for family in families)))
    run.do(
        lambda b: b.create_table(table(name, *families), list(splits)),
        lambda m: m.tables.__setitem__(name, model),
    )


def prepare(run: Run) -> None:
    """A table of two regions and two families: files, tombstones, edits that are only in the log."""
    create(run, "t", "a", "b", splits=(b"r05",))
    for number in range(10):
        run.put("t", b"r%02d" % number, a_x=b"%d" % number, b_y=b"old")
    run.do(lambda b: b.flush("t"))
    for number in range(0, 10, 2):
        run.put("t", b"r%02d" % number, a_x=b"again%d" % number)
    run.do(
        lambda b: b.table("t").delete(Delete(b"r09")),
        lambda m: m.tables["t"].rows.pop(b"r09").clear(),
    )
    archive_log(run)
    run.put("t", b"r01", b_z=b"logged only")
    run.put("t", b"r07", b_z=b"logged only")


def prepare_disabled(run: Run) -> None:
    prepare(run)
    disable(run)


def disable(run: Run) -> None:
    run.do(lambda b: b.disable_table("t"), lambda m: setattr(m.tables["t"], "enabled", False))


def enable(run: Run) -> None:
    run.do(lambda b: b.enable_table("t"), lambda m: setattr(m.tables["t"], "enabled", True))


def put_and_flush(run: Run) -> None:
    for number in range(3):
        run.put("t", b"r%02d" % number, a_x=b"newer", b_n=b"x" * 3000)
    run.do(
        lambda b: b.table("t").increment(Increment(b"c").add(b"a:n", 5)),
        lambda m: m.tables["t"].put(b"c", a_n=(5).to_bytes(8, "big")),
    )
    run.do(
        lambda b: b.table("t").append(Append(b"r00").add(b"a:x", b"+")),
        lambda m: m.tables["t"].put(b"r00", a_x=b"newer+"),
    )
    both = RowMutations(b"r03").add(Put(b"r03").add(b"a:x", b"both")).add(Delete(b"r03").add_family(b"b"))

    def mutated(model: Model) -> None:
        model.tables["t"].rows[b"r03"] = {b"a:x": b"both"}

    run.do(lambda b: b.table("t").mutate_row(both), mutated)
    run.do(lambda b: b.flush("t"))
    run.put("t", b"r08", b_n=b"y" * 3000)
    run.do(lambda b: b.flush("t"))


def minor_compaction(run: Run) -> None:
    for number in range(2):
        run.put("t", b"r0%d" % number, a_x=b"round %d" % number)
        run.do(lambda b: b.flush("t"))
    run.do(lambda b: b.compact("t"))


def major_compaction(run: Run) -> None:
    run.do(lambda b: b.compact("t", major=True))


def split(run: Run) -> None:
    run.do(lambda b: b.split("t", b"r02"))
    run.put("t", b"r02", a_x=b"in the daughter")
    run.do(lambda b: b.compact("t", major=True))


def split_again(run: Run) -> None:
    """Daughters that still refer to their parent are split once more, then merged."""
    run.do(lambda b: b.split("t", b"r02"))
    run.do(lambda b: b.split("t", b"r01"))
    names = [info.encoded_name for info in run.backend.regions("t")]
    run.do(lambda b: b.merge_regions(names[1], names[2]))


def merge(run: Run) -> None:
    names = [info.encoded_name for info in run.backend.regions("t")]
    run.do(lambda b: b.merge_regions(*names))
    run.put("t", b"r05", b_y=b"in the merged one")
    run.do(lambda b: b.compact("t", major=True))


def create_table(run: Run) -> None:
    create(run, "new", "f", splits=(b"g", b"p"))
    run.put("new", b"k", f_q=b"1")


def drop(run: Run) -> None:
    run.do(lambda b: b.drop_table("t"), lambda m: m.tables.pop("t").rows.clear())
    create(run, "t", "a", "b")
    run.put("t", b"r00", a_x=b"reborn")


def drop_after_split(run: Run) -> None:
    run.do(lambda b: b.split("t", b"r02"))
    disable(run)
    run.do(lambda b: b.drop_table("t"), lambda m: m.tables.pop("t").rows.clear())


@pytest.mark.parametrize("preserve", [False, True])
def test_truncate(preserve: bool) -> None:
    def truncate(run: Run) -> None:
        run.do(
            lambda b: b.truncate_table("t", preserve),
            lambda m: m.tables.__setitem__("t", TableModel((b"a", b"b"))),
        )
        run.put("t", b"r00", a_x=b"after")

    assert crash_everywhere(prepare_disabled, truncate) > 20


def alter(run: Run, *families: str, drop: bytes = b"") -> None:
    def effect(model: Model) -> None:
        if drop:
            model.tables["t"].drop_family(drop)
        model.tables["t"].families = tuple(sorted(family.encode() for family in families))

    run.do(lambda b: b.alter_table(table("t", *families)), effect)


def alter_families(run: Run) -> None:
    alter(run, "a", "b", "c")
    run.put("t", b"r00", c_q=b"in the new family")
    alter(run, "a", "c", drop=b"b")
    alter(run, "a", "b", "c")
    run.put("t", b"r01", b_y=b"in the second b")


def alter_disabled(run: Run) -> None:
    alter(run, "a", drop=b"b")
    alter(run, "a", "b")
    enable(run)


def disable_enable(run: Run) -> None:
    disable(run)
    enable(run)
    run.put("t", b"r00", a_x=b"enabled again")


def namespaces(run: Run) -> None:
    run.do(lambda b: b.create_namespace(NamespaceDescriptor("n1")), lambda m: m.namespaces.add("n1"))
    create(run, "n1:t", "f")
    run.put("n1:t", b"r", f_q=b"1")
    run.do(lambda b: b.alter_namespace(NamespaceDescriptor("n1", {"k": "v"})))
    run.do(lambda b: b.disable_table("n1:t"), lambda m: setattr(m.tables["n1:t"], "enabled", False))
    run.do(lambda b: b.drop_table("n1:t"), lambda m: m.tables.pop("n1:t").rows.clear())
    run.do(lambda b: b.drop_namespace("n1"), lambda m: m.namespaces.remove("n1"))


def put_arrow(run: Run) -> None:
    """A StoreFile for each region, attached as a whole; the same timestamp written before and after."""
    put_file(run, {b"r00": b"bulk", b"r01": b"bulk"})
    put_file(run, {b"r07": b"bulk"})
    put = Put(b"r00", timestamp=BULK_STAMP).add(b"a:bulk", b"later")
    run.do(lambda b: b.table("t").put(put), lambda m: m.tables["t"].put(b"r00", a_bulk=b"later"))
    put_file(run, {b"r00": b"last", b"r02": b"last"})


def put_file(run: Run, values: dict[bytes, bytes]) -> None:
    """Load rows of one region as a StoreFile."""
    data = pa.table({"row": list(values), "a:bulk": list(values.values())})

    def load(backend: EmbeddedBackend) -> None:
        backend.table("t").put_arrow(data.to_reader(), "row", BULK_STAMP, None)

    def effect(model: Model) -> None:
        for row, value in values.items():
            model.tables["t"].put(row, a_bulk=value)

    run.do(load, effect)


@pytest.fixture(autouse=True)
def _files_for_small_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_load, "FILE_BYTES", 1)


def close(run: Run) -> None:
    run.put("t", b"r00", a_x=b"last")
    run.do(EmbeddedBackend.close)


CASES: list[tuple[Scenario, Scenario, int]] = [
    (prepare, put_and_flush, 60),
    (prepare, minor_compaction, 60),
    (prepare, major_compaction, 50),
    (prepare, split, 60),
    (prepare, split_again, 60),
    (prepare, merge, 40),
    (prepare, create_table, 30),
    (prepare_disabled, drop, 20),
    (prepare, drop_after_split, 40),
    (prepare, alter_families, 30),
    (prepare_disabled, alter_disabled, 30),
    (prepare, disable_enable, 20),
    (prepare, namespaces, 20),
    (prepare, put_arrow, 40),
    (prepare, close, 20),
]


@pytest.mark.parametrize(("before", "scenario", "least"), CASES, ids=[case[1].__name__ for case in CASES])
def test_crash(before: Scenario, scenario: Scenario, least: int) -> None:
    steps = crash_everywhere(before, scenario)
    print(f"{scenario.__name__}: {steps} crash points")
    assert steps >= least


def _crash_while_opening(fs: object, number: int) -> bool:
    """Open and die at step ``number``; False when the opening has fewer steps."""
    crash_at(fs, number)  # type: ignore[arg-type]
    try:
        open_store(fs).store.crash()  # type: ignore[arg-type]
    except SimulatedCrash:
        return True
    return False


@pytest.mark.parametrize("before", [prepare, prepare_disabled], ids=["enabled", "disabled"])
def test_crash_in_recovery_and_in_the_recovery_after_it(before: Callable[[Run], None]) -> None:
    base, model = base_state(before)
    number, points = 0, 0
    while True:
        number += 1
        first = base.after_crash()
        if not _crash_while_opening(first, number):
            break
        points += 1
        check_left(first.after_crash(number), [model], f"recovery died at step {number}")
        for again in (number // 2 + 1, number + 5):
            second = first.after_crash()
            _crash_while_opening(second, again)
            where = f"recovery died at step {number}, the next one at step {again}"
            check_left(second.after_crash(again), [model], where)
    print(f"recovery: {points} crash points")
    assert points >= 30


def test_crash_while_the_first_opening_makes_the_store() -> None:
    from regionserver.storage.memory_filesystem import MemoryFileSystem

    number = 0
    while True:
        number += 1
        fs = MemoryFileSystem()
        if not _crash_while_opening(fs, number):
            break
        for seed in (None, number):
            check_left(fs.after_crash(seed), [Model()], f"creation died at step {number}")
    print(f"creation: {number - 1} crash points")
    assert number > 10
