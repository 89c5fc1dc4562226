"""Leases: host-local and its store, what an ADD allocates, what a DEL releases, and what is reclaimed."""
