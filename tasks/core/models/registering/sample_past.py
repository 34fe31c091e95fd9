"""What the sample that a model was registered with says of the past: where it tells when its rows were."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.core.definitions.job import Job
from tasks.core.estimation.estimator import Known
from tasks.core.models.registering.past import Past
from tasks.core.models.registering.sample import Sample, column_of
from tasks.core.models.registering.sample_benchmark import event_times_in
from tasks.core.models.registering.training_data import window_labels
from tasks.core.models.registering.usual import History
from tasks.core.rows.conversions import plain


def history_of(sample: Sample, target: str, job: Job | None, rows: pa.Table, outputs: pa.Table) -> History:
    """The sample's rows by window, as the version scores them; it may have learnt from them, and they may be no whole windows."""
    if job is None:
        return History(None, "Alarms are not calibrated: no job says what the windows of this model are.")
    times = event_times_in(sample, job)
    if times is None:
        what = f"no column '{job.event_time}'" if job.event_time else "no event times"
        return History(None, f"Alarms are not calibrated: the sample has {what}, and so says of no row when it was.")
    timed = np.flatnonzero(times.is_valid().to_numpy(zero_copy_only=False))
    if not len(timed):
        return History(None, "Alarms are not calibrated: the sample says of no row when it was.")
    column: Any = times.drop_null()
    windows = window_labels(job, pa.chunked_array([column]))
    order = np.argsort(windows, kind="stable")
    kept = timed[order]
    truth, is_labelled = _labels(sample, target, len(rows))
    past = Past(
        table=rows.take(kept),
        windows=windows[order],
        folds=np.zeros(len(kept), np.intp),
        outputs=outputs.take(kept),
        truth=truth[kept],
        is_labelled=is_labelled[kept],
        is_out_of_sample=False,
    )
    return History(past, is_whole=False)


def known_of(sample: Sample, target: str, rows: pa.Table, outputs: pa.Table) -> Known | None:
    """The rows that have a label; None without a target."""
    if not target:
        return None
    truth, is_labelled = _labels(sample, target, len(rows))
    chosen = pa.array(is_labelled)
    return Known(rows.filter(chosen), outputs.filter(chosen), truth[is_labelled])


def _labels(sample: Sample, target: str, rows: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """The labels, anything where there is none; and where there is one."""
    if not target:
        return np.zeros(rows), np.zeros(rows, np.bool_)
    labels = plain(column_of(sample, target, "the target"))
    is_labelled = labels.is_valid().to_numpy(zero_copy_only=False)
    known = labels.drop_null().to_numpy(zero_copy_only=False)
    truth = np.zeros(rows, known.dtype)
    truth[is_labelled] = known
    return truth, is_labelled
