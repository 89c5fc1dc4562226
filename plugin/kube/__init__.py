"""The Kubernetes side: the only place that knows kubeconfigs, TLS and HTTP, and that needs the bundled packages."""
