"""The wheel of the Lamplighter that runs here: its modules as they lie there, with the metadata of its installation.

It is put together from what runs, and not built anew: no network, no build tool, no checkout is needed, and what is
released is what was run.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import io
import re
import tomllib
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any

from tasks.core.errors import DefinitionError
from tasks.core.own_code import package_folder
from tasks.core.releasing.archive import refused
from tasks.core.storage import Folder

PACKAGES = ("expectations", "flows", "tasks")
_NAME = "lamplighter"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_LARGEST_BYTES = 100 << 20
_SPECIFIER = re.compile(r"^([A-Za-z0-9._-]+)\s*(.*)$")


def assemble_wheel() -> tuple[str, bytes]:
    """The wheel's file name, and its bytes: the same for the same modules and metadata."""
    installed = _installed()
    info = f"{_NAME}-{installed.version}.dist-info"
    files = _modules() | {f"{info}/{name}": content for name, content in _metadata(installed, info).items()}
    record = "".join(f"{name},sha256={_urlsafe(content)},{len(content)}\n" for name, content in sorted(files.items()))
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(files.items()):
            member = zipfile.ZipInfo(name, _LONG_AGO)
            member.external_attr, member.create_system = 0o644 << 16, 3
            archive.writestr(member, content)
    return f"{_NAME}-{installed.version}-py3-none-any.whl", sink.getvalue()


def modules_digest_of(wheel: bytes, where: str) -> str:
    """The digest of the Python modules in a wheel, as `provenance.modules_digest` makes it of those that run."""
    modules = {name: content for name, content in _members(wheel, where).items() if name.endswith(".py")}
    digest = hashlib.sha256()
    for package in ("tasks", "flows", "expectations"):
        for name in sorted(one for one in modules if one.startswith(f"{package}/")):
            digest.update(f"{name}\0{len(modules[name])}\0".encode())
            digest.update(modules[name])
    return digest.hexdigest()


def _members(wheel: bytes, where: str) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
            if sum(one.file_size for one in archive.infolist()) > _LARGEST_BYTES:
                raise refused(f"the wheel in {where} is larger than Lamplighter can be")
            return {one.filename: archive.read(one) for one in archive.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError) as error:
        raise refused(f"the wheel in {where} cannot be read: {error}") from error


def _modules() -> dict[str, bytes]:
    found = {}
    for package in PACKAGES:
        folder = Folder(_folder_of(package))
        for key in folder.files():
            if not any(part.startswith(".") or part == "__pycache__" for part in key.split("/")):
                found[f"{package}/{key}"] = folder.read_bytes(key)
    return found


def _folder_of(package: str) -> str:
    return str(package_folder(package).root)


def _metadata(installed: Distribution, info: str) -> dict[str, bytes]:
    folder = Folder(str(installed.locate_file(info)))
    if not folder.exists("METADATA"):
        raise _not_installed(f"{folder.root} has no METADATA")
    kept = [key for key in folder.files() if key in ("METADATA", "entry_points.txt") or key.startswith("licenses/")]
    files = {key: folder.read_bytes(key) for key in kept}
    checkout = Folder(str(Folder(_folder_of("tasks")).root.parent))
    if _is_stale(installed, checkout):
        files["METADATA"] = _metadata_now(checkout)
    wheel = f"Wheel-Version: 1.0\nGenerator: {_NAME} {installed.version}\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    return files | {"WHEEL": wheel.encode()}


def _installed() -> Distribution:
    try:
        return distribution(_NAME)
    except PackageNotFoundError as error:
        raise _not_installed("it runs from its modules alone") from error


def _not_installed(why: str) -> DefinitionError:
    return DefinitionError(
        f"this Lamplighter is not installed as a distribution ({why}), so it has no metadata to make a wheel with",
        state="nothing was written",
        next_step="in its checkout: python -m pip install --no-deps --no-build-isolation -e .",
    )


def _is_stale(installed: Distribution, checkout: Folder) -> bool:
    """Whether the metadata is not that of the checkout: it is as old as the installation, the modules are as they are now."""
    if not checkout.exists("pyproject.toml"):
        return False
    project: dict[str, Any] = tomllib.loads(checkout.read_text("pyproject.toml")).get("project", {})
    if project.get("name") != _NAME:
        return False
    needs = {_sorted(one) for one in installed.requires or () if "extra ==" not in one}
    return (project.get("version"), {_sorted(one) for one in project.get("dependencies", ())}) != (
        installed.version,
        needs,
    )


def _metadata_now(checkout: Folder) -> bytes:
    """As the build tool makes it of pyproject.toml; DefinitionError where there is none."""
    try:
        builder = importlib.import_module("hatchling.builders.wheel").WheelBuilder(str(checkout.root))
    except ModuleNotFoundError as error:
        raise DefinitionError(
            f"{checkout.path('pyproject.toml')} has changed since Lamplighter was installed from it",
            state="nothing was written",
            next_step="python -m pip install --no-deps --no-build-isolation -e . there, then release again",
        ) from error
    return str(builder.config.core_metadata_constructor(builder.metadata)).encode()


def _sorted(requirement: str) -> str:
    found = _SPECIFIER.match(requirement)
    name, versions = found.groups() if found else (requirement, "")
    return f"{name.lower()} {sorted(one.strip() for one in versions.split(','))}"


def _urlsafe(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
