"""What a release takes along, and what it never does: secrets, and modules that lie elsewhere."""

import datetime as dt

import pytest

from tasks.core.definitions.project import Definition, parse_job
from tasks.core.errors import DefinitionError, ReleaseRefused
from tasks.core.releasing.contents import check_release_name, read_release
from tasks.core.releasing.installing import _is_older
from tasks.core.releasing.making import file_name, name_from, project_keys
from tasks.core.releasing.modules import is_custom_expectation, modules_of
from tasks.core.releasing.secrets import known_secrets, refuse_secrets
from tasks.core.storage import Folder
from tests.delivery_tools import a_job

JOB = """
job: meters
window: {kind: interval, every: 1d}
source: {type: sql, driver: postgresql, uri_env: METERS_URI, query: SELECT 1}
keys: [meter]
event_time: at
columns: {meter: string, at: timestamp, kwh: float64}
model: {name: meters, allowed_types: [ALLOWED]}
output: {columns: {score: {method: predict}}}
labels: {query: SELECT 2, target: high}
training:
  estimator: ESTIMATOR
  features: [kwh]
  fit: {first: 2024-01-01, last: 2024-01-02}
  benchmark: {first: 2024-01-03, last: 2024-01-04}
"""


def job(allowed="sklearn.svm.SVC", estimator="sklearn.svm:SVC"):
    return parse_job(JOB.replace("ALLOWED", allowed).replace("ESTIMATOR", estimator), where="x")


@pytest.fixture
def project(tmp_path):
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/__init__.py").write_text("")
    (tmp_path / "ours/model.py").write_text("class Own: ...\n")
    (tmp_path / "ours/__pycache__").mkdir()
    (tmp_path / "ours/__pycache__/model.py").write_text("stale")
    (tmp_path / "ours/data.bin").write_bytes(b"x")
    (tmp_path / "single.py").write_text("x = 1\n")
    return Folder(tmp_path)


def test_what_own_modules_import_and_the_custom_expectations_come_along(project, tmp_path):
    (tmp_path / "ours/model.py").write_text("import single\n")
    (tmp_path / "expectations").mkdir()
    (tmp_path / "expectations/never.py").write_text("from thresholds import low\n")
    (tmp_path / "expectations/meters.json").write_text("{}")
    (tmp_path / "thresholds.py").write_text("low = 0\n")
    with_suite = parse_job(
        f"{JOB.replace('ALLOWED', 'ours.model.Own').replace('ESTIMATOR', 'a:b')}suite: meters\n", where="x"
    )
    found = modules_of(with_suite, project)
    assert found.names == ["ours", "single", "thresholds"]
    assert set(found.files) == {
        "ours/__init__.py", "ours/model.py", "single.py", "thresholds.py", "expectations/never.py",
    }  # fmt: skip
    without = modules_of(job("ours.model.Own"), project)
    assert (without.names, "expectations/never.py" in without.files) == (["ours", "single"], False)


@pytest.mark.parametrize(
    ("key", "is_one"),
    [("expectations/a.py", True), ("expectations/a/b.py", True), ("expectations/__init__.py", False),
     ("expectations/a.json", False), ("expectations/.a.py", False), ("tasks/a.py", False), ("a.py", False)],
)  # fmt: skip
def test_which_files_of_a_release_are_custom_expectations(key, is_one):
    assert is_custom_expectation(key) is is_one


def test_of_installed_packages_nothing_comes_along(project):
    found = modules_of(job(), project)
    assert (found.names, found.files, found.left_out) == ([], {}, [])
    assert modules_of(job("tasks.demo.X", "tasks.demo:late"), project).names == []


def test_the_projects_own_modules_come_along(project):
    found = modules_of(job("ours.model.Own", "single:build"), project)
    assert found.names == ["ours", "single"]
    assert set(found.files) == {"ours/__init__.py", "ours/model.py", "single.py"}


def test_a_module_that_lies_elsewhere_is_refused_where_scoring_needs_it(project):
    with pytest.raises(DefinitionError, match="needs the module 'nowhere_at_all'"):
        modules_of(job("nowhere_at_all.Own"), project)
    found = modules_of(job(estimator="nowhere_at_all:build"), project)
    assert found.left_out == ["training.estimator nowhere_at_all:build: 'nowhere_at_all' does not lie in the project"]


def test_its_queries_and_suites_are_files_of_a_job():
    text = JOB.replace("query: SELECT 1", "query_file: sub/rows.sql").replace(
        "query: SELECT 2", "query_file: labels.sql"
    )
    text = (
        text.replace("ALLOWED", "a.B").replace("ESTIMATOR", "a:b").replace("target: high", "target: high, suite: truth")
    )
    made = parse_job(text + "suite: rows\n", where="x")
    keys = project_keys(Definition(job=made, query="", labels_query="", suite_text="{}"))
    assert keys == {
        "deployments/jobs/meters.yaml",
        "deployments/jobs/sub/rows.sql",
        "deployments/jobs/labels.sql",
        "expectations/rows.json",
        "expectations/truth.json",
    }


def test_the_address_of_the_table_that_gets_the_rows_is_a_secret_too(project, monkeypatch):
    monkeypatch.setenv("TARGET_URI", "postgresql://ann:hunter22@db/target")
    assert known_secrets(a_job(), [project]) == {"TARGET_URI": "postgresql://ann:hunter22@db/target"}


def test_no_secret_goes_along(project, monkeypatch):
    monkeypatch.setenv("METERS_URI", "postgresql://ann:hunter22@db/meters")
    (project.root / ".env").write_text("API_TOKEN=abcdef123\nCOLOUR=turquoise\nSHORT_KEY=abc\n")
    secrets = known_secrets(job(), [project])
    assert set(secrets) == {"METERS_URI", "API_TOKEN"}

    refuse_secrets({"a.sql": b"SELECT 'turquoise', 'abc'"}, secrets)
    for content, what in (
        (b"-- postgresql://ann:hunter22@db/meters", "the value of METERS_URI"),
        (b"x: abcdef123", "the value of API_TOKEN"),
        (b"# http://ann:secret@host/x", "an address with a password"),
        (b"-----BEGIN RSA PRIVATE KEY-----", "a private key"),
    ):
        with pytest.raises(DefinitionError, match=f"a.sql holds {what}") as caught:
            refuse_secrets({"a.sql": content}, secrets)
        assert "hunter22" not in str(caught.value)
        assert "abcdef123" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b'login("ann", "hunter22")', "a secret of METERS_URI"),
        (b'PASSWORD = "unknown-77"', "what looks like a password, a token or a key"),
        (b'connect("host=db user=ann password=hunter22")', "a secret of METERS_URI"),
        (b'connect("host=db user=ann password=another")', "what looks like a password, a token or a key"),
    ],
)
def test_no_part_of_a_secret_goes_along(content, what):
    with pytest.raises(DefinitionError, match=f"own.py holds {what}") as caught:
        refuse_secrets({"own.py": content}, {"METERS_URI": "postgresql://ann:hunter22@db/meters"})
    assert "hunter22" not in str(caught.value)


def test_a_password_that_is_a_word_does_not_stop_every_release():
    secrets = {"METERS_URI": "postgresql://postgres:postgres@db/meters", "DSN": "host=db password=p455w0rd"}
    refuse_secrets({"own.py": b"driver = 'postgres'; xp455w0rdx = 1; password = read('DSN')"}, secrets)


def test_names():
    assert name_from("meters", file_name("meters", "2013.07")) == "2013.07"
    for file in ("meters.tar.gz", "meters-.tar.gz", "other-1.tar.gz", "meters-1.zip"):
        assert name_from("meters", file) == ""
    for name in ("", "../x", "a/b", ".x", "x" * 64):
        with pytest.raises(DefinitionError, match="not a name for a release"):
            check_release_name(name)


def test_a_manifest_that_cannot_be_read_is_refused():
    for content in (b"", b"[]", b"{}", b'{"release_version": 2}', b"\xff"):
        with pytest.raises(ReleaseRefused, match=r"release\.json in x cannot be read"):
            read_release(content, "x")


def test_which_of_two_is_the_older():
    early, late = (dt.datetime(2024, 5, day, tzinfo=dt.UTC) for day in (1, 2))
    assert _is_older((early,), (late,))
    assert not _is_older((late,), (early,))
    assert _is_older((early, early), (early, late))
    # Where one does not say when it was made, nobody knows.
    for one, other in (((early,), (early, late)), ((early, late), (early,)), ((early,), (early,))):
        assert not _is_older(one, other)
