"""Unit tests of plugin/start."""
