"""Unit tests of plugin/ops/deploy."""
