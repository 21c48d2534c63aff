"""``hyperbase hbck`` on real processes; and hbase:meta lost together with every process."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hyperbase.cli.main import main
from hyperbase.common.catalog import META_DIRECTORY
from tests.support.cluster import READY_S, Cluster
from tests.support.waiting import wait_for

ROWS = {b"%03d" % number: {b"f:q": b"%d" % number} for number in range(300)}


def test_a_cluster_whose_processes_and_hbase_meta_are_gone_has_everything_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"

    def hbck(*words: object) -> tuple[int, str]:
        code = main(["hbck", *map(str, words)])
        out, err = capsys.readouterr()
        return code, out + err

    with Cluster(tmp_path, masters=1, region_servers=2, restart=False) as cluster:
        with cluster.connect() as db:
            db.create_table("t", {"f": {"max_versions": 4}}, splits=[b"100"])
            for number, (row, data) in enumerate(ROWS.items()):
                db.table("t").put(row, data)
                if number == 150:
                    db.admin.flush("t")  # the rest is in logs only
            db.admin.split("t", b"200")
            for row in list(ROWS)[::7]:
                db.table("t").put(row, ROWS[row])
            before = (db.admin.describe_table("t"), db.admin.regions("t"))
        assert hbck(cluster.url) == (0, f"{cluster.url}: consistent\n")
        code, said = hbck(root)
        assert (code, "is at work" in said) == (2, True)

        for label in cluster.labels():
            cluster.kill(label)
        assert hbck(root) == (0, f"{root}: consistent\n")
        shutil.rmtree(root / META_DIRECTORY)
        assert hbck(root)[0] == 2
        code, said = hbck("--rebuild-meta", "--json", root)
        assert (code, json.loads(said)["tables"]) == (0, {"t": 3})

        for label in cluster.labels():
            cluster.start_again(label)
        cluster.wait_until_ready()
        with cluster.connect() as db:
            assert dict(db.table("t").scan()) == ROWS
            assert (db.admin.describe_table("t"), db.admin.regions("t")) == before
            db.table("t").put(b"new", {b"f:q": b"v"})
            assert db.table("t").row(b"new") == {b"f:q": b"v"}
        assert hbck(cluster.url)[0] == 0


def test_a_master_does_not_begin_where_hbase_meta_is_lost(tmp_path: Path) -> None:
    """It would take every region for a leftover."""
    with Cluster(tmp_path, masters=1, region_servers=1, restart=False) as cluster:
        with cluster.connect() as db:
            db.create_table("t", {"f": {}})
            db.table("t").put(b"r", {b"f:q": b"v"})
            db.admin.flush("t")
        for label in cluster.labels():
            cluster.kill(label)
        shutil.rmtree(tmp_path / "data" / META_DIRECTORY)
        files = sorted((tmp_path / "data").rglob("*.arrow"))
        for label in cluster.labels():
            cluster.start_again(label)
        wait_for(lambda: "hyperbase hbck --rebuild-meta" in cluster.log("master-1"), cluster.tell, READY_S)
        assert sorted((tmp_path / "data").rglob("*.arrow")) == files
