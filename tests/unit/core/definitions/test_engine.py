import pytest

from tasks.core.definitions.engine import Engine
from tasks.core.definitions.job import Job, job_json_schema
from tasks.core.definitions.operation import Defaults
from tasks.core.definitions.project import Definition, parse_job
from tasks.core.errors import JobError

JOB = """
job: late
window: {kind: snapshot, every: 1d}
source: {type: files, path: data, format: parquet}
keys: [id]
columns: {id: int64}
model: {name: late}
output: {columns: {y: {method: predict}}}
"""
DASK = {"kind": "dask", "address": "tcp://host:8786"}


def engine_of(line, **defaults):
    return parse_job(JOB + line, where="late.yaml", defaults=defaults).engine


def test_a_job_says_nothing_or_a_word_or_all_of_it():
    assert engine_of("") == Engine(kind="local")
    assert engine_of("engine: dask") == Engine(kind="dask")
    assert engine_of("engine: {kind: dask, address: 'tcp://host:8786', workers: 4}") == Engine(**DASK, workers=4)


def test_a_team_says_it_once_for_all_of_its_jobs():
    assert Defaults.model_validate({"engine": "ray"}).engine == Engine(kind="ray")
    assert engine_of("", engine=DASK) == Engine(**DASK)
    assert engine_of("engine: local", engine=DASK) == Engine()


@pytest.mark.parametrize(
    "address", ["tcp://host:8786", "tls://10.0.0.1:8786", "tcp://[::1]:8786", "tcp://scheduler.batch.svc:8786"]
)
def test_addresses_of_dask(address):
    assert Engine(kind="dask", address=address).address == address


@pytest.mark.parametrize("address", ["ray://head:10001", "10.0.0.1:6379"])
def test_addresses_of_ray(address):
    assert Engine(kind="ray", address=address).address == address


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("engine: spark", "key 'engine.kind': found 'spark'; input should be 'local', 'dask' or 'ray'"),
        ("engine: {kind: dask, adress: x}", "key 'engine.adress' is not known; did you mean 'address'?"),
        ("engine: {kind: dask, address: 'ray://h:1'}", "'ray://h:1' is none of dask's; write tcp://host:8786"),
        ("engine: {kind: ray, address: 'tcp://h:1'}", "'tcp://h:1' is none of ray's; write ray://host:10001"),
        ("engine: {kind: dask, address: 'tcp://user:pw@h:1'}", "is none of dask's"),
        ("engine: {address: 'tcp://h:1'}", "they are of dask and ray; a local run has limits.workers"),
        ("engine: {kind: ray, workers: 101}", "less than or equal to 100"),
    ],
)
def test_what_is_wrong_is_named(line, said):
    with pytest.raises(JobError) as caught:
        engine_of(line)
    assert said in caught.value.failed


def test_the_engine_decides_no_row():
    """A run that was begun on one is resumed on another: the plan is the same."""
    digests = {
        Definition(parse_job(JOB + line, where="late.yaml"), None, None, None).digest
        for line in ("", "engine: ray", "engine: {kind: dask, address: 'tcp://host:8786', workers: 4}")
    }
    assert len(digests) == 1


def test_an_editor_knows_both_forms():
    schema = job_json_schema()["properties"]["engine"]
    assert {"enum": ["local", "dask", "ray"], "type": "string"} in schema["anyOf"]
    assert {"$ref": "#/$defs/Engine"} in schema["anyOf"]
    assert Job.model_fields["engine"].default == Engine()
