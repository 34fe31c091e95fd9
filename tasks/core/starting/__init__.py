"""How a project begins: the files of `lamplighter init`."""
