"""Unit tests of plugin/ops."""
