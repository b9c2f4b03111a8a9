"""Measurements that are run by hand; times never decide whether a test passes."""
