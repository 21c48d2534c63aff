"""The asyncio client: the operations of ``hyperbase.client.network``, carried out by an event loop."""
