"""Unit tests of plugin/addresses."""
