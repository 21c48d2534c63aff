"""ENOSPC and EIO at every step: no acknowledged loss, reads go on, the store heals or says that it failed."""

from __future__ import annotations

import copy
import errno
from collections.abc import Callable

import pytest

from hyperbase.common.descriptors import ColumnFamilyDescriptor, TableDescriptor
from hyperbase.common.errors import HBaseIOException, StoreFailedException
from hyperbase.common.model import Delete, Get, Put
from hyperbase.embedded.backend import EmbeddedBackend
from regionserver.region.janitor import clean_region
from regionserver.storage.memory_filesystem import MemoryFileSystem
from tests.support.crash_matrix import (
    Model,
    Run,
    Scenario,
    TableModel,
    archive_log,
    base_state,
    check_left,
    check_whole,
    fingerprint,
    observe,
    open_store,
)


def fail_at(fs: MemoryFileSystem, first: int, error: int, last: int | None = None) -> list[str]:
    """Steps ``first`` to ``last`` fail (to the end when None); returns the list of those that did."""
    failed: list[str] = []

    def hook(name: str, step: int) -> None:
        if step >= first and (last is None or step <= last) and not name.startswith(("delete", "lock")):
            failed.append(name)
            raise OSError(error, "no space" if error == errno.ENOSPC else "input/output error")

    fs.step_hook = hook
    return failed


def prepare(run: Run) -> None:
    """Two families, two files each, some edits only in the log."""
    families = [ColumnFamilyDescriptor(b"a"), ColumnFamilyDescriptor(b"b")]
    run.do(
        lambda b: b.create_table(TableDescriptor("t", families), [b"r05"]),
        lambda m: m.tables.__setitem__("t", TableModel((b"a", b"b"))),
    )
    for number in range(10):
        run.put("t", b"r%02d" % number, a_x=b"%d" % number, b_y=b"old")
    run.do(lambda b: b.flush("t"))
    run.put("t", b"r03", a_x=b"second")
    run.do(
        lambda b: b.table("t").delete(Delete(b"r09")),
        lambda m: m.tables["t"].rows.pop(b"r09").clear(),
    )
    archive_log(run)
    run.put("t", b"r01", b_z=b"logged only")
    run.put("t", b"r07", b_z=b"logged only")


def put(run: Run) -> None:
    for number in range(4):  # rolls the log
        run.put("t", b"r%02d" % number, a_x=b"%03000d" % number)


def flush(run: Run) -> None:
    run.do(lambda b: b.flush("t"))


def compact(run: Run) -> None:
    run.do(lambda b: b.compact("t", major=True))


def split(run: Run) -> None:
    run.do(lambda b: b.split("t", b"r02"))


def merge(run: Run) -> None:
    names = [info.encoded_name for info in run.backend.regions("t")]
    run.do(lambda b: b.merge_regions(*names))


def alter(run: Run) -> None:
    def effect(model: Model) -> None:
        model.tables["t"].drop_family(b"b")

    run.do(lambda b: b.alter_table(TableDescriptor("t", [ColumnFamilyDescriptor(b"a")])), effect)


def disable_enable(run: Run) -> None:
    run.do(lambda b: b.disable_table("t"), lambda m: setattr(m.tables["t"], "enabled", False))
    run.do(lambda b: b.enable_table("t"), lambda m: setattr(m.tables["t"], "enabled", True))


def create(run: Run) -> None:
    run.do(
        lambda b: b.create_table(TableDescriptor("n", [ColumnFamilyDescriptor(b"f")]), [b"k"]),
        lambda m: m.tables.__setitem__("n", TableModel((b"f",))),
    )


SCENARIOS: list[Scenario] = [put, flush, compact, split, merge, alter, disable_enable, create]


@pytest.mark.parametrize(
    ("error", "once"), [(errno.ENOSPC, False), (errno.EIO, True)], ids=["the disk is full", "one I/O error"]
)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.__name__ for scenario in SCENARIOS])
def test_error_at_every_step(scenario: Scenario, error: int, once: bool) -> None:
    base, model = base_state(prepare)
    run = Run(base.after_crash(), model)
    scenario(run)
    total = len(run.fs.steps) - run.armed_at
    run.store.crash()
    checked: set[tuple[str, str]] = set()
    for number in range(1, total + 1):
        run = Run(base.after_crash(), model)
        first = run.armed_at + number
        failed = fail_at(run.fs, first, error, first if once else None)
        where = f"{errno.errorcode[error]} at step {number} of {total}"
        try:
            _attempt(run, scenario, where)
            _reads_go_on(run, failed)
            run.fs.step_hook = None
            for region in list(run.store.engine.regions.values()):
                clean_region(region)  # must not trust a manifest that may not be there
            wal = run.store.engine.wal
            poisoned = wal is not None and wal.failed is not None
            seed = number
            left = run.fs.after_crash(seed)
            case = (fingerprint(left), repr(run.acceptable))
            if case not in checked:
                checked.add(case)
                check_left(left, run.acceptable, f"crash behind it, seed {seed}")
            if poisoned:
                _refuses_changes(run.backend)
            else:
                _heals(run, scenario)
        except Exception as problem:
            raise AssertionError(f"{where} {failed[:1]}: {problem!r}") from problem
        seen = observe(open_store(run.fs.after_crash()))
        assert seen in run.acceptable, f"{where} {failed[:1]}: shows {seen}, not {run.acceptable}"
    print(f"{scenario.__name__}: {total} steps")


def _attempt(run: Run, scenario: Scenario, where: str) -> None:
    """Run the scenario; it may fail, with one line that says what."""
    message = ""
    try:
        scenario(run)
    except HBaseIOException as problem:
        message = str(problem)
        assert message, where
    assert "\n" not in message, where


def _reads_go_on(run: Run, failed: list[str]) -> None:
    seen = observe(run.backend)
    assert seen in run.acceptable, f"after {failed[:1]} it shows {seen}, not {run.acceptable}"
    check_regions_serve(run.backend)


def check_regions_serve(backend: EmbeddedBackend) -> None:
    """Every region of an enabled table is open."""
    for entry in backend.store.tables.values():
        assert all(not region.closed for region in entry.regions)
        assert not entry.enabled or len(entry.regions) == len(entry.infos)


def _refuses_changes(backend: EmbeddedBackend) -> None:
    """After a failed sync nothing is accepted, and it says so."""
    actions: list[Callable[[], object]] = [lambda: backend.flush("t"), lambda: backend.split("t", b"r01")]
    if backend.is_table_enabled("t"):
        actions.append(lambda: backend.table("t").put(Put(b"q").add(b"a:x", b"1")))
    for action in actions:
        with pytest.raises(StoreFailedException):
            action()


def _heals(run: Run, scenario: Scenario) -> None:
    """The disk works again: the same operation succeeds, unless it had succeeded already."""
    if run.pending is not None:
        run.model = run.model if observe(run.backend) == run.model else run.pending
        run.pending = None
        before = run.model
        try:
            scenario(run)
        except HBaseIOException:
            assert scenario in (create, disable_enable, split, merge), "does not heal"
            run.pending = None
            assert observe(run.backend) == before
    if run.model.tables["t"].enabled:
        run.put("t", b"healed", a_x=b"1")
        run.do(lambda b: b.flush("t"))
    run.store.crash()


def test_a_failed_sync_is_never_visible_and_nothing_is_accepted_after_it() -> None:
    base, model = base_state(prepare)
    run = Run(base, model)

    def hook(name: str, step: int) -> None:
        if name == "log.sync":
            raise OSError(errno.EIO, "input/output error")

    run.fs.step_hook = hook
    backend = run.backend
    with pytest.raises(StoreFailedException, match="What was acknowledged is safe"):
        run.put("t", b"r02", a_x=b"never")
    assert backend.table("t").row(b"r02").to_dict()[b"a:x"] == b"2"
    run.fs.step_hook = None  # the disk seems well again: a second sync must not be trusted
    with pytest.raises(StoreFailedException):
        backend.table("t").put(Put(b"r03").add(b"a:x", b"never"))
    with pytest.raises(StoreFailedException):
        backend.flush("t")
    assert backend.table("t").get(Get(b"r02")).to_dict()[b"a:x"] == b"2"
    backend.close()
    left = Run(run.fs.after_crash(), run.model)
    assert left.backend.table("t").row(b"r02").to_dict()[b"a:x"] == b"2"
    for seed in range(20):  # or it reached the disk after all: old or new, nothing else
        check_left(run.fs.after_crash(seed), run.acceptable, f"seed {seed}")


def test_a_full_disk_in_a_flush_is_one_clear_line_and_heals() -> None:
    base, model = base_state(prepare)
    run = Run(base, model)

    def full(name: str, step: int) -> None:
        if not name.startswith(("delete", "log.write", "log.sync")):  # the log has its space reserved
            raise OSError(errno.ENOSPC, "no space")

    run.fs.step_hook = full
    message = r"^\[Errno 28\] flush of region .* failed: no space.*make space"
    with pytest.raises(HBaseIOException, match=message) as caught:
        run.backend.flush("t")
    assert caught.value.errno == errno.ENOSPC
    files = sum(name.endswith(".arrow") for name in _all_names(run.fs))
    for _ in range(3):
        with pytest.raises(HBaseIOException):
            run.backend.flush("t")
    assert sum(name.endswith(".arrow") for name in _all_names(run.fs)) == files, "attempts fill the disk"
    assert observe(run.backend) == run.model
    run.fs.step_hook = None
    run.backend.flush("t")
    assert observe(run.backend) == run.model
    check_whole(run.backend)
    check_left(run.fs.after_crash(), [run.model], "healed")


def disabled_with_logged_edits() -> tuple[MemoryFileSystem, Model]:
    """A store, as a crash left it, whose table ``t`` is disabled and has edits that only the log holds."""
    base, model = base_state(prepare)
    run = Run(base, model)
    run.do(
        lambda b: b.create_table(TableDescriptor("n", [ColumnFamilyDescriptor(b"f")])),
        lambda m: m.tables.__setitem__("n", TableModel((b"f",))),
    )
    run.put("n", b"served", f_x=b"1")
    run.put("t", b"r05", a_x=b"only in the log")
    run.do(  # a server that dies before its regions are closed leaves this
        lambda b: b.store.catalog.set_enabled("t", False),
        lambda m: setattr(m.tables["t"], "enabled", False),
    )
    run.store.crash()
    return run.fs.after_crash(), run.model


def test_a_store_opens_on_a_disk_without_room_for_a_disabled_tables_edits() -> None:
    base, model = disabled_with_logged_edits()
    fs = base.after_crash()
    steps = len(fs.steps)
    open_store(fs).store.crash()
    total = len(fs.steps) - steps
    opened = 0
    for number in range(1, total + 1):
        fs = base.after_crash()
        failed: list[str] = []

        def full(
            name: str, step: int, first: int = len(fs.steps) + number, failed: list[str] = failed
        ) -> None:
            if step >= first and not name.startswith(("delete", "lock", "log.write", "log.sync")):
                failed.append(name)  # the log has its space reserved
                raise OSError(errno.ENOSPC, "no space")

        fs.step_hook = full
        try:
            backend = open_store(fs)
        except OSError:
            check_left(fs.after_crash(), [model], f"full from step {number} on")
            continue
        opened += 1
        assert observe(backend) == model
        if failed:
            with pytest.raises(HBaseIOException, match="make space"):
                backend.enable_table("t")
            with pytest.raises(HBaseIOException):
                backend.split("t", b"r02")
        fs.step_hook = None
        left = fs.after_crash()
        check_left(left, [model], f"full from step {number} on, then a crash")
        backend.enable_table("t")  # and there is room again
        enabled = copy.deepcopy(model)
        enabled.tables["t"].enabled = True
        assert observe(backend) == enabled
        for region in list(backend.store.engine.regions.values()):
            clean_region(region)  # files whose manifest found no room
        check_whole(backend)
        backend.close()
        assert observe(open_store(fs.after_crash())) == enabled
    assert opened > 10


@pytest.mark.parametrize("change", ["drop", "truncate", "alter", "close"])
def test_a_table_whose_edits_found_no_room_can_be_changed(change: str) -> None:
    base, model = disabled_with_logged_edits()
    fs = base.after_crash()

    def full(name: str, step: int) -> None:
        if name.startswith("writer."):  # of StoreFiles
            raise OSError(errno.ENOSPC, "no space")

    fs.step_hook = full
    backend = open_store(fs)
    assert len(backend.store.engine.regions) == 4  # hbase:meta, n, and the two that wait
    if change == "close":
        with pytest.raises(HBaseIOException, match="make space"):
            backend.close()
    fs.step_hook = None
    if change == "drop":
        backend.drop_table("t")
        del model.tables["t"]
    elif change == "truncate":
        backend.truncate_table("t")
        model.tables["t"].enabled, model.tables["t"].rows = True, {}
    elif change == "alter":
        families = [ColumnFamilyDescriptor(b"a", max_versions=2), ColumnFamilyDescriptor(b"b")]
        backend.alter_table(TableDescriptor("t", families))
    if change != "close":
        assert observe(backend) == model
        check_whole(backend)
        backend.store.crash()
    check_left(fs.after_crash(), [model], change)


def _all_names(fs: MemoryFileSystem, directory: str = "") -> list[str]:
    names = []
    for name in fs.list(directory):
        path = f"{directory}/{name}" if directory else name
        try:
            names += _all_names(fs, path)
        except NotADirectoryError:
            names.append(path)
    return names
