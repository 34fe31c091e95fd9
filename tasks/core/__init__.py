"""The foundations: pure, Prefect-free, each with one concern. They import each other downwards only."""
