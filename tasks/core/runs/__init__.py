"""A run and its record: planned, dealt out, gated, staged and published."""
