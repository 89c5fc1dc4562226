"""Unit tests of plugin/ops/leases."""
