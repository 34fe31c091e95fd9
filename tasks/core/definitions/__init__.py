"""What a team writes: jobs, windows, columns and their types."""
