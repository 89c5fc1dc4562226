"""deploy: manifests that install the plugins on every node of a cluster."""
