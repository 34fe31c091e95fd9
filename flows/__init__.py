"""The flows: each reads aloud as a table of contents."""
