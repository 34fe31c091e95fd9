"""The page of a model: its production version, who moved it when and why, and what each version was worth."""

import datetime as dt
from dataclasses import replace

import pytest

from tasks.core.definitions.modelling import Prediction
from tasks.core.models.model_version import (
    Event,
    InputColumn,
    InputSchema,
    ModelManifest,
    ModelVersion,
    Signature,
    TrainingRecord,
)
from tasks.core.monitoring.records import Calibration, PerformanceCalibration, Tail
from tasks.core.pages import ModelLine, ModelPage, render_home, render_model
from tests.page_samples import HOSTILE, Page

AUC = {"name": "roc_auc", "value": 0.7214, "low": 0.7101, "high": 0.7333}


def version(number, pointer="job late, windows 2013-01-01 to 2013-04-30"):
    manifest = ModelManifest(
        name="late",
        version=number,
        registered_at=dt.datetime(2013, 7, number, 12, tzinfo=dt.UTC),
        registered_by="ann",
        files={},
        environment={},
        training=TrainingRecord(pointer=pointer, digest="0" * 32, rows=10),
    )
    inputs = InputSchema(columns=(InputColumn(name="x", type="float64"),))
    return ModelVersion(manifest, Signature(inputs=inputs, outputs={"p": Prediction()}))


def event(sequence, **parts):
    at = dt.datetime(2013, 8, sequence, tzinfo=dt.UTC)
    values = {"actor": "ann", "reason": "better in June", "evidence": {}, "action": "set_alias", "alias": "production"}
    if parts.get("action") == "recall":
        values["alias"] = None
    return Event(sequence=sequence, at=at, **values | parts)


def page(*events, versions=(1, 2), benchmarks=None):
    return ModelPage(
        model="late",
        versions=[version(number) for number in versions],
        benchmarks=benchmarks or {2: {"metrics": [AUC], "rows": 28243, "first": "2013-06-01", "last": "2013-06-30"}},
        events=events,
        home_href="../../index.html",
    )


def test_says_which_version_is_production_since_when_by_whom_and_why():
    text = Page(render_model(page(event(1, version=1), event(2, version=2, actor="bob")))).text
    assert "Version 2 is production" in text
    assert "Since 2013-08-02 00:00:00 UTC, by bob : better in June" in text
    assert "roc_auc 0.721 (0.710 to 0.733)" in text
    assert "28,243 rows, 2013-06-01 to 2013-06-30" in text
    assert "version 2 followed" in text


def test_a_recalled_version_is_marked_and_no_version_is_production():
    text = Page(
        render_model(page(event(1, version=2), event(2, action="recall", version=2, reason="wrong units")))
    ).text
    assert "No version is production" in text
    assert "recalled by ann: wrong units" in text
    assert "Recalled for ever" in text


def test_a_change_by_force_says_so_and_links_to_its_verdict():
    evidence = {"page": "reports/_models/late/promote-0002-000001.html"}
    found = Page(render_model(page(event(1, version=2, forced=True, evidence=evidence))))
    assert "by force" in found.text
    assert "promote-0002-000001.html" in [attributes.get("href") for tag, attributes in found.elements if tag == "a"]


def test_a_model_that_nobody_promoted():
    text = Page(render_model(page(versions=(1,), benchmarks={1: {}}))).text
    assert "No alias has named a version yet." in text
    assert "1 version" in text


@pytest.mark.parametrize("text", HOSTILE)
def test_what_people_write_is_escaped(text):
    hostile = ModelPage(
        model="late",
        versions=[version(1, pointer=text)],
        benchmarks={1: {"metrics": [{"name": text, "value": "x"}, 7], "rows": "many"}},
        events=[event(1, version=1, actor=text, reason=text), event(2, action="recall", version=1, reason=text)],
    )
    found = Page(render_model(hostile))
    assert not {"script", "img"} & {tag for tag, _ in found.elements}


def test_the_list_of_jobs_lists_the_models_too():
    since = dt.datetime(2013, 7, 1, tzinfo=dt.UTC)
    lines = [ModelLine("late", "_models/late/index.html", 2, since, 3), ModelLine("new", "_models/new/index.html")]
    found = Page(render_home([], lines))
    assert "2013-07-01 00:00:00 UTC" in found.text
    hrefs = [attributes.get("href") for tag, attributes in found.elements if tag == "a"]
    assert hrefs == ["_models/late/index.html", "_models/new/index.html"]


def test_a_benchmark_on_a_sample_says_so():
    note = "on the sample given at registration"
    text = Page(render_model(page(benchmarks={2: {"metrics": [AUC], "rows": 50, "first": "", "note": note}}))).text
    assert f"50 rows, {note}" in text


def test_says_of_each_version_whether_its_alarms_have_a_stated_rate():
    tail = Tail(middle=0, spread=1, excesses=12, highest=3, blocks=25, blocks_a_year=52)
    performance = PerformanceCalibration(figures={}, together=14, tail=tail)
    known = Calibration(first="2013-01-01", last="2013-06-30", units=181, performance=performance)
    without = Calibration(lacks=("The past holds 1 whole weeks.",))
    shown = replace(page(versions=(1, 2, 3)), calibrations={1: None, 2: without, 3: known})

    text = Page(render_model(shown)).text

    assert "not calibrated: registered before there was a monitor" in text
    assert "The past holds 1 whole weeks." in text
    assert "of performance, calibrated on 181 days, 2013-01-01 to 2013-06-30" in text
