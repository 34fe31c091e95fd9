"""What an alarm of the monitor says to whoever hears it, and that it is noted only when somebody could."""

import json

import pytest

from tasks.alarms import payload_of, tell_alarms
from tasks.core.monitoring.records import (
    Alarm,
    ColumnDrift,
    DriftPoint,
    Monitored,
    PerformancePoint,
    Rate,
    WindowPerformance,
)
from tasks.core.runs.manifest import Interval
from tasks.orchestration import events
from tests.status_scenes import at, write_job

DRIFTED = Alarm(
    kind="drifted",
    onset="2026-03-05",
    model="late/0003",
    statistic=3.1,
    line=2.4,
    reason="The data differ from what is usual.",
)
DEGRADED = DRIFTED.model_copy(update={"kind": "degraded", "until": "2026-03-06", "next_step": "look at the page"})
UNLABELLED = Alarm(kind="labels_late", onset="2026-03-04", reason="Labels of 2 windows are late.")


@pytest.fixture
def sent(monkeypatch):
    found = []
    monkeypatch.setattr(events, "_send", found.append)
    return found


@pytest.fixture
def job(tmp_path):
    def with_retraining(*causes):
        labels = {"query": "SELECT id, y FROM y WHERE at >= :start AND at < :end", "target": "y"}
        days = {key: {"first": day, "last": day} for key, day in (("fit", "2026-01-01"), ("benchmark", "2026-01-02"))}
        training = {"estimator": "my.code:model", "features": ["x"], **days}
        changes = {"labels": labels, "training": training, "monitor": {"retrain": list(causes)}}
        changes["source"] = {"type": "sql", "driver": "sqlite", "uri": "x.sqlite", "query": labels["query"]}
        return write_job(tmp_path / "project", **changes).load("late", suites=False).job

    return with_retraining


def column(name, z, *, explains=True):
    return ColumnDrift(column=name, component="missing", value=0.2, z=z, reference=0.0, observed=0.2, explains=explains)


@pytest.fixture
def found():
    """A look on 2026-03-07 that has found one alarm of each kind."""
    columns = (column("seats", 4.0), column("wind", 6.0), column("visib", 0.2, explains=False))
    return Monitored(
        job="late",
        at=at("2026-03-07 06:00"),
        as_of="2026-03-07",
        model="late/0003",
        rates={"drifted": Rate(per_year=1, low=0.41, high=2.2)},
        benchmarks={"late/0003": {"roc_auc": Interval(value=0.72, low=0.71, high=0.73)}},
        drift=tuple(
            DriftPoint(unit=unit, model="late/0003", rows=900, statistic=statistic, line=2.4, columns=columns)
            for unit, statistic in (("2026-03-04", 0.3), ("2026-03-05", 3.1), ("2026-03-06", 3.4), ("2026-03-07", None))
        ),
        performance=tuple(
            PerformancePoint(unit=unit, model="late/0003", labelled=700, figures={"bias": bias}, z={"bias_low": 3.0})
            for unit, bias in (("2026-03-05", -0.1), ("2026-03-06", -0.2), ("2026-03-07", -0.01))
        ),
        windows=tuple(
            WindowPerformance(
                as_of=day, unit=day, run_id="r", model="late/0003", labels_as_of="2026-03-07", rows=200, labelled=50,
                awaited=150,
            )
            for day in ("2026-03-03", "2026-03-04", "2026-03-05")
        ),
        alarms=(UNLABELLED, DRIFTED, DEGRADED),
    )  # fmt: skip


def test_each_kind_is_an_event_with_the_figures_and_the_link(lake, job, found, sent):
    assert tell_alarms(lake, job(), found) == [UNLABELLED, DRIFTED, DEGRADED]
    late, drifted, degraded = sent
    assert [one.event for one in sent] == [
        "lamplighter.labels.late",
        "lamplighter.data.drifted",
        "lamplighter.performance.degraded",
    ]
    assert drifted.resource["prefect.resource.id"] == "lamplighter.window.late.2026-03-05"
    assert (drifted.resource["lamplighter.owner"], drifted.payload["owner"]) == ("network", "network")
    said = drifted.payload
    assert said["verdict"] == "the data have drifted"
    assert said["reason"] == (
        "The data differ from what is usual. While nothing changes, such alarms come at a rate of 1 a year "
        "(95 % interval 0.41 to 2.2)."
    )
    assert (said["statistic"], said["line"], said["rate"]) == (3.1, 2.4, {"per_year": 1.0, "low": 0.41, "high": 2.2})
    assert said["report"] == str(lake.path("reports/late/index.html"))
    assert said["next_step"] == "lamplighter monitor late"
    # Of the newest unit that has a figure; what explains it most comes first.
    assert (said["figures"]["unit"], said["figures"]["statistic"]) == ("2026-03-06", 3.4)
    assert [one["column"] for one in said["figures"]["explained_by"]] == ["wind", "seats"]

    assert degraded.payload["figures"]["figures"] == {"bias": -0.2}
    assert degraded.payload["figures"]["benchmark"]["roc_auc"] == {"value": 0.72, "low": 0.71, "high": 0.73}
    assert (degraded.payload["rate"], degraded.payload["next_step"]) == (None, "look at the page")
    assert [(one["as_of"], one["share"]) for one in late.payload["figures"]["windows"]] == [
        ("2026-03-04", 0.25),
        ("2026-03-05", 0.25),
    ]


def test_it_is_noted_only_where_a_server_stays(lake, job, found, sent, monkeypatch):
    monkeypatch.setattr(events, "has_server", lambda: False)
    assert len(tell_alarms(lake, job(), found)) == 3
    monkeypatch.setattr(events, "has_server", lambda: True)
    assert len(tell_alarms(lake, job(), found)) == 3
    assert tell_alarms(lake, job(), found) == []
    # Sent again it is the same event.
    assert [one.id for one in sent[:3]] == [one.id for one in sent[3:]]


def test_what_the_server_did_not_take_is_told_at_the_next_look(lake, job, found, monkeypatch):
    def refused(event):
        raise ConnectionError("nobody listens")

    monkeypatch.setattr(events, "_send", refused)
    monkeypatch.setattr(events, "has_server", lambda: True)
    assert tell_alarms(lake, job(), found) == []
    monkeypatch.setattr(events, "_send", lambda event: None)
    assert len(tell_alarms(lake, job(), found)) == 3


def test_who_is_told_hears_that_training_starts_of_itself(lake, job, found):
    of = {one.kind: payload_of(lake, job("degraded"), found, one)["next_step"] for one in found.alarms}
    assert of["degraded"].startswith("look at the page; `train` is started of itself")
    assert "lamplighter promote late --version N" in of["degraded"]
    assert "train" not in of["drifted"] + of["labels_late"]


def test_the_rate_is_that_of_the_version_s_own_line(lake, job, found):
    others = (DRIFTED.model_copy(update={"model": "late/0002"}), DRIFTED.model_copy(update={"line": None}))
    assert [payload_of(lake, job(), found, one)["rate"] for one in others] == [None, None]
    assert "While nothing changes" not in payload_of(lake, job(), found, others[0])["reason"]


def test_what_is_no_number_can_be_sent(lake, job, found):
    endless = found.performance[-1].model_copy(update={"figures": {"log_loss": float("inf"), "bias": float("nan")}})
    odd = found.model_copy(update={"performance": (endless,)})
    alarm = DEGRADED.model_copy(update={"until": None, "statistic": float("inf")})
    payload = payload_of(lake, job(), odd, alarm)
    assert (payload["statistic"], payload["figures"]["figures"]) == (None, {"log_loss": None, "bias": None})
    json.dumps(payload, allow_nan=False)


def test_an_alarm_without_any_figure_is_told_all_the_same(lake, job, found):
    bare = found.model_copy(update={"drift": (), "performance": (), "windows": ()})
    assert [payload_of(lake, job(), bare, one)["figures"] for one in bare.alarms] == [{"windows": []}, {}, {}]
