"""The repository's own definitions: what they promise holds, and what is generated from the code is current."""

import json
import pathlib
import re

import pytest

from tasks.core.definitions.job import job_json_schema
from tasks.core.definitions.project import Project
from tasks.core.storage import Folder

ROOT = pathlib.Path(__file__).parents[2]
AFTER_DEPARTURE = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"}


@pytest.fixture(scope="module")
def flights():
    return Project(Folder(ROOT)).load("flight_delays")


def test_no_feature_is_known_only_after_departure(flights):
    assert not AFTER_DEPARTURE & set(flights.job.columns)
    words = set(re.findall(r"\w+", re.sub(r"--.*", "", flights.query)))
    assert not AFTER_DEPARTURE & words
    assert set(flights.job.training.features) <= set(flights.job.columns)


def test_the_label_is_what_the_description_says(flights):
    assert "arr_delay > 15" in flights.labels_query
    assert "more than 15 minutes late" in flights.job.description


def test_training_ranges_come_before_the_days_that_the_demo_scores(flights):
    from tasks.demo import BROKEN_DAY, SCORED_DAYS

    assert flights.job.training.benchmark.last < min(SCORED_DAYS)
    assert max(SCORED_DAYS) < BROKEN_DAY


def test_the_json_schema_for_editors_is_current():
    written = json.loads((ROOT / "deployments/job.schema.json").read_text())
    assert written == json.loads(json.dumps(job_json_schema())), "run: make schema"


def test_changelog_and_licence_are_there():
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def test_nothing_but_the_prescribed_stands_at_the_top():
    import subprocess

    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    top = {path.split("/")[0] for path in listed}
    allowed = {
        *("pyproject.toml", "flows", "tasks", "expectations", "tests", "deployments", "README.md", "docs"),
        *(".ci", "Makefile", "requirements.lock", "LICENSE", "CHANGELOG.md", ".gitignore", ".dockerignore"),
    }
    assert top <= allowed, top - allowed
