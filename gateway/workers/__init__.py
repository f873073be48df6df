"""Long-running tasks of a node: the courier and those that keep its state current."""
