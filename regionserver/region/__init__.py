"""Regions built on storage: stores, MVCC, read path, flush, compaction, split, merge and the engine that owns them."""
