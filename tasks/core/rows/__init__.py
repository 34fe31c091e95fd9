"""Rows on their way: brought to their types, hashed, told apart, taken out, and the columns they are published in."""
