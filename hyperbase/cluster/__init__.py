"""A cluster's processes: region server, master, and the supervisor that runs all of them on one machine."""
