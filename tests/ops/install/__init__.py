"""Unit tests of plugin/ops/install."""
