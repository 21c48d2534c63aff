"""HappyBase's Batch is the client's own."""

from hyperbase.client.batch import Batch

__all__ = ["Batch"]
