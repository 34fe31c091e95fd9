"""A job goes from one machine to another as one file: two projects, two lakes."""

import hashlib
import io
import json
import os
import pathlib
import shutil
import signal
import tarfile
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tasks.core import layout
from tasks.core.models.model_events import aliases_in
from tasks.core.models.registry import Registry
from tasks.core.releasing.archive import pack, unpack
from tasks.core.releasing.installing import Place, begin, complete, complete_cut_short, decide
from tasks.core.storage import Lake, system
from tasks.core.workers import Workers
from tests.flows.conftest import DAY, World, add_wrong_version, make_project, open_world, readings

NEXT = "2024-05-02"


@dataclass
class Home:
    """The world where releases are made, and two of them: the first of version 1, the second of version 2."""

    folder: pathlib.Path
    first: bytes
    second: bytes


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.shards.dry_run.Workers", lambda *_: Workers(0, 0))
        folder = tmp_path_factory.mktemp("home")
        world = make_project(folder / "project")
        open_world(world.folder, patch)
        world.write_rows(readings())
        (world.folder / "requirements.lock").write_text("numpy==2.2.0\n")
        (world.folder / "deployments/jobs/defaults.yaml").write_text("owner: network-operations\npriority: high\n")
        (world.folder / ".env").write_text("WAREHOUSE_PASSWORD=correct-horse\n")
        assert world.score().name == "Published"
        first = released("1")
        add_wrong_version(world)
        world.change_job(description="the second")
        assert world.score(rescore="another version").name == "Published"
        return Home(folder, first, released("2"))


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch):
    """A process for each dry run takes seconds: one test has it."""
    monkeypatch.setattr("tasks.shards.dry_run.Workers", lambda *_: Workers(0, 0))


@pytest.fixture
def here(tmp_path, monkeypatch) -> World:
    """Another machine: an empty project and no lake."""
    folder = tmp_path / "away"
    folder.mkdir()
    return open_world(folder, monkeypatch)


@pytest.fixture
def install(here, lamplighter, tmp_path):
    """Types `lamplighter install` with a release's bytes: exit code, what was said, what was said of errors."""

    def run(content: bytes, *options: str, file: str = "readings-x.tar.gz"):
        (tmp_path / file).write_bytes(content)
        return lamplighter("install", str(tmp_path / file), "--yes", *options)

    return run


def released(name: str, **options) -> bytes:
    from flows.cli.places import the_lake, the_project
    from tasks.release import make_release

    return make_release(the_lake(), the_project(), "readings", name, **options).content


def contents(content: bytes) -> dict[str, bytes]:
    return dict(unpack(content, where="x", expect=lambda *_: None))


def packed(files: dict[str, bytes], **said) -> bytes:
    """A release with other files, packed anew by somebody who knows how: every digest is right again."""
    manifest = json.loads(files["release.json"]) | said
    others = {name: content for name, content in files.items() if name != "release.json"}
    manifest["files"] = {
        name: {"sha256": hashlib.sha256(each).hexdigest(), "size_bytes": len(each)}
        for name, each in sorted(others.items())
    }
    from tasks.core.releasing.contents import ReleaseManifest

    said = ReleaseManifest.model_validate(manifest).to_json()
    return pack([("release.json", said), *sorted(others.items())])


def state(world: World) -> dict[str, str]:
    """All that an installation may change, by path; without what says when it happened."""
    found = {}
    for path in sorted(world.folder.rglob("*")):
        key = str(path.relative_to(world.folder))
        if path.is_file() and "/locks/" not in key and not key.startswith("lake/reports"):
            found[key] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def visible(world: World) -> dict[str, str]:
    """As state, without records that name the instant."""
    return {key: one for key, one in state(world).items() if not ("/events/" in key or key.endswith("manifest.json"))}


def aliases(world: World) -> dict[str, int]:
    return Registry(world.lake).aliases("readings")


# -- making ---------------------------------------------------------------------------------------------------------


def test_the_same_inputs_give_the_same_bytes_and_nothing_of_the_lake_changes(home, monkeypatch, lamplighter, tmp_path):
    world = open_world(home.folder / "project", monkeypatch)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1375315200")
    before = state(world)
    for file in ("a", "b"):
        (tmp_path / file).mkdir()
        code, out, err = lamplighter("release", "readings", "-o", str(tmp_path / file / "readings-2.tar.gz"))
        assert (code, err) == (0, "")
        assert "200 rows of readings 2024-05-01, with the scores of what was published" in out
    one, other = ((tmp_path / file / "readings-2.tar.gz").read_bytes() for file in ("a", "b"))
    assert one == other
    assert f"sha256 {hashlib.sha256(one).hexdigest()}" in out
    assert state(world) == before
    manifest = json.loads(contents(one)["release.json"])
    assert (manifest["name"], manifest["created_at"]) == ("2", "2013-08-01T00:00:00Z")


def test_what_is_in_it(home):
    files = contents(home.second)
    manifest = json.loads(files["release.json"])

    assert {name for name in files if not name.startswith(("wheel/", "model/"))} == {
        "release.json",
        "requirements.lock",
        "project/deployments/jobs/readings.yaml",
        "project/expectations/readings.json",
        "sample/rows.parquet",
        "sample/scores.parquet",
    }
    assert set(manifest["files"]) == set(files) - {"release.json"}
    assert not any(b"correct-horse" in content for content in files.values())
    for name, record in manifest["files"].items():
        assert record == {"sha256": hashlib.sha256(files[name]).hexdigest(), "size_bytes": len(files[name])}
    assert manifest["inherited"] == {"owner": "network-operations", "priority": "high"}
    job = yaml.safe_load(files["project/deployments/jobs/readings.yaml"])
    assert (job["owner"], job["description"]) == ("network-operations", "the second")
    assert manifest["sample"] | {"run_id": ""} == {
        "as_of": DAY,
        "run_id": "",
        "rows": 200,
        "scored": "published",
        "tolerance": 1e-12,
    }
    # By hand: what readers see of these rows.
    rows, scores = (pq.read_table(pa.BufferReader(files[f"sample/{each}.parquet"])) for each in ("rows", "scores"))
    published = World(home.folder / "project", Lake(home.folder / "project/lake")).table().set_index("sensor")
    assert scores["probability"].to_pylist() == published.loc[rows["sensor"].to_pylist(), "probability"].tolist()


def test_a_version_of_which_no_window_is_published_is_tried_on_the_last_ones_rows(home, monkeypatch, tmp_path):
    world = open_world(tmp_path / "copy", monkeypatch, like=World(home.folder / "project", Lake(home.folder / "lake")))
    Registry(world.lake).set_alias("readings", "production", 1, at=_now(), actor="ann", reason="back")

    files = contents(released("3", rows=7))

    sample = json.loads(files["release.json"])["sample"]
    assert (sample["scored"], sample["rows"]) == ("at release", 7)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["release", "nowhere", "-o", "nowhere-1.tar.gz"], "there is no job 'nowhere'"),
        (["release", "readings", "-o", "x.tar.gz"], "the release has no name"),
        (["release", "readings", "--version", "../x"], "is not a name for a release"),
        (["release", "readings", "--version", "1", "--sample-as-of", "2031-01-01"], "no published window 2031-01-01"),
        (["release", "readings", "--version", "1", "--created-at", "noon"], "'noon' is no instant"),
        (["install", "nothing.tar.gz"], "there is no file"),
    ],
)
def test_what_cannot_be_is_said(home, monkeypatch, lamplighter, tmp_path, typed, said):
    open_world(home.folder / "project", monkeypatch)
    monkeypatch.chdir(tmp_path)
    code, out, err = lamplighter(*typed)
    assert (code, out) == (2, "")
    assert said in err
    assert list(tmp_path.glob("*.tar.gz")) == []


def test_what_cannot_travel_is_refused(home, monkeypatch, lamplighter, tmp_path):
    world = open_world(tmp_path / "copy", monkeypatch, like=World(home.folder / "project", Lake(home.folder / "lake")))
    world.change_job(model={"name": "models:/readings@production"})
    code, _, err = lamplighter("release", "readings", "--version", "1")
    assert (code, "follows models:/readings@production, and a release carries its model with it" in err) == (2, True)

    world.change_job(model={"name": "readings", "allowed_types": ["nowhere_at_all.Own"]})
    code, _, err = lamplighter("release", "readings", "--version", "1", "-o", str(tmp_path / "x.tar.gz"))
    assert (code, "needs the module 'nowhere_at_all'" in err) == (2, True)

    world.change_job(model={"name": "readings"})
    (world.folder / ".env").write_text("WAREHOUSE_PASSWORD=hunter22\n")
    suite = world.folder / "expectations/readings.json"
    suite.write_text(suite.read_text().replace('"meta": {}}', '"meta": {"notes": "hunter22"}}'))
    code, _, err = lamplighter("release", "readings", "--version", "1", "-o", str(tmp_path / "x.tar.gz"))
    assert (code, "holds the value of WAREHOUSE_PASSWORD" in err, "hunter22" in err) == (2, True, False)
    assert not (tmp_path / "x.tar.gz").exists()


# -- installing -----------------------------------------------------------------------------------------------------


def test_a_release_is_installed_and_scores_as_it_did_at_home(home, here, install, lamplighter):
    code, out, err = install(home.first)

    assert (code, err) == (0, "")
    assert "The model scores the 200 rows of its sample as it did there, bit for bit." in out
    assert "Installed readings 1: production of readings is version 1." in out
    (event,) = Registry(here.lake).history("readings")
    assert (event.reason, event.evidence["release"]["name"], event.forced) == ("release 1", "1", False)
    # The very same files: the digest is that of home.
    theirs = Registry(Lake(home.folder / "project/lake")).version("readings", 1)
    assert Registry(here.lake).version("readings", 1).digest == theirs.digest
    listed = lamplighter("releases", "readings")[1].splitlines()
    assert listed[-1].split()[:2] == ["1", "1"]

    (here.folder / "data").mkdir()
    here.write_rows(readings())
    assert here.score().name == "Published"
    assert len(here.table()) == 200


def test_the_same_file_again_changes_nothing(home, here, install):
    install(home.first)
    before = state(here)

    code, out, err = install(home.first)

    assert (code, err) == (0, "")
    assert "readings 1 is installed already" in out
    assert state(here) == before


def test_a_newer_one_and_back_again(home, here, install, lamplighter):
    install(home.first)
    files_of_first = visible(here)
    code, _, err = install(home.second, "--force", "--reason", "second thoughts")
    assert (code, err) == (0, "")
    assert aliases(here) == {"production": 2}
    assert "the second" in (here.folder / "deployments/jobs/readings.yaml").read_text()

    code, _, err = install(home.first)
    assert code == 2
    assert "readings 1 is a step back, from 2 of" in err
    code, out, err = install(home.first, "--reason", "2 was wrong")

    assert (code, err) == (0, "")
    assert "Installed readings 1, a step back (release 1: 2 was wrong): production of readings is version 1" in out
    assert aliases(here) == {"production": 1}
    now = visible(here)
    assert {key: now[key] for key in files_of_first} == files_of_first
    last = Registry(here.lake).history("readings")[-1]
    assert last.evidence["rolled_back_from"] == 2
    # The third does not register the first version again.
    assert Registry(here.lake).numbers("readings") == [1, 2]
    listed = json.loads(lamplighter("releases", "readings", "--json")[1])
    assert [(one["number"], one["release"], one["back"], one["version"]) for one in listed] == [
        (1, "1", False, 1),
        (2, "2", False, 2),
        (3, "1", True, 1),
    ]


def test_what_was_there_before_is_kept(home, here, install):
    job = here.folder / "deployments/jobs/readings.yaml"
    job.parent.mkdir(parents=True)
    job.write_text("job: readings # ours\n")

    _, out, _ = install(home.first)

    assert "What was there before is kept in the lake: releases/readings/kept/0001." in out
    kept = here.lake.read_text(f"{layout.release_kept('readings', 1)}/deployments/jobs/readings.yaml")
    assert kept == "job: readings # ours\n"


def test_a_version_that_the_gate_never_saw_takes_no_place_without_force(home, here, install):
    """At home version 2 was made production by hand, after version 1."""
    code, _, err = install(home.second)
    assert code == 3
    assert "readings version 2 became production where readings 2 was made without the gate's verdict" in err
    assert state(here) == {}

    assert install(home.second, "--force")[0] == 2
    code, _, _ = install(home.second, "--force", "--reason", "we know it")
    (event,) = Registry(here.lake).history("readings")
    assert (code, event.forced, event.reason) == (0, True, "release 2: we know it")


def test_a_version_that_the_gate_let_pass_takes_the_place_of_another(home, here, install):
    install(home.first)
    files = contents(home.second)
    promotion = json.loads(files["release.json"])["promotion"] | {"verdict": {"checks": [{"outcome": "passed"}]}}

    assert install(packed(files, promotion=promotion | {"forced": True}))[0] == 3
    code, out, err = install(packed(files, promotion=promotion))

    assert (code, err) == (0, "")
    assert "production of readings is version 2, after version 1" in out
    event = Registry(here.lake).history("readings")[-1]
    assert (event.forced, event.evidence["release"]["home"]["promotion"]["verdict"]) == (False, promotion["verdict"])


def test_a_version_that_was_recalled_here_does_not_come_back(home, here, install):
    install(home.first)
    Registry(here.lake).recall("readings", 1, at=_now(), actor="ann", reason="wrong units")
    before = state(here)

    code, _, err = install(home.first, "--reason", "again")

    assert (code, "was recalled" in err, state(here)) == (3, True, before)


def test_another_jobs_file_is_not_changed(home, here, install):
    folder = here.folder / "deployments/jobs"
    folder.mkdir(parents=True)
    (here.folder / "expectations").mkdir()
    (here.folder / "expectations/readings.json").write_text('{"name": "readings", "expectations": []}')
    job = yaml.safe_load(contents(home.first)["project/deployments/jobs/readings.yaml"]) | {"job": "other"}
    (folder / "other.yaml").write_text(yaml.safe_dump(job))

    code, _, err = install(home.first)

    assert code == 3
    assert "would change expectations/readings.json, which the job 'other' here uses too" in err
    assert not (folder / "readings.yaml").exists()


def test_nobody_there_to_agree(home, here, lamplighter, tmp_path):
    (tmp_path / "x.tar.gz").write_bytes(home.first)
    code, out, err = lamplighter("install", str(tmp_path / "x.tar.gz"))
    assert (code, "give --yes" in err, "deployments/jobs/readings.yaml" in out) == (2, True, True)
    assert state(here) == {}


def test_only_that_very_file(home, here, install):
    assert install(home.first, "--sha256", "0" * 64)[0] == 2
    assert state(here) == {}
    assert install(home.first, "--sha256", hashlib.sha256(home.first).hexdigest())[0] == 0


def test_with_another_lamplighter_its_wheel_is_laid_ready(home, here, install, monkeypatch):
    from tasks.core import provenance

    other = provenance.code_record().model_copy(update={"digest": "0" * 64})
    monkeypatch.setattr(provenance, "code_record", lambda: other)

    code, _, err = install(home.first)

    (wheel,) = (here.folder / "lake/models/.wheels").rglob("*.whl")
    assert (code, f"pip install --no-deps --force-reinstall {wheel}" in err) == (3, True)
    assert wheel.read_bytes() == next(each for name, each in contents(home.first).items() if name.endswith(".whl"))
    assert "--require-hashes -r" in err
    assert not (here.folder / "deployments").exists() or not list((here.folder / "deployments").rglob("*.yaml"))

    assert install(home.first, "--other-code")[0] == 0


def test_deploying_it_too(home, here, install):
    assert install(home.first, "--deploy", "--json")[0] == 2
    assert state(here) == {}

    code, out, err = install(home.first, "--deploy")

    assert (code, err) == (0, "")
    assert "Installed readings 1" in out
    assert "Deployed " in out


def test_it_is_tried_in_a_process_of_its_own(home, install, monkeypatch):
    monkeypatch.setattr("tasks.shards.dry_run.Workers", Workers)
    code, out, err = install(home.first)
    assert (code, err, "bit for bit" in out) == (0, "", True)


# -- tampered -------------------------------------------------------------------------------------------------------


def test_a_changed_byte_is_refused_wherever_it_is(home, here, install):
    for position in range(0, len(home.first), len(home.first) // 40):
        changed = bytearray(home.first)
        changed[position] ^= 0x40
        code, _, err = install(bytes(changed))
        assert (code, "readings-x.tar.gz" in err) == (3, True)
    assert state(here) == {}


def test_each_file_is_named_whose_bytes_are_not_those_of_the_manifest(home, here, install):
    files = contents(home.first)
    for name, content in files.items():
        if name == "release.json":
            continue
        changed = files | {name: content[:-1] + bytes([content[-1] ^ 1])}
        code, _, err = install(pack([("release.json", files["release.json"]), *sorted(_without(changed))]))
        assert (code, f"'{name}' in readings-x.tar.gz was changed" in err) == (3, True)
    assert state(here) == {}


def test_members_too_many_too_few_twice_or_elsewhere(home, here, install):
    files = contents(home.first)
    manifest, others = ("release.json", files["release.json"]), sorted(_without(files))
    for members, said in (
        ([manifest, *others, ("extra", b"x")], "holds 'extra', which its manifest does not name"),
        ([manifest, *others, others[0]], f"holds '{others[0][0]}' twice"),
        ([manifest, manifest, *others], "holds 'release.json' twice"),
        ([manifest, *others[1:]], f"holds '{others[1][0]}' where '{others[0][0]}' must be"),
        ([manifest, *others[:-1]], f"lacks '{others[-1][0]}'"),
        ([*others, manifest], "must begin with release.json"),
        ([], "is empty"),
    ):
        code, _, err = install(pack(members))
        assert (code, said in err) == (3, True), err
    assert state(here) == {}


def test_somebody_who_packs_it_anew_gets_no_further(home, here, install):
    files = contents(home.first)
    job = "project/deployments/jobs/readings.yaml"
    other_scores = _table(pa.table({"probability": pa.array([0.5] * 200)}))
    wheel = next(name for name in files if name.endswith(".whl"))
    manifest = json.loads(files["release.json"])
    for changed, said in (
        (packed(files | {"sample/scores.parquet": other_scores}), "does not score its sample here as it did there"),
        (packed(files | {wheel: contents(home.first)["sample/rows.parquet"]}), "the wheel in"),
        (packed(files | {job: files[job].replace(b"0.1", b"0.9")}), "is not the one that the release says"),
        (
            packed(files | {"project/deployments/jobs/other.yaml": b"job: other"}),
            "is nothing that the job 'readings' names",
        ),
        (packed(files | {"project/flows/score.py": b"evil"}, modules=["flows"]), "holds a package 'flows'"),
        (packed(files | {"project/os.py": b"evil"}, modules=["os"]), "holds a package 'os'"),
        (packed(files | {"elsewhere/x": b""}), "holds 'elsewhere/x', which is no part of a release"),
        (packed(files | {"project/.env": b""}), "holds 'project/.env', and no file of a job is hidden"),
        (packed(files | {"project/own/.git/a.py": b""}, modules=["own"]), "and no file of a job is hidden"),
        (packed(files | {"model/more": b""}), "does not name the files that the release carries"),
        (packed(files, model=manifest["model"] | {"digest": "0" * 64}), "does not name the files"),
        (packed(files, code=manifest["code"] | {"digest": "0" * 64}), "was made by Lamplighter"),
    ):
        code, _, err = install(changed)
        assert (code, said in err) == (3, True), err
    assert not [key for key in state(here) if "/.wheels/" not in key]


def test_a_model_that_is_no_longer_what_was_registered(home, here, install):
    """Its own manifest is made to agree: then the probe rows, or the file itself, say no."""
    files = contents(home.first)
    model = bytearray(files["model/model.joblib"])
    model[len(model) // 2] ^= 0xFF
    manifest = json.loads(files["model/manifest.json"])
    manifest["files"]["model.joblib"]["sha256"] = hashlib.sha256(bytes(model)).hexdigest()
    from tasks.core.models.model_version import ModelManifest

    digest = ModelManifest.model_validate(manifest).digest
    said = json.loads(files["release.json"])["model"] | {"digest": digest}
    changed = packed(
        files | {"model/model.joblib": bytes(model), "model/manifest.json": json.dumps(manifest).encode()}, model=said
    )

    code, _, err = install(changed)

    assert code in (1, 3), err
    assert state(here) == {}


def test_a_tar_with_a_link_or_a_path_out_of_it(home, here, install):
    from tests.unit.core.releasing.test_archive import in_gzip, member, tar_of

    for info in (member("../../evil"), member("/evil"), member("x", type=tarfile.SYMTYPE, linkname="/etc/passwd")):
        code, _, err = install(in_gzip(tar_of((info, b""))))
        assert (code, "which is" in err) == (3, True)
    assert state(here) == {}


# -- killed, and at once --------------------------------------------------------------------------------------------


def test_killed_at_any_instant_and_run_again_it_ends_the_same(home, here, install, tmp_path):
    """From the first file that is unpacked to the last that is removed, each change is the last one of a process."""
    install(home.first)
    ready = tmp_path / "ready"
    shutil.copytree(here.folder, ready)
    assert install(home.second, "--force", "--reason", "for good")[0] == 0
    whole, whole_aliases = visible(here), aliases(here)
    steps = 0
    while True:
        _restore(here, ready)
        if not _killed_after(steps, here, home.second):
            break
        code, _, err = install(home.second, "--force", "--reason", "for good")
        assert (code, err) == (0, ""), steps
        assert (_without_instants(visible(here)), aliases(here)) == (_without_instants(whole), whole_aliases), steps
        assert [one.version for one in Registry(here.lake).history("readings")] == [1, 2], steps
        assert sorted(here.lake.names("releases/readings")) == ["0001.json", "0002.json", "kept"], steps
        assert not here.lake.exists(layout.RELEASE_STAGING), steps
        steps += 1
    assert steps > 25


def _killed_after(steps: int, world: World, content: bytes) -> bool:
    """Whether an installation in another process was killed, right after so many changes."""
    child = os.fork()
    if child == 0:
        _install_and_die(steps, world, content)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def _install_and_die(steps: int, world: World, content: bytes) -> None:
    left = steps

    def count(_change, _key):
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    try:
        system.after_change = count
        place = Place(world.lake, Lake(world.folder))
        if complete_cut_short(place) is None:
            plan, staged = _decided(place, content)
            begin(place, plan)
            complete(place, plan, staged)
    finally:
        os._exit(0)


def _decided(place: Place, content: bytes):
    from tasks.core.releasing.installing import Request
    from tasks.core.releasing.staged import stage

    staged = stage(place.lake, content, "x")
    request = Request(_now(), "ann", "for good", force=True)
    return decide(place, staged, request, other_code=False), staged


def test_what_somebody_else_did_meanwhile_undoes_it(home, here, install):
    """Killed when all was decided, and then the alias was moved by hand: the files go back to what they were."""
    install(home.first)
    before = visible(here)
    place = Place(here.lake, Lake(here.folder))
    plan, _ = _decided(place, home.second)
    begin(place, plan)
    registry = Registry(here.lake)
    registry.drop_alias("readings", "production", at=_now(), actor="bob", reason="stop")

    code, _, err = install(home.second, "--force", "--reason", "for good")

    assert (code, "somebody else moved it" in err or "names none" in err) == (3, True)
    assert {key: one for key, one in visible(here).items() if key in before} == before
    assert aliases_in(registry.history("readings")) == {}


def test_who_may_write_the_lake_and_no_models_plants_no_installation(home, here, install):
    """A release and a journal in its best form, at the place of before: nothing of it is done, and it is said."""
    install(home.first)
    before = state(here)
    place = Place(here.lake, Lake(here.folder))
    plan, _ = _decided(place, home.second)
    begin(place, plan)
    here.lake.remove(layout.release_kept("readings", 2))
    (here.folder / "lake" / layout.RELEASE_STAGING).rename(here.folder / "lake" / layout.OLD_RELEASE_STAGING)

    for content in (home.first, home.second):
        code, _, err = install(content, "--force", "--reason", "for good")
        assert (code, "nothing of it is followed" in err, err.count("\n")) == (3, True, 1)
    here.lake.remove(layout.OLD_RELEASE_STAGING)
    assert state(here) == before


def test_what_completes_by_itself_lies_with_the_models_and_is_none(here):
    for key in (layout.RELEASE_JOURNAL, f"{layout.release_wheel('0' * 64)}/x.whl"):
        assert key.startswith("models/.")
        here.lake.write_bytes(key, b"x")
    assert Registry(here.lake).names() == []


@pytest.mark.parametrize(
    "wrong", [{"digest": "0" * 64}, {"files": {".git/hooks/pre-commit": "0" * 64}}, {"before": {".env": None}}]
)
def test_a_journal_of_another_release_changes_nothing(home, here, install, wrong):
    place = Place(here.lake, Lake(here.folder))
    plan, _ = _decided(place, home.first)
    (here.folder / ".env").write_text("COLOUR=red\n")
    begin(place, plan.model_copy(update=wrong))
    before = state(here)

    code, _, err = install(home.first)

    assert (code, "is not the journal of the release" in err) == (1, True)
    assert state(here) == before


def test_a_file_that_was_kept_and_changed_since_does_not_come_back(home, here, install):
    install(home.first)
    place = Place(here.lake, Lake(here.folder))
    plan, _ = _decided(place, home.second)
    begin(place, plan)
    job = "deployments/jobs/readings.yaml"
    here.lake.write_bytes(f"{layout.release_kept('readings', 2)}/{job}", b"evil: true")
    Registry(here.lake).drop_alias("readings", "production", at=_now(), actor="bob", reason="stop")

    code, _, err = install(home.second, "--force", "--reason", "for good")

    assert (code, f"{job} was changed" in err) == (1, True)
    assert "evil" not in (here.folder / job).read_text()


def test_of_two_at_once_the_second_is_refused(home, here, install):
    with here.lake.lock(layout.INSTALL_LOCK, holder="ann"):
        code, _, err = install(home.first)
    assert (code, "the installation of releases is being run by ann" in err) == (1, True)
    with Lake(here.folder).lock("deployments/jobs/.install.lock", holder="bob"):
        code, _, err = install(home.first)
    assert (code, "is being run by bob" in err) == (1, True)
    assert install(home.first)[0] == 0


def test_a_hand_that_changed_a_file_since_is_told(home, here, install):
    install(home.first)
    job = here.folder / "deployments/jobs/readings.yaml"
    job.write_text(job.read_text() + "description: mine\n")

    code, _, err = install(home.first)
    assert (code, "which needs a reason" in err) == (2, True)
    assert install(home.first, "--reason", "as released")[0] == 0
    assert "mine" not in job.read_text()
    kept = here.lake.read_text(f"{layout.release_kept('readings', 2)}/deployments/jobs/readings.yaml")
    assert "mine" in kept


def _restore(world: World, ready: pathlib.Path) -> None:
    shutil.rmtree(world.folder)
    shutil.copytree(ready, world.folder)


def _without_instants(found: dict[str, str]) -> set[str]:
    """Records hold the instant and the actor; that they are there counts."""
    return {key if "/releases/" in key else f"{key} {one}" for key, one in found.items()}


def _without(files: dict[str, bytes]) -> list[tuple[str, bytes]]:
    return [(name, content) for name, content in files.items() if name != "release.json"]


def _table(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def _now():
    import datetime as dt

    return dt.datetime.now(dt.UTC)
