"""Names that would lead elsewhere: wherever one is given, it is refused with a sentence, and nothing outside is read or made."""

import datetime as dt
import json
import os

import pytest

from tasks.core.definitions.project import Project
from tasks.core.definitions.window import WindowSpec
from tasks.core.errors import DefinitionError, LamplighterError
from tasks.core.models.registry import Registry
from tasks.core.releasing.contents import check_release_name
from tasks.core.storage import Folder, Lake

AT = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
NAMES = [
    "",
    ".",
    "..",
    "../x",
    "../../etc/passwd",
    "/etc/passwd",
    "a/../../x",
    "a/b",
    "a//b",
    "..\\x",
    "a\\b",
    "C:\\x",
    "\\\\host\\share",
    "a\0b",
    "a\nb",
    "a\x1b[2Jb",
    "-rf",
    "--help",
    "~root",
    "$HOME",
    "%2e%2e%2fx",
    "．．／x",
    "․․/x",
    "аdmin",  # the first letter is Cyrillic
    "readings\u200b",
    "ｒeadings",
    "readings ",
    " readings",
    "readings.",
    "READINGS",
    "con:",
    "x" * 64,
    "x" * 100_000,
    "e\u0301",
    "\ud800",
    "_models",
    ".hidden",
]
AS_OFS = [
    *[name for name in NAMES if name],
    "2024-05-01/../../x",
    "2024-05-01\0",
    "2024-05-01\n",
    "2024-05-01 ",
    "٢٠٢٤-٠٥-٠١",
    "２０２４-05-01",
    "2024-5-1",
    "20240501",
    "2024-W18-3",
    "2024-05-01T00:00:00/..",
    "2024-05-01T0000Z",
    "+2024-05-01",
    "0000-01-01",
    "9" * 5000,
]


@pytest.fixture
def outside(tmp_path):
    """A folder with a lake and a project in it, and what lies beside them; nothing but what was there may be there after."""
    (tmp_path / "deep/project/deployments/jobs").mkdir(parents=True)
    (tmp_path / "x").write_text("not yours")
    before = sorted(tmp_path.rglob("*"))
    yield tmp_path / "deep"
    left = [
        path
        for path in sorted(tmp_path.rglob("*"))
        if path not in before and tmp_path / "deep/lake" not in path.parents
    ]
    assert [path for path in left if path != tmp_path / "deep/lake"] == []
    assert (tmp_path / "x").read_text() == "not yours"


def short(error):
    """What was raised is a paragraph, whatever was given."""
    assert isinstance(error.value, LamplighterError)
    return len(str(error.value)) < 1500


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_key_stays_in_its_folder(name, outside):
    lake = Lake(outside / "lake")
    try:
        path = lake.path(name)
    except DefinitionError:
        return
    # What is left are names like any other, however they look.
    assert path.resolve() == path
    assert path == lake.root or lake.root in path.parents


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_job_that_is_none(name, outside):
    with pytest.raises(DefinitionError) as error:
        Project(Folder(outside / "project")).load(name)
    assert short(error)


@pytest.mark.parametrize("as_of", AS_OFS, ids=range(len(AS_OFS)))
def test_a_window_that_is_none(as_of):
    spec = WindowSpec.model_validate({"kind": "interval", "every": "1d"})
    with pytest.raises(DefinitionError) as error:
        spec.parse(as_of)
    assert short(error)


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_model_or_an_alias_that_is_none(name, outside):
    registry = Registry(Lake(outside / "lake"))
    uses = [
        lambda: registry.version(name, 1),
        lambda: registry.alias(name, "production"),
        lambda: registry.alias("readings", name),
        lambda: registry.set_alias(name, "production", 1, at=AT, actor="a", reason="r"),
        lambda: registry.set_alias("readings", name, 1, at=AT, actor="a", reason="r"),
        lambda: registry.drop_alias(name, "production", at=AT, actor="a", reason="r"),
        lambda: registry.recall(name, 1, at=AT, actor="a", reason="r"),
    ]
    for use in uses:
        with pytest.raises(LamplighterError) as error:
            use()
        assert short(error)
    assert not (outside / "lake/models").exists() or not list((outside / "lake/models").rglob("*.json"))


@pytest.mark.parametrize("name", [*NAMES[1:], "1/../../x"], ids=range(len(NAMES)))
def test_a_release_that_is_none(name):
    if name in ("admin", "READINGS", "x" * 64, "readings."):
        return
    with pytest.raises(LamplighterError):
        check_release_name(name)


def test_a_link_out_of_the_lake_is_not_followed_when_it_is_removed(outside):
    lake = Lake(outside / "lake")
    lake.write_bytes("a/b", b"x")
    (outside.parent / "precious").mkdir()
    (outside.parent / "precious/file").write_text("kept")
    os.symlink(outside.parent / "precious", lake.path("a/link"))
    os.symlink(outside.parent / "precious", lake.path("a/.tmp-link"))
    assert not lake.holds_file("a/link/file")
    assert "a/link/file" not in lake.files("a")
    lake.sweep("a")
    lake.remove("a/link")
    lake.remove("a")
    assert (outside.parent / "precious/file").read_text() == "kept"
    (outside.parent / "precious/file").unlink()
    (outside.parent / "precious").rmdir()


def test_a_partition_that_is_a_link_is_replaced_and_what_it_led_to_stands(outside):
    lake = Lake(outside / "lake")
    (outside.parent / "precious").mkdir()
    (outside.parent / "precious/part-x.parquet").write_text("kept")
    lake.write_bytes("staged/part-y.parquet", b"new")
    lake.path("predictions").mkdir()
    os.symlink(outside.parent / "precious", lake.path("predictions/as_of=2024-05-01"))
    lake.swap("staged", "predictions/as_of=2024-05-01")
    assert lake.names("predictions/as_of=2024-05-01") == ["part-y.parquet"]
    lake.remove("staged")
    assert (outside.parent / "precious/part-x.parquet").read_text() == "kept"
    (outside.parent / "precious/part-x.parquet").unlink()
    (outside.parent / "precious").rmdir()


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"expectations": ' * 100_000, "9" * 10_000, '{"expectations": [{"type": 1e999}]}']
)
def test_a_suite_without_an_end_is_a_sentence(text):
    from tasks.shards.validating import load_suite

    with pytest.raises(LamplighterError) as error:
        load_suite(text, name="readings", schema=None)
    assert short(error)


def test_a_suite_with_a_key_twice_or_a_number_without_an_end_is_a_sentence():
    from tasks.shards.validating import load_suite

    for value in ("9" * 5000, "1" + "0" * 4400, json.dumps(10**4000)):
        with pytest.raises(LamplighterError) as error:
            load_suite(f'{{"expectations": [{{"type": {value}}}]}}', name="readings", schema=None)
        assert short(error)
