"""What several suites share: authorities, stores, nodes."""
