"""How good published predictions turned out to be, as their labels arrive."""
