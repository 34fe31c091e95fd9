"""All that a version is made of, from a fitted model and rows that it has scored: training and registration alike."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.core import provenance
from tasks.core.models.formats import get_format
from tasks.core.models.gate.evaluation import Benchmark
from tasks.core.models.loading import libraries
from tasks.core.models.model_version import Candidate, Signature, TrainingRecord
from tasks.core.profiles.profile import ReferenceProfile, reference_profile

_PROBE_ROWS = 100


def make_candidate(
    content: bytes,
    signature: Signature,
    rows: pa.Table,
    outputs: pa.Table,
    *,
    features: ReferenceProfile,
    benchmark: Benchmark | None,
    training: TrainingRecord,
    card: dict[str, str],
    loaded_with: Mapping[str, str] | None = None,
) -> Candidate:
    """A version of the model in `content`, which made `outputs` of `rows`; some of these are its probe.

    `loaded_with` are the versions of the libraries that made them, where these are not the ones here.
    """
    probed = spread(len(rows))
    return Candidate(
        model_bytes=content,
        signature=signature,
        profile={
            "features": features.model_dump(mode="json"),
            "predictions": reference_profile(outputs).model_dump(mode="json"),
        },
        benchmark=benchmark.model_dump(mode="json") if benchmark else {},
        probe=rows.take(probed),
        expected=outputs.take(probed),
        training=training,
        code=provenance.code_record(),
        environment=provenance.environment() | dict(loaded_with or libraries(get_format(signature.format))),
        card=card,
    )


def spread(rows: int) -> npt.NDArray[np.int64]:
    """The probe's positions among so many rows: all over them, as all windows and kinds of rows are to be among it."""
    return np.unique(np.linspace(0, rows - 1, _PROBE_ROWS).astype(np.int64))
