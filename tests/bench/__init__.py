"""Benchmarks: scripts that print figures with machine, versions and settings. Nothing here asserts a time."""
