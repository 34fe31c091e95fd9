"""How a version comes to be: of a training run's rows, or of a file that exists already."""
