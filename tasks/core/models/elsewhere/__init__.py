"""Models that another interpreter loads: in a child process of its environment, Arrow in and Arrow out."""
