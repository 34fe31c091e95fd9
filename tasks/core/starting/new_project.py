"""A new project: which files it is made of, and how they are put into a folder without touching what is there."""

from __future__ import annotations

import json
import keyword
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from tasks.core import own_code, provenance
from tasks.core.definitions.deployments import prefect_yaml
from tasks.core.definitions.job import job_json_schema
from tasks.core.definitions.project import DEFAULTS, JOBS, parse_job
from tasks.core.definitions.terms import check_name
from tasks.core.errors import DefinitionError, LakeError
from tasks.core.storage import Folder, Lake

_TEMPLATES = "core/starting/template"
_LONGEST_NAME = 40
_MOST_NAMED = 10
_NOTHING = "nothing was made"


@dataclass(frozen=True)
class NewProject:
    """The project's job and package, and its files by their keys, each with what it is."""

    job: str
    package: str
    files: Mapping[str, bytes]
    told: Mapping[str, str]


def new_project(folder: Folder, job: str = "") -> NewProject:
    """What a project in this folder is made of; DefinitionError where the job's name is none."""
    name = name_from(folder.root.name)
    job = check_name(job, "a job", state=_NOTHING, next_step=_GIVE_NAME) if job else name
    if job == DEFAULTS:
        raise DefinitionError(
            f"no job can be called '{DEFAULTS}': {JOBS}/{DEFAULTS}.yaml is what all jobs inherit",
            state=_NOTHING,
            next_step=_GIVE_NAME,
        )
    if not _is_text_in_yaml(job):
        raise DefinitionError(
            f"no job can be called '{job}': without quotes, YAML reads that as a word of its own and not as a name",
            state=_NOTHING,
            next_step=_GIVE_NAME,
        )
    package = own_code.free_package_name(f"{name}_code" if keyword.iskeyword(name) else name, folder)
    words = {"JOB": job, "PACKAGE": package, "TITLE": _title(folder.root.name)}
    text = {key: _filled(template, words) for key, (template, _) in _files(job, package).items() if template}
    inherited = yaml.safe_load(text[f"{JOBS}/{DEFAULTS}.yaml"])
    parsed = parse_job(text[f"{JOBS}/{job}.yaml"], where="the template of a job", defaults=inherited)
    text["deployments/prefect.yaml"] = prefect_yaml([parsed], provenance.code_record().version)
    text["deployments/job.schema.json"] = json.dumps(job_json_schema(), indent=2) + "\n"
    told = {key: says for key, (_, says) in _files(job, package).items()}
    return NewProject(job, package, {key: text[key].encode() for key in told}, told)


def make(folder: Lake, project: NewProject) -> dict[str, bool]:
    """Puts the files into the folder: whether each is new. What is there already as it should be is left as it is.

    DefinitionError names what is in the way; nothing is made then. A kill in between is made good by doing it again.
    """
    if folder.exists("") and not folder.root.is_dir():
        raise DefinitionError(
            f"{folder.root} is a file, and a project is a folder", state=_NOTHING, next_step="give another name"
        )
    _refuse_in_the_way(folder, project.files)
    own_code.refuse_clashes(folder)
    made: dict[str, bool] = {}
    try:
        for key, content in project.files.items():
            made[key] = folder.create(key, content)
            if not made[key] and not _is(folder, key, content):
                raise _in_the_way(folder, [key], state="somebody has just put it there; what was made stands")
    except LakeError as error:
        raise LakeError(
            error.failed,
            state=f"{sum(made.values())} of {len(project.files)} files were made",
            next_step="give a folder that this user may write, or mend that; then the same command again",
        ) from error
    return made


def name_from(text: str) -> str:
    """A name for jobs, tables and packages that is near to this text."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:_LONGEST_NAME].strip("_")
    if not name:
        return "scores"
    return name if name[0].isalpha() and _is_text_in_yaml(name) else f"job_{name}"


def _is_text_in_yaml(name: str) -> bool:
    """Not so of null, true, on and their like."""
    return bool(yaml.safe_load(name) == name)


_GIVE_NAME = "give --job of lower-case letters, digits and _, beginning with a letter"


def _files(job: str, package: str) -> dict[str, tuple[str, str]]:
    """By key: the template, '' where the file is worked out, and what it is. The job comes last: all that it names is there."""
    return {
        "README.md": ("README.md.in", "the path from here to a schedule"),
        ".env.example": ("env.in", "the addresses and passwords that .env is to hold"),
        ".gitignore": ("gitignore.in", "keeps .env and the lake out of version control"),
        f"{package}/__init__.py": ("package.py.in", "your own code"),
        f"{package}/features.py": ("features.py.in", "an example of a transformer and of adapters"),
        "expectations/.gitkeep": ("gitkeep.in", "the place of suites and of expectations of your own"),
        "deployments/job.schema.json": ("", "what editors complete a job's keys from"),
        f"{JOBS}/{DEFAULTS}.yaml": ("defaults.yaml.in", "what every job inherits"),
        f"{JOBS}/{job}.yaml": ("job.yaml.in", "the job: edit this"),
        "deployments/prefect.yaml": ("", "what Prefect is told of it; lamplighter deployments makes it anew"),
    }


def _filled(template: str, words: Mapping[str, str]) -> str:
    text = own_code.package_folder("tasks").read_text(f"{_TEMPLATES}/{template}")
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text


def _title(name: str) -> str:
    """The folder's name, as one line of Markdown."""
    return " ".join("".join(each if each.isprintable() else " " for each in name).split()) or "Scores"


def _refuse_in_the_way(folder: Folder, files: Mapping[str, bytes]) -> None:
    there = [key for key, content in files.items() if _stands(folder, key) and not _is(folder, key, content)]
    if there:
        raise _in_the_way(folder, there, state=_NOTHING)


def _stands(folder: Folder, key: str) -> bool:
    """Whether anything is at the key's place, or a file where a folder of it is to be; a link that leads nowhere too."""
    path = folder.path(key)
    above = [each for each in path.parents if each.is_relative_to(folder.root)]
    return path.is_symlink() or path.exists() or any(each.exists() and not each.is_dir() for each in above)


def _is(folder: Folder, key: str, content: bytes) -> bool:
    return folder.holds_file(key) and folder.read_bytes(key) == content


def _in_the_way(folder: Folder, keys: list[str], *, state: str) -> DefinitionError:
    more = f" and {len(keys) - _MOST_NAMED} more" if len(keys) > _MOST_NAMED else ""
    return DefinitionError(
        f"{folder.root} holds {', '.join(keys[:_MOST_NAMED])}{more} already, and not as a new project has it; nothing that is "
        "there is overwritten",
        state=state,
        next_step="give another folder, or move that out of the way",
    )
