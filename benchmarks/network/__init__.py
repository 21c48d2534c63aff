"""Benchmarks over the network, beside an echo server and a real HBase: ``make bench-network``."""
