"""A model as somebody has it in a file: which format it is, and what of it a person must accept. Nothing in it is run."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tasks.core.errors import DefinitionError, LakeError, ModelBlocked
from tasks.core.models.elsewhere.estimator import find_interpreter, types_to_accept_elsewhere
from tasks.core.models.formats import format_names, get_format
from tasks.core.models.formats.allow_list import is_forbidden
from tasks.core.models.formats.refusals import refused
from tasks.core.storage import Folder

_NOTHING = "nothing was registered"
_ALSO_CALLED = {"pkl": "joblib", "pickle": "joblib"}
# What a job's YAML can name; a file may name what it likes.
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


@dataclass(frozen=True)
class ModelFile:
    """A file, and the format and bytes in which the registry keeps it: another's, where it is converted."""

    path: str
    sha256: str
    came_as: str
    format: str
    content: bytes

    def types_to_accept(self, interpreter: str | None = None) -> list[str]:
        """The types and functions that a person must accept by name; ModelBlocked where nobody can accept them.

        Of a model that another interpreter is to load, those that the default list does not have there.
        """
        names = self._types_to_accept(interpreter)
        if any(is_forbidden(name) for name in names):
            raise refused(names)
        if strange := [name for name in names if not _NAME.fullmatch(name)]:
            raise ModelBlocked(
                f"the model's file names what no job can: {', '.join(map(repr, strange))}",
                state="nothing in the file was run",
                next_step="do not trust this file",
            )
        return names

    def _types_to_accept(self, interpreter: str | None) -> list[str]:
        if interpreter is None:
            return get_format(self.format).types_to_accept(self.content)
        return types_to_accept_elsewhere(find_interpreter(interpreter, "the model"), self.format, self.content)


def read_model_file(path: str, format_name: str = "") -> ModelFile:
    """The model in a file or, of a format whose models are folders, in a folder."""
    file = Folder(path).root
    folder = Folder(file.parent)
    if not folder.exists(file.name):
        raise DefinitionError(f"there is no file {file}", state=_NOTHING, next_step="give the path of the model's file")
    name = format_name or _format_of(file.name)
    model_format = get_format(name)
    try:
        inside = folder.files(file.name)
        data = _packed(folder, file.name, inside) if inside else folder.read_bytes(file.name)
    except LakeError as error:
        raise DefinitionError(error.failed, state=_NOTHING, next_step="give the path of the model's file") from error
    kept, content = model_format.as_kept(data)
    return ModelFile(str(file), hashlib.sha256(data).hexdigest(), name, kept, content)


def refuse_unaccepted(names: Sequence[str], accepted: Collection[str]) -> None:
    """ModelBlocked unless each is accepted; it says how."""
    if unknown := [name for name in names if name not in accepted]:
        raise ModelBlocked(
            f"the model's file names what nobody has accepted: {', '.join(unknown)}",
            state="it was listed and not loaded, and nothing was registered",
            next_step="if you know what they are and who wrote the file, add them to model.allowed_types in the job's YAML, "
            f"or register it with {' '.join(f'--allow {name}' for name in unknown)}",
        )


def allow_lines(names: Sequence[str]) -> list[str]:
    """What a job's YAML needs for a model that names these, line by line."""
    return ["model:", "  allowed_types:", *(f"    - {name}" for name in names)]


def _format_of(file_name: str) -> str:
    ending = file_name.rpartition(".")[2].lower()
    name = _ALSO_CALLED.get(ending, ending)
    if name not in format_names():
        raise DefinitionError(
            f"'{file_name}' does not say by its ending which format it is; there are: {', '.join(format_names())}",
            state=_NOTHING,
            next_step="give --format",
        )
    return name


def _packed(folder: Folder, name: str, keys: Sequence[str]) -> bytes:
    """A folder as a tar, the same bytes for the same files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for key in keys:
            if folder.path(key).is_symlink():
                raise LakeError(f"{folder.path(key)} is a link, and a model's own files are none")
            content = folder.read_bytes(key)
            entry = tarfile.TarInfo(key.removeprefix(f"{name}/"))
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
