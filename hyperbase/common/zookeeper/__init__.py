"""The cluster's coordination in a real ZooKeeper: znodes, sessions, leases, elections. Needs kazoo."""
