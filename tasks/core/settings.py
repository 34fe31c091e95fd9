"""The one door to the environment: Lamplighter's own settings, and the variables that a job names."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from tasks.core.errors import DefinitionError
from tasks.core.secret_parts import masked

PREFIX = "LAMPLIGHTER_"
_ENV_FILE = ".env"
_PROJECT, _LAKE = f"{PREFIX}PROJECT", f"{PREFIX}LAKE"
_LONGEST_SHOWN = 80
_OF_OBJECT_STORES = ("AWS_", "GOOGLE_", "AZURE_")


def _lower(given: object) -> object:
    """Prefect and most tools write INFO; both are meant."""
    return given.strip().lower() if isinstance(given, str) else given


LogFormat = Annotated[Literal["text", "json"], BeforeValidator(_lower)]
EngineKind = Annotated[Literal["local", "dask", "ray"], BeforeValidator(_lower)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]


class Settings(BaseSettings):
    """What an installation decides: LAMPLIGHTER_<NAME> in the environment, else in `.env` where the command is typed, else in
    that of the project's folder, beside which a relative lake of its own lies.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        # .env holds the variables of other tools too.
        extra="ignore",
        # A container passes what is not set as an empty variable.
        env_ignore_empty=True,
    )

    lake: Annotated[
        str,
        Field(
            description="The folder that everything is published into, or a place in an object store: `s3://BUCKET/PREFIX`, "
            "`gs://`, `abfs://` or `az://`, whose keys come from the environment."
        ),
    ] = "./lake"
    project: Annotated[str, Field(description="The folder that holds `deployments/jobs/` and `expectations/`.")] = "."
    log_format: Annotated[
        LogFormat, Field(description="`text`, or `json`: one object a line, with job, as_of and run_id.")
    ] = "text"
    log_level: Annotated[
        LogLevel | None,
        Field(
            description="From which level on lines go to standard error: `debug`, `info`, `warning`, `error`. "
            "Not set: `info` in a worker, none in a command that is typed."
        ),
    ] = None
    engine: Annotated[
        EngineKind | None,
        Field(
            description="Where shards are worked on, whatever a job says: `local`, `dask` or `ray`. Not set: as the job says."
        ),
    ] = None
    engine_address: Annotated[
        str,
        Field(
            description="Where that cluster is, in the place of a job's own `engine.address`: `tcp://host:8786` of Dask's "
            "scheduler, `ray://host:10001` of Ray. A local run does not look at it.",
        ),
    ] = ""
    engine_workers: Annotated[
        int | None,
        Field(
            ge=0,
            le=100,
            description="The most shards at once there, in the place of a job's own; 0: as many as it has room for.",
        ),
    ] = None
    pages_url: Annotated[
        str,
        Field(
            pattern=r"^(https?://[^\s<>]+)?$",
            description="Where people open what `lamplighter pages` serves, as `http://127.0.0.1:8090`: a run's page in "
            "the Prefect UI links to its report there. Not set: it names the file.",
        ),
    ] = ""
    pages_host: Annotated[str, Field(min_length=1, description="Where `lamplighter pages` listens.")] = "127.0.0.1"
    pages_port: Annotated[int, Field(ge=0, le=65535, description="Its port; 0 takes a free one.")] = 8090
    pages_names: Annotated[
        str,
        Field(
            description="The host names, with commas between, by which browsers may ask for the pages; `*` is any. "
            "Another site that points its name here gets nothing."
        ),
    ] = "localhost,127.0.0.1,[::1]"

    def __init__(self, **given: Any) -> None:
        """DefinitionError names the variable, what it holds and what is allowed."""
        try:
            super().__init__(_env_file=_env_files(), **(_lake_beside_its_file() | given))
        except ValidationError as error:
            raise _wrong(error) from error
        except UnicodeDecodeError as error:
            raise DefinitionError(
                f"the file {_ENV_FILE} is not UTF-8 text ({error.reason} at byte {error.start})",
                next_step=f"mend or remove {_ENV_FILE}",
            ) from error


def environment(name: str) -> str | None:
    """The value of a variable, of the environment before `.env`; None where it is not set, or empty."""
    return os.environ.get(name) or _dotenv().get(name) or None


def whole_environment() -> dict[str, str]:
    """Every variable, the environment's before those of `.env`: what a child finds that starts in another folder."""
    return {name: value for name, value in _dotenv().items() if value} | dict(os.environ)


def given_names() -> list[str]:
    """The variables of ours that the environment or `.env` sets, known or not."""
    names = {*os.environ, *_dotenv()}
    return sorted(name for name in names if name.upper().startswith(PREFIX))


def _env_files() -> tuple[str, ...]:
    """The files `.env` that are read; what stands in a later one counts."""
    project = os.environ.get(_PROJECT) or dotenv_values(_ENV_FILE).get(_PROJECT)
    return (os.path.join(project, _ENV_FILE), _ENV_FILE) if project else (_ENV_FILE,)  # noqa: PTH118 - names, no file


def _dotenv() -> dict[str, str | None]:
    return {name: value for file in _env_files() for name, value in dotenv_values(file).items()}


def _lake_beside_its_file() -> dict[str, Any]:
    """A relative lake of the project's own `.env` is not meant to follow whoever types a command elsewhere."""
    *of_project, here = _env_files()
    if not of_project or any(name.upper() == _LAKE for name in (*os.environ, *dotenv_values(here))):
        return {}
    lake = dotenv_values(of_project[0]).get(_LAKE)
    if lake and "://" in lake:
        return {"lake": lake}
    return {"lake": os.path.join(os.path.dirname(of_project[0]), lake)} if lake else {}  # noqa: PTH118, PTH120 - names


def _wrong(error: ValidationError) -> DefinitionError:
    faults = [
        f"{PREFIX}{'.'.join(map(str, one['loc'])).upper()} is {_shown(one['input'])}: {_said(one['msg'])}"
        for one in error.errors(include_url=False)
    ]
    return DefinitionError(
        "; ".join(faults),
        state="nothing was started",
        next_step="set it right in the environment or in .env; lamplighter settings shows what each one may be",
    )


def _shown(value: object) -> str:
    text = masked(repr(value))
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _said(message: str) -> str:
    return message[:1].lower() + message[1:]


def prepare_prefect(*, quiet: bool) -> None:
    """What Prefect is to find in the environment before it is imported, where nobody has set it."""
    defaults = {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # The first start of the embedded server migrates its database, which takes longer than Prefect's 20 s.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    }
    if quiet:
        # The root's too: what the embedded server's libraries say when it is stopped is no news to a person.
        defaults |= dict.fromkeys(
            ("PREFECT_LOGGING_LEVEL", "PREFECT_SERVER_LOGGING_LEVEL", "PREFECT_LOGGING_ROOT_LEVEL"), "CRITICAL"
        )
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def prepare_ray() -> None:
    """What Ray is to find in the environment before it is imported: it reports to nobody."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # A zero of our own is no order to hide accelerators; Ray would warn that this changes.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")


def prepare_object_store() -> None:
    """What the clients of object stores read from the environment alone, from `.env` too."""
    for name, value in _dotenv().items():
        if name.startswith(_OF_OBJECT_STORES) and value:
            os.environ.setdefault(name, value)


def prepare_mlflow() -> None:
    """What MLflow's client is to find in the environment before it is imported; it reads no `.env` by itself."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    defaults = {
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_CONFIGURE_LOGGING": "false",
        # Its own patience, of four minutes, comes before any word to a person; the run tries again by itself.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    }
    for name, value in (defaults | _dotenv()).items():
        if name.startswith("MLFLOW_") and value:
            os.environ.setdefault(name, value)
