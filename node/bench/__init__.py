"""Measurements that check their own results: what `unveto bench` runs."""
