"""Unit tests of plugin/ops/doctor."""
