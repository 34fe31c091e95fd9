"""What the flows call: a module a stage, over shards/ (run in child processes) and core/ (the foundations)."""
