"""Retention: what has outlived a job's policy is found, and removed where that is asked for."""
