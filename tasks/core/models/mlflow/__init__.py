"""The registry of MLflow: what its aliases name is mirrored into the lake, and passes the same gate."""
