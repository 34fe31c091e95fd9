"""Paths that a job gives: relative to the project, or absolute."""

from __future__ import annotations

from tasks.core.source.problems import problem
from tasks.core.storage import Folder


def local_path(project: Folder, path: str) -> str:
    """The path on this machine. One that would leave the project by '..' is refused."""
    if path.startswith("/"):
        return str(Folder("/").path(path.strip("/")))
    return str(project.path(path.removeprefix("./").rstrip("/")))


def existing_path(project: Folder, path: str, what: str) -> str:
    """As local_path; SourceError where nothing is there."""
    found = local_path(project, path)
    if not Folder("/").exists(found.strip("/")):
        raise problem(f"{what} {found} does not exist", next_step="make it, or mend the path in the job's source")
    return found
