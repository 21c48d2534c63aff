"""Benchmarks against RocksDB (through rocksdict) and SQLite: ``make bench``."""
