"""The flow `promote`: who takes production's place and who does not, by force, and meanwhile."""

import json
import os

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

from tasks.core import layout
from tasks.core.definitions.modelling import Prediction
from tasks.core.models.registry import Registry
from tasks.core.runs import promotions
from tests.flows.conftest import as_table, logistic_model, readings, register
from tests.flows.graded import (
    BETTER,
    FEATURES,
    HAS_SEEN_THEM,
    HOT,
    JUDGED,
    PRODUCTION,
    SLOW,
    WORSE,
    WORSE_IF_HOT,
    aliases,
    checks,
    last_event,
    promoted,
)
from tests.page_samples import Page


def test_a_better_candidate_takes_production_s_place_and_the_history_keeps_why(judged, lamplighter, processes):
    code, out, err = lamplighter("promote", "readings", "--version", str(BETTER), "--reason", "it looks at x", "--json")

    assert (code, err) == (0, "")
    said = json.loads(out)
    assert (said["promoted"]["version"], said["promoted"]["replaced"], said["error"]) == (BETTER, PRODUCTION, None)
    expected = ("load", "schema", "rows", "held out", "metric roc_auc", "calibration", "speed", "memory")
    slices = ("slice kind = cold", f"slice kind = {HOT}")
    assert checks(said["verdict"]) == dict.fromkeys((*expected, *slices), "passed")
    assert aliases(judged) == {"production": BETTER}

    event = last_event(judged)
    assert (event.reason, event.forced, event.version) == ("it looks at x", False, BETTER)
    kept = event.evidence["verdict"]
    assert (kept["rows"], kept["windows"], kept["first"], kept["last"]) == (2500, 10, JUDGED["first"], JUDGED["last"])
    (metric,) = [one for one in kept["checks"] if one["check"] == "metric"]
    assert metric["low"] > 0
    assert event.evidence["flow_run_id"]

    page = (judged.lake.root / event.evidence["page"]).read_text()
    assert "Version 3 passes" in page
    assert HOT not in page
    assert "kind = <b>hot</b>" in Page(page).text
    model_page = Page((judged.lake.root / "reports/_models/readings/index.html").read_text())
    assert "promote-0003-000001.html" in [attributes.get("href") for tag, attributes in model_page.elements]


def test_the_verdict_is_in_the_prefect_ui_too(judged):
    state = promoted(judged, BETTER)

    assert (state.name, state.is_completed()) == ("Promoted", True)
    assert (
        state.message
        == "production of readings is version 3, after version 2: 10 of 10 checks passed, 0 were not judged"
    )
    runs = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:
        found = {one.key: one for one in client.read_artifacts(artifact_filter=runs)}
    rows = json.loads(found["promote-readings-3-checks"].data)
    assert {row["outcome"] for row in rows} == {"passed"}
    assert "metric roc\\_auc" in found["promote-readings-3-verdict"].data


def test_a_worse_one_is_refused_and_nothing_is_moved(judged, lamplighter):
    before = Registry(judged.lake).history("readings")

    code, out, err = lamplighter("promote", "readings", "--version", str(WORSE), "--reason", "try")

    assert code == 3
    assert "metric roc_auc" in out
    (paragraph,) = err.strip().splitlines()
    assert "version 4 of readings does not become production" in paragraph
    assert "(1) roc_auc is 0." in paragraph
    assert "No alias was moved; the verdict is " in paragraph
    assert paragraph.endswith('lamplighter promote readings --version 4 --job readings --force --reason "why".')
    assert Registry(judged.lake).history("readings") == before
    code, out, _ = lamplighter("promote", "readings", "--version", str(WORSE), "--reason", "try again", "--json")
    said = json.loads(out)
    assert (code, said["promoted"], said["error"]["kind"]) == (3, None, "NotPromoted")
    assert checks(said["verdict"])["metric roc_auc"] == "failed"
    pages = sorted(path.name for path in (judged.lake.root / "reports/_models/readings").glob("promote-*"))
    assert pages == ["promote-0004-000001.html", "promote-0004-000002.html"]


def test_better_overall_and_worse_in_one_slice_is_refused(judged):
    state = promoted(judged, WORSE_IF_HOT)

    assert (state.name, state.is_failed()) == ("Blocked", True)
    verdict = state.result(raise_on_failure=False).verdict
    found = checks(verdict)
    assert (found["metric roc_auc"], found["slice kind = cold"]) == ("passed", "passed")
    assert [name for name, outcome in found.items() if outcome == "failed"] == [f"slice kind = {HOT}"]
    (metric,) = [one for one in verdict["checks"] if one["check"] == "metric"]
    assert metric["low"] > 0
    assert aliases(judged) == {"production": PRODUCTION}


def test_force_needs_a_reason_and_stays_in_the_history_with_what_failed(judged, lamplighter):
    command = ("promote", "readings", "--version", str(WORSE), "--force")
    code, _, err = lamplighter(*command, "--reason", "   ")
    assert (code, "needs a reason" in err, aliases(judged)) == (2, True, {"production": PRODUCTION})

    code, out, _ = lamplighter(*command, "--reason", "the law asks for it")

    assert (code, aliases(judged)) == (0, {"production": WORSE})
    assert "production of readings is version 4, after version 2: by force, 3 of 10 checks failed" in out
    event = last_event(judged)
    assert (event.forced, event.reason) == (True, "the law asks for it")
    failed = [one for one in event.evidence["verdict"]["checks"] if one["outcome"] == "failed"]
    assert [one["check"] for one in failed] == ["metric", "slice", "slice"]
    assert all(one["sentence"] for one in failed)
    assert "set_alias by force" in lamplighter("history", "readings")[1]


def test_no_force_makes_a_version_fit_a_job_that_it_does_not_fit(judged):
    other = judged.job_file.read_text().replace("job: readings", "job: other").replace("x: float64", "x: int64")
    (judged.job_file.parent / "other.yaml").write_text(other.replace("labels:", "promotion_was:"))
    text = (judged.job_file.parent / "other.yaml").read_text()
    (judged.job_file.parent / "other.yaml").write_text(text[: text.index("promotion_was:")])

    state = promoted(judged, BETTER, force=True)

    assert state.name == "Blocked"
    assert (
        "other: the columns of the snapshot are not those that readings version 3 takes: 'x' is int64" in state.message
    )
    assert "no force helps here" in state.message
    assert aliases(judged) == {"production": PRODUCTION}


def test_an_alias_that_somebody_moves_meanwhile_is_left_alone(judged, monkeypatch):
    show, registry = promotions.show, Registry(judged.lake)

    def somebody_is_faster(found):
        at = registry.history("readings")[-1].at
        registry.set_alias("readings", "production", SLOW, at=at, actor="bob", reason="now")
        return show(found)

    monkeypatch.setattr(promotions, "show", somebody_is_faster)

    state = promoted(judged, BETTER)

    assert state.name == "Blocked"
    assert "names version 7, and not version 2 as it did before" in state.message
    assert aliases(judged) == {"production": SLOW}


def test_who_was_trained_on_the_judged_rows_is_not_compared_fairly(judged):
    state = promoted(judged, HAS_SEEN_THEM)

    assert state.name == "Blocked"
    assert (
        "trained on 2024-05-01 to 2024-05-05: on 2024-05-02 to 2024-05-11 the comparison is not fair" in state.message
    )
    assert "Next: name windows that it has not seen as promotion.windows in the job's YAML" in state.message
    assert aliases(judged) == {"production": PRODUCTION}


@pytest.mark.extras
def test_a_slow_one_is_refused_though_it_is_better(judged, processes):
    state = promoted(judged, SLOW)

    found = checks(state.result(raise_on_failure=False).verdict)
    assert [name for name, outcome in found.items() if outcome == "failed"] == ["speed"]


def test_an_alias_that_nobody_holds_is_taken_with_one_s_own_figures(judged):
    state = promoted(judged, BETTER, alias="challenger")

    assert state.name == "Promoted"
    verdict = state.result().verdict
    assert verdict.production is None
    metric = next(one for one in verdict.checks if one.check == "metric")
    assert (metric.outcome, metric.production) == ("not judged", None)
    assert metric.candidate > 0.8
    assert aliases(judged) == {"production": PRODUCTION, "challenger": BETTER}


def test_production_that_does_not_load_any_more_lets_its_successor_in_by_force_alone(judged):
    """Or whoever damages it could have any version promoted."""
    model = judged.lake.root / f"models/readings/versions/{PRODUCTION:04d}/model.joblib"
    model.write_bytes(b"!" + model.read_bytes()[1:])

    refused = promoted(judged, BETTER)

    assert refused.name == "Blocked"
    assert aliases(judged)["production"] == PRODUCTION
    assert "restore version 2, which is damaged, from a backup, or, if it must be this one: " in refused.message

    state = promoted(judged, BETTER, force=True)

    assert state.name == "Promoted"
    (metric,) = [one for one in state.result().verdict.checks if one.check == "metric"]
    assert (metric.outcome, metric.production) == ("failed", None)
    assert "Version 2 is production, and cannot be scored any more: " in metric.sentence
    assert "SHA-256" in metric.sentence


def test_what_is_production_already_is_nothing_to_do(judged, lamplighter):
    before = Registry(judged.lake).history("readings")

    state = promoted(judged, PRODUCTION)
    assert (state.name, state.is_completed()) == ("NothingToDo", True)
    assert judged.lake.exists(layout.model_page("readings"))  # A kill may have come before it was written.
    judged.lake.remove(layout.model_page("readings"))
    code, out, _ = lamplighter("promote", "readings", "--version", str(PRODUCTION), "--reason", "again")

    assert code == 0
    assert out.strip() == "production of readings is version 2 already. Nothing was changed."
    assert Registry(judged.lake).history("readings") == before
    assert judged.lake.exists(layout.model_page("readings"))


def test_a_recalled_version_is_refused_at_once(judged, lamplighter):
    registry = Registry(judged.lake)
    registry.recall("readings", BETTER, at=last_event(judged).at, actor="ann", reason="wrong units")

    code, _, err = lamplighter("promote", "readings", "--version", str(BETTER), "--reason", "try", "--force")

    assert (code, "was recalled" in err, aliases(judged)) == (3, True, {"production": PRODUCTION})


def test_a_candidate_that_kills_its_process_is_refused_and_leaves_nothing(judged, monkeypatch, processes):
    from tasks.shards import examination

    monkeypatch.setattr(examination, "examine", _die)

    state = promoted(judged, BETTER)

    assert state.name == "Blocked"
    assert "the process that worked on the examination of readings version 3 died" in state.message
    assert "no alias was moved" in state.message
    assert [path.name for path in (judged.lake.root / "models/readings").iterdir() if path.name.startswith(".")] == []


def _die(_task):
    os.kill(os.getpid(), 9)


def test_what_a_killed_judgement_left_is_removed_by_a_later_one(judged):
    folder = judged.lake.root / "models/readings"
    old, new = folder / ".tmp-old", folder / ".tmp-new"
    for left in (old, new):
        left.mkdir()
        (left / "rows.parquet").write_bytes(b"half")
    os.utime(old, (0, 0))

    assert promoted(judged, BETTER).name == "Promoted"
    assert (old.exists(), new.exists()) == (False, True)


def test_without_labels_the_rest_is_judged(world, lamplighter):
    register(
        world.lake,
        "readings",
        logistic_model(),
        FEATURES,
        {"probability": Prediction(method="predict_proba", class_=1)},
        as_table(readings()),
        alias=None,
    )

    code, out, _ = lamplighter("promote", "readings", "--version", "2", "--reason", "no labels yet", "--json")

    verdict = json.loads(out)["verdict"]
    found = checks(verdict)
    assert (code, found.pop("load"), found.pop("schema")) == (0, "passed", "passed")
    assert set(found.values()) == {"not judged"}
    assert "no job with labels names the model readings" in verdict["checks"][2]["sentence"]
    assert last_event(world).evidence["verdict"]["checks"][2]["sentence"] == verdict["checks"][2]["sentence"]
