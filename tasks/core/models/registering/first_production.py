"""The first version of a model takes its place by itself: there is nothing that it could be held against."""

from __future__ import annotations

import datetime as dt

from tasks.core.definitions.project import Project
from tasks.core.errors import Blocked
from tasks.core.models.model_version import ModelVersion
from tasks.core.models.registering.given import jobs_of
from tasks.core.models.registry import Registry

PRODUCTION = "production"


def has_had_production(registry: Registry, name: str) -> bool:
    """Whether any version of the model is or was production."""
    return any(event.action == "set_alias" and event.alias == PRODUCTION for event in registry.history(name))


def why_not_production(project: Project, name: str) -> str:
    """Why a first version waits for `promote` all the same; '' where it need not."""
    jobs = jobs_of(project, name)
    if asking := [job.job for job in jobs if job.promotion.approval]:
        return f"the job {asking[0]} asks for a person's approval (promotion.approval)"
    if following := [job.job for job in jobs if job.model.mlflow]:
        return f"the job {following[0]} follows an alias of MLflow"
    return ""


def make_production(registry: Registry, version: ModelVersion, *, at: dt.datetime, actor: str) -> bool:
    """Lets production name the version, whose model has had none; False where somebody else was first."""
    reason = f"the first version of {version.name}: nothing to hold it against"
    try:
        registry.set_alias(version.name, PRODUCTION, version.version, at=at, actor=actor, reason=reason, expected=None)
    except Blocked:
        return False
    return True
