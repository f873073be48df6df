"""The client half of the federation: TLS contexts from pinned cards, and calls to peers."""
