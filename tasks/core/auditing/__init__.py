"""Audits: whether what readers see is what the records say, and what the model makes of the same rows again."""
