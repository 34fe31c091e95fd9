"""The commands that only look, typed at a lake of which one file is damaged: a clear word, an end, and nothing changed."""

import pathlib
import random
import shutil
import signal

import pytest

from tasks.core.runs.recalling import recalls
from tasks.core.runs.status import status_of
from tasks.core.storage import Lake
from tests.flows.conftest import typist
from tests.recall_scenes import DAY, JOB, add_versions, order, publish, set_alias
from tests.status_scenes import at, write_job
from tests.unit.fuzz.mutations import mutate

NEXT_DAY, LAST_DAY = "2013-07-02", "2013-07-03"
CASES, HANG_SECONDS, NOT_FORESEEN = 40, 60, "not foreseen"
LOOKS = (
    ("status",),
    ("runs", JOB),
    ("runs", JOB, "--missing", "--since", DAY),
    ("show", JOB, "--as-of", DAY),
    ("show", JOB, "--as-of", NEXT_DAY),
    ("published", JOB, "--as-of", DAY),
    ("history", JOB),
    ("recall", JOB, "--version", "1", "--plan"),
    ("backfill", JOB, "--queued", "--plan"),
    ("backfill", JOB, "--from", DAY, "--to", LAST_DAY, "--reason", "to see", "--rescore", "--plan"),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> pathlib.Path:
    """Version 2 was recalled: of one window what version 1 had written has come back, and another shows nothing."""
    folder = tmp_path_factory.mktemp("made")
    lake = Lake(folder / "lake")
    write_job(folder)
    add_versions(lake, 3)
    set_alias(lake, 3)
    publish(lake, "good", 1)
    publish(lake, "bad", 2, hour=1)
    publish(lake, "worse", 2, day=NEXT_DAY)
    publish(lake, "other", 1, day=LAST_DAY)
    recalls.recall(lake, order(2), wait_seconds=0)
    return folder


@pytest.fixture
def damaged(made, tmp_path, monkeypatch):
    """A copy, of which a file is changed; and a hand that types."""
    folder = tmp_path / "project"
    shutil.copytree(made, folder)
    monkeypatch.setenv("LAMPLIGHTER_PROJECT", str(folder))
    monkeypatch.setenv("LAMPLIGHTER_LAKE", str(folder / "lake"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def in_time():
    """Whoever waits for ever is ended."""
    before = signal.signal(signal.SIGALRM, _too_long)
    yield lambda: signal.alarm(HANG_SECONDS)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def _too_long(*_: object) -> None:
    raise AssertionError("it hangs")


def _state(folder: pathlib.Path) -> dict[str, tuple[int, ...]]:
    files = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return {str(one.relative_to(folder)): (one.lstat().st_ino, one.lstat().st_mtime_ns) for one in files}


def _try(folder: pathlib.Path, made: pathlib.Path, seed: int, lamplighter) -> str:
    """What is wrong with how a command met a damaged file; nothing where all is well. The file is as before then."""
    chance = random.Random(seed)
    files = sorted(str(one.relative_to(made)) for one in made.rglob("*") if one.is_file())
    name, words = chance.choice([one for one in files if "/locks/" not in one]), chance.choice(LOOKS)
    what = mutate(folder / name, chance)
    before = _state(folder)
    code, out, err = lamplighter(*words)
    after = _state(folder)
    _put_back(folder / name, made / name)
    case = f"{seed}: {name}, {what}; lamplighter {' '.join(words)}: {code}"
    if before != after:
        return f"{case}, and {sorted(set(before.items()) ^ set(after.items()))} changed"
    is_clear = code in (0, 1, 2, 3) and NOT_FORESEEN not in err and "Traceback" not in out + err
    return "" if is_clear and (code == 0 or "lamplighter" in out + err) else f"{case}\n{(err or out)[:2000]}"


def _put_back(path: pathlib.Path, whole: pathlib.Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    path.unlink(missing_ok=True)
    shutil.copy(whole, path)


def _wrong(damaged, made, monkeypatch, capsys, in_time, seeds: range) -> list[str]:
    lamplighter = typist(monkeypatch, capsys)
    found = []
    for seed in seeds:
        in_time()
        found.append(_try(damaged, made, seed, lamplighter))
    return [one for one in found if one]


def test_whatever_is_damaged_the_looks_say_so(damaged, made, monkeypatch, capsys, in_time):
    assert _wrong(damaged, made, monkeypatch, capsys, in_time, range(CASES)) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_whatever_is_damaged_the_looks_say_so_thousands_of_times(damaged, made, monkeypatch, capsys, in_time):
    assert _wrong(damaged, made, monkeypatch, capsys, in_time, range(CASES, 5000)) == []


def test_a_damaged_window_hides_itself_alone(damaged, monkeypatch, capsys):
    lamplighter = typist(monkeypatch, capsys)
    manifest = damaged / f"lake/runs/{JOB}/as_of={NEXT_DAY}/worse/manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:100])

    code, out, err = lamplighter("runs", JOB)
    assert (code, "good" in out, "other" in out) == (1, True, True)
    assert str(manifest) in err
    from tasks.core.definitions.project import Project
    from tasks.core.storage import Folder

    told = status_of(Lake(damaged / "lake"), Project(Folder(damaged)), JOB, now=at("2013-07-05 12:00"))
    assert [(one.as_of, one.kind) for one in told.windows if one.kind == "unreadable"] == [(NEXT_DAY, "unreadable")]


def test_a_manifest_of_another_window_is_nobodys(damaged, monkeypatch, capsys):
    lamplighter = typist(monkeypatch, capsys)
    runs = damaged / f"lake/runs/{JOB}"
    shutil.copy(runs / f"as_of={LAST_DAY}/other/manifest.json", runs / f"as_of={NEXT_DAY}/worse/manifest.json")

    code, _, err = lamplighter("show", JOB, "--as-of", NEXT_DAY)

    assert code == 1
    assert "is the manifest of another window" in err
    assert "Next: restore the file from a backup" in err
