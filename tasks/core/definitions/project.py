"""A project: the folder that holds a team's jobs and suites. Lamplighter's own checkout is one such project."""

from __future__ import annotations

import datetime as dt
import difflib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from tasks.core import own_code
from tasks.core.definitions.binds import binds_of
from tasks.core.definitions.job import Job
from tasks.core.definitions.operation import Defaults, Operation, Ownership
from tasks.core.definitions.source import SqlSource
from tasks.core.definitions.terms import Queried
from tasks.core.definitions.window import Window
from tasks.core.errors import DefinitionError, JobError, LakeError, SuiteError
from tasks.core.rows.digest import digest_json
from tasks.core.secret_parts import holds_secret
from tasks.core.storage import Folder

JOBS = "deployments/jobs"
DEFAULTS = "defaults"
SUITES = "expectations"
_LARGEST_YAML_BYTES = 1_000_000
_LONGEST_FOUND = 200

M = TypeVar("M", bound=BaseModel)


# A run that failed for its limit on time or workers is to be taken up again where it was, once that is mended.
_DECIDES_NOTHING: Any = {
    "description": True,
    **dict.fromkeys(Operation.model_fields, True),
    "labels": True,
    "training": True,
    "promotion": True,
    "monitor": True,
    "audit": True,
    "model": {"allowed_types"},
    "output": {"latest", "sql"},
    "limits": {"workers", "batch_timeout_seconds", "isolate", "wait_for_window"},
}


@dataclass(frozen=True)
class Definition:
    """A job with everything that decides what it does: its YAML, its queries and its suites."""

    job: Job
    query: str | None
    labels_query: str | None
    suite_text: str | None
    output_suite_text: str | None = None
    labels_suite_text: str | None = None

    @cached_property
    def digest(self) -> str:
        """Of what decides a run: a comment in the YAML, its owner, its schedule, its training, its promotion or its number of workers do not."""
        decides = self.job.model_dump(mode="json", exclude=_DECIDES_NOTHING)
        # The order of columns is that of the published tables, and a digest does not see the order of keys.
        order = [list(self.job.columns), list(self.job.output.columns)]
        texts = {"query": self.query, "suite": self.suite_text, "output_suite": self.output_suite_text}
        return digest_json({"job": decides, "order": order, **texts})

    def known_at(self, window: Window) -> dt.datetime | None:
        """What the source's query binds as :known_at; None where it binds no such thing."""
        return self.job.known_at(window) if "known_at" in binds_of(self.query or "") else None


class Project:
    """The definitions in a project's folder."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def job_names(self) -> list[str]:
        """The jobs that have a file, whether it is right or not."""
        names = (name.removesuffix(".yaml") for name in self.folder.names(JOBS) if name.endswith(".yaml"))
        return [name for name in names if name != DEFAULTS]

    def defaults(self) -> dict[str, Any]:
        """What every job inherits that does not say it itself; JobError names the file and the key that is wrong."""
        key = f"{JOBS}/{DEFAULTS}.yaml"
        if not self.folder.exists(key):
            return {}
        found = _mapping(self._text(key), where=key)
        _validated(Defaults, found, where=key)
        return found

    def models_work_pool(self) -> str:
        """The work pool of the flows that change the registry."""
        return Defaults.model_validate(self.defaults()).models_work_pool

    def _inherited(self) -> dict[str, Any]:
        return {key: value for key, value in self.defaults().items() if key in Ownership.model_fields}

    def digest(self, name: str) -> str:
        """Of the text of a job's file and of what it inherits: who kept something of the job sees whether it still holds."""
        keys = [key for key in (f"{JOBS}/{name}.yaml", f"{JOBS}/{DEFAULTS}.yaml") if self.folder.exists(key)]
        return digest_json({key: self._text(key) for key in keys})

    def load(self, name: str, *, suites: bool = True) -> Definition:
        """The definition of a job; JobError or SuiteError names the file, the key, what was found and what is allowed.

        The project's own modules are importable from then on; DefinitionError where one of them stands in the way.
        Without `suites` their files are not read: they need not be there yet.
        """
        if name not in self.job_names():
            raise DefinitionError(_no_such_job(name, self.job_names(), self.folder), next_step="lamplighter check")
        own_code.join(self.folder)
        key = f"{JOBS}/{name}.yaml"
        job = parse_job(self._text(key), where=key, defaults=self._inherited())
        if job.job != name:
            raise JobError(
                f"{key}: key 'job' is '{job.job}', and must be the file's name, '{name}'", next_step=_mend(key)
            )
        return Definition(
            job=job,
            query=self._query(job.source, f"{key}: key 'source.query_file'")
            if isinstance(job.source, SqlSource)
            else None,
            labels_query=self._query(job.labels, f"{key}: key 'labels.query_file'") if job.labels else None,
            suite_text=self._suite(job, job.suite, "suite") if suites else None,
            output_suite_text=self._suite(job, job.output.suite, "output.suite") if suites else None,
            labels_suite_text=self._suite(job, job.labels.suite, "labels.suite") if suites and job.labels else None,
        )

    def _query(self, given: Queried, where: str) -> str:
        if given.query is not None:
            return given.query
        try:
            path = self.folder.path(f"{JOBS}/{given.query_file}")
        except DefinitionError as error:
            raise JobError(f"{where} is '{given.query_file}', and must be a file in or below {JOBS}") from error
        if not path.is_file():
            raise JobError(f"{where} names {given.query_file}, and there is no {path}")
        return self._text(f"{JOBS}/{given.query_file}")

    def _text(self, key: str) -> str:
        try:
            return self.folder.read_text(key)
        except LakeError as error:
            raise JobError(error.failed, next_step=_mend(key)) from error

    def _suite(self, job: Job, name: str | None, key_in_job: str) -> str | None:
        if name is None:
            return None
        key = suite_key(name)
        if not self.folder.has_file(key):
            first = (
                f"lamplighter suggest {job.job} --as-of WINDOW, for a first one; or " if key_in_job == "suite" else ""
            )
            raise SuiteError(
                f"the job '{job.job}' names the suite '{name}', and there is no {self.folder.path(key)}",
                next_step=f"{first}write {key}, or take '{key_in_job}' out of {JOBS}/{job.job}.yaml",
            )
        try:
            return self.folder.read_text(key)
        except LakeError as error:
            raise SuiteError(error.failed, next_step=_mend(key)) from error


def suite_key(name: str) -> str:
    """Where a suite lies in its project."""
    return f"{SUITES}/{name}.json"


def parse_job(text: str, *, where: str, defaults: dict[str, Any] | None = None) -> Job:
    """A job from YAML text, over the keys that it inherits. Tags, anchors, repeated keys and unknown keys are refused."""
    return _validated(Job, {**(defaults or {}), **_mapping(text, where=where)}, where=where)


def _mapping(text: str, *, where: str) -> dict[str, Any]:
    if len(text) > _LARGEST_YAML_BYTES:
        failed = f"{where} has {len(text):,} characters; a job has at most {_LARGEST_YAML_BYTES:,}"
        raise JobError(failed, next_step=_mend(where))
    try:
        # A subclass of the safe loader: it makes plain values, never objects.
        found = yaml.load(text, Loader=_JobLoader)  # noqa: S506
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        # Not 'from error': that one's text repeats the line, which may hold a secret.
        raise JobError(
            f"{where} is not YAML that a job may use: {_yaml_message(error)}", next_step=_mend(where)
        ) from None
    if not isinstance(found, dict):
        raise JobError(
            f"{where} holds {type(found).__name__}, and must hold keys such as 'job' and 'source'",
            next_step=_mend(where),
        )
    return found


def _validated(model: type[M], found: dict[str, Any], *, where: str) -> M:
    try:
        return model.model_validate(found)
    except ValidationError as error:
        raise JobError(f"{where}: {_explain(error)}", next_step=_mend(where)) from error


def _mend(where: str) -> str:
    return f"mend {where}, then: lamplighter check"


class _JobLoader(yaml.SafeLoader):
    """YAML of plain values, and what could repeat or multiply itself is refused.

    A date, a time of day, `yes` and `<<` stay text. (YAML 1.1 makes of `on` a truth, of 1:30 the number 90, and takes
    minutes over a long 1:1:1:...)
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) is not None:
            raise yaml.MarkedYAMLError(problem="anchors and aliases are not used here", problem_mark=event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(problem="tags are not used here", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_scalar(self, node: Any) -> Any:
        text = super().construct_scalar(node)
        # Written as an escape, half a character is no text that anybody can store.
        if any("\ud800" <= one <= "\udfff" for one in text):
            raise yaml.MarkedYAMLError(problem="an escape is half a character", problem_mark=node.start_mark)
        return text

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        count = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if twice := [key for key, times in count.items() if times > 1]:
            raise yaml.MarkedYAMLError(problem=f"the key '{twice[0]}' stands twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep=deep)


for _tag, _pattern, _first in (
    ("null", r"(?:~|null|Null|NULL|)\Z", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)\Z", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)\Z", list("-+0123456789")),
    ("float", r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\Z", list("-+.0123456789")),
):
    _JobLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


def _yaml_message(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        told = ", ".join(filter(None, [error.context, error.problem]))
        return f"{told} (line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1})"
    return (str(error).splitlines() or [type(error).__name__])[0]


def _explain(error: ValidationError) -> str:
    """The first thing that is wrong: key, what was found, what is allowed; and how many more there are."""
    problems = error.errors()
    # A key that is mistyped is missing too: the mistake comes first.
    first = min(problems, key=lambda problem: problem["type"] == "missing")
    key = ".".join(str(part) for part in _without_tag(first["loc"]))
    more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"key '{key}' is not known{_nearest(key)}{more}"
    if first["type"] == "missing":
        return f"key '{key}' is missing{more}"
    message = first["msg"].removeprefix("Value error, ")
    if not key or isinstance(first["input"], dict):
        return f"{f'key {key!r}: ' if key else ''}{message}{more}"
    return f"key '{key}': {_found(key, first['input'])}{message[0].lower()}{message[1:]}{more}"


def _found(key: str, value: object) -> str:
    text = repr(value)
    # An address may stand under another's key, or be none that is recognised.
    if "uri" in key or holds_secret(str(value)):
        return ""
    return f"found {text if len(text) <= _LONGEST_FOUND else text[:_LONGEST_FOUND] + '...'}; "


def _without_tag(keys: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Without the source's type, which pydantic puts among the keys (source.sql.uri); a person's file has no such key."""
    return (*keys[:1], *keys[2:]) if len(keys) > 1 and keys[0] == "source" and keys[1] in ("sql", "files") else keys


def _nearest(key: str) -> str:
    known = {name for model in _models(Job) for name in _keys(model)}
    near = difflib.get_close_matches(key.rpartition(".")[2], sorted(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def _models(kind: Any) -> Iterator[Any]:
    """The models that a type is made of, itself among them."""
    if hasattr(kind, "model_fields"):
        yield kind
        for field in kind.model_fields.values():
            yield from _models(field.annotation)
    for part in get_args(kind):
        yield from _models(part)


def _keys(model: Any) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _no_such_job(name: str, known: list[str], folder: Folder) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else f"; there are: {', '.join(known) or 'none'}"
    return f"there is no job '{name[:100]}' in {folder.path(JOBS)}{hint}"
