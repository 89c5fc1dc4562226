"""Unit tests of plugin/kube."""
