"""Unit tests of plugin/node."""
