"""Commands of HBase's shell that wait for features of later versions: they say so, and fail."""

from __future__ import annotations

from hyperbase.shell.registry import register_later

register_later(
    "tools",
    [
        ("clear_slowlog_responses", "Forget the requests that were slow.", "clear_slowlog_responses"),
        ("get_slowlog_responses", "Print the requests that were slow.", "get_slowlog_responses '*'"),
        ("get_largelog_responses", "Print the requests with large answers.", "get_largelog_responses '*'"),
        ("truncate_region", "Remove every row of one region.", "truncate_region 'ENCODED_REGIONNAME'"),
    ],
)
register_later(
    "snapshots",
    [
        ("snapshot", "Keep a table as it is now, under a name.", "snapshot 'ns1:t1', 'snapshot1'"),
        ("clone_snapshot", "Make a new table from a snapshot.", "clone_snapshot 'snapshot1', 'ns1:t2'"),
        (
            "restore_snapshot",
            "Give a disabled table the contents of a snapshot.",
            "restore_snapshot 'snapshot1'",
        ),
        ("delete_snapshot", "Remove a snapshot.", "delete_snapshot 'snapshot1'"),
        (
            "delete_all_snapshot",
            "Remove the snapshots that match a regular expression.",
            "delete_all_snapshot 's.*'",
        ),
        ("delete_table_snapshots", "Remove snapshots of tables.", "delete_table_snapshots 't.*', 's.*'"),
        ("list_snapshots", "Print the snapshots.", "list_snapshots 'abc.*'"),
        ("list_table_snapshots", "Print the snapshots of tables.", "list_table_snapshots 't.*', 's.*'"),
    ],
)
register_later(
    "replication",
    [
        ("add_peer", "Add a cluster to replicate to.", "add_peer '1', CLUSTER_KEY => 'server1:2181:/hbase'"),
        ("remove_peer", "Stop replicating to a cluster and forget it.", "remove_peer '1'"),
        ("enable_peer", "Replicate to a cluster again.", "enable_peer '1'"),
        ("disable_peer", "Keep what is to be replicated to a cluster for later.", "disable_peer '1'"),
        ("list_peers", "Print the clusters replicated to.", "list_peers"),
        ("list_peer_configs", "Print the settings of all peers.", "list_peer_configs"),
        ("get_peer_config", "Print the settings of a peer.", "get_peer_config '1'"),
        ("update_peer_config", "Change the settings of a peer.", "update_peer_config '1', CONFIG => {}"),
        ("list_replicated_tables", "Print the tables that are replicated.", "list_replicated_tables 'abc.*'"),
        ("enable_table_replication", "Replicate a table to all peers.", "enable_table_replication 't1'"),
        ("disable_table_replication", "Replicate a table no more.", "disable_table_replication 't1'"),
        ("set_peer_replicate_all", "Replicate everything to a peer.", "set_peer_replicate_all '1', true"),
        ("set_peer_serial", "Replicate to a peer in the order of writes.", "set_peer_serial '1', true"),
        ("set_peer_bandwidth", "Limit the bytes per second of a peer.", "set_peer_bandwidth '1', 1048576"),
        ("set_peer_namespaces", "Say which namespaces a peer gets.", "set_peer_namespaces '1', ['ns1']"),
        ("append_peer_namespaces", "Give a peer more namespaces.", "append_peer_namespaces '1', ['ns2']"),
        ("remove_peer_namespaces", "Give a peer fewer namespaces.", "remove_peer_namespaces '1', ['ns2']"),
        ("set_peer_exclude_namespaces", "Say which namespaces a peer does not get.",
         "set_peer_exclude_namespaces '1', ['ns1']"),
        ("append_peer_exclude_namespaces", "Keep more namespaces from a peer.",
         "append_peer_exclude_namespaces '1', ['ns2']"),
        ("remove_peer_exclude_namespaces", "Keep fewer namespaces from a peer.",
         "remove_peer_exclude_namespaces '1', ['ns2']"),
        ("set_peer_tableCFs", "Say which tables a peer gets.", "set_peer_tableCFs '1', {'t1' => ['cf1']}"),
        ("append_peer_tableCFs", "Give a peer more tables.", "append_peer_tableCFs '1', {'t2' => []}"),
        ("remove_peer_tableCFs", "Give a peer fewer tables.", "remove_peer_tableCFs '1', {'t2' => []}"),
        ("show_peer_tableCFs", "Print the tables that a peer gets.", "show_peer_tableCFs '1'"),
        ("set_peer_exclude_tableCFs", "Say which tables a peer does not get.",
         "set_peer_exclude_tableCFs '1', {'t1' => []}"),
        ("append_peer_exclude_tableCFs", "Keep more tables from a peer.",
         "append_peer_exclude_tableCFs '1', {'t2' => []}"),
        ("remove_peer_exclude_tableCFs", "Keep fewer tables from a peer.",
         "remove_peer_exclude_tableCFs '1', {'t2' => []}"),
    ],
)  # fmt: skip
register_later(
    "quotas",
    [
        ("set_quota", "Limit requests or space of a user, table or namespace.",
         "set_quota TYPE => THROTTLE, USER => 'u1', LIMIT => '10req/sec'"),
        ("list_quotas", "Print the quotas.", "list_quotas"),
        ("list_quota_table_sizes", "Print the sizes that quotas see.", "list_quota_table_sizes"),
        ("list_quota_snapshots", "Print how tables stand to their quotas.", "list_quota_snapshots"),
        ("list_snapshot_sizes", "Print the sizes of snapshots.", "list_snapshot_sizes"),
        ("enable_rpc_throttle", "Have quotas of requests enforced.", "enable_rpc_throttle"),
        ("disable_rpc_throttle", "Have quotas of requests not enforced.", "disable_rpc_throttle"),
        ("enable_exceed_throttle_quota", "Let users have what others leave.", "enable_exceed_throttle_quota"),
        ("disable_exceed_throttle_quota", "Keep users to their quota.", "disable_exceed_throttle_quota"),
    ],
)  # fmt: skip
register_later(
    "security",
    [
        ("grant", "Give a user or group rights.", "grant 'bobsmith', 'RWXCA', 't1'"),
        ("revoke", "Take rights from a user or group.", "revoke 'bobsmith', 't1'"),
        ("user_permission", "Print who has rights.", "user_permission 't1'"),
        ("list_security_capabilities", "Print what security there is.", "list_security_capabilities"),
    ],
)
register_later(
    "procedures",
    [
        ("list_locks", "Print what is locked by changes under way.", "list_locks"),
    ],
)
register_later(
    "visibility labels",
    [
        ("add_labels", "Make labels for cells.", "add_labels ['SECRET', 'PRIVATE']"),
        ("list_labels", "Print the labels.", "list_labels 'secret.*'"),
        ("set_auths", "Let a user see labels.", "set_auths 'user1', ['SECRET']"),
        ("get_auths", "Print the labels that a user sees.", "get_auths 'user1'"),
        ("clear_auths", "Take labels from a user.", "clear_auths 'user1', ['SECRET']"),
        ("set_visibility", "Label cells that are there.", "set_visibility 't1', 'A|B', {COLUMNS => 'c1'}"),
    ],
)
register_later(
    "rsgroup",
    [
        ("add_rsgroup", "Make a group of servers.", "add_rsgroup 'my_group'"),
        ("remove_rsgroup", "Remove an empty group.", "remove_rsgroup 'my_group'"),
        ("list_rsgroups", "Print the groups.", "list_rsgroups"),
        ("get_rsgroup", "Print the servers and tables of a group.", "get_rsgroup 'default'"),
        ("balance_rsgroup", "Balance the regions of a group.", "balance_rsgroup 'my_group'"),
        ("rename_rsgroup", "Give a group another name.", "rename_rsgroup 'old', 'new'"),
        ("move_servers_rsgroup", "Move servers to a group.", "move_servers_rsgroup 'g', ['server1:16020']"),
        ("move_tables_rsgroup", "Move tables to a group.", "move_tables_rsgroup 'g', ['t1']"),
        ("move_namespaces_rsgroup", "Move the tables of namespaces to a group.",
         "move_namespaces_rsgroup 'g', ['ns1']"),
        ("move_servers_tables_rsgroup", "Move servers and tables to a group.",
         "move_servers_tables_rsgroup 'g', ['server1:16020'], ['t1']"),
        ("move_servers_namespaces_rsgroup", "Move servers and namespaces to a group.",
         "move_servers_namespaces_rsgroup 'g', ['server1:16020'], ['ns1']"),
        ("get_server_rsgroup", "Print the group of a server.", "get_server_rsgroup 'server1:16020'"),
        ("get_table_rsgroup", "Print the group of a table.", "get_table_rsgroup 't1'"),
        ("get_namespace_rsgroup", "Print the group of a namespace.", "get_namespace_rsgroup 'ns1'"),
        ("remove_servers_rsgroup", "Remove servers from their group.",
         "remove_servers_rsgroup ['server1:16020']"),
        ("alter_rsgroup_config", "Change the settings of a group.",
         "alter_rsgroup_config 'g', {METHOD => 'set', 'a' => 'b'}"),
        ("show_rsgroup_config", "Print the settings of a group.", "show_rsgroup_config 'g'"),
    ],
)  # fmt: skip
