"""What a version keeps, and the intervals of its estimates."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tasks.core.definitions.modelling import Prediction
from tasks.core.estimation import conformal
from tasks.core.estimation.estimator import Known, PerformanceEstimator, estimate, fit
from tasks.core.estimation.past_errors import evenly, sampled
from tasks.core.estimation.record import records_of
from tasks.core.estimation.ways import Rows
from tasks.core.models.model_version import InputColumn, InputSchema, Signature
from tasks.core.models.registering.past import Past
from tasks.core.monitoring.records import WindowPerformance
from tasks.core.runs.manifest import Interval

ROWS = 400  # Of a window.


def signature(**output) -> Signature:
    inputs = InputSchema(columns=(InputColumn(name="x", type="float64"), InputColumn(name="kind", type="string")))
    return Signature(inputs=inputs, outputs={"p": Prediction(**output)})


PROBABILITY = signature(method="predict_proba", class_=True)
NUMBER = signature(method="predict")


def world(windows: int, seed: int, *, drift: float = 0.0) -> Past:
    """Windows whose levels differ by chance: P(late) is the logistic function of x, less what the day and `drift` take."""
    random = np.random.default_rng(seed)
    rows = windows * ROWS
    of = np.repeat(np.arange(windows), ROWS)
    x = random.normal(size=rows)
    level = random.normal(0, 0.4, windows)[of]
    truth = random.random(rows) < 1 / (1 + np.exp(-(x + level - drift)))
    return Past(
        table=pa.table({"x": x, "kind": np.where(x > 0, "up", "down")}),
        windows=np.array([f"{day:04d}" for day in range(windows)])[of],
        folds=(of * 4 // windows).astype(np.intp),
        outputs=pa.table({"p": 1 / (1 + np.exp(-x))}),
        truth=truth,
        is_labelled=random.random(rows) < 0.97,
    )


def known(past: Past) -> Known:
    kept = pa.array(past.is_labelled)
    return Known(past.table.filter(kept), past.outputs.filter(kept), past.truth[past.is_labelled])


def compared(kept: PerformanceEstimator, later: Past) -> list[WindowPerformance]:
    """The windows with their estimates, and with what scikit-learn says of their truth."""
    from sklearn.metrics import brier_score_loss, roc_auc_score

    found = []
    for label in np.unique(later.windows):
        rows = later.windows == label
        truth, scores = later.truth[rows], later.outputs["p"].to_numpy()[rows]
        metrics = {"roc_auc": roc_auc_score(truth, scores), "brier": brier_score_loss(truth, scores)}
        found.append(
            WindowPerformance(
                as_of=label,
                unit=label,
                run_id="r",
                model="m/0001",
                labels_as_of=label,
                rows=ROWS,
                labelled=ROWS,
                metrics={name: Interval(value=value) for name, value in metrics.items()},
                estimates=estimate(kept, later.outputs.filter(pa.array(rows))),
            )
        )
    return found


@pytest.fixture(scope="module")
def fitted():
    past = world(80, 0)
    return fit(past, known(world(20, 1)), PROBABILITY, is_classifier=True)


def test_the_intervals_cover_windows_that_are_like_those_of_the_past(fitted):
    records = {one.metric: one for one in records_of(compared(fitted.kept, world(56, 2)))}

    assert fitted.kept.method == "cbpe"
    assert set(records) == {"roc_auc", "brier"}
    for one in records.values():
        assert one.inside >= 50, one
        assert not one.muted
        assert abs(one.mean_error) < 0.02


def test_where_the_concept_drifts_the_record_shows_it_and_the_estimate_is_muted(fitted):
    records = {one.metric: one for one in records_of(compared(fitted.kept, world(20, 3, drift=2.5)))}

    assert records["brier"].muted
    assert records["brier"].mean_error < -0.03


def test_an_interval_is_as_wide_as_the_past_says_and_stays_where_a_metric_can_be(fitted):
    found = estimate(fitted.kept, pa.table({"p": np.full(10, 0.001)}))

    width = fitted.kept.half_widths["mean_truth"]
    share = found["mean_truth"]
    assert (share.low, share.high) == (0.0, pytest.approx(share.value + width))
    assert fitted.kept.windows == 80
    assert fitted.kept.lacks == ()


def test_what_is_kept_is_json_and_estimates_as_before(fitted):
    back = PerformanceEstimator.model_validate(json.loads(json.dumps(fitted.record)))
    scores = world(1, 5).outputs

    assert fitted.loss_model is None
    assert estimate(back, scores) == estimate(fitted.kept, scores)


def test_without_a_past_or_with_a_short_one_there_is_no_interval_and_it_says_so():
    benchmark = known(world(2, 1))

    for past in (None, world(18, 0)):
        kept = fit(past, benchmark, PROBABILITY, is_classifier=True).kept
        assert kept.half_widths == {}
        assert "fewer than 19 past windows" in kept.lacks[0]
        assert estimate(kept, benchmark.outputs)["roc_auc"].low is None


def test_a_past_that_is_one_part_is_cut_into_some():
    past = world(40, 0)

    one = fit(replace(past, folds=np.zeros_like(past.folds)), known(past), PROBABILITY, is_classifier=True).kept

    assert one.windows == 40
    assert 0 < one.half_widths["roc_auc"] < 0.2


@pytest.mark.extras
def test_a_number_is_estimated_by_its_losses():
    past = world(30, 0)
    random = np.random.default_rng(9)
    truth = past.outputs["p"].to_numpy() + random.normal(0, 0.5, len(past.truth))
    past = replace(past, truth=truth)

    made = fit(past, known(past), NUMBER, is_classifier=False)

    assert (made.kept.method, made.kept.features) == ("dle", ("x", "kind"))
    found = estimate(made.kept, past.outputs[:ROWS], past.table[:ROWS], made.loss_model)
    assert found["rmse"].value == pytest.approx(0.5, rel=0.05)
    assert found["mae"].low < 0.5 * np.sqrt(2 / np.pi) < found["mae"].high


@pytest.mark.parametrize(
    ("made_by", "is_classifier", "why"),
    [
        (NUMBER, True, "a class without its probability"),
        (signature(method="transform", class_=0), False, "what transform returns"),
    ],
)
def test_of_other_outputs_there_is_none_and_it_says_so(made_by, is_classifier, why):
    past = world(20, 0)

    kept = fit(past, known(past), made_by, is_classifier=is_classifier).kept

    assert kept.method == "none"
    assert why in kept.lacks[0]
    assert estimate(kept, past.outputs) == {}


def test_few_rows_and_strange_ones_cost_no_registration():
    past = known(world(1, 0))
    few = Known(past.table[:49], past.outputs[:49], past.truth[:49])
    strange = Known(past.table, past.outputs, np.full(len(past.truth), "late"))

    assert "49 labelled rows" in fit(None, few, PROBABILITY, is_classifier=True).kept.lacks[0]
    assert "ValueError" in fit(None, strange, NUMBER, is_classifier=False).kept.lacks[0]


def test_the_width_is_the_order_statistic_of_split_conformal():
    # Of 19 the largest, of 39 the 38th: ceil((n + 1) 0.95).
    assert conformal.half_width([*range(18)]) is None
    assert conformal.half_width([-19.0, *range(18)]) == 19
    assert conformal.half_width([float(one) for one in range(1, 40)]) == 38


def test_many_rows_are_sampled_evenly_and_the_same_ones_each_time():
    assert evenly(3, 5).tolist() == [0, 1, 2]
    assert evenly(10, 4).tolist() == [0, 2, 5, 7]
    rows = Rows(pa.table({"x": np.arange(300_000)}), np.arange(300_000.0), np.zeros(300_000))
    assert len(sampled(rows)) == 200_000
    assert sampled(rows).predicted[-1] == 299_998
