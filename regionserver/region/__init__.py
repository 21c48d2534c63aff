"""Regions built on storage: MVCC, read path, flush, compaction, and the engine that owns them."""
