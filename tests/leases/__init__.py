"""Unit tests of plugin/leases."""
