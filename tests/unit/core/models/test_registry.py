"""The registry: versions that never change, an append-only history, and whoever comes at the same time or is killed."""

import datetime as dt
import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from tasks.core.definitions.modelling import Prediction
from tasks.core.errors import Blocked, DefinitionError, LakeCorrupt, LakeFull, ModelBlocked, ModelNotFound
from tasks.core.models.formats.joblib_format import FORMAT
from tasks.core.models.model import load_model
from tasks.core.models.model_version import Candidate, InputColumn, InputSchema, Signature, TrainingRecord, Usual
from tasks.core.models.registry import Registry, version_folder
from tasks.core.monitoring.records import Calibration
from tasks.core.runs.manifest import CodeRecord
from tasks.core.storage import Lake

NOON = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)


def hours(count):
    return NOON + dt.timedelta(hours=count)


def candidate(**changes):
    """A model of one input, whose probability of the row 0.0 is a half."""
    model = LogisticRegression().fit([[-1.0], [1.0]], [False, True])
    model.coef_, model.intercept_ = np.array([[2.0]]), np.array([0.0])
    signature = Signature(
        inputs=InputSchema(columns=(InputColumn(name="x", type="float64"),), container="numpy"),
        outputs={"p": Prediction(method="predict_proba", class_=True)},
    )
    parts = {
        "model_bytes": FORMAT.dump(model),
        "signature": signature,
        "profile": {"x": {"mean": 0.0}},
        "benchmark": {"auc": {"value": 0.7, "low": 0.69, "high": 0.71}},
        "probe": pa.table({"x": [0.0, 1.0], "unused": ["a", "b"]}),
        # 1 / (1 + exp(-2)) by hand.
        "expected": pa.table({"p": [0.5, 0.8807970779778823]}),
        "training": TrainingRecord(pointer="warehouse, 2013-01-01 to 2013-04-30", digest="ab12", rows=100),
        "code": CodeRecord(version="0.1.0", digest="cd34", commit="abc", dirty=False),
        "environment": {"python": "3.11.7", "scikit-learn": "1.9.0"},
        "card": {"owner": "ours"},
    }
    return Candidate(**{**parts, **changes})


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


@pytest.fixture
def registry(lake):
    return Registry(lake)


def register(registry, name="late", **changes):
    return registry.register(name, candidate(**changes), at=NOON, actor="ann")


def promote(registry, version, *, at=NOON, alias="production", **options):
    return registry.set_alias("late", alias, version, at=at, actor="ann", reason="better", **options)


# -- versions -------------------------------------------------------------------------------------------------------


def test_a_version_may_hold_what_is_usual_of_it(registry):
    usual = Usual(
        calibration=Calibration(first="2026-01-01", units=1, lacks=("there is too little of the past",)),
        null_windows=pa.table({"unit": ["2026-01-01"]}),
        null_performance=pa.table({"unit": ["2026-01-01"], "value": [0.5]}),
        estimator={"kind": "cbpe"},
        loss_model=b"trees",
    )

    version = register(registry, usual=usual)

    assert registry.calibration(version) == usual.calibration
    assert registry.null_windows(version).equals(usual.null_windows)
    assert registry.null_performance(version).equals(usual.null_performance)
    assert (registry.estimator(version), registry.loss_model(version)) == ({"kind": "cbpe"}, b"trees")
    copy = register(registry, usual=registry.usual(version))
    assert copy.manifest.files == version.manifest.files


def test_nothing_is_usual_of_a_version_of_before(registry):
    version = register(registry)
    read = (
        registry.calibration,
        registry.null_windows,
        registry.null_performance,
        registry.estimator,
        registry.loss_model,
        registry.usual,
    )
    assert [each(version) for each in read] == [None] * 6
    assert len(version.manifest.files) == 7


def test_a_calibration_that_was_changed_is_not_believed(registry, lake):
    version = register(registry, usual=Usual(Calibration()))
    lake.write_bytes(f"{version_folder('late', 1)}/calibration.json", b"{}")
    with pytest.raises(ModelBlocked, match=r"calibration.json was changed"):
        registry.calibration(version)


def test_a_version_holds_all_that_was_given(registry):
    version = register(registry)
    assert registry.version("late", 1) == version
    assert (str(version), version.version, registry.names(), registry.numbers("late")) == (
        "late version 1",
        1,
        ["late"],
        [1],
    )
    assert registry.profile(version) == {"x": {"mean": 0.0}}
    assert registry.benchmark(version)["auc"]["low"] == 0.69
    assert registry.card(version) == {"owner": "ours"}
    probe, expected = registry.probe(version)
    assert probe.to_pydict() == {"x": [0.0, 1.0]}
    assert expected.to_pydict() == {"p": [0.5, 0.8807970779778823]}
    manifest = version.manifest
    assert (manifest.registered_at, manifest.registered_by) == (NOON, "ann")
    assert manifest.training.pointer == "warehouse, 2013-01-01 to 2013-04-30"
    assert (manifest.code.commit, manifest.environment["scikit-learn"]) == ("abc", "1.9.0")


def test_the_manifest_names_every_file_with_its_sha256(registry, lake):
    version = register(registry)
    folder = lake.path(version_folder("late", 1))
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    del there["manifest.json"]
    assert {name: record.sha256 for name, record in version.manifest.files.items()} == there
    assert set(there) == {
        "benchmark.json",
        "card.json",
        "model.joblib",
        "probe.parquet",
        "probe_expected.parquet",
        "reference_profile.json",
        "signature.json",
    }


def test_the_digest_is_what_sha256sum_says(registry, lake):
    version = register(registry)
    command = "ls | grep -v manifest.json | LC_ALL=C sort | xargs sha256sum | sha256sum"
    printed = subprocess.run(
        command, shell=True, cwd=lake.path(version_folder("late", 1)), capture_output=True, text=True, check=True
    ).stdout
    assert printed.split()[0] == version.digest


@pytest.mark.parametrize(
    "changes",
    [
        {"profile": {"x": {"mean": 0.1}}},
        {"benchmark": {}},
        {"card": {"owner": "theirs"}},
        {"probe": pa.table({"x": [0.0, 2.0]})},
        {"expected": pa.table({"p": [0.5, 0.9]})},
        {"model_bytes": FORMAT.dump(LogisticRegression())},
        {"signature": candidate().signature.model_copy(update={"probe_rtol": 1e-6})},
    ],
)
def test_the_digest_covers_whatever_decides_a_score(registry, changes):
    same, other = register(registry), register(registry, **changes)
    assert register(registry).digest == same.digest
    assert other.digest != same.digest


def test_a_version_is_left_alone_by_the_next(registry, lake):
    register(registry)
    before = {path: path.read_bytes() for path in lake.path(version_folder("late", 1)).iterdir()}
    assert register(registry, card={"owner": "theirs"}).version == 2
    assert {path: path.read_bytes() for path in lake.path(version_folder("late", 1)).iterdir()} == before
    assert [version.version for version in registry.versions("late")] == [1, 2]


def test_a_version_and_a_registry_go_to_a_child_process(registry):
    version = register(registry)
    sent_registry, sent = pickle.loads(pickle.dumps((registry, version)))
    assert sent == version
    assert load_model(sent_registry, sent).estimator.coef_.tolist() == [[2.0]]


def test_what_is_not_there_is_told_with_what_is(registry):
    with pytest.raises(
        ModelNotFound, match=r"no model 'late' in .*models; there are: none. Next: `lamplighter train JOB`"
    ):
        registry.alias("late", "production")
    register(registry, "other")
    register(registry)
    register(registry)
    with pytest.raises(ModelNotFound, match=r"there are: late, other.*`lamplighter train JOB`"):
        registry.versions("lat")
    with pytest.raises(ModelNotFound, match="no version 3; there are: 1, 2"):
        registry.version("late", 3)
    promote(registry, 1, alias="challenger")
    with pytest.raises(
        ModelNotFound,
        match=r"no alias 'production'; aliases: challenger = 1; versions: 1, 2.*`lamplighter promote late --version 2`",
    ):
        registry.alias("late", "production")
    with pytest.raises(ModelNotFound, match="no version 9"):
        promote(registry, 9)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"probe": pa.table({"y": [0.0, 1.0]})}, r"probe rows must have the columns 'x' \(float64\)"),
        ({"probe": pa.table({"x": [0, 1]})}, r"probe rows must have the columns 'x' \(float64\)"),
        ({"probe": pa.table({"x": pa.array([], pa.float64())})}, "0 probe rows and 2 expected"),
        ({"expected": pa.table({"p": [0.5]})}, "2 probe rows and 1 expected"),
        ({"expected": pa.table({"q": [0.5, 0.6]})}, r"expected outputs must have the columns 'p' \(float64\)"),
        ({"expected": pa.table({"p": [0.5, None]})}, r"expected outputs are null in \['p'\]"),
        ({"signature": candidate().signature.model_copy(update={"format": "pmml"})}, "not a model format"),
    ],
)
def test_a_candidate_that_is_not_whole_leaves_nothing(registry, lake, changes, match):
    with pytest.raises(DefinitionError, match=match):
        register(registry, **changes)
    assert lake.files() == []


@pytest.mark.parametrize("name", ["../late", "Late", "late model", "", "a/b"])
def test_a_name_that_is_no_name_is_refused(registry, name):
    with pytest.raises(DefinitionError, match="is not a name for a model"):
        register(registry, name)
    assert registry.lake.files() == []


@pytest.mark.parametrize("last", ["signature.json", "probe.parquet", "manifest.json"])
def test_a_registration_that_fails_leaves_nothing(registry, lake, monkeypatch, last):
    def full(key, data):
        if key.endswith(last):
            raise LakeFull("no space left")
        Lake.write_bytes(lake, key, data)

    monkeypatch.setattr(lake, "write_bytes", full, raising=False)
    with pytest.raises(LakeFull):
        register(registry)
    assert lake.files() == []
    assert registry.names() == []


# -- files that are not what they were ------------------------------------------------------------------------------


def break_file(lake, key, change):
    path = lake.path(key)
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize("file", ["signature.json", "model.joblib", "probe.parquet", "reference_profile.json"])
@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b" ", lambda data: b""])
def test_a_changed_file_is_named_before_it_is_used(registry, lake, file, change):
    version = register(registry)
    break_file(lake, f"{version_folder('late', 1)}/{file}", change)
    with pytest.raises(
        ModelBlocked, match=rf"versions/0001/{file} was changed: its SHA-256 is .*`lamplighter rollback late`"
    ):
        registry.read(version, file)
    with pytest.raises(ModelBlocked, match=file):
        load_model(registry, version)


def test_a_missing_file_is_named(registry, lake):
    version = register(registry)
    lake.path(f"{version_folder('late', 1)}/benchmark.json").unlink()
    with pytest.raises(ModelBlocked, match=r"benchmark\.json is missing"):
        load_model(registry, version)
    with pytest.raises(ModelBlocked, match=r"extra\.json is not in the version's manifest"):
        registry.read(version, "extra.json")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"\xff\xfe",
        lambda data: data.replace(b'"manifest_version": 1', b'"manifest_version": 2'),
        lambda data: data.replace(b'"registered_by"', b'"unknown_key": 1, "registered_by"'),
        lambda data: data.replace(b'"name": "late"', b'"name": "other"'),
    ],
)
def test_a_corrupt_manifest_is_named(registry, lake, change):
    register(registry)
    break_file(lake, f"{version_folder('late', 1)}/manifest.json", change)
    with pytest.raises(LakeCorrupt, match=r"models/late/versions/0001/manifest\.json"):
        registry.version("late", 1)


def test_a_folder_without_a_manifest_is_no_version(registry, lake):
    register(registry)
    lake.path(f"{version_folder('late', 1)}/manifest.json").unlink()
    with pytest.raises(LakeCorrupt, match=r"0001/manifest\.json is missing"):
        registry.version("late", 1)
    lake.path("models/late/versions/draft").mkdir()
    with pytest.raises(LakeCorrupt, match="versions/draft is no version of a model"):
        registry.numbers("late")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda data: data[:20], r"events/000002\.json cannot be read"),
        (lambda data: data.replace(b'"sequence": 2', b'"sequence": 3'), r"000002\.json holds event 3"),
        (lambda data: data.replace(b"set_alias", b"paint"), r"000002\.json cannot be read: action"),
        (lambda data: data.replace(b'"actor"', b'"who": 1, "actor"'), r"000002\.json cannot be read: who"),
        (lambda data: data.replace(b'"version": 1', b'"version": null'), r"set_alias needs version"),
        (lambda data: data.replace(b"12:00:00Z", b"12:00:00"), r"000002\.json cannot be read: at"),
    ],
)
def test_a_corrupt_event_is_named(registry, lake, change, match):
    register(registry)
    promote(registry, 1)
    promote(registry, 1, alias="challenger")
    break_file(lake, "models/late/events/000002.json", change)
    with pytest.raises(LakeCorrupt, match=match):
        registry.alias("late", "production")


def test_what_killed_writers_left_beside_the_events_goes_once_it_is_old(registry, lake):
    register(registry)
    for name in (".tmp-old", ".tmp-young"):
        lake.write_bytes(f"models/late/events/{name}", b"half of an ev")
    os.utime(lake.path("models/late/events/.tmp-old"), (0, 0))
    promote(registry, 1)
    assert sorted(os.listdir(lake.path("models/late/events"))) == [".tmp-young", "000001.json"]


def test_a_missing_event_is_never_read_over(registry, lake):
    register(registry)
    for alias in ("production", "challenger", "shadow"):
        promote(registry, 1, alias=alias)
    lake.path("models/late/events/000002.json").unlink()
    with pytest.raises(LakeCorrupt, match=r"events holds 000003\.json where 000002\.json must be"):
        registry.history("late")


# -- aliases and history --------------------------------------------------------------------------------------------


def test_an_alias_names_what_it_was_last_set_to(registry):
    register(registry)
    register(registry)
    assert registry.aliases("late") == {}
    promote(registry, 1, at=hours(0))
    promote(registry, 2, at=hours(2), evidence={"auc": 0.71}, forced=True)
    assert registry.alias("late", "production").version == 2
    first, second = registry.history("late")
    assert (first.sequence, first.action, first.alias, first.version, first.forced) == (
        1,
        "set_alias",
        "production",
        1,
        False,
    )
    assert (second.at, second.actor, second.reason) == (hours(2), "ann", "better")
    assert (second.evidence, second.forced) == ({"auc": 0.71}, True)


def test_the_history_answers_for_any_instant(registry):
    register(registry)
    register(registry)
    promote(registry, 1, at=hours(1))
    promote(registry, 2, at=hours(3))
    promote(registry, 1, at=hours(5))
    for at, version in ((1, 1), (2, 1), (3, 2), (4.5, 2), (5, 1), (100, 1)):
        assert registry.alias("late", "production", at=hours(at)).version == version
    with pytest.raises(ModelNotFound, match="no alias 'production' at 2026-11-01T12:00:00"):
        registry.alias("late", "production", at=hours(0))
    elsewhere = dt.timezone(dt.timedelta(hours=-5))
    assert registry.alias("late", "production", at=hours(3).astimezone(elsewhere)).version == 2


def test_setting_what_is_set_writes_nothing(registry):
    register(registry)
    event = promote(registry, 1)
    assert promote(registry, 1, at=hours(9)) == event
    assert len(registry.history("late")) == 1


def test_compare_and_set(registry):
    register(registry)
    register(registry)
    promote(registry, 1, expected=None)
    with pytest.raises(Blocked, match="names version 1, and not none as it did before"):
        promote(registry, 2, expected=None)
    promote(registry, 2, expected=1)
    with pytest.raises(Blocked, match=r"names version 2, and not version 1.*`lamplighter history late`"):
        promote(registry, 1, expected=1)
    assert [event.version for event in registry.history("late")] == [1, 2]


def test_a_clock_that_runs_behind_does_not_reorder_the_history(registry):
    register(registry)
    register(registry)
    promote(registry, 1, at=hours(2))
    assert promote(registry, 2, at=hours(1)).at == hours(2)
    assert registry.alias("late", "production", at=hours(2)).version == 2


def test_an_alias_is_dropped(registry):
    register(registry)
    promote(registry, 1)
    promote(registry, 1, alias="challenger")
    event = registry.drop_alias("late", "challenger", at=hours(1), actor="ann", reason="the trial is over")
    assert (event.action, event.alias) == ("drop_alias", "challenger")
    assert registry.aliases("late") == {"production": 1}
    assert registry.aliases("late", at=NOON) == {"production": 1, "challenger": 1}
    with pytest.raises(ModelNotFound):
        registry.drop_alias("late", "challenger", at=hours(2), actor="ann", reason="again")


def test_a_recalled_version_never_comes_back(registry):
    register(registry)
    register(registry)
    promote(registry, 1, at=hours(0))
    promote(registry, 2, at=hours(1))
    promote(registry, 2, alias="challenger", at=hours(1))
    event = registry.recall("late", 2, at=hours(2), actor="bob", reason="leaks the label", evidence={"ticket": 7})
    assert registry.recall("late", 2, at=hours(3), actor="bob", reason="again") == event
    assert registry.aliases("late") == {}
    assert registry.recalled("late") == {2: event}
    with pytest.raises(ModelNotFound, match=r"it named version 2, recalled at .* by bob: leaks the label"):
        registry.alias("late", "production")
    with pytest.raises(ModelBlocked, match=r"version 2 of 'late' was recalled at .* by bob: leaks the label"):
        promote(registry, 2, at=hours(4))
    assert registry.alias("late", "production", at=hours(1)).version == 2
    assert promote(registry, 1, at=hours(4)).version == 1
    # By its number it can still be looked into: audits need that.
    assert load_model(registry, registry.version("late", 2)).version.version == 2


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"alias": "Not An Alias"}, "alias"),
        ({"alias": "../x"}, "alias"),
        ({"forced": True, "reason": "  "}, "a forced change needs a reason"),
        ({"at": dt.datetime(2026, 11, 1)}, "at"),
    ],
)
def test_an_event_that_says_too_little_is_refused(registry, options, match):
    register(registry)
    parts = {"alias": "production", "at": NOON, "actor": "ann", "reason": "better", **options}
    with pytest.raises(DefinitionError, match=match):
        registry.set_alias("late", parts.pop("alias"), 1, **parts)
    assert registry.history("late") == []


def test_an_event_is_readable_json(registry, lake):
    register(registry)
    promote(registry, 1, evidence={"auc": [0.7, 0.71]})
    assert json.loads(lake.path("models/late/events/000001.json").read_text()) == {
        "event_version": 1,
        "sequence": 1,
        "at": "2026-11-01T12:00:00Z",
        "actor": "ann",
        "action": "set_alias",
        "alias": "production",
        "version": 1,
        "reason": "better",
        "evidence": {"auc": [0.7, 0.71]},
        "forced": False,
    }


# -- at the same time, and killed -----------------------------------------------------------------------------------

# Only what is needed: a child that imports scikit-learn takes a second to start.
CHILD = """
import datetime as dt, os, pickle, signal, time
from tasks.core.storage import Lake, system
from tasks.core.errors import Blocked
from tasks.core.models.registry import Registry
lake = Lake({root!r})
registry, NOON = Registry(lake), dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
candidate = pickle.loads(lake.read_bytes("candidate"))
def register():
    return registry.register("late", candidate, at=NOON, actor="ann")
def promote(version, alias="production", **options):
    return registry.set_alias("late", alias, version, at=NOON, actor="ann", reason="better", **options)
lake.write_bytes(f"ready/{{os.getpid()}}", b"")
while not lake.exists("go"):
    time.sleep(0.001)
"""


def start(lake, body):
    lake.write_bytes("candidate", pickle.dumps(candidate()))
    script = CHILD.format(root=str(lake.root)) + body
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)


def run_together(lake, bodies):
    """What each prints, when all have been let go at once."""
    children = [start(lake, body) for body in bodies]
    while len(lake.names("ready")) < len(children):
        assert all(child.poll() is None for child in children)
    lake.write_bytes("go", b"")
    printed = [child.communicate(timeout=120)[0] for child in children]
    assert [child.returncode for child in children] == [0] * len(children)
    return [text.split() for text in printed]


def test_registrations_at_once_get_a_version_each(registry, lake):
    body = "for _ in range(5): print(register().version)"
    printed = run_together(lake, [body] * 3)
    assert sorted(int(number) for numbers in printed for number in numbers) == list(range(1, 16))
    assert registry.numbers("late") == list(range(1, 16))
    for version in registry.versions("late"):
        assert load_model(registry, version).version.manifest.version == version.version
    assert not [key for key in lake.files("models") if ".tmp-" in key]


def test_changes_at_once_are_all_recorded(registry, lake):
    register(registry)
    register(registry)
    body = "for step in range(20): promote(1 + step % 2, alias={alias!r})"
    run_together(lake, [body.format(alias=alias) for alias in ("a", "b", "c")])
    history = registry.history("late")
    assert len(history) == 60
    for alias in ("a", "b", "c"):
        assert [event.version for event in history if event.alias == alias] == [1, 2] * 10


def test_of_those_who_expect_the_same_one_wins(registry, lake):
    for _ in range(4):
        register(registry)
    promote(registry, 1)
    body = (
        "try: promote({version}, expected=1); print('won')\n"
        "except Blocked as error: print('lost', type(error).__name__)\n"
    )
    printed = run_together(lake, [body.format(version=version) for version in (2, 3, 4)])
    assert sorted(words[0] for words in printed) == ["lost", "lost", "won"]
    assert len(registry.history("late")) == 2


def test_a_registration_killed_at_any_step_leaves_nothing_or_a_version(registry, lake):
    register(registry)
    lake.write_bytes("go", b"")
    steps = 0
    outcomes = []
    while True:
        body = (
            f"left = {steps}\n"
            "def kill_at_step(change, key):\n"
            "    global left\n"
            "    left -= 1\n"
            "    if left < 0: os.kill(os.getpid(), signal.SIGKILL)\n"
            "system.after_change = kill_at_step\n"
            "register()\n"
        )
        before = registry.numbers("late")
        child = start(lake, body)
        child.communicate(timeout=60)
        outcomes.append(registry.numbers("late") != before)
        for version in registry.versions("late"):
            load_model(registry, version)
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL
        steps += 1
    # Seven files, their manifest, the move; the last time it was not killed.
    assert outcomes == [False] * 8 + [True, True]
    assert register(registry).version == 4
    lake.sweep("models/late/versions")
    assert not [key for key in lake.files("models") if ".tmp-" in key]


def test_two_registrations_that_chose_the_same_number(registry, lake, monkeypatch):
    # One takes number 1 while the other is about to move into it.
    moved = []

    def first_comes_another(source, target):
        if not moved:
            moved.append(target)
            register(Registry(Lake(lake.root)))
        return Lake.try_rename(lake, source, target)

    monkeypatch.setattr(lake, "try_rename", first_comes_another, raising=False)
    version = register(registry)
    assert moved == [version_folder("late", 1)]
    assert (version.version, registry.version("late", 2)) == (2, version)
