"""Tests of plugin.ops.ranges."""
