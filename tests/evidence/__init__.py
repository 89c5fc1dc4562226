"""Tests of plugin.evidence."""
