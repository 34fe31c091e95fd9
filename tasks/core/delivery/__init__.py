"""Delivery: what readers of the lake see of a job's windows, in a table of a database too."""
