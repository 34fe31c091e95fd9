"""The workflow for a user's own repository is valid, pinned, and gives nobody more than they need."""

import json
import pathlib
import re

import jsonschema
import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
WORKFLOW = ROOT / "deployments/github-workflow.yaml"
# SchemaStore's, Apache-2.0: https://www.schemastore.org/github-workflow.json, as check-jsonschema 0.39.0 carries it.
SCHEMA = json.loads((ROOT / "tests/fixtures/schemas/github-workflow.json").read_text())


@pytest.fixture
def workflow() -> dict:
    # `on` is a key here, and no truth.
    return yaml.load(WORKFLOW.read_text(), yaml.BaseLoader)


def problems(workflow: dict) -> list[str]:
    return [error.message for error in jsonschema.Draft7Validator(SCHEMA).iter_errors(workflow)]


def typed() -> dict:
    found = yaml.safe_load(WORKFLOW.read_text())
    return {("on" if key is True else key): value for key, value in found.items()}


def test_it_is_a_workflow():
    assert problems(typed()) == []


@pytest.mark.parametrize(
    "break_it",
    [
        lambda one: one.pop("on"),
        lambda one: one["jobs"]["check"].pop("runs-on"),
        lambda one: one["jobs"]["check"]["steps"][0].update(with_="x"),
        lambda one: one["jobs"]["release"].update(permissions={"contents": "everything"}),
    ],
)
def test_the_schema_would_have_told(break_it):
    broken = typed()
    break_it(broken)
    assert problems(broken)


def test_it_lints_checks_tests_and_releases_on_a_tag(workflow):
    commands = [step.get("run", "") for step in workflow["jobs"]["check"]["steps"]]
    for wanted in ("ruff check .", "lamplighter check", "python -m pytest"):
        assert any(wanted in each for each in commands), wanted
    release = workflow["jobs"]["release"]
    assert (release["if"], release["needs"]) == ("github.ref_type == 'tag'", "check")
    assert workflow["on"]["push"]["tags"] == ["[a-z]*-*"]


def test_every_action_is_pinned_by_its_commit_and_says_which_version_that_is():
    used = re.findall(r"uses: (.*)", WORKFLOW.read_text())
    assert len(used) == 4
    for each in used:
        assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each), each


def test_nobody_gets_more_than_they_need(workflow):
    assert workflow["permissions"] == {"contents": "read"}
    assert [name for name, job in workflow["jobs"].items() if "permissions" in job] == ["release"]
    for job in workflow["jobs"].values():
        assert 0 < int(job["timeout-minutes"]) <= 60
        for step in job["steps"]:
            # What somebody names a branch or a tag reaches a shell as a variable only.
            assert "${{" not in step.get("run", "")


def test_what_it_installs_from_is_there(workflow):
    text = WORKFLOW.read_text()
    for lock in re.findall(r"-r (\S+)", text):
        assert (ROOT / lock).is_file(), lock
    # As the Makefile installs.
    for option in ("--no-deps --require-hashes", "--no-deps --no-build-isolation -e ."):
        assert option in (ROOT / "Makefile").read_text()
        assert text.count(option) == 2
