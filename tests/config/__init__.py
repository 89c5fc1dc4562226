"""Unit tests of plugin/config."""
