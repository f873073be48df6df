"""Article 18 Gateway: one process is one authority's node."""

__version__ = "0.1.0"
