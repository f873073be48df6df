"""The store: rows, audit log and blobs; the only memory that survives."""

from gateway.store.store import SqlStore, open_store

__all__ = ["SqlStore", "open_store"]
