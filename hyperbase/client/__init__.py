"""The Python client API: one Connection, Table, Batch and Admin over the small Backend protocol."""
