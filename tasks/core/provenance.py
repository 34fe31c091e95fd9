"""What ran: the code, and the versions of what it stands on."""

from __future__ import annotations

import getpass
import hashlib
import platform
import shutil  # noqa: TID251 - which() looks a program up; no file is touched
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from tasks.core import own_modules
from tasks.core.definitions.job import Job
from tasks.core.models.model_version import ModelVersion
from tasks.core.own_code import package_folder
from tasks.core.rows.digest import digest_json
from tasks.core.runs.manifest import CodeRecord
from tasks.core.storage import Folder

# A change of one of these may change a number.
PACKAGES = (
    "lamplighter",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "great-expectations",
    "prefect",
    "joblib",
)


@cache
def code_record() -> CodeRecord:
    """Lamplighter's version, its git commit where it runs from a checkout, and the digest of its modules."""
    root = str(Folder(_package_folder("tasks")).root.parent)
    # An environment may lie within a checkout of something else, whose commit says nothing of this code.
    tracked = _git(root, "ls-files", "--error-unmatch", "tasks/__init__.py") is not None
    commit = _git(root, "rev-parse", "HEAD") if tracked else None
    changed = _git(root, "status", "--porcelain", "--", "flows", "tasks", "expectations") if commit else None
    return CodeRecord(
        version=_version("lamplighter"),
        commit=commit,
        dirty=bool(changed) if changed is not None else None,
        digest=modules_digest(("tasks", "flows", "expectations")),
    )


def code_of(job: Job, project: Folder, model: ModelVersion) -> CodeRecord:
    """All code that decides a run of the job: Lamplighter, and the project's own modules that the run uses."""
    return code_record().model_copy(update={"modules": own_modules.digests(job, project, model)})


def decisive_digest(code: CodeRecord) -> str:
    """One digest of all that: Lamplighter's own where the run uses nothing else."""
    return digest_json([code.digest, code.modules]) if code.modules else code.digest


def actor() -> str:
    """Who asks: the user of this process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


@cache
def environment() -> dict[str, str]:
    """The versions of Python, of the platform and of the packages that matter."""
    return {"python": platform.python_version(), "platform": platform.platform(terse=True)} | {
        name: _version(name) for name in PACKAGES
    }


def modules_digest(packages: tuple[str, ...]) -> str:
    """The hex SHA-256 over the names and bytes of all Python modules of these packages."""
    digest = hashlib.sha256()
    for package in packages:
        folder = Folder(_package_folder(package))
        for key in folder.files():
            if key.endswith(".py"):
                content = folder.read_bytes(key)
                digest.update(f"{package}/{key}\0{len(content)}\0".encode())
                digest.update(content)
    return digest.hexdigest()


def _package_folder(package: str) -> str:
    return str(package_folder(package).root)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"


def _git(folder: str, *arguments: str) -> str | None:
    """What git prints, or None where it is missing or this is no checkout."""
    git = shutil.which("git")
    if git is None:
        return None
    # Fixed arguments, no shell.
    done = subprocess.run(  # noqa: S603
        [git, "-C", folder, *arguments], capture_output=True, text=True, check=False, timeout=30
    )
    return done.stdout.strip() if done.returncode == 0 else None
