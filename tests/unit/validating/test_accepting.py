"""The names of a job's gates: an expectation is its type with its columns, and more only where that would mean two."""

import json
import types

import pytest

from tasks.core.definitions.job import Job
from tasks.core.errors import DefinitionError
from tasks.shards.accepting import accepted_names, gates_of

JOB = {
    "job": "readings",
    "window": {"kind": "interval", "every": "1d"},
    "source": {"type": "files", "path": "data"},
    "keys": ["sensor"],
    "event_time": "at",
    "columns": {"sensor": "string", "at": "timestamp", "x": "float64", "y": "float64"},
    "suite": "readings",
    "model": {"name": "readings"},
    "output": {"columns": {"probability": {"method": "predict_proba", "class": 1}}, "suite": "scores"},
}
UNIQUE = "expect_column_values_to_be_unique"
BETWEEN = "expect_column_values_to_be_between"
COUNT = "expect_table_row_count_to_be_between"


def expect(kind, severity="critical", on_failure=None, **kwargs):
    meta = {"meta": {"on_failure": on_failure}} if on_failure else {}
    return {"type": kind, "kwargs": kwargs, "severity": severity, **meta}


def definition(of_input=(), of_output=(), volume=None):
    job = Job.model_validate(JOB | {"output": JOB["output"] | {"volume": volume}})
    texts = [json.dumps({"name": "any", "expectations": list(some)}) for some in (of_input, of_output)]
    return types.SimpleNamespace(job=job, suite_text=texts[0], output_suite_text=texts[1])


def test_an_expectation_is_its_type_with_its_columns():
    pair = expect("expect_column_pair_values_a_to_be_greater_than_b", column_A="x", column_B="y", mostly=0.9)
    gates = gates_of(definition([expect(BETWEEN, column="x", min_value=0), pair, expect(COUNT, min_value=1)]))
    assert gates.suite == (f"{BETWEEN}(x)", "expect_column_pair_values_a_to_be_greater_than_b(x, y)", COUNT)
    assert [one.name for one in gates.choices] == [*gates.suite, "quarantine_share"]


def test_the_same_of_what_comes_in_and_of_what_goes_out_are_told_apart_by_the_suite():
    wanted = definition(
        [expect(UNIQUE, column="sensor")], [expect(UNIQUE, column="sensor"), expect(COUNT, min_value=1)]
    )
    gates = gates_of(wanted)
    assert gates.suite == (f"readings:{UNIQUE}(sensor)",)
    assert gates.output_suite == (f"scores:{UNIQUE}(sensor)", COUNT)
    assert accepted_names(wanted, [f"scores:{UNIQUE}(sensor)"], None) == gates.output_suite[:1]
    with pytest.raises(DefinitionError, match=rf"readings:{UNIQUE}\(sensor\); scores:{UNIQUE}\(sensor\)"):
        accepted_names(wanted, [f"{UNIQUE}(sensor)"], None)


def test_the_same_twice_in_one_suite_are_told_apart_by_their_place():
    twice = [expect(BETWEEN, column="x", min_value=0), expect(BETWEEN, column="x", max_value=9)]
    wanted = definition(twice)
    assert gates_of(wanted).suite == (f"readings:{BETWEEN}(x)#1", f"readings:{BETWEEN}(x)#2")
    assert accepted_names(wanted, [f"{BETWEEN}(x, 9)"], None) == (f"readings:{BETWEEN}(x)#2",)
    with pytest.raises(DefinitionError, match=r"#1 \(expect_column_values_to_be_between\(x, 0\)\); "):
        accepted_names(wanted, [f"{BETWEEN}(x)"], None)


def test_only_what_can_block_is_offered():
    wanted = definition(
        [
            expect(BETWEEN, column="x", min_value=0, on_failure="quarantine"),
            expect(BETWEEN, column="y", min_value=0, severity="warning"),
        ],
        volume={"severity": "warning"},
    )
    for given, said in ((f"{BETWEEN}(x)", "quarantined"), (f"{BETWEEN}(y)", "severity"), ("volume", "severity")):
        with pytest.raises(DefinitionError, match=said):
            accepted_names(wanted, [given], None)
    assert accepted_names(definition(volume={"severity": "critical"}), ["volume"], None) == ("volume",)


def test_a_job_without_suites_has_the_gates_that_count():
    bare = definition()
    bare.suite_text = bare.output_suite_text = None
    assert [one.name for one in gates_of(bare).choices] == ["quarantine_share"]
