"""Distributions: of the training data, of a window, and how far the one lies from the other."""
