"""A project: the folder that holds a team's jobs and suites. Lamplighter's own checkout is one such project."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml
from pydantic import ValidationError

from tasks.core.digest import digest_json
from tasks.core.errors import DefinitionError, JobError, SuiteError
from tasks.core.job import Job, SqlSource
from tasks.core.storage import Folder

JOBS = "deployments/jobs"
SUITES = "expectations"
_LARGEST_YAML_BYTES = 1_000_000


@dataclass(frozen=True)
class Definition:
    """A job with everything that decides what it does: its YAML, its queries and its suite."""

    job: Job
    query: str | None
    labels_query: str | None
    suite_text: str | None

    @cached_property
    def digest(self) -> str:
        """Of what decides a run: a comment in the YAML, its owner or its training do not."""
        decides = self.job.model_dump(mode="json", exclude={"description", "owner", "labels", "training"})
        return digest_json({"job": decides, "query": self.query, "suite": self.suite_text})


class Project:
    """The definitions in a project's folder."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def job_names(self) -> list[str]:
        """The jobs that have a file, whether it is right or not."""
        return [name.removesuffix(".yaml") for name in self.folder.names(JOBS) if name.endswith(".yaml")]

    def load(self, name: str) -> Definition:
        """The definition of a job; JobError or SuiteError names the file, the key, what was found and what is allowed."""
        if name not in self.job_names():
            raise DefinitionError(_no_such_job(name, self.job_names(), self.folder), next_step="lamplighter check")
        key = f"{JOBS}/{name}.yaml"
        job = parse_job(self.folder.read_text(key), where=key)
        if job.job != name:
            raise JobError(f"{key}: key 'job' is '{job.job}', and must be the file's name, '{name}'")
        return Definition(
            job=job,
            query=self._query(job.source.query, job.source.query_file, key)
            if isinstance(job.source, SqlSource)
            else None,
            labels_query=self._query(job.labels.query, job.labels.query_file, key) if job.labels else None,
            suite_text=self._suite(job),
        )

    def _query(self, query: str | None, file: str | None, job_key: str) -> str:
        if query is not None:
            return query
        key = f"{JOBS}/{file}"
        if not self.folder.path(key).is_file():
            raise JobError(f"{job_key}: key 'query_file' names {file}, and there is no {self.folder.path(key)}")
        return self.folder.read_text(key)

    def _suite(self, job: Job) -> str | None:
        if job.suite is None:
            return None
        key = f"{SUITES}/{job.suite}.json"
        if not self.folder.path(key).is_file():
            raise SuiteError(
                f"the job '{job.job}' names the suite '{job.suite}', and there is no {self.folder.path(key)}",
                next_step=f"write {key}, or take 'suite' out of {JOBS}/{job.job}.yaml",
            )
        return self.folder.read_text(key)


def parse_job(text: str, *, where: str) -> Job:
    """A job from YAML text. Tags, anchors, repeated keys and unknown keys are refused."""
    if len(text) > _LARGEST_YAML_BYTES:
        raise JobError(f"{where} has {len(text):,} characters; a job has at most {_LARGEST_YAML_BYTES:,}")
    try:
        # A subclass of the safe loader: it makes plain values, never objects.
        found = yaml.load(text, Loader=_JobLoader)  # noqa: S506
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise JobError(f"{where} is not YAML that a job may use: {_yaml_message(error)}") from error
    if not isinstance(found, dict):
        raise JobError(f"{where} holds {type(found).__name__}, and must hold keys such as 'job' and 'source'")
    try:
        return Job.model_validate(found)
    except ValidationError as error:
        raise JobError(f"{where}: {_explain(error)}", next_step=f"mend {where}, then: lamplighter check") from error


class _JobLoader(yaml.SafeLoader):
    """YAML of plain values: a date stays text, and what could repeat or multiply itself is refused."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="anchors and aliases are not used here",
                problem_mark=self.peek_event().start_mark,  # type: ignore[no-untyped-call]
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := [key for key in keys if isinstance(key, str) and keys.count(key) > 1]:
            raise yaml.MarkedYAMLError(problem=f"the key '{twice[0]}' stands twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep=deep)


def _yaml_message(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"{error.problem} (line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1})"
    return (str(error).splitlines() or [type(error).__name__])[0]


def _explain(error: ValidationError) -> str:
    """The first thing that is wrong: key, what was found, what is allowed; and how many more there are."""
    problems = error.errors()
    first = problems[0]
    # pydantic puts the tag of a union among the keys; a person's file has no such key.
    key = ".".join(str(part) for part in first["loc"] if part not in ("sql", "files"))
    more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"key '{key}' is not known{_nearest(key)}{more}"
    if first["type"] == "missing":
        return f"key '{key}' is missing{more}"
    message = first["msg"].removeprefix("Value error, ")
    if not key or isinstance(first["input"], dict):
        return f"{f'key {key!r}: ' if key else ''}{message}{more}"
    # An address may hold a secret, whatever key it stands under.
    found = "" if key.endswith("uri") else f"found {first['input']!r}; "
    return f"key '{key}': {found}{message[0].lower()}{message[1:]}{more}"


def _nearest(key: str) -> str:
    known = {name for model in _models(Job) for name in _keys(model)}
    near = difflib.get_close_matches(key.rpartition(".")[2], sorted(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def _models(model: Any) -> list[Any]:
    from tasks.core import job as definitions  # noqa: PLC0415

    return [
        value for value in vars(definitions).values() if isinstance(value, type) and hasattr(value, "model_fields")
    ] + [model]


def _keys(model: Any) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _no_such_job(name: str, known: list[str], folder: Folder) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else f"; there are: {', '.join(known) or 'none'}"
    return f"there is no job '{name[:100]}' in {folder.path(JOBS)}{hint}"
