"""Model versions: kept, tried at the gate, loaded, asked for predictions, and measured."""
