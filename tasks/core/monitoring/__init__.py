"""Whether what was published is still to be believed: drift and performance against what is usual, and when to say so."""
