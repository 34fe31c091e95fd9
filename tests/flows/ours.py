"""A model of a type that no list knows, where child processes find it, too."""

import numpy as np


class Ours:
    """The odds of a row are e to its x."""

    feature_names_in_ = np.array(["x", "y"])
    classes_ = np.array([0, 1])

    def predict_proba(self, frame):
        late = 1 / (1 + np.exp(-frame["x"].fillna(0).to_numpy()))
        return np.column_stack([1 - late, late])
