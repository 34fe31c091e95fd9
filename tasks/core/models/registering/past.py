"""What is known of the past when a version is made: all its rows, each scored by a model that has not seen it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


@dataclass(frozen=True)
class OwnPast:
    """What a model makes of a sample of the rows that it may have learnt from; its mean truth less mean prediction there."""

    outputs: pa.Table
    bias: float | None


@dataclass(frozen=True)
class Past:
    """All rows of the training's ranges in the order of their windows, labelled or not, as scoring takes them.

    `windows` is the label of each row's window, `folds` the number of the part that was left out when it was scored.
    `outputs` are the published columns; `truth` holds the label where `is_labelled`, and anything else where not.
    `own` is what each fold's model makes of the other folds; none where that is not known. `is_out_of_sample` is false of a registered file's sample, which the model may have seen.
    """

    table: pa.Table
    windows: npt.NDArray[Any]
    folds: npt.NDArray[np.intp]
    outputs: pa.Table
    truth: npt.NDArray[Any]
    is_labelled: npt.NDArray[np.bool_]
    is_out_of_sample: bool = True
    own: tuple[OwnPast, ...] = ()
