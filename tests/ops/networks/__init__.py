"""Unit tests of plugin/ops/networks."""
