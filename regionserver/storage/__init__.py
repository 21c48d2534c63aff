"""Bytes on disk and in memory: file system, log, MemStore, StoreFile, Bloom filter, block cache."""
