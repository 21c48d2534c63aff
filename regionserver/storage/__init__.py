"""Bytes on disk and in memory: file system, write-ahead log, MemStore, StoreFile, Bloom filter, block cache."""
