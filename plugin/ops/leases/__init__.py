"""leases and gc: host-local's stores, and which of the leases in them are in use."""
