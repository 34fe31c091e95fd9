"""Delta Lake: the log of a table, read and written. What stands in a table is what its log says, and nothing else."""
