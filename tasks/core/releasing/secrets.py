"""No secret leaves with a release: of an address that the environment holds only the variable's name does."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping

from dotenv import dotenv_values

from tasks.core.definitions.job import Job
from tasks.core.definitions.source import Addressed
from tasks.core.errors import DefinitionError
from tasks.core.secret_parts import is_telling, secrets_in, stands_in_text
from tasks.core.settings import environment
from tasks.core.storage import Folder

_ENV_FILE = ".env"
_SHORTEST = 6  # A shorter value stands in any text by chance.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/@:'\"]*:[^\s/@'\"]+@")
_SECRET_NAME = re.compile(r"pass|pwd|secret|token|credential|key|auth|uri|url|dsn", re.IGNORECASE)
_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")


def known_secrets(job: Job, folders: Iterable[Folder]) -> dict[str, str]:
    """By the name of its variable each value that must not be in a release: the addresses of its databases, and those of `.env`."""
    found: dict[str, str] = {}
    for folder in folders:
        if folder.exists(_ENV_FILE):
            values = dotenv_values(stream=io.StringIO(folder.read_text(_ENV_FILE)), interpolate=False)
            found |= {name: value for name, value in values.items() if value and _SECRET_NAME.search(name)}
    for given in (job.source, job.output.sql):
        if isinstance(given, Addressed) and given.uri_env and (address := environment(given.uri_env)):
            found[given.uri_env] = address
    return {name: value for name, value in found.items() if len(value) >= _SHORTEST}


def refuse_secrets(files: Mapping[str, bytes], secrets: Mapping[str, str]) -> None:
    """DefinitionError names the file in which a secret stands; never the secret."""
    for name, content in files.items():
        text = content.decode("utf-8", "replace")
        for variable, value in secrets.items():
            if value.encode() in content:
                raise _holds(name, f"the value of {variable}")
            if any(_stands_alone(part, text) for part in secrets_in(value)):
                raise _holds(name, f"a secret of {variable}")
        if _ADDRESS.search(text):
            raise _holds(name, "an address with a password")
        if _KEY.search(text):
            raise _holds(name, "a private key")
        if stands_in_text(text):
            raise _holds(name, "what looks like a password, a token or a key")


def _stands_alone(secret: str, text: str) -> bool:
    """A password is often a word, and then stands in a longer one, or by itself, by chance."""
    if len(secret) < _SHORTEST or not is_telling(secret):
        return False
    return re.search(rf"(?<!\w){re.escape(secret)}(?!\w)", text) is not None


def _holds(name: str, what: str) -> DefinitionError:
    return DefinitionError(
        f"{name} holds {what}, and a release is given to others",
        state="nothing was written",
        next_step="take it out of the file, and let the job name the variable (uri_env)",
    )
