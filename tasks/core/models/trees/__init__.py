"""Tree ensembles of scikit-learn, evaluated by a kernel in C that this machine's compiler makes: the same bits, sooner."""
