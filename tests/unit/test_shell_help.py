"""Every command of HBase's shell is known, in its group, with help and an example that parses."""

from __future__ import annotations

import pytest

from hyperbase.shell.constants import CONSTANTS
from hyperbase.shell.parser import parse
from hyperbase.shell.registry import GROUPS, Command, commands

# HBase 2.5's shell, group by group, without the aliases.
HBASE = {
    "general": """
        processlist status table_help version whoami
    """,
    "ddl": """
        alter alter_async alter_status clone_table_schema create describe disable disable_all drop
        drop_all enable enable_all exists get_table is_disabled is_enabled list list_regions
        locate_region show_filters
    """,
    "namespace": """
        alter_namespace create_namespace describe_namespace drop_namespace list_namespace
        list_namespace_tables
    """,
    "dml": """
        append count delete deleteall get get_counter get_splits incr put scan truncate
        truncate_preserve
    """,
    "tools": """
        assign balance_switch balancer balancer_enabled catalogjanitor_enabled catalogjanitor_run
        catalogjanitor_switch cleaner_chore_enabled cleaner_chore_run cleaner_chore_switch
        clear_block_cache clear_compaction_queues clear_deadservers clear_slowlog_responses
        close_region compact compact_rs compaction_state compaction_switch
        decommission_regionservers flush get_balancer_decisions get_balancer_rejections
        get_largelog_responses get_slowlog_responses hbck_chore_run is_in_maintenance_mode
        list_deadservers list_decommissioned_regionservers major_compact merge_region move normalize
        normalizer_enabled normalizer_switch recommission_regionserver regioninfo rit
        snapshot_cleanup_enabled snapshot_cleanup_switch split splitormerge_enabled
        splitormerge_switch stop_master stop_regionserver trace unassign wal_roll zk_dump
        list_liveservers list_unknownservers truncate_region flush_master_store
    """,
    "snapshots": """
        snapshot clone_snapshot restore_snapshot delete_snapshot delete_all_snapshot
        delete_table_snapshots list_snapshots list_table_snapshots
    """,
    "configuration": """
        update_config update_all_config
    """,
    "quotas": """
        set_quota list_quotas list_quota_snapshots list_quota_table_sizes list_snapshot_sizes
        enable_rpc_throttle disable_rpc_throttle enable_exceed_throttle_quota
        disable_exceed_throttle_quota
    """,
    "security": """
        grant revoke user_permission list_security_capabilities
    """,
    "procedures": """
        list_procedures list_locks
    """,
    "visibility labels": """
        add_labels list_labels set_auths get_auths clear_auths set_visibility
    """,
    "rsgroup": """
        add_rsgroup remove_rsgroup list_rsgroups get_rsgroup balance_rsgroup move_servers_rsgroup
        move_tables_rsgroup move_namespaces_rsgroup move_servers_tables_rsgroup
        move_servers_namespaces_rsgroup get_server_rsgroup get_table_rsgroup get_namespace_rsgroup
        remove_servers_rsgroup rename_rsgroup alter_rsgroup_config show_rsgroup_config
    """,
    "replication": """
        add_peer remove_peer enable_peer disable_peer list_peers list_peer_configs get_peer_config
        update_peer_config list_replicated_tables enable_table_replication disable_table_replication
        set_peer_replicate_all set_peer_serial set_peer_bandwidth set_peer_namespaces
        set_peer_tableCFs set_peer_exclude_namespaces set_peer_exclude_tableCFs
        append_peer_namespaces append_peer_tableCFs append_peer_exclude_namespaces
        append_peer_exclude_tableCFs remove_peer_namespaces remove_peer_tableCFs
        remove_peer_exclude_namespaces remove_peer_exclude_tableCFs show_peer_tableCFs
    """,
}


@pytest.mark.parametrize("group", HBASE)
def test_every_command_of_hbase_is_there(group: str) -> None:
    found = {entry.name for entry in commands().values() if entry.group == group}
    assert found == set(HBASE[group].split())
    assert set(HBASE) == set(GROUPS)


def test_aliases() -> None:
    assert commands()["desc"] is commands()["describe"]
    assert commands()["hlog_roll"] is commands()["wal_roll"]


@pytest.mark.parametrize(
    "entry", {entry.name: entry for entry in commands().values()}.values(), ids=lambda e: e.name
)
def test_every_command_has_help_and_examples_that_parse(entry: Command) -> None:
    assert len(entry.help) > 10
    assert entry.help.endswith(".")
    assert entry.examples
    assert any(entry.name in example for example in entry.examples)
    for example in entry.examples:
        assert len(parse(example)) == 1, example


def test_constants_that_options_are_written_with_exist() -> None:
    for name in ("NAME", "VERSIONS", "SPLITS", "ROWPREFIXFILTER", "METHOD", "THROTTLE", "CLUSTER_KEY"):
        assert name in CONSTANTS
