"""The operator's commands; the CNI path imports nothing of this."""
