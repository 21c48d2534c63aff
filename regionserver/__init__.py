"""The region server: storage (WAL, MemStore, StoreFile) and regions (flush, compaction, split)."""
