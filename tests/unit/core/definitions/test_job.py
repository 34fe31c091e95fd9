"""A job's YAML and the project that it stands in: what is wrong is refused by name, and no secret is repeated."""

import copy
import json
import time
import traceback

import pytest
import yaml
from pydantic import ValidationError

from tasks.core.definitions.job import Job
from tasks.core.definitions.project import Project, parse_job
from tasks.core.errors import DefinitionError, JobError, SuiteError
from tasks.core.secret_parts import holds_secret
from tasks.core.storage import Folder

SECRET = "hunter2"
JOB = {
    "job": "late",
    "window": {"kind": "interval", "every": "1d", "timezone": "America/New_York"},
    "source": {
        "type": "sql",
        "driver": "sqlite",
        "uri": "warehouse.sqlite",
        "query": "SELECT * FROM t WHERE at >= :start",
    },
    "keys": ["id"],
    "event_time": "at",
    "columns": {"id": "int64", "at": "timestamp", "x": "float64", "note": "string"},
    "suite": "late",
    "model": {"name": "late"},
    "output": {"columns": {"probability": {"method": "predict_proba", "class": True}}, "pass_through": ["note"]},
}
TRAINING = {
    "labels": {"query": "SELECT id, late FROM labels", "target": "late"},
    "training": {
        "estimator": "ours.model:build",
        "features": ["x"],
        "fit": {"first": "2013-01-01", "last": "2013-01-31"},
        "benchmark": {"first": "2013-02-01", "last": "2013-02-28"},
    },
}
FILES = {"source": {"type": "files", "path": "data"}}
GONE = object()


def job_with(*base: dict, **changes) -> dict:
    """The job with other values: `source__uri=...` reaches into a section, GONE takes a key away."""
    job = copy.deepcopy(JOB)
    for one in base:
        job |= copy.deepcopy(one)
    for path, value in changes.items():
        *sections, key = path.split("__")
        section = job
        for name in sections:
            section = section.setdefault(name, {})
        section.pop(key, None)
        if value is not GONE:
            section[key] = value
    return job


def parse(job: dict) -> Job:
    return parse_job(yaml.safe_dump(job, sort_keys=False), where="late.yaml")


def refusal(job: dict | str) -> str:
    """The paragraph with which a job is refused; no part of it, nor of its traceback, holds the secret."""
    text = job if isinstance(job, str) else yaml.safe_dump(job, sort_keys=False)
    with pytest.raises(JobError) as refused:
        parse_job(text, where="late.yaml")
    paragraph = str(refused.value)
    assert "late.yaml" in paragraph
    assert "\n" not in paragraph
    assert len(paragraph) < 1500
    assert SECRET not in "".join(traceback.format_exception(refused.value))
    return paragraph


@pytest.fixture
def project(tmp_path):
    """A project with the job `late`, whose query and suite are files."""
    for folder in ("deployments/jobs/sql", "expectations"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "expectations/late.json").write_text('{"name": "late"}')
    (tmp_path / "deployments/jobs/sql/late.sql").write_text("SELECT 1")
    put(tmp_path, job_with(source__query=GONE, source__query_file="sql/late.sql"))
    return Project(Folder(tmp_path))


def put(folder, job: dict, name: str = "late.yaml") -> None:
    (folder / "deployments/jobs" / name).write_text(yaml.safe_dump(job, sort_keys=False))


# What is right


def test_a_job_is_read_into_its_parts():
    job = parse(job_with(TRAINING))
    assert (job.job, job.keys, job.event_time, job.suite) == ("late", ("id",), "at", "late")
    assert (job.window.every, job.limits.quarantine_share, job.on_empty, job.model.alias) == (
        "1d",
        0.02,
        "block",
        "production",
    )
    assert [(field.name, str(field.type)) for field in job.arrow_schema] == [
        ("id", "int64"),
        ("at", "timestamp[us, tz=UTC]"),
        ("x", "double"),
        ("note", "string"),
    ]
    assert job.output.columns["probability"].class_ is True
    assert job.training.calibrate is None


def test_a_job_is_frozen():
    job = parse(JOB)
    with pytest.raises(ValidationError, match="frozen"):
        job.job = "other"


def test_files_and_snapshot_windows():
    job = parse(job_with(FILES, window__kind="snapshot", event_time=GONE))
    assert (job.source.format, job.source.history, job.event_time) == ("parquet", "replayable", None)


@pytest.mark.parametrize("label", [True, False, 0, 1, "1", "true", "late"])
def test_a_class_keeps_its_type(label):
    found = (
        parse(job_with(output__columns={"p": {"method": "predict_proba", "class": label}})).output.columns["p"].class_
    )
    assert (type(found), found) == (type(label), label)


def test_values_are_what_a_person_means_by_them():
    text = """
    job: late
    description: 2013-07-01
    owner: 12:30
    window: {kind: interval}
    source: {type: files, path: yes}
    keys: [on]
    event_time: at
    columns: {at: timestamp, on: string, no: string, y: string, <<: string}
    model: {name: late}
    output: {columns: {p: {}}}
    limits: {batch_rows: 250_000, quarantine_share: 0.5, workers: 0}
    suite: ~
    """
    job = parse_job(text, where="late.yaml")
    # A date, a time of day and YAML 1.1's other words for truth stay text; `<<` is a name like another.
    assert (job.description, job.owner, job.source.path, job.keys) == ("2013-07-01", "12:30", "yes", ("on",))
    assert list(job.columns) == ["at", "on", "no", "y", "<<"]
    assert (job.limits.batch_rows, job.limits.quarantine_share, job.limits.workers, job.suite) == (
        250_000,
        0.5,
        0,
        None,
    )


def test_dates_of_ranges_stay_text():
    text = yaml.safe_dump(job_with(TRAINING), sort_keys=False).replace("'", "")
    assert "first: 2013-01-01" in text
    assert parse_job(text, where="late.yaml").training.fit.first == "2013-01-01"


# What is refused, and how it is said


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"jobb": "late"}, "key 'jobb' is not known; did you mean 'job'?"),
        ({"source__qery": "x"}, "key 'source.qery' is not known; did you mean 'query'?"),
        ({"limits__batch_row": 5}, "key 'limits.batch_row' is not known; did you mean 'batch_rows'?"),
        (
            {"output__columns__probability__clas": 1},
            "key 'output.columns.probability.clas' is not known; did you mean 'class'?",
        ),
        ({"source": GONE, "soruce": {}}, "key 'soruce' is not known; did you mean 'source'? (1 more)"),
        ({"zzzzzzzz": 1}, "key 'zzzzzzzz' is not known. Next"),
        ({"keys": GONE}, "key 'keys' is missing"),
        ({"model__name": GONE}, "key 'model.name' is missing"),
        ({"source__type": GONE}, "source"),
        ({"source__type": "mongo"}, "'sql', 'files'"),
        ({"source__driver": "Not A Driver"}, "key 'source.driver': found 'Not A Driver'; string should match"),
        ({"on_empty": "ignore"}, "key 'on_empty': found 'ignore'; input should be 'block' or 'publish'"),
        (
            {"columns__x": "double"},
            "key 'columns.x': found 'double'; 'double' is not a column type; allowed: bool, int8",
        ),
        ({"columns__x": "decimal(39, 2)"}, "'decimal(39, 2)' is not a column type"),
        ({"columns__x": "list<" * 5000 + "int8" + ">" * 5000}, "key 'columns.x': found 'list<list<"),
        ({"columns": {}}, "key 'columns'"),
        ({"columns": ["id"]}, "key 'columns': found ['id']; input should be a valid dictionary"),
        ({"keys": []}, "key 'keys': found []"),
        ({"keys": "id"}, "key 'keys': found 'id'"),
        ({"window__every": "2d"}, "key 'window.every': found '2d'; '2d': only 1d is supported"),
        (
            {"window__timezone": "New York"},
            "key 'window.timezone': found 'New York'; 'New York' is not an IANA time zone",
        ),
        ({"limits__batch_rows": 0}, "key 'limits.batch_rows': found 0; input should be greater than or equal to 1"),
        ({"limits__quarantine_share": 1.5}, "key 'limits.quarantine_share': found 1.5"),
        ({"limits__quarantine_share": "nan"}, "key 'limits.quarantine_share': found 'nan'"),
        ({"limits__batch_timeout_seconds": "inf"}, "key 'limits.batch_timeout_seconds': found 'inf'"),
        ({"limits__batch_timeout_seconds": 1e300}, "key 'limits.batch_timeout_seconds'"),
        ({"source__statement_timeout_seconds": 0}, "key 'source.statement_timeout_seconds': found 0"),
        ({"description": ["x"] * 5_000}, "key 'description': found ['x', 'x'"),
    ],
)
def test_what_is_wrong_is_named_with_what_was_found_and_what_is_allowed(changes, says):
    assert says in refusal(job_with(**changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"keys": ["id", "idd"]}, "keys: ['idd'] are not among columns; declared: ['id', 'at', 'x', 'note']"),
        ({"keys": ["id", "id"]}, "keys: ['id', 'id'] stand for one column"),
        ({"output__pass_through": ["nope"]}, "output.pass_through: ['nope'] are not among columns"),
        ({"output__pass_through": ["note", "note"]}, "output.pass_through: ['note', 'note'] stand for one column"),
        ({"output__columns": {"note": {}}}, "output.columns: ['note'] would hide a column of the table"),
        ({"output__columns": {"id": {}}}, "output.columns: ['id'] would hide"),
        ({"output__columns": {"at": {}}}, "output.columns: ['at'] would hide"),
        ({"output__columns": {"run_id": {}}}, "output.columns: ['run_id'] would hide"),
        ({"output__columns": {"As_Of": {}}}, "output.columns: ['As_Of'] would hide"),
        ({"output__columns": {"p": {}, "P": {}}}, "output.columns: ['p', 'P'] stand for one column"),
        ({"columns__scored_at": "timestamp"}, "columns: ['scored_at'] are written by Lamplighter"),
        ({"columns__X": "int8"}, "columns: ['x', 'X'] stand for one column"),
        ({"output__columns": {"p": {"method": "predict_proba"}}}, "predict_proba needs 'class'"),
        ({"output__columns": {"p": {"method": "predict", "class": 1}}}, "predict takes no 'class'"),
        ({"event_time": GONE}, "event_time: a window of kind interval needs one"),
        ({"event_time": "x"}, "event_time: 'x' is float64, and must be timestamp"),
        ({"event_time": "when"}, "event_time: ['when'] are not among columns"),
        ({"window__kind": "snapshot"}, "event_time: a window of kind snapshot has none"),
        ({"source__uri_env": "WAREHOUSE"}, "give exactly one of uri, uri_env and uri_block"),
        ({"source__uri": GONE}, "give exactly one of uri, uri_env and uri_block"),
        ({"source__query_file": "late.sql"}, "give exactly one of query and query_file"),
        ({"source__query": GONE}, "give exactly one of query and query_file"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(changes, says):
    assert says in refusal(job_with(**changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"labels": GONE}, "training: needs 'labels'"),
        ({"training__features": ["z"]}, "training.features: ['z'] are not among columns"),
        ({"training__features": ["x", "x"]}, "training.features: ['x', 'x'] stand for one column"),
        ({"training__estimator": "ours.model"}, "key 'training.estimator': found 'ours.model'"),
        ({"training__estimator": "os; import x:y"}, "key 'training.estimator'"),
        ({"training__benchmark__first": "2013-01-31"}, "must follow each other in time and not overlap"),
        ({"training__fit__last": "2012-12-31"}, "must follow each other in time and not overlap"),
        ({"training__calibrate": {"first": "2013-03-01", "last": "2013-03-02"}}, "must follow each other"),
        ({"training__fit__first": "01/01/2013"}, "training: '01/01/2013' is not a window of this job"),
        ({"training__fit__first": "2012-02-30"}, "training: '2012-02-30' is not a window"),
        (
            {"window__every": "1mo"},
            "training: '2013-01-31' is not the start of a window of 1mo; the one that contains it",
        ),
        ({"labels__query_file": "x.sql"}, "give exactly one of query and query_file"),
    ],
)
def test_training_that_does_not_fit_is_refused(changes, says):
    assert says in refusal(job_with(TRAINING, **changes))


BAD_NAMES = ["../late", "a/b", "/late", "Late", "1late", "late-1", "late ", "late\n", "", ".", "a" * 64, "läte", "a\0b"]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("key", ["job", "suite", "model__name", "model__alias"])
def test_names_of_folders_cannot_lead_elsewhere(key, name):
    # JSON is YAML, and can hold any character.
    said = refusal(json.dumps(job_with(**{key: name})))
    assert f"key '{key.replace('__', '.')}': found {name!r}; string should match pattern" in said


# YAML itself


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds NoneType, and must hold keys such as 'job' and 'source'"),
        ("- job", "holds list"),
        ("late", "holds str"),
        ("job: late\njob: later\n", "the key 'job' stands twice (line 1, column 1)"),
        ("job: late\nlimits: {workers: 1, 'workers': 2}\n", "the key 'workers' stands twice (line 2, column 9)"),
        ("job: &a late\n", "anchors and aliases are not used here (line 1, column 6)"),
        ("job: *a\n", "anchors and aliases are not used here (line 1, column 6)"),
        ("&top\njob: late\n", "anchors and aliases are not used here"),
        ("keys: [&a id]\n", "anchors and aliases are not used here"),
        ("columns:\n  &a id: int64\n", "anchors and aliases are not used here (line 2, column 3)"),
        ("job: !!python/object/apply:os.system ['touch /tmp/owned']\n", "tags are not used here (line 1, column 6)"),
        ("job: !!str late\n", "tags are not used here"),
        ("job: !late x\n", "tags are not used here"),
        ("job: ! x\n", "tags are not used here"),
        ("columns: !!set {a, b}\n", "tags are not used here"),
        ("%TAG ! tag:yaml.org,2002:python/\n---\njob: !name:os.system x\n", "tags are not used here"),
        ("<<: {job: late}\n", "key '<<' is not known"),
        ("? [a, b]\n: c\n", "found unhashable key"),
        ("? {a: b}\n: c\n", "found unhashable key"),
        ("1: x\n", "key '1'"),
        ("job: late\n---\njob: later\n", "expected a single document"),
        ("job: 'late\n", "found unexpected end of stream"),
        ("job: late\n\tkeys: x\n", "(line 2, column 1)"),
        ("job: la\0te\n", "special characters are not allowed"),
        ("job: a: b\n", "mapping values are not allowed here (line 1, column 7)"),
        ("limits: {batch_rows: 0x10}\n", "(7 more)"),
    ],
)
def test_yaml_that_says_more_than_values_is_refused(text, says):
    assert says in refusal(text)


@pytest.mark.parametrize(
    "bomb",
    [
        "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n",
        "job: &a [*a]\n",
        "[" * 100_000,
        "{a: " * 50_000,
        "- " * 100_000,
        "a: " + "1:" * 400_000 + "1",
        "a: " + "9" * 900_000,
        "a: 1." + "9" * 900_000,
        "a: " + "x " * 600_000,
        "\n".join(f"k{number}: 1" for number in range(40_000)),
        "columns: {" + ", ".join(f"k{number}: int9" for number in range(20_000)) + "}",
    ],
    ids=["laughs", "itself", "lists", "maps", "dashes", "base 60", "digits", "fraction", "long", "keys", "columns"],
)
def test_yaml_that_multiplies_itself_ends_soon(bomb):
    started = time.process_time()
    refusal(bomb)
    assert time.process_time() - started < 10


# Secrets

WITH_SECRETS = [
    f"postgresql://ours:{SECRET}@db.example/warehouse",
    f"postgresql://ours:{SECRET}/x@db.example/warehouse",
    f"postgresql://:{SECRET}@db.example",
    f"postgresql://db.example/warehouse?user=ours&password={SECRET}",
    f"host=db.example user=ours Password = '{SECRET}'",
    f"Server=db;UID=ours;PWD={SECRET}",
    f"ours:{SECRET}@account/database",
    f"https://db.example/?token={SECRET}",
    f"s3://bucket/data?access_key=ours&secret_key={SECRET}",
    f"https://db.example/?apiKey={SECRET}",
]


@pytest.mark.parametrize("address", WITH_SECRETS)
@pytest.mark.parametrize(
    "key",
    [
        "source__uri",
        "source__uri_env",
        "source__uri_block",
        "source__url",
        "source__driver",
        "source__history",
        "owner__x",
        "suite",
    ],
)
def test_a_secret_is_never_printed_wherever_it_stands(address, key):
    # Where it belongs it is refused; elsewhere it is not repeated in what is said of the mistake.
    said = refusal(job_with(**({"owner": GONE} if key == "owner__x" else {}), **{key: address}))
    assert key.split("__")[0] in said


@pytest.mark.parametrize("address", WITH_SECRETS)
def test_a_secret_is_refused_as_an_address(address):
    assert "key 'source.uri': holds a password; put the address into the environment" in refusal(
        job_with(source__uri=address)
    )
    assert "key 'source.path': holds a secret" in refusal(job_with({"source": {"type": "files", "path": address}}))


def test_a_secret_in_broken_yaml_is_not_printed():
    refusal(f"source:\n  uri: postgresql://ours:{SECRET}@db: x\n")
    refusal(f"source:\n  uri: 'postgresql://ours:{SECRET}@db\n")
    refusal(f"source:\n  uri: !secret postgresql://ours:{SECRET}@db\n")


@pytest.mark.parametrize(
    "address",
    [
        ".demo/warehouse.sqlite",
        "file:warehouse.sqlite?mode=ro",
        "postgresql://ours@db.example:5432/warehouse?sslmode=require&passfile=/etc/ours&sslkey=/etc/key.pem",
        "postgresql://ours@[::1]:5432/warehouse",
        "s3://bucket/data?endpoint_override=localhost:9000&region=eu",
        "data/as_of=2013-07-01",
    ],
)
def test_an_address_without_a_secret_is_none(address):
    assert not holds_secret(address)
    assert parse(job_with(source__uri=address)).source.uri == address


# The project


def test_a_project_gives_a_job_with_its_query_and_suite(project):
    definition = project.load("late")
    assert (definition.query, definition.labels_query, definition.suite_text) == ("SELECT 1", None, '{"name": "late"}')
    assert project.job_names() == ["late"]


def test_the_names_are_those_of_yaml_files(project, tmp_path):
    for name in ("b.yaml", "a.yaml", ".hidden.yaml", "c.yml", "notes.txt"):
        (tmp_path / "deployments/jobs" / name).write_text("")
    assert project.job_names() == ["a", "b", "late"]
    assert Project(Folder(tmp_path / "nothing")).job_names() == []


def test_a_job_that_is_not_there(project, tmp_path):
    with pytest.raises(DefinitionError, match=r"there is no job 'latte' in .*; did you mean 'late'\?"):
        project.load("latte")
    with pytest.raises(DefinitionError, match="there are: late"):
        project.load("zzz")
    with pytest.raises(DefinitionError, match="there are: none"):
        Project(Folder(tmp_path / "nothing")).load("late")


@pytest.mark.parametrize(
    "name", ["../jobs/late", "..", "/etc/passwd", "sql/late", "", "late\0", "late.yaml", "x" * 100_000]
)
def test_a_name_cannot_lead_elsewhere(project, name):
    with pytest.raises(DefinitionError) as refused:
        project.load(name)
    assert len(str(refused.value)) < 1000


def test_the_file_must_be_named_as_its_job(project, tmp_path):
    put(tmp_path, JOB, "later.yaml")
    with pytest.raises(
        JobError, match=r"deployments/jobs/later.yaml: key 'job' is 'late', and must be the file's name, 'later'"
    ):
        project.load("later")


@pytest.mark.parametrize("part", ["source", "labels"])
def test_a_query_file_that_is_not_there(project, tmp_path, part):
    put(tmp_path, job_with(TRAINING, **{f"{part}__query": GONE, f"{part}__query_file": "nope.sql"}))
    with pytest.raises(
        JobError, match=rf"deployments/jobs/late.yaml: key '{part}.query_file' names nope.sql, and there is no "
    ):
        project.load("late")


@pytest.mark.parametrize("part", ["source", "labels"])
@pytest.mark.parametrize(
    "file", ["../../secret", "/etc/passwd", "sql/../../../secret", "", ".", "sql", "a\\b", "sql//late.sql"]
)
def test_a_query_file_cannot_lead_out_of_the_jobs_folder(project, tmp_path, part, file):
    (tmp_path / "secret").write_text(SECRET)
    put(tmp_path, job_with(TRAINING, **{f"{part}__query": GONE, f"{part}__query_file": file}))
    with pytest.raises(JobError, match=rf"deployments/jobs/late.yaml: key '{part}.query_file'") as refused:
        project.load("late")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("content", [b"job: \xff\xfe", None])
def test_a_job_file_that_cannot_be_read(project, tmp_path, content):
    path = tmp_path / "deployments/jobs/odd.yaml"
    path.write_bytes(content) if content else path.mkdir()
    with pytest.raises(JobError, match=r"odd\.yaml"):
        project.load("odd")


def test_a_suite_that_is_not_there(project, tmp_path):
    (tmp_path / "expectations/late.json").unlink()
    with pytest.raises(SuiteError, match=r"the job 'late' names the suite 'late', and there is no .*late\.json"):
        project.load("late")
    put(tmp_path, job_with(suite=GONE))
    assert project.load("late").suite_text is None


def test_a_digest_changes_with_what_decides_a_run_and_with_nothing_else(project, tmp_path):
    digests = {}

    def digest(**changes) -> str:
        put(tmp_path, job_with(**{"source__query": GONE, "source__query_file": "sql/late.sql"} | changes))
        found = project.load("late").digest
        return digests.setdefault(found, found)

    same = digest()
    path = tmp_path / "deployments/jobs/late.yaml"
    path.write_text(f"# A comment\n{path.read_text()}")
    assert project.load("late").digest == same
    assert digest(owner="somebody", description="else", **TRAINING) == same
    # What a key means when it is not there is what it means when it says so.
    assert digest(on_empty="block") == same
    others = [
        digest(keys=["id", "note"]),
        digest(columns={"id": "int64", "at": "timestamp", "note": "string", "x": "float64"}),
        digest(columns={"id": "int32", "at": "timestamp", "x": "float64", "note": "string"}),
        digest(output__columns={"probability": {"method": "predict_proba", "class": 1}}),
        digest(output__columns={"probability": {"method": "predict_proba", "class": "true"}}),
        digest(output__columns={"p": {}, "q": {}}),
        digest(output__columns={"q": {}, "p": {}}),
        digest(model__name="other"),
        digest(window__timezone="UTC"),
    ]
    (tmp_path / "deployments/jobs/sql/late.sql").write_text("SELECT 2")
    others.append(digest())
    (tmp_path / "expectations/late.json").write_text("{}")
    others.append(digest())
    assert len({same, *others}) == len(others) + 1
