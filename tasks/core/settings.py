"""The one door to the environment: Lamplighter's own settings, and the variables that a job names."""

from __future__ import annotations

import os

from dotenv import dotenv_values
from pydantic_settings import BaseSettings, SettingsConfigDict

_ENV_FILE = ".env"


class Settings(BaseSettings):
    """What an installation decides: LAMPLIGHTER_<NAME> in the environment, else in `.env` where the command is typed."""

    model_config = SettingsConfigDict(
        env_prefix="LAMPLIGHTER_",
        env_file=_ENV_FILE,
        frozen=True,
        # .env holds the variables of other tools too.
        extra="ignore",
        # A container passes what is not set as an empty variable.
        env_ignore_empty=True,
    )

    lake: str = "./lake"
    project: str = "."


def environment(name: str) -> str | None:
    """The value of a variable, of the environment before `.env`; None where it is not set, or empty."""
    return os.environ.get(name) or dotenv_values(_ENV_FILE).get(name) or None


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
    for name, value in (defaults | dotenv_values(_ENV_FILE)).items():
        if name.startswith("MLFLOW_") and value:
            os.environ.setdefault(name, value)
