"""The one door to MLflow: which version an alias of its registry names, and the files of that version, as bytes.

MLflow itself loads nothing here: what it would do with a model's file is to run it.
"""

from __future__ import annotations

import datetime as dt
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from tasks.core.definitions.mlflow_names import MlflowAlias
from tasks.core.errors import DefinitionError, ModelBlocked, ModelNotFound, SourceError
from tasks.core.secret_parts import secrets_in
from tasks.core.settings import environment, prepare_mlflow
from tasks.core.source.problems import guarded, mask, problem, retry
from tasks.core.storage import Lake

ADDRESS = "MLFLOW_TRACKING_URI"

T = TypeVar("T")

_RETRIES = 3
_LONGEST_MESSAGE = 300
# What trying again does not mend.
_FINAL = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "PERMISSION_DENIED", "UNAUTHENTICATED", "BAD_REQUEST"}


@dataclass(frozen=True)
class MlflowVersion:
    """A version in MLflow's registry, as its server describes it. The tracking address is without secrets."""

    name: str
    number: str
    tracking: str
    location: str
    source: str
    run_id: str
    created_at: dt.datetime
    updated_at: dt.datetime
    description: str

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.number}"

    def __str__(self) -> str:
        return f"{self.uri} of MLflow at {self.tracking}"


@dataclass(frozen=True)
class MlflowRun:
    """Of the run that logged a model: its metrics, and the name and digest of the first data set that it read."""

    metrics: dict[str, float]
    data_set: tuple[str, str] | None
    commit: str


class Tracking:
    """The tracking server whose address is in MLFLOW_TRACKING_URI."""

    def __init__(self) -> None:
        address = environment(ADDRESS)
        if address is None:
            raise DefinitionError(
                f"the job takes its model from MLflow's registry, and the environment variable {ADDRESS} is not set",
                state="nothing was started",
                next_step=f"export {ADDRESS}=http://HOST:PORT, or write it into .env",
            )
        self.shown = without_secrets(address)
        self._address = address
        prepare_mlflow()
        self._client = _mlflow("mlflow.tracking").MlflowClient(tracking_uri=address)

    def version_of(self, wanted: MlflowAlias) -> MlflowVersion:
        """The version that the alias names now. ModelNotFound says which aliases there are."""
        model = self._ask(lambda: self._or_none(lambda: self._client.get_registered_model(wanted.name)))
        if model is None:
            raise ModelNotFound(
                f"MLflow at {self.shown} has no registered model '{wanted.name}'",
                state="nothing was pulled",
                next_step="register it there, or mend 'model.name' in the job",
            )
        if wanted.alias not in model.aliases:
            there = ", ".join(f"{alias} = {number}" for alias, number in sorted(model.aliases.items())) or "none"
            raise ModelNotFound(
                f"the registered model '{wanted.name}' of MLflow at {self.shown} has no alias '{wanted.alias}'; "
                f"aliases: {there}",
                state="nothing was pulled",
                next_step=f"set the alias '{wanted.alias}' in MLflow, or mend 'model.name' in the job",
            )
        number = str(model.aliases[wanted.alias])
        found = self._ask(lambda: self._client.get_model_version(wanted.name, number))
        return MlflowVersion(
            name=wanted.name,
            number=number,
            tracking=self.shown,
            location=self._ask(lambda: self._client.get_model_version_download_uri(wanted.name, number)),
            source=without_secrets(found.source or ""),
            run_id=found.run_id or "",
            created_at=_instant(found.creation_timestamp),
            updated_at=_instant(found.last_updated_timestamp),
            description=found.description or "",
        )

    def run_of(self, version: MlflowVersion) -> MlflowRun:
        """What is known of the run that logged a version; nothing, where that is no more."""
        run = self._ask(lambda: self._or_none(lambda: self._client.get_run(version.run_id))) if version.run_id else None
        if run is None:
            return MlflowRun({}, None, "")
        named = [one.dataset for one in run.inputs.dataset_inputs] if run.inputs else []
        return MlflowRun(
            metrics=dict(run.data.metrics),
            data_set=(named[0].name, named[0].digest) if named else None,
            commit=run.data.tags.get("mlflow.source.git.commit", ""),
        )

    def artifacts(self, version: MlflowVersion, lake: Lake, scratch: str) -> Artifacts:
        """The files of a version, which are read one by one through a folder of the lake that is theirs alone."""
        repository = _mlflow("mlflow.store.artifact.artifact_repository_registry").get_artifact_repository(
            version.location, tracking_uri=self._address
        )
        found = self._ask(repository.list_artifacts)
        # A listing may begin each path with the folder's own name.
        sizes = {str(one.path).rpartition("/")[2]: one.file_size for one in found if not one.is_dir}
        return Artifacts(version, sizes, repository, self._ask, lake, scratch)

    def _ask(self, call: Callable[[], T]) -> T:
        """What the call returns, tried again where that may help; SourceError where it does not."""
        return retry(lambda: guarded(call, (Exception,), self._told), _RETRIES)

    def _or_none(self, call: Callable[[], T]) -> T | None:
        """What the call returns; None of what the registry does not have."""
        kind = _mlflow("mlflow.exceptions").MlflowException
        try:
            return call()
        except kind as error:
            if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _told(self, error: Exception) -> SourceError:
        text = " ".join(str(_innermost(error)).replace(self._address, self.shown).split())
        message = mask(text, secrets_in(self._address))
        cut = message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]}..."
        return problem(
            f"MLflow at {self.shown} ({ADDRESS}) could not be asked: {cut}",
            transient=getattr(error, "error_code", "") not in _FINAL,
            next_step=f"see that {ADDRESS} is right, that the server answers, and that it lets you in; then run it again",
        )


@dataclass(frozen=True)
class Artifacts:
    """The files of a version; their names, each with its size where the store tells it."""

    version: MlflowVersion
    sizes: dict[str, int | None]
    _repository: Any
    _ask: Callable[[Callable[[], Any]], Any]
    _lake: Lake
    _scratch: str

    def read(self, name: str, largest_bytes: int) -> bytes:
        """A file. ModelBlocked where there is none of this name, or it is too large; it is not fetched then."""
        if name not in self.sizes:
            raise self.blocked(f"it has no file '{name[:100]}'; there are: {', '.join(sorted(self.sizes)) or 'none'}")
        self._check_size(name, self.sizes[name] or 0, largest_bytes)
        with self._lake.workplace(self._scratch) as folder:
            # Whose files these are, should a kill leave them; and the folder that MLflow wants to find.
            folder.write_bytes("of", str(self.version).encode())
            self._ask(lambda: self._repository.download_artifacts(name, dst_path=str(folder.root)))
            self._check_size(name, folder.size_bytes(name), largest_bytes)
            return folder.read_bytes(name)

    def blocked(self, what: str, next_step: str = "") -> ModelBlocked:
        return ModelBlocked(
            f"{self.version} cannot be taken over: {what}",
            state="nothing was registered here, and nothing was pulled",
            next_step=next_step or "log and register the model in MLflow again, and move the alias to the new version",
        )

    def _check_size(self, name: str, size_bytes: int, largest_bytes: int) -> None:
        if size_bytes > largest_bytes:
            raise self.blocked(f"its file '{name}' has {size_bytes:,} bytes, and may have {largest_bytes:,}")


def without_secrets(address: str) -> str:
    """An address without user, password and parameters."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _mlflow(module: str) -> Any:
    """A module of MLflow, which is an extra."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "mlflow":
            raise
        raise DefinitionError(
            "the job takes its model from MLflow's registry, which needs the package 'mlflow-skinny', and it is not installed here",
            state="nothing was started",
            next_step="pip install 'lamplighter[mlflow]'",
        ) from error


def _instant(milliseconds: int | None) -> dt.datetime:
    return dt.datetime.fromtimestamp((milliseconds or 0) / 1000, dt.UTC)


def _innermost(error: BaseException) -> BaseException:
    """The first cause: 'connection refused', and not all who passed it on."""
    seen = [error]
    while (cause := seen[-1].__cause__ or seen[-1].__context__) is not None and cause not in seen:
        seen.append(cause)
    return next((one for one in reversed(seen) if str(one)), error)
