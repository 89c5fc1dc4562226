"""ranges: the ranges of every node of a cluster, and the assignment of new ones."""
