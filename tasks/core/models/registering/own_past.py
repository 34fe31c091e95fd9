"""What a model makes of its own past: what its scores and its bias are held against later, by the monitor.

One that was put right on a month of few delays scores too low ever after, and in steps of its own. That is known when it
is made, and no news: what is news is how far it goes from there. So it is for each fold's model, and for the version.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.core.models.gate import evaluation
from tasks.core.models.gate.metrics import OF_NUMBERS
from tasks.core.models.model import LoadedModel, score_with_bisection, unregistered
from tasks.core.models.model_version import Signature
from tasks.core.models.registering.past import OwnPast

# Evenly over the past; of probabilities they leave the bias uncertain by 0.003.
_ROWS = 20_000


def own_past(
    model: Any,
    signature: Signature,
    table: pa.Table,
    truth: npt.NDArray[Any],
    is_labelled: npt.NDArray[np.bool_],
    places: npt.NDArray[np.intp],
) -> OwnPast:
    """What the model makes of a sample of these rows, which it may have learnt from."""
    places = places[np.linspace(0, len(places) - 1, min(_ROWS, len(places)), dtype=np.intp)]
    outputs, kept, _ = score_with_bisection(
        LoadedModel(unregistered(signature), model),
        table.take(places),
        np.arange(len(places)),
        signature.outputs,
        give_up_after=len(places) + 1,
    )
    places = places[kept]
    known = is_labelled[places]
    bias = _bias(model, signature, outputs.filter(pa.array(known)), truth[places][known])
    return OwnPast(outputs, bias)


def _bias(model: Any, signature: Signature, outputs: pa.Table, truth: npt.NDArray[Any]) -> float | None:
    """Mean truth less mean prediction of the first output; None of no rows and of what has none: classes, mere ranks."""
    name, output = next(iter(signature.outputs.items()))
    target = evaluation.target_of(output, truth, is_classifier=hasattr(model, "classes_"))
    if not len(truth) or not (target.is_probability or target.metrics is OF_NUMBERS):
        return None
    return float(target.truth.mean() - outputs[name].to_numpy().mean())
